import { describe, expect, test } from "vitest";
import { CohortSimulation } from "./cohortSimulation.ts";

describe("an aggregation session without failures", () => {
	test.each([13, 16, 24, 32])("releases the exact sum to everybody (mod 2^%i)", (modulusBits) => {
		const cohort = new CohortSimulation({ modulusBits });
		cohort.runUntilEnded();
		for (const index of cohort.peers.keys()) {
			const released = cohort.released(index);
			expect(released?.survivors).toEqual(cohort.peers);
			expect(released?.sum).toEqual(cohort.expectedSum(cohort.peers));
			expect(cohort.simulation.faults(cohort.peer(index))).toEqual([]);
		}
		expect(new Set(cohort.peers.map((_, i) => cohort.released(i)?.beacon.join())).size).toBe(1);
	});
});

test("vectors that take long on their way are not sent twice", () => {
	const cohort = new CohortSimulation({ members: 4 });
	const { simulation } = cohort;
	const sent: string[] = [];
	simulation.intercept(({ from, to, message, blob }, nowMs) => {
		if (blob === undefined || blob.length === 0) return undefined;
		sent.push(`${message.kind} ${from} ${to}`);
		// Longer than other messages are waited for before they are repeated, shorter than a quarter of a phase.
		simulation.at(nowMs + 1100, () => {
			const session = cohort.sessions.get(to);
			if (session !== undefined)
				simulation.perform(to, session.receive(from, message, simulation.nowMs, blob));
		});
		return [];
	});
	cohort.runUntilEnded();
	expect(cohort.released(1)?.sum).toEqual(cohort.expectedSum(cohort.peers));
	expect(sent.filter((one) => one.startsWith("input")).length).toBe(3);
	expect(sent.length).toBe(new Set(sent).size);
});

test("is refused where the corrupt could hold enough shares of the smallest roster to open both kinds", () => {
	const cohort = (minimumSurvivors: number) => () =>
		new CohortSimulation({ members: 10, corruption: 3, minimumSurvivors });
	expect(cohort(6)).not.toThrow();
	expect(cohort(5)).toThrow(
		expect.objectContaining({
			code: "aggregation.bad_configuration",
			message: expect.stringMatching(/minimumSurvivors must be at least 6/),
		}),
	);
});
