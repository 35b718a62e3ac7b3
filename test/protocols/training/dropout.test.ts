import { describe, expect, test } from "vitest";
import { JobSimulation } from "./jobSimulation.ts";

/** A non-coordinator's messages, one for each phase of an aggregation. */
const PHASES = ["keys", "bundle", "ack", "input", "vote", "reveal", "done"];

describe("one in five participants drops out", () => {
	for (const phase of PHASES) {
		test(`at its ${phase}: the others complete every round`, () => {
			const job = new JobSimulation({ members: 5, rounds: 2 });
			const victim = (job.coordinator + 1) % 5;
			job.onSend(phase, (from) => job.crash(from), { from: victim });
			job.run();
			const results = job.check();
			expect(results[1]?.survivors).toHaveLength(4);
		});
	}

	test("two in twelve, in different phases", () => {
		const job = new JobSimulation({ members: 12, corruption: 2, rounds: 1, minimumSurvivors: 7 });
		const victims = [1, 2].map((k) => (job.coordinator + k) % 12);
		job.onSend("input", (from) => job.crash(from), { from: victims[0] as number });
		job.onSend("vote", (from) => job.crash(from), { from: victims[1] as number });
		job.run();
		job.check();
	});
});

describe("a participant that was away", () => {
	test("for several rounds restarts, catches up and contributes again", () => {
		const job = new JobSimulation({ members: 5, rounds: 6 });
		const sleeper = (job.coordinator + 2) % 5;
		job.onSend("input", () => job.crash(sleeper), { round: 1 });
		job.onSend("propose", () => job.restart(sleeper), { round: 4 });
		job.run();
		const results = job.check();
		expect(results[3]?.survivors).not.toContain(job.peer(sleeper));
		expect(results[5]?.survivors).toContain(job.peer(sleeper));
	});

	test("at every phase restarts at once without contradicting itself", () => {
		for (const phase of PHASES) {
			const job = new JobSimulation({ members: 5, rounds: 2 });
			job.onSend(
				phase,
				(from) => {
					job.crash(from);
					job.restart(from);
				},
				{ from: (job.coordinator + 1) % 5 },
			);
			job.run();
			expect(job.check()[1]?.survivors).toHaveLength(5);
		}
	});
});

describe("a participant out of budget", () => {
	test("withdraws from every round and still follows; the rest go on", () => {
		const job = new JobSimulation({ members: 5, rounds: 2 });
		const broke = (job.coordinator + 1) % 5;
		job.broke.add(job.peer(broke));
		job.run();
		for (const { survivors } of job.check()) expect(survivors).toHaveLength(4);
		expect(job.outputs(broke, "withdrawn").map(({ code }) => code)).toEqual([
			"budget.exceeded",
			"budget.exceeded",
		]);
		expect(job.sent.get(`${broke}/input`)).toBeUndefined();
	});

	test("may be the coordinator", () => {
		const job = new JobSimulation({ members: 5, rounds: 1 });
		job.broke.add(job.peer(job.coordinator));
		job.run();
		expect(job.check()[0]?.survivors).toHaveLength(4);
	});

	test("too many of them: no round completes below the minimum, and nothing is released", () => {
		const job = new JobSimulation({ members: 5, rounds: 1, minimumSurvivors: 4 });
		for (const index of [0, 1]) job.broke.add(job.peer(index));
		job.run(60_000);
		expect(job.check({ done: false })).toEqual([]);
		for (const index of job.running) expect(job.outputs(index, "retry").every(({ dead }) => dead)).toBe(true);
	});
});
