/** `althing data ...` */
import { resolve } from "node:path";
import { setTimeout } from "node:timers/promises";
import type { Command } from "commander";
import type { DatasetDetail } from "../../rpc/services.ts";
import type { Bind } from "../session.ts";
import { fields, table } from "../text.ts";

export function registerData(program: Command, bind: Bind): void {
	const data = program.command("data").description("this organization's data sets");

	bind<{ description: string; stream?: true; table?: string; credentials?: string }>(
		data
			.command("add <name> <location>")
			.description("register a file, a Postgres table or a remote Parquet file as a data set")
			.requiredOption(
				"--description <name|file>",
				"a catalog name, or a YAML file that describes the columns",
			)
			.option("--stream", "read it in passes, never hold it in memory; large files are anyway")
			.option("--table <table>", "postgres://HOST/DATABASE: the table or view, [SCHEMA.]TABLE")
			.option("--credentials <file>", "Postgres, S3: YAML file with the credentials, mode 0600"),
		async ({ client, out }, [name = "", path = ""], options) => {
			const isFile = /[/\\]|\.(ya?ml|json)$/i.test(options.description);
			const { readObjectFile } = await import("../inputFile.ts");
			const description = isFile ? await readObjectFile(options.description) : options.description;
			const node = await client();
			const stream = options.stream ?? false;
			const isAddress = /^[a-z][a-z0-9]*:\/\//.test(path);
			const where = {
				path: isAddress ? path : resolve(path),
				...(options.table === undefined ? {} : { table: options.table }),
				...(options.credentials === undefined ? {} : { credentials: resolve(options.credentials) }),
			};
			let added = await node.call("data.add", { name, ...where, description, stream });
			if (added.reading) out.note(`Reading all of ${path} once; this may be left alone.`);
			while (added.reading) {
				await setTimeout(1000);
				added = await node.call("data.show", { name });
			}
			out.result(added, datasetText);
		},
	);

	bind(data.command("ls").description("list data sets"), async ({ client, out }) => {
		const answer = await (await client()).call("data.list", {});
		out.result(answer, ({ datasets }) =>
			table(
				["NAME", "DESCRIPTION", "ROWS", "HELD OUT", "FEATURES", "CLASSES", "PATH"],
				datasets.map((set) => [
					set.name,
					set.description,
					set.rows,
					set.heldOutRows,
					set.features,
					set.classes,
					set.path,
				]),
				"No data sets. Add one with althing data add.",
				out.colors.bold,
			),
		);
	});

	bind(data.command("show <name>").description("show a data set"), async ({ client, out }, [name = ""]) => {
		out.result(await (await client()).call("data.show", { name }), datasetText);
	});

	bind(
		data.command("rm <name>").description("forget a data set; its file and spent budget stay"),
		async ({ client, out }, [name = ""]) => {
			out.result(await (await client()).call("data.remove", { name }), () => `Removed ${name}.`);
		},
	);
}

function datasetText(set: DatasetDetail): string {
	const columns = table(
		["COLUMN", "KIND"],
		set.columns.map((column) => [column.name, column.kind]),
		"No columns.",
	);
	const about = fields([
		["data set", set.name],
		["path", set.path],
		["description", set.description],
		["rows", set.rows],
		["held out", set.heldOutRows],
		["read", set.streamed ? "in passes" : "whole"],
		["features", set.features],
		["classes", set.classes],
		["added", set.addedAt],
		["jobs", set.jobs.join(", ")],
	]);
	return `${about}\n\n${columns}`;
}
