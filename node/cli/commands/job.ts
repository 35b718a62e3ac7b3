/** `althing job ...` */
import type { Command } from "commander";
import type { JobDetail, JobSummary } from "../../rpc/services.ts";
import { parsePositive } from "../arguments.ts";
import type { Output } from "../output.ts";
import { robustnessText } from "../robustnessText.ts";
import { selectionText } from "../selectionText.ts";
import type { Bind } from "../session.ts";
import { bytesText, fields, figure, shortPeer, table } from "../text.ts";

export function registerJob(program: Command, bind: Bind): void {
	const job = program.command("job").description("propose, decide and follow jobs");

	bind(
		job.command("submit <file>").description("propose a job spec (YAML) to the federation"),
		async ({ client, out }, [file = ""]) => {
			const { readJobFile } = await import("../jobFile.ts");
			const spec = await readJobFile(file);
			out.result(await (await client()).call("job.submit", { spec }), jobLine);
		},
	);

	bind(job.command("ls").description("list jobs"), async ({ client, out }) => {
		const answer = await (await client()).call("job.list", {});
		out.result(answer, ({ jobs }) =>
			table(
				["JOB", "NAME", "STATE", "HERE", "ROUND", "CREATED"],
				jobs.map((one) => [
					one.id,
					one.name,
					one.state,
					one.decision,
					`${one.round}/${one.rounds}`,
					one.createdAt,
				]),
				"No jobs.",
				out.colors.bold,
			),
		);
	});

	bind(
		job.command("show <job>").description("show a job and its rounds"),
		async ({ client, out }, [id = ""]) => {
			out.result(await (await client()).call("job.show", { job: id }), (detail) => jobText(detail, out));
		},
	);

	bind<{ timeout?: number }>(
		job
			.command("watch <job>")
			.description("follow a job until it ends")
			.option("--timeout <seconds>", "give up after this long, with exit code 7", parsePositive),
		async (session, [id = ""], { timeout }) => {
			const { watchJob } = await import("../watch.ts");
			return watchJob(session, id, timeout);
		},
	);

	bind(
		job.command("approve <job>").description("accept a job in this organization's name"),
		async ({ client, out }, [id = ""]) => {
			out.result(await (await client()).call("job.approve", { job: id }), jobLine);
		},
	);

	for (const [verb, description] of [
		["reject", "reject a job in this organization's name"],
		["abort", "stop a job for good"],
	] as const) {
		bind<{ reason?: string }>(
			job
				.command(`${verb} <job>`)
				.description(description)
				.option("--reason <text>", "told to the other organizations"),
			async ({ client, out }, [id = ""], { reason }) => {
				out.result(await (await client()).call(`job.${verb}`, { job: id, reason }), jobLine);
			},
		);
	}

	bind(
		job.command("resume <job>").description("take up a waiting or failed job from its last agreed round"),
		async ({ client, out }, [id = ""]) => {
			out.result(await (await client()).call("job.resume", { job: id }), jobLine);
		},
	);
}

function jobLine(job: JobSummary): string {
	return fields([
		["job", job.id],
		["name", job.name],
		["state", job.state],
		["decision here", job.decision],
		["round", `${job.round} of ${job.rounds}`],
		...(job.reason === undefined ? [] : ([["reason", job.reason]] as const)),
	]);
}

function jobText(job: JobDetail, out: Output): string {
	const participants = table(
		["ORGANIZATION", "PEER", "DECISION", "REASON"],
		job.participants.map((one) => [one.organization, one.peer, one.decision, one.reason]),
		"No participants yet.",
		out.colors.bold,
	);
	const rounds = table(
		["ROUND", "TERM", "COORDINATOR", "SURVIVORS", "LOSS", "ACCURACY", "EPSILON", "SENT", "SECONDS"],
		job.history.map((one) => [
			one.round,
			one.term,
			one.coordinator === undefined ? undefined : shortPeer(one.coordinator),
			`${one.survivors.length}/${one.cohort.length}`,
			figure(one.evaluationLoss ?? one.trainingLoss),
			figure(one.accuracy),
			figure(one.epsilonSpent),
			bytesText(one.bytesSent),
			figure(one.seconds),
		]),
		"No rounds yet.",
		out.colors.bold,
	);
	const neighbours = (job.neighbours ?? []).map(({ peer, weight }) => `${shortPeer(peer)} ${figure(weight)}`);
	const topology =
		job.neighbours === undefined
			? []
			: [
					fields([
						["neighbours (weight)", neighbours.join(", ")],
						["spectral gap", figure(job.spectralGap)],
					]),
				];
	const secured = job.secureSum === undefined ? [] : [securityText(job.secureSum)];
	const robust = robustnessText(job);
	const selected = selectionText(job, out);
	return [
		jobLine(job),
		...secured,
		...(robust === undefined ? [] : [robust]),
		...topology,
		participants,
		rounds,
		...selected,
	].join("\n\n");
}

function securityText(security: NonNullable<JobDetail["secureSum"]>): string {
	const { participants, cohorts, assumedCorrupt, quorum, minimumSurvivors, graph } = security;
	const { shareHolders, threshold, maskedNeighbours, windowSurvivors } = security;
	const around =
		graph === "complete"
			? "complete graph"
			: `ring, ${maskedNeighbours} masked neighbours, ${windowSurvivors} survivors in two windows`;
	const of =
		cohorts === undefined
			? `Secure sum of ${participants}`
			: `${cohorts} secure sums of up to ${participants}, added along a tree`;
	return `${of}: ${assumedCorrupt} assumed corrupt, ${quorum} votes, at least ${minimumSurvivors} survivors; ${around}; ${threshold} of ${shareHolders} share holders`;
}
