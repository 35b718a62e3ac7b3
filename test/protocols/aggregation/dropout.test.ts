import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CohortSimulation } from "./cohortSimulation.ts";
import { dropAt, expectAgreement, LAST_WORDS } from "./dropouts.ts";

describe("dropout of 20 % of ten participants", () => {
	test.each(LAST_WORDS)("instead of sending %s", (kind) => {
		const cohort = new CohortSimulation({ members: 10, minimumSurvivors: 8 });
		dropAt(
			cohort,
			new Map([
				[4, kind],
				[9, kind],
			]),
			false,
		);
		const alive = [0, 1, 2, 3, 5, 6, 7, 8];
		cohort.runUntilEnded(alive);
		expectAgreement(cohort, alive);
		for (const index of alive) expect(cohort.simulation.faults(cohort.peer(index))).toEqual([]);
	});
});

describe("members whose links are known to be gone", () => {
	/** Tells the others of every crash a moment after it, as the network does. */
	function reportLinks(cohort: CohortSimulation, gone: readonly number[]): void {
		const { simulation } = cohort;
		const report = (): void => {
			for (const index of gone) {
				if (simulation.isRunning(cohort.peer(index))) continue;
				for (const [peer, session] of cohort.sessions) {
					if (simulation.isRunning(peer))
						simulation.perform(peer, session.connectivity(cohort.peer(index), false));
				}
			}
			if (simulation.nowMs < 4000) simulation.at(simulation.nowMs + 100, report);
		};
		report();
	}

	test.each(LAST_WORDS)("are not waited for when they go instead of sending %s", (kind) => {
		const cohort = new CohortSimulation({ members: 10, minimumSurvivors: 8 });
		dropAt(cohort, new Map([[4, kind]]), false);
		reportLinks(cohort, [4]);
		const alive = [0, 1, 2, 3, 5, 6, 7, 8, 9];
		cohort.runUntilEnded(alive);
		expectAgreement(cohort, alive);
		// Far less than one phase's time of 5 s passed in all.
		expect(cohort.simulation.nowMs).toBeLessThan(4000);
	});

	test("are waited for again when the link comes back", () => {
		const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 3 });
		const session = cohort.sessions.get(cohort.peer(0));
		if (session === undefined) throw new Error("no session");
		cohort.simulation.perform(cohort.peer(0), session.connectivity(cohort.peer(3), false));
		cohort.simulation.perform(cohort.peer(0), session.connectivity(cohort.peer(3), true));
		cohort.runUntilEnded([0, 1, 2, 3, 4]);
		expect(cohort.released(0)?.survivors).toHaveLength(5);
	});
});

test("the sum is exact for random dropouts in every phase, with lost messages", () => {
	fc.assert(
		fc.property(
			fc.integer({ min: 1, max: 1e6 }),
			fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.constantFrom(...LAST_WORDS)), {
				maxLength: 2,
				selector: ([index]) => index,
			}),
			fc.boolean(),
			(seed, drops, heard) => {
				const cohort = new CohortSimulation({
					members: 7,
					corruption: 1,
					minimumSurvivors: 4,
					seed,
					length: 9,
					lossProbability: 0.1,
				});
				dropAt(cohort, new Map(drops), heard);
				const gone = drops.map(([index]) => index);
				const alive = cohort.peers.map((_, i) => i).filter((i) => !gone.includes(i));
				// A lost message may leave the victim alive if it never gets that far.
				cohort.runUntilEnded(alive, 400_000);
				expectAgreement(
					cohort,
					alive.filter((i) => cohort.released(i) !== undefined),
				);
				expect(cohort.released(0)).toBeDefined();
			},
		),
		{ numRuns: 10, seed: 7 },
	);
});

describe("below the threshold", () => {
	test.each(["keys", "bundle", "input"] as const)(
		"too many die instead of sending %s: dead, with the reason",
		(kind) => {
			const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 4 });
			dropAt(
				cohort,
				new Map([
					[3, kind],
					[4, kind],
				]),
				false,
			);
			cohort.runUntilEnded([0, 1, 2]);
			for (const index of [0, 1, 2]) {
				expect(cohort.released(index)).toBeUndefined();
				const dead = cohort.output(index, "dead");
				expect(dead?.certificate.slot.attempt).toBe(0);
				expect(dead?.reason).toMatch(/3 .*4/);
			}
		},
	);

	test("the next attempt succeeds with the Dead certificate and is refused without it", () => {
		const first = new CohortSimulation({ members: 5, minimumSurvivors: 4 });
		dropAt(
			first,
			new Map([
				[3, "input"],
				[4, "input"],
			]),
			false,
		);
		first.runUntilEnded([0, 1, 2]);
		const dead = first.output(0, "dead")?.certificate;
		expect(dead).toBeDefined();
		const second = new CohortSimulation({
			members: 5,
			minimumSurvivors: 4,
			attempt: 1,
			precedingDead: dead ? [dead] : [],
		});
		second.runUntilEnded();
		expectAgreement(second, [0, 1, 2, 3, 4]);
		expect(() => new CohortSimulation({ members: 5, attempt: 1 })).toThrow(/Dead certificate of attempt 0/);
	});
});
