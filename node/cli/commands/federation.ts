/** `althing federation ...` */
import type { Command } from "commander";
import { AlthingError } from "../../../crypto/error.ts";
import type { FederationView, PendingRequest } from "../../rpc/services.ts";
import { parseInteger } from "../arguments.ts";
import type { Output } from "../output.ts";
import type { Bind } from "../session.ts";
import { fields, printable, table } from "../text.ts";

export function registerFederation(program: Command, bind: Bind): void {
	const federation = program.command("federation").description("found, join and govern a federation");

	bind<{ rules?: string }>(
		federation
			.command("create <name>")
			.description("found a federation with this node as its first member")
			.option("--rules <file>", "charter rules in YAML (minimum cohort, corruption, privacy floor ...)"),
		async ({ client, out }, [name = ""], options) => {
			const rules = options.rules === undefined ? {} : await readObject(options.rules);
			const view = await (await client()).call("federation.create", { name, rules });
			out.result(view, (value) => federationText(value, out));
		},
	);

	bind<{ expiresInHours: number }>(
		federation
			.command("invite <organization>")
			.description("issue a single-use invitation ticket")
			.option("--expires-in-hours <hours>", "hours until it expires", parseInteger, 72),
		async ({ client, out }, [organization = ""], { expiresInHours }) => {
			const invitation = await (await client()).call("federation.invite", { organization, expiresInHours });
			out.result(invitation, ({ ticket }) => ticket);
			out.note(
				`Hand this ticket to ${organization} in private; it works once, until ${invitation.expiresAt}.`,
			);
		},
	);

	bind<{ ticketFile?: string; declaration?: string }>(
		federation
			.command("join [ticket]")
			.description("ask for admission with an invitation ticket")
			.option("--ticket-file <file>", "read the ticket from a file, - for standard input")
			.option("--declaration <file>", "what this organization declares about itself and its data, in YAML"),
		async ({ client, out }, [given], options) => {
			const { readInput } = await import("../inputFile.ts");
			const ticket = options.ticketFile === undefined ? given : (await readInput(options.ticketFile)).trim();
			if (ticket === undefined) {
				throw new AlthingError("usage.missing_ticket", "Give the ticket, or --ticket-file FILE.", {});
			}
			const declaration = options.declaration === undefined ? {} : await readObject(options.declaration);
			const joined = await (await client()).call("federation.join", { ticket, declaration });
			out.result(
				joined,
				({ requestId }) => `Asked to join; request ${requestId} waits for the members' approval.`,
			);
		},
	);

	bind(
		federation.command("pending").description("list requests that wait for approval"),
		async ({ client, out }) => {
			const answer = await (await client()).call("federation.pending", {});
			out.result(answer, ({ pending }) => pendingText(pending, out));
		},
	);

	bind(
		federation.command("approve <request>").description("approve a pending request"),
		async ({ client, out }, [requestId = ""]) => {
			out.result(await (await client()).call("federation.approve", { requestId }), decisionText);
		},
	);

	bind<{ reason?: string }>(
		federation
			.command("reject <request>")
			.description("reject a pending request")
			.option("--reason <text>", "told to the other members"),
		async ({ client, out }, [requestId = ""], { reason }) => {
			out.result(await (await client()).call("federation.reject", { requestId, reason }), decisionText);
		},
	);

	bind(
		federation.command("show").description("show charter, members, quorum and how many may be down"),
		async ({ client, out }) => {
			const view = await (await client()).call("federation.show", {});
			out.result(view, (value) => federationText(value, out));
		},
	);

	bind(federation.command("leave").description("leave the federation"), async ({ client, out }) => {
		const left = await (await client()).call("federation.leave", {});
		out.result(left, ({ requestId }) => `Asked to leave; request ${requestId}.`);
	});

	bind<{ reason: string }>(
		federation
			.command("expel <peer>")
			.description("propose to expel a member; a quorum must approve")
			.requiredOption("--reason <text>", "told to the other members"),
		async ({ client, out }, [peer = ""], { reason }) => {
			const proposed = await (await client()).call("federation.expel", { peer, reason });
			out.result(
				proposed,
				({ requestId }) => `Proposed; request ${requestId} waits for the members' approval.`,
			);
		},
	);
}

async function readObject(path: string): Promise<Record<string, unknown>> {
	const { readObjectFile } = await import("../inputFile.ts");
	return readObjectFile(path);
}

function decisionText(request: PendingRequest): string {
	return `${request.kind} of ${printable(request.organization ?? request.subject)}: ${request.approvals.length} of ${request.approvalsNeeded} approvals, ${request.rejections.length} rejections.`;
}

function pendingText(pending: readonly PendingRequest[], out: Output): string {
	return table(
		["REQUEST", "KIND", "ORGANIZATION", "PEER", "APPROVALS", "NEEDED", "REQUESTED"],
		pending.map((request) => [
			request.requestId,
			request.kind,
			request.organization,
			request.subject,
			request.approvals.length,
			request.approvalsNeeded,
			request.requestedAt,
		]),
		"Nothing waits for approval.",
		out.colors.bold,
	);
}

function federationText(view: FederationView, out: Output): string {
	const members = view.members.length;
	const connected = view.members.filter((member) => member.connected || member.self).length;
	const parts = [
		fields([
			["federation", view.name],
			["id", view.id],
			["charter version", view.charterVersion],
			["charter hash", view.charterHash],
			["this node", view.standing],
			["members", `${members}, ${connected} connected`],
			["assumed corrupt (f)", view.corruption],
			["quorum (q)", `${view.quorum} of ${members}`],
			["may be down", view.mayBeDown],
		]),
		table(
			["ORGANIZATION", "PEER", "CONNECTED"],
			view.members.map((member) => [
				member.self ? `${member.organization} (this node)` : member.organization,
				member.peer,
				member.self || member.connected,
			]),
			"No members.",
			out.colors.bold,
		),
	];
	if (view.pending.length > 0) parts.push(`Waiting for approval:\n${pendingText(view.pending, out)}`);
	return parts.join("\n\n");
}
