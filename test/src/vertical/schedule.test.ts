import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashFields } from "../../../crypto/hash.ts";
import { errorsBefore, recordsOf, scheduleOf, stepOf } from "../../../src/vertical/schedule.ts";

const SEED = hashFields("public seed");

function schedule(records: number, batch: number, epochs: number) {
	return scheduleOf({
		data: { set: "s", records, classes: ["a", "b"] },
		training: { epochs, batch, learningRate: 1 },
	});
}

describe("the rounds of a vertical job", () => {
	it("train on every training record once an epoch and never on a held-out one", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 10, max: 300 }),
				fc.integer({ min: 2, max: 80 }),
				fc.integer({ min: 1, max: 3 }),
				(records, wanted, epochs) => {
					const plan = schedule(records, Math.min(wanted, records), epochs);
					const trained = Array.from({ length: epochs }, () => new Map<number, number>());
					const heldOut = new Set<number>();
					let returned = 0;
					for (let round = 0; round < plan.rounds; round++) {
						expect(errorsBefore(plan, round)).toBe(returned);
						const step = stepOf(plan, round);
						if (step.kind === "backward") {
							expect(step.step).toBe(returned);
							returned++;
						}
						if (step.kind !== "forward") continue;
						const rows = recordsOf(plan, SEED, step);
						expect(rows.length).toBeGreaterThan(0);
						expect(rows.length).toBeLessThanOrEqual(plan.batch);
						const seen = trained[step.epoch]!;
						for (const row of rows) {
							if (step.part === "heldOut") heldOut.add(row);
							else seen.set(row, (seen.get(row) ?? 0) + 1);
						}
					}
					for (const seen of trained) {
						expect(seen.size).toBe(plan.trainRecords);
						expect([...seen.values()].every((count) => count === 1)).toBe(true);
						expect([...heldOut].some((row) => seen.has(row))).toBe(false);
					}
					expect(heldOut.size).toBe(plan.heldOutRecords);
					expect(plan.trainRecords + plan.heldOutRecords).toBe(records);
				},
			),
			{ numRuns: 40 },
		);
	});

	it("draw other batches in another epoch, and by another seed", () => {
		const plan = schedule(100, 20, 2);
		const first = { kind: "forward", part: "train", epoch: 0, chunk: 0 } as const;
		const rows = recordsOf(plan, SEED, first);
		expect(recordsOf(plan, SEED, { ...first, epoch: 1 })).not.toEqual(rows);
		expect(recordsOf(plan, hashFields("another seed"), first)).not.toEqual(rows);
		expect(recordsOf(plan, SEED, first)).toEqual(rows);
	});
});
