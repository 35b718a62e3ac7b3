/** `althing token ...` */
import { type Command, Option } from "commander";
import { roles } from "../../rpc/roles.ts";
import type { Role } from "../../rpc/services.ts";
import { parseInteger } from "../arguments.ts";
import type { Bind } from "../session.ts";
import { table } from "../text.ts";

export function registerToken(program: Command, bind: Bind): void {
	const token = program.command("token").description("access tokens of the admin RPC");

	bind<{ role: Role; expiresInDays: number }>(
		token
			.command("create <name>")
			.description("create an access token and print it, this once")
			.addOption(new Option("--role <role>", "what it may do").choices(roles).makeOptionMandatory())
			.option("--expires-in-days <days>", "days until it expires", parseInteger, 90),
		async ({ client, out }, [name = ""], { role, expiresInDays }) => {
			const created = await (await client()).call("token.create", { name, role, expiresInDays });
			out.result(created, (value) => value.token);
			out.note(`Keep it in a file that only you can read; it expires ${created.view.expiresAt}.`);
		},
	);

	bind(token.command("ls").description("list access tokens"), async ({ client, out }) => {
		const answer = await (await client()).call("token.list", {});
		out.result(answer, ({ tokens }) =>
			table(
				["ID", "NAME", "ROLE", "CREATED", "EXPIRES", "REVOKED"],
				tokens.map((one) => [
					one.id,
					one.name,
					one.role,
					one.createdAt,
					one.expiresAt ?? "never",
					one.revokedAt,
				]),
				"No tokens.",
				out.colors.bold,
			),
		);
	});

	bind(
		token.command("revoke <id>").description("revoke an access token"),
		async ({ client, out }, [id = ""]) => {
			out.result(await (await client()).call("token.revoke", { id }), (view) => `Revoked ${view.name}.`);
		},
	);
}
