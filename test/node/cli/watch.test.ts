import { rm } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { exitCodes } from "../../../node/cli/exitCodes.ts";
import { createRpcServer } from "../../../node/rpc/server.ts";
import type { JobState, RoundView } from "../../../node/rpc/services.ts";
import { type Harness, silentLog, startHarness } from "../rpc/harness.ts";
import { startCli } from "./cli.ts";

let harness: Harness;
beforeEach(async () => {
	harness = await startHarness();
});
afterEach(() => harness.stop());

function finishRound(round: number): void {
	const view: RoundView = {
		round,
		attempt: 0,
		term: 1,
		coordinator: "12D3KooWSelf",
		cohort: ["a", "b", "c"],
		survivors: ["a", "b"],
		evaluationLoss: 1 / round,
		accuracy: 0.5,
		epsilonSpent: round,
		bytesSent: 2048,
		bytesReceived: 1024,
		seconds: 1.5,
		finishedAt: "2026-01-02T03:04:05.000Z",
	};
	harness.fakes.job = { ...harness.fakes.job, round, history: [...harness.fakes.job.history, view] };
	harness.events.publish({ type: "job.round", job: "job-0001", data: { ...view } });
}
function enter(state: JobState): void {
	harness.fakes.job = { ...harness.fakes.job, state };
	harness.events.publish({ type: "job.state", job: "job-0001", data: { state } });
}
const watch = (...args: string[]) =>
	startCli(["job", "watch", "job-0", "--data-dir", harness.directory, ...args]);
const roundsOf = (stdout: string) => [...stdout.matchAll(/^round (\d+)/gm)].map(([, round]) => Number(round));

describe("job watch", () => {
	it("prints each round once, whether it came before or while watching, and ends with the job", async () => {
		finishRound(1);
		const cli = watch();
		await cli.printed("round 1");
		finishRound(2);
		harness.events.publish({ type: "job.round", job: "another", data: { round: 77 } });
		await cli.printed("round 2");
		enter("completed");
		const { code, stdout } = await cli.ended;
		expect(code).toBe(exitCodes.ok);
		expect(stdout.split("\n")).toEqual([
			expect.stringMatching(
				/^round 1 {2}2\/3 survivors {2}.*loss 1 {2}accuracy 0\.5 {2}epsilon 1 {2}2\.0 KiB sent {2}1\.5 s$/,
			),
			"running",
			expect.stringMatching(/^round 2 {2}.*loss 0\.5/),
			"completed",
			"",
		]);
	});

	it("takes up again after the node was away, without a loss or a repeat", async () => {
		const cli = watch();
		await cli.printed("running");
		finishRound(1);
		await cli.printed("round 1");
		await harness.server.stop();
		finishRound(2);
		const again = createRpcServer({
			services: harness.fakes.services,
			tokens: harness.tokens,
			events: harness.events,
			socketPath: harness.socketPath,
			version: "0",
			log: silentLog,
			clock: harness.clock,
		});
		await again.start();
		try {
			await cli.printed("round 2");
			enter("completed");
			const { code, stdout } = await cli.ended;
			expect([code, roundsOf(stdout)]).toEqual([exitCodes.ok, [1, 2]]);
			expect(stdout.match(/^completed$/gm)).toHaveLength(1);
		} finally {
			await again.stop();
		}
	});

	it.each([
		["failed", exitCodes.failed],
		["aborted", exitCodes.failed],
		["rejected", exitCodes.refused],
	] as const)("ends at once with a job that has %s", async (state, code) => {
		enter(state);
		expect(await watch("--json").ended).toMatchObject({
			code,
			stdout: `{"type":"job.state","data":{"state":"${state}"}}\n`,
		});
	});

	it("gives up after --timeout", async () => {
		const { code, stderr } = await watch("--timeout", "0.5").ended;
		expect(code).toBe(exitCodes.timedOut);
		expect(stderr).toContain("did not end within 0.5 s. (job.watch_timeout)");
	});

	it("ends by Ctrl-C", async () => {
		const cli = watch();
		await cli.printed("running");
		cli.signal("SIGINT");
		expect((await cli.ended).code).toBe(exitCodes.interrupted);
	});

	it("does not wait for a job that is not there, or a node that is not running", async () => {
		expect((await startCli(["job", "watch", "none", "--data-dir", harness.directory]).ended).code).toBe(
			exitCodes.notFound,
		);
		await harness.server.stop();
		await rm(harness.socketPath, { force: true });
		expect((await watch().ended).code).toBe(exitCodes.notRunning);
	});
});
