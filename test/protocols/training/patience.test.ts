/** Rounds that take long: many attempts that die, long phases with a member that is slow or silent. */
import { describe, expect, test } from "vitest";
import type { TrainingJobOptions } from "../../../protocols/training/index.ts";
import { JobSimulation } from "./jobSimulation.ts";

/** As a node runs a job with long phases (node/jobs/selection.ts). */
const longPhases =
	(phaseTimeoutMs: number) =>
	({ voidAfterMs: _, ...options }: TrainingJobOptions): TrainingJobOptions => ({
		...options,
		phaseTimeoutMs,
		timing: { heartbeatMs: 1000, suspicionMs: 3000, stallMs: 8 * phaseTimeoutMs },
	});

test("a round goes on after any number of dead attempts", () => {
	const job = new JobSimulation({
		members: 3,
		minimumSurvivors: 2,
		rounds: 1,
		configure: (options) => ({ ...options, phaseTimeoutMs: 500 }),
		// Everybody trains longer than a phase waits.
		taskMs: (_, task) => (task.kind === "contribute" ? 130_000 : undefined),
	});
	job.run(300_000);
	const [result] = job.check();
	expect(result?.outcome).toBe("released");
	expect(result?.attempt).toBeGreaterThan(64);
});

describe("long phases", () => {
	test("leave a member the time that they are for: no attempt is lost to it", () => {
		const job = new JobSimulation({
			members: 5,
			rounds: 1,
			configure: longPhases(600_000),
			taskMs: (index, task) => (task.kind === "contribute" && index === 2 ? 500_000 : undefined),
		});
		job.run(1_000_000);
		expect(job.check()).toMatchObject([{ outcome: "released", attempt: 0, survivors: job.peers }]);
	});

	test("leave a coordinator the time to ask the holders of a silent survivor's shares", () => {
		const job = new JobSimulation({ members: 5, rounds: 1, configure: longPhases(30_000) });
		const silent = job.peer((job.coordinator + 1) % 5);
		job.simulation.intercept(({ from, message }) =>
			from === silent && job.kind(message) === "reveal" ? [] : undefined,
		);
		job.run(300_000);
		expect(job.check()).toMatchObject([{ outcome: "released", attempt: 0, survivors: job.peers }]);
	});
});
