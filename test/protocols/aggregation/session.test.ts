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
