import { describe, expect, test } from "vitest";
import { JobSimulation } from "./jobSimulation.ts";

/** What a coordinator sends in a round, in order. */
const STAGES = [
	"heartbeat",
	"open",
	"roster",
	"shares",
	"shareSet",
	"receipt",
	"propose",
	"vote",
	"certified",
	"opening",
	"result_ballot",
	"result",
];

/** Up to here the survivors are not proposed yet: the next in line proves the attempt dead. */
const BEFORE_VOTE = ["heartbeat", "open", "roster", "shares", "shareSet", "receipt"];

describe("a coordinator that dies", () => {
	for (const stage of STAGES) {
		test(`at its first ${stage}: the next in line finishes the round`, () => {
			// After the only round's opening nobody would need a coordinator any more.
			const job = new JobSimulation({
				members: 5,
				rounds: ["opening", "result_ballot", "result"].includes(stage) ? 2 : 1,
			});
			const first = job.coordinator;
			job.onSend(stage, (from) => job.crash(from), { from: first });
			job.run();
			const [result] = job.check();
			expect(job.running).toHaveLength(4);
			expect(job.coordinator).not.toBe(first);
			// Nothing is lost with it: the round is finished, or asked again before anybody voted.
			expect(result?.outcome).toBe("released");
			expect(result?.attempt).toBe(BEFORE_VOTE.includes(stage) ? 1 : 0);
		});
	}

	for (const stage of ["roster", "shareSet", "propose", "certified", "opening"]) {
		test(`having sent its ${stage} to two others only`, () => {
			const job = new JobSimulation({ members: 5, rounds: 1 });
			const first = job.coordinator;
			let reached = 0;
			job.simulation.intercept(({ from, message }) => {
				if (from !== job.peer(first) || job.kind(message) !== stage) return undefined;
				return reached++ < 2 ? undefined : [];
			});
			job.onSend(stage, (from) => job.crash(from), { from: first });
			job.run();
			job.check();
		});
	}
});

describe("a coordinator that dies and restarts at once", () => {
	for (const stage of STAGES) {
		test(`at its first ${stage}: it recovers the attempt it took part in`, () => {
			const job = new JobSimulation({ members: 5, rounds: 1 });
			job.onSend(
				stage,
				(from) => {
					job.crash(from);
					job.restart(from);
				},
				{ from: job.coordinator },
			);
			job.run();
			job.check();
			expect(job.running).toHaveLength(5);
		});
	}
});

describe("several coordinators in a row", () => {
	test("die each at their first proposal, as long as a quorum is left", () => {
		const job = new JobSimulation({ members: 7, rounds: 2, minimumSurvivors: 3 });
		let deaths = 0;
		for (const index of job.peers.keys()) {
			job.onSend("propose", (from) => deaths++ < 2 && job.crash(from), { from: index });
		}
		job.run();
		job.check();
		expect(job.running).toHaveLength(5);
	});

	test("a next in line that was away and cannot open the sum resigns in favour of one that can", () => {
		const probe = new JobSimulation({ members: 5, rounds: 2 });
		probe.onSend("vote", (from) => probe.crash(from), { from: probe.coordinator, round: 1 });
		probe.run();
		const next = probe.coordinator;
		const job = new JobSimulation({ members: 5, rounds: 2 });
		const first = job.coordinator;
		job.onSend("open", () => job.crash(next), { from: first, round: 1 });
		// Once the four others have voted, the away one returns and the coordinator dies.
		const handOver = (from: number) =>
			job.simulation.at(job.simulation.nowMs + 45, () => {
				job.crash(from);
				job.restart(next);
			});
		job.onSend("vote", handOver, { from: first, round: 1 });
		job.run();
		const results = job.check();
		expect(results[1]).toMatchObject({ outcome: "released", attempt: 0 });
		expect(job.outputs((next + 1) % 5, "coordinator").map(({ coordinator }) => coordinator)).toContain(
			job.peer(next),
		);
		expect(job.coordinator).not.toBe(next);
		// Before anybody thought of voiding the round.
		expect(job.simulation.nowMs).toBeLessThan(10_000);
	});

	test("the role moves on by itself with every epoch, and catching up does not confuse it", () => {
		const job = new JobSimulation({ members: 5, rounds: 7, roundsPerEpoch: 2 });
		const sleeper = (job.coordinator + 1) % 5;
		job.onSend("propose", () => job.crash(sleeper), { round: 1 });
		job.onSend("propose", () => job.restart(sleeper), { round: 4 });
		job.run();
		job.check();
		const coordinators = job.outputs(job.running[0] as number, "coordinator");
		expect(new Set(coordinators.map(({ term }) => Math.floor(term / 1_000_000))).size).toBeGreaterThanOrEqual(
			3,
		);
		expect(job.job(sleeper).coordinator).toBe(job.job((sleeper + 1) % 5).coordinator);
		expect(job.job(sleeper).term).toBe(job.job((sleeper + 1) % 5).term);
	});
});

describe("a stalling coordinator", () => {
	test("that only sends heartbeats is replaced after stallMs", () => {
		const job = new JobSimulation({ members: 5, rounds: 2 });
		const first = job.coordinator;
		job.simulation.intercept(({ from, message }) =>
			from === job.peer(first) && message.kind === "session" ? [] : undefined,
		);
		job.run();
		job.check();
		const change = job.outputs((first + 1) % 5, "coordinator")[0];
		expect(change?.certified).toBe(true);
		expect(change?.coordinator).not.toBe(job.peer(first));
	});

	test("that lets every attempt die is replaced", () => {
		const job = new JobSimulation({ members: 5, rounds: 1 });
		const first = job.coordinator;
		// Its proposals reach nobody: every attempt of its ends below the threshold.
		job.simulation.intercept(({ from, message }) =>
			from === job.peer(first) && ["roster", "shareSet"].includes(job.kind(message)) ? [] : undefined,
		);
		job.run();
		const [result] = job.check();
		expect(job.coordinator).not.toBe(first);
		expect(result?.outcome).toBe("released");
	});
});
