import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Rows } from "../../../src/data/plannedBatches.ts";
import { ShuffleWindow } from "../../../src/data/shuffleWindow.ts";
import type { RandomWords } from "../../../src/privacy/samplers/randomWords.ts";
import { seededWords } from "./seededWords.ts";

/** Records from `first` on, whose features and label are their number. */
function numbered(first: number, rows: number): Rows {
	const labels = Float32Array.from({ length: rows }, (_, i) => first + i);
	return { features: Float32Array.from([...labels].flatMap((x) => [x, -x])), labels, rows };
}

interface Size {
	readonly windowRows: number;
	readonly batchRows: number;
}

/** The batches of one epoch over numbered records, a block at a time. */
async function epoch(rows: number, size: Size, words: RandomWords, blockRows = 3): Promise<number[][]> {
	const batches: number[][] = [];
	const window = new ShuffleWindow(
		{ ...size, width: 2 },
		async ({ features, labels, rows: taken }) => {
			const batch = [...labels];
			expect(batch).toHaveLength(taken);
			expect([...features]).toEqual(batch.flatMap((x) => [x, -x]));
			await Promise.resolve();
			batches.push(batch);
		},
		words,
	);
	for (let first = 0; first < rows; first += blockRows)
		await window.add(numbered(first, Math.min(blockRows, rows - first)));
	await window.end();
	return batches;
}

describe("a shuffled epoch over records that do not fit", () => {
	it("hands on every record once, in full batches but the last", async () => {
		const sizes = fc.record({
			rows: fc.nat(60),
			windowRows: fc.integer({ min: 1, max: 80 }),
			batchRows: fc.integer({ min: 1, max: 20 }),
			blockRows: fc.integer({ min: 1, max: 9 }),
			seed: fc.nat(),
		});
		await fc.assert(
			fc.asyncProperty(sizes, async ({ rows, blockRows, seed, ...size }) => {
				const batches = await epoch(rows, size, seededWords(seed), blockRows);
				expect(batches.flat().toSorted((a, b) => a - b)).toEqual(Array.from({ length: rows }, (_, i) => i));
				expect(batches).toHaveLength(Math.ceil(rows / size.batchRows));
				for (const batch of batches.slice(0, -1)) expect(batch).toHaveLength(size.batchRows);
				// No record comes before the window reaches it.
				for (const [place, row] of batches.flat().entries())
					expect(place).toBeGreaterThanOrEqual(row - size.windowRows);
			}),
			{ numRuns: 100 },
		);
	});

	it("has all orders alike where the window holds all records", async () => {
		const words = seededWords(11);
		const counts = new Map<string, number>();
		const trials = 24_000;
		for (let trial = 0; trial < trials; trial++) {
			const order = (await epoch(4, { windowRows: 4, batchRows: 4 }, words)).flat().join("");
			counts.set(order, (counts.get(order) ?? 0) + 1);
		}
		expect(counts.size).toBe(24);
		let chiSquare = 0;
		for (const count of counts.values()) chiSquare += (count - trials / 24) ** 2 / (trials / 24);
		// 23 degrees of freedom: exceeded by chance with probability 1e-4, and the seed is fixed.
		expect(chiSquare).toBeLessThan(55);
	});

	it("mixes further than a block where it does not", async () => {
		const order = (await epoch(10_000, { windowRows: 1000, batchRows: 100 }, seededWords(3))).flat();
		const distance = order.reduce((sum, row, place) => sum + Math.abs(row - place), 0) / order.length;
		expect(distance).toBeGreaterThan(500);
	});

	it("begins anew after its end, and keeps nothing when wiped", async () => {
		const seen: number[] = [];
		const window = new ShuffleWindow(
			{ windowRows: 5, batchRows: 2, width: 2 },
			({ labels }) => {
				seen.push(...labels);
			},
			seededWords(1),
		);
		await window.add(numbered(0, 7));
		await window.end();
		await window.add(numbered(7, 4));
		await window.end();
		expect(seen.slice(0, 7).toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6]);
		expect(seen.slice(7).toSorted((a, b) => a - b)).toEqual([7, 8, 9, 10]);
		await window.add(numbered(20, 5));
		window.wipe();
		await window.end();
		expect(seen).toHaveLength(11);
	});

	it("refuses a window without room", () => {
		for (const size of [
			{ windowRows: 0, batchRows: 1 },
			{ windowRows: 1, batchRows: 0.5 },
		])
			expect(() => new ShuffleWindow({ ...size, width: 2 }, () => {})).toThrow(
				expect.objectContaining({ code: "data.bad_sampling" }),
			);
	});
});
