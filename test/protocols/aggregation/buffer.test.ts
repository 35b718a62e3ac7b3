import { describe, expect, test } from "vitest";
import type { AggregationSession } from "../../../protocols/aggregation/index.ts";
import { CohortSimulation } from "./cohortSimulation.ts";

const CAPACITY = 4;
const ROUND = 3;

/** Seven members; who has nothing ready stays out. */
function buffered(oldest: (index: number) => number = () => 1): CohortSimulation {
	return new CohortSimulation({
		members: 7,
		minimumSurvivors: 3,
		configure: (config) => ({
			...config,
			round: ROUND,
			buffer: {
				capacity: CAPACITY,
				oldestVersion: (peer) => oldest(config.electorate.members.indexOf(peer)),
			},
		}),
	});
}

function offerAt(cohort: CohortSimulation, atMs: number, index: number, version: number): void {
	cohort.simulation.at(atMs, () => {
		const session = cohort.sessions.get(cohort.peer(index)) as AggregationSession;
		cohort.simulation.perform(cohort.peer(index), session.offer(version, cohort.simulation.nowMs));
	});
}

describe("a buffered round", () => {
	test("takes the first that are ready, whenever that is, and waits for no other", () => {
		const cohort = buffered();
		const ready = [1, 3, 4, 6];
		// The third one long after the time that a phase has, the last one while a smaller roster would do.
		for (const [at, index] of ready.entries())
			offerAt(cohort, [1_000, 70_000, 130_000, 145_000][at]!, index, (at % 3) + 1);
		cohort.runUntilEnded(ready, 300_000);
		const survivors = ready.map((index) => cohort.peer(index));
		for (const index of ready) {
			expect(cohort.released(index)?.survivors).toEqual(survivors);
			expect(cohort.released(index)?.sum).toEqual(cohort.expectedSum(survivors));
		}
		for (const index of [0, 2, 5]) {
			expect(cohort.output(index, "input_wanted")).toBeUndefined();
			expect(cohort.output(index, "failed")).toBeUndefined();
		}
		for (const peer of cohort.peers) expect(cohort.simulation.faults(peer)).toEqual([]);
	});

	test("goes on with a part of the buffer when the rest does not come", () => {
		const cohort = buffered();
		for (const index of [0, 2, 5]) offerAt(cohort, 100, index, 2);
		cohort.runUntilEnded([0, 2, 5], 60_000);
		expect(cohort.released(0)?.survivors).toEqual([0, 2, 5].map((index) => cohort.peer(index)));
	});

	test("never goes on with fewer than have to survive", () => {
		const cohort = buffered();
		for (const index of [0, 2]) offerAt(cohort, 100, index, 2);
		cohort.simulation.run({ untilMs: 120_000 });
		for (const index of [0, 2]) expect(cohort.output(index, "input_wanted")).toBeUndefined();
	});

	test.each([
		["stale", 0],
		["from the future", ROUND + 1],
	])("refuses a contribution that is %s", (_, version) => {
		const cohort = buffered();
		offerAt(cohort, 100, 1, version);
		for (const index of [2, 3, 4, 5]) offerAt(cohort, 200, index, 2);
		cohort.runUntilEnded([2, 3, 4, 5], 60_000);
		expect(cohort.released(2)?.survivors).toEqual([2, 3, 4, 5].map((index) => cohort.peer(index)));
		expect(cohort.simulation.faults(cohort.peer(0))).toEqual([
			expect.objectContaining({ peer: cohort.peer(1), code: "aggregation.bad_advert" }),
		]);
	});

	test("refuses a contribution from a version that its author has contributed from before", () => {
		const cohort = buffered((index) => (index === 1 ? 3 : 1));
		offerAt(cohort, 100, 1, 2);
		for (const index of [2, 3, 4, 5]) offerAt(cohort, 200, index, 2);
		cohort.runUntilEnded([2, 3, 4, 5], 60_000);
		expect(cohort.released(2)?.survivors).not.toContain(cohort.peer(1));
	});

	test("of which a coordinator admits a stale favourite is refused by everybody", () => {
		// The coordinator alone believes that member 1 may still use version 0.
		const cohort = new CohortSimulation({
			members: 7,
			minimumSurvivors: 3,
			configure: (config, index) => ({
				...config,
				round: ROUND,
				buffer: {
					capacity: CAPACITY,
					oldestVersion: () => (index <= 1 ? 0 : 1),
				},
			}),
		});
		offerAt(cohort, 100, 1, 0);
		for (const index of [2, 3, 4]) offerAt(cohort, 200, index, 2);
		cohort.simulation.run({ untilMs: 20_000 });
		for (const index of [2, 3, 4]) {
			const [fault] = cohort.simulation.faults(cohort.peer(index));
			expect(fault).toMatchObject({ peer: cohort.peer(0), code: "aggregation.bad_roster" });
			expect(cohort.output(index, "input_wanted")).toBeUndefined();
		}
	});
});
