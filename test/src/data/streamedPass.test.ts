import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { ColumnChunk, RecordSource } from "../../../src/data/columns.ts";
import type { DataDescription } from "../../../src/data/description.ts";
import { splitHeldOut } from "../../../src/data/partition.ts";
import { PlannedBatches } from "../../../src/data/plannedBatches.ts";
import { type PassRequest, passOver } from "../../../src/data/streamedPass.ts";
import { participationSlots, rowsOfRound } from "../../../src/privacy/correlatedNoise/participation.ts";
import { seededWords } from "./seededWords.ts";

const splitKey = new Uint8Array(32).fill(3);
const description: DataDescription = {
	name: "numbers",
	label: { kind: "number", column: "y", bounds: [0, 1] },
	features: { count: 1, bounds: [0, 1_048_576], scale: "unit" },
};

/** Records whose only feature is their number. */
function numbered(rows: number, chunkRows = 100): RecordSource {
	return {
		name: "numbered records",
		columns: ["x"],
		async *chunks(): AsyncIterable<ColumnChunk> {
			for (let start = 0; start < rows; start += chunkRows) {
				const count = Math.min(chunkRows, rows - start);
				yield {
					rows: count,
					columns: [Float32Array.from({ length: count }, (_, i) => start + i)],
					labels: new Float32Array(count).fill(0.5),
				};
			}
		},
		interrupt: () => {},
		close: async () => {},
	};
}

function pass(rows: number, request: Partial<PassRequest>): ReturnType<typeof passOver> {
	return passOver({
		source: numbered(rows),
		description,
		splitKey,
		heldOutFraction: 0.2,
		knownRows: rows,
		...request,
	});
}

const numberOf = (feature: number): number => feature * 1_048_576;

function inMemory(rows: number) {
	const dataset = {
		features: Float32Array.from({ length: rows }, (_, i) => i / 1_048_576),
		labels: new Float32Array(rows).fill(0.5),
		rows,
		columns: ["x"],
		labelNames: [],
	};
	return splitHeldOut(dataset, splitKey, 0.2);
}

describe("Poisson batches of many steps from one pass", () => {
	it("hold training records alone, each in a step with probability q, independently of steps and records", async () => {
		const [rows, steps, rate] = [2000, 50, 0.1];
		const training = new Set(inMemory(rows).train.features.map(numberOf));
		const memberships = new Map<number, Uint8Array>();
		const { batches } = await pass(rows, {
			plan: { sampling: { kind: "poisson", rate }, first: 7, steps },
			words: seededWords(5),
		});
		for (let step = 7; step < 7 + steps; step++) {
			for (const feature of batches!.take(step)!.features) {
				const record = numberOf(feature);
				expect(training.has(record)).toBe(true);
				const of = memberships.get(record) ?? new Uint8Array(steps);
				of[step - 7] = 1;
				memberships.set(record, of);
			}
		}
		// Fixed seed; each bound is beyond five standard deviations.
		const coins = training.size * steps;
		const all = [...training].map((record) => memberships.get(record) ?? new Uint8Array(steps));
		const heads = all.reduce((sum, of) => sum + of.reduce((a, b) => a + b, 0), 0);
		expect(Math.abs(heads - coins * rate)).toBeLessThan(5 * Math.sqrt(coins * rate * (1 - rate)));
		// Two steps of one record, and one step of neighbouring records, coincide as independent coins do.
		const pairs = (joint: number, count: number) =>
			expect(Math.abs(joint - count * rate * rate)).toBeLessThan(5 * Math.sqrt(count) * rate);
		let together = 0;
		let neighbours = 0;
		for (const [i, of] of all.entries())
			for (let step = 0; step < steps; step++) {
				if (step > 0) together += of[step]! * of[step - 1]!;
				if (i > 0) neighbours += of[step]! * all[i - 1]![step]!;
			}
		pairs(together, training.size * (steps - 1));
		pairs(neighbours, (training.size - 1) * steps);
	});

	it("follow the binomial law in size", async () => {
		// 120 records, of which the key holds out some: sizes of 4,000 steps in one pass, chi-square at a fixed seed.
		const { train } = inMemory(120);
		const steps = 4000;
		const { batches } = await pass(120, {
			plan: { sampling: { kind: "poisson", rate: 0.05 }, first: 0, steps },
			words: seededWords(23),
		});
		const cells = new Float64Array(13);
		for (let step = 0; step < steps; step++) cells[Math.min(12, batches!.take(step)!.rows)]! += 1;
		let probability = 0.95 ** train.rows;
		let rest = 1;
		let statistic = 0;
		for (let size = 0; size < 13; size++) {
			const expected = steps * (size === 12 ? rest : probability);
			statistic += (cells[size]! - expected) ** 2 / expected;
			rest -= probability;
			probability *= ((train.rows - size) / (size + 1)) * (0.05 / 0.95);
		}
		// 12 degrees of freedom: beyond 55 with probability below 1e-6.
		expect(statistic).toBeLessThan(55);
	});

	it("take every training record with q = 1, whatever the chunks", async () => {
		await fc.assert(
			fc.asyncProperty(
				fc.integer({ min: 1, max: 300 }),
				fc.integer({ min: 1, max: 70 }),
				fc.integer({ min: 1, max: 4 }),
				async (rows, chunkRows, steps) => {
					const { batches } = await pass(rows, {
						source: numbered(rows, chunkRows),
						plan: { sampling: { kind: "poisson", rate: 1 }, first: 2, steps },
					});
					for (let step = 2; step < 2 + steps; step++)
						expect(batches!.take(step)!.features).toEqual(inMemory(rows).train.features);
				},
			),
			{ numRuns: 30, seed: 8 },
		);
	});

	it("are drawn from the system's generator: two passes differ", async () => {
		const plan = { sampling: { kind: "poisson", rate: 0.5 } as const, first: 0, steps: 1 };
		const [one, other] = await Promise.all([pass(1000, { plan }), pass(1000, { plan })]);
		// Equal with probability below 2^-700.
		expect(one.batches!.take(0)!.features).not.toEqual(other.batches!.take(0)!.features);
	});
});

describe("batches of a cycle", () => {
	it("are those of records in memory", async () => {
		const separation = 6;
		const { train } = inMemory(900);
		const slots = participationSlots(train, splitKey, separation);
		const { batches } = await pass(900, {
			plan: { sampling: { kind: "cycle", separation }, first: 4, steps: 9 },
		});
		for (let round = 4; round < 13; round++) {
			const rows = rowsOfRound(slots, separation, round);
			const expected = Array.from(rows, (row) => train.features[row]!);
			expect([...batches!.take(round)!.features]).toEqual(expected);
		}
	});
});

describe("a pass", () => {
	it("splits as the split in memory does, counts both parts and hands on every record of one", async () => {
		const { train, heldOut } = inMemory(700);
		const seen: number[] = [];
		const every = [
			{
				part: "heldOut",
				rows: 64,
				take: (block: { features: Float32Array }) => void seen.push(...block.features),
			},
		] as const;
		const { rows, trainingRows, heldOutRows } = await pass(700, { every });
		expect([rows, trainingRows, heldOutRows]).toEqual([700, train.rows, heldOut.rows]);
		expect(seen).toEqual([...heldOut.features]);
	});

	it("notices records that came or went", async () => {
		const plan = { sampling: { kind: "poisson", rate: 0.1 } as const, first: 0, steps: 3 };
		for (const knownRows of [299, 301]) {
			await expect(pass(300, { plan, knownRows })).rejects.toMatchObject({ code: "data.changed" });
		}
	});

	it("ends when it is told to", async () => {
		const stop = new AbortController();
		const onProgress = (rows: number) => {
			if (rows >= 200) stop.abort();
		};
		await expect(pass(1000, { count: true, signal: stop.signal, onProgress })).rejects.toMatchObject({
			code: "data.pass_ended",
		});
	});
});

describe("planned batches", () => {
	it("are given once, and none after they are discarded", () => {
		const planned = new PlannedBatches(10, 2, 1);
		const record = planned.add(Float32Array.of(4), 1);
		planned.assign(10, record);
		planned.assign(11, record);
		expect(planned.has(10)).toBe(true);
		expect(planned.take(10)).toEqual({ features: Float32Array.of(4), labels: Float32Array.of(1), rows: 1 });
		expect(planned.take(10)).toBeUndefined();
		expect(planned.has(12)).toBe(false);
		planned.discard();
		expect(planned.take(11)).toBeUndefined();
	});
});
