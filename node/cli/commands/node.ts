/** Commands about the node as a whole: `init`, `start`, `status`, `doctor`, `peers`. */
import type { Command } from "commander";
import type { NodeStatus } from "../../rpc/services.ts";
import { exitCodes } from "../exitCodes.ts";
import type { Bind } from "../session.ts";
import { bytesText, fields, figure, printable, table } from "../text.ts";

export function registerNode(program: Command, bind: Bind): void {
	bind<{ organization?: string; passphraseFile?: string }>(
		program
			.command("init")
			.description("make a data directory with keys and configuration")
			.option("--organization <name>", "this organization's name, as the federation will see it")
			.option("--passphrase-file <file>", "seals the keys (or ALTHING_PASSPHRASE, or a prompt)"),
		async ({ dataDirectory, out }, _, options) => {
			const { initialize } = await import("../initialize.ts");
			const made = await initialize({ directory: dataDirectory, ...options });
			out.result(made, (value) =>
				[
					fields([
						["data directory", value.dataDirectory],
						["configuration", value.configFile],
						["organization", value.organization],
						["peer id", value.peer],
					]),
					"",
					"The keys open only with the passphrase: keep it, there is no other way in.",
					"Next: look the configuration over, then run althing start.",
				].join("\n"),
			);
		},
	);

	bind<{ config?: string; passphraseFile?: string }>(
		program
			.command("start")
			.description("run the node in the foreground until it is told to stop")
			.option("--config <file>", "configuration (default node.yaml in the data directory)")
			.option("--passphrase-file <file>", "opens the keys (or ALTHING_PASSPHRASE, or a prompt)")
			.addHelpText(
				"after",
				"\nEnds with the daemon's exit codes: 0 stopped, 1 forced, 70 defect, 74 storage, 75 busy, 77 keys, 78 configuration.",
			),
		async (session, _, options) => {
			const { start } = await import("../start.ts");
			return start(session, options);
		},
	);

	bind(
		program.command("status").description("show who this node is and what it does"),
		async ({ client, out }) => {
			out.result(await (await client()).call("node.status", {}), statusText);
		},
	);

	bind(
		program.command("doctor").description("check this machine and, when it runs, the node"),
		async (session) => {
			const { examine } = await import("../doctor.ts");
			const report = await examine(session);
			const { colors } = session.out;
			const color = { ok: colors.green, warning: colors.yellow, failed: colors.red };
			session.out.result(report, ({ checks, healthy }) => {
				const lines = checks.flatMap((check) => [
					`${color[check.state](check.state.padEnd(8))} ${printable(check.name)}: ${printable(check.detail)}`,
					...(check.remedy === undefined ? [] : [`         ${colors.dim(printable(check.remedy))}`]),
				]);
				return [...lines, healthy ? "Nothing stands in the way." : "Something must be mended first."].join(
					"\n",
				);
			});
			return report.healthy ? exitCodes.ok : exitCodes.failed;
		},
	);

	bind(program.command("peers").description("list peers and the links to them"), async ({ client, out }) => {
		const answer = await (await client()).call("peer.list", {});
		out.result(answer, ({ peers }) =>
			table(
				["ORGANIZATION", "PEER", "MEMBER", "CONNECTED", "RTT MS", "LAST SEEN", "IN", "OUT"],
				peers.map((peer) => [
					peer.organization,
					peer.peer,
					peer.member,
					peer.connected,
					figure(peer.rttMs),
					peer.lastSeenAt,
					bytesText(peer.bytesIn),
					bytesText(peer.bytesOut),
				]),
				"No peers known yet.",
				out.colors.bold,
			),
		);
	});
}

function statusText(status: NodeStatus): string {
	const { federation } = status;
	return fields([
		["organization", status.organization],
		["peer id", status.peer],
		["version", status.version],
		["ready", status.ready],
		["started", status.startedAt],
		["data directory", status.dataDirectory],
		["addresses", status.addresses.join(", ")],
		["training backend", status.backend],
		[
			"federation",
			federation === null ? "none" : `${federation.name} (charter version ${federation.charterVersion})`,
		],
		["connected peers", status.connectedPeers],
		["running jobs", status.runningJobs],
		["queued jobs", status.queuedJobs.length],
		["tasks of jobs", status.work.reduce((sum, { outstanding }) => sum + outstanding, 0)],
	]);
}
