import { describe, expect, it } from "vitest";
import { FALSE_ALARM_RATE, testSamples, upperGamma } from "../../../../bench/goodnessOfFit.ts";
import { buildCellTable, type CellTable, cellAt } from "../../../../src/privacy/samplers/bulkTable.ts";
import { EXPONENTIAL_BITS, fixedPointExp } from "../../../../src/privacy/samplers/fixedPointExp.ts";
import { discreteGaussianMoments } from "../../../../src/privacy/samplers/moments.ts";
import { RandomWords } from "../../../../src/privacy/samplers/randomWords.ts";
import {
	decide,
	decideInIntegers,
	REJECTED,
	tableGaussian,
} from "../../../../src/privacy/samplers/tableGaussian.ts";
import { wasmNoise } from "../../../../src/privacy/samplers/wasmNoise.ts";
import { seededWordsForTests } from "../seededWordsForTests.ts";

/** Values that the kernel makes at once. */
const BLOCK = wasmNoise().noise.length;

function draw(sigma: number, count: number, seed: number): Int32Array {
	const samples = new Int32Array(count);
	tableGaussian(sigma).fill(samples, seededWordsForTests(seed));
	return samples;
}

/** The least p-value of all tests: below FALSE_ALARM_RATE one of them rejects the samples. */
function worst(samples: ArrayLike<number>, sigma: number): number {
	return Math.min(
		...testSamples(samples, discreteGaussianMoments(sigma * sigma)).map(({ pValue }) => pValue),
	);
}

const normal = (deviate: number): number => upperGamma(0.5, deviate ** 2 / 2);

describe("bulk discrete Gaussian: the law", () => {
	it("fits at 400,000 samples for each sigma, one integer a cell and many", () => {
		// 0.7: hardly more than -1, 0, 1. 167.1 and 167.3: the widest cells of one, the narrowest of two.
		for (const [i, sigma] of [0.4, 0.7, 4, 50.5, 167.1, 167.3, 1500.25].entries()) {
			expect(worst(draw(sigma, 400_000, i), sigma), `sigma ${sigma}`).toBeGreaterThan(FALSE_ALARM_RATE);
		}
	});

	it("fits at 2,000,000 samples where training needs it, with cells of 64 integers", () => {
		expect(worst(draw(8651.3, 2_000_000, 20), 8651.3)).toBeGreaterThan(FALSE_ALARM_RATE);
	});

	it("is rejected by the same tests when slightly wrong", () => {
		const good = draw(9, 1_600_000, 30);
		expect(worst(good, 9)).toBeGreaterThan(FALSE_ALARM_RATE);
		const rejected = (samples: ArrayLike<number>) => expect(worst(samples, 9)).toBeLessThan(FALSE_ALARM_RATE);
		rejected(draw(9.09, 1_600_000, 31));
		rejected(good.map((x, i) => (Math.abs(x) === 1 && i % 8 === 0 ? 0 : x)));
		rejected(good.map((x, i) => (i % 50 === 0 ? Math.abs(x) : x)));
		rejected(good.map((x, i) => (i % 8 === 0 ? x + 1 : x)));
		rejected(good.map((x, i) => (i % 50 === 1 ? good[i - 1]! : x)));
		rejected(good.map((x) => Math.max(-35, Math.min(35, x))));
	});

	it("is the same in each of the four lanes, and the lanes know nothing of each other", () => {
		const sigma = 200;
		const samples = draw(sigma, 1_600_000, 40);
		for (let lane = 0; lane < 4; lane++) {
			expect(
				worst(
					samples.filter((_, i) => i % 4 === lane),
					sigma,
				),
			).toBeGreaterThan(FALSE_ALARM_RATE);
		}
		for (const lag of [1, 2, 3, 4, 8, BLOCK]) {
			let values = 0;
			let squares = 0;
			const pairs = samples.length - lag;
			for (let i = lag; i < samples.length; i++) {
				const [a, b] = [samples[i]! / sigma, samples[i - lag]! / sigma];
				values += a * b;
				squares += (a * a - 1) * (b * b - 1);
			}
			// Products of independent standard values have variance 1, of their squares less one 2 x 2.
			expect(normal(values / Math.sqrt(pairs)), `lag ${lag}`).toBeGreaterThan(FALSE_ALARM_RATE);
			expect(normal(squares / (2 * Math.sqrt(pairs))), `squares, lag ${lag}`).toBeGreaterThan(
				FALSE_ALARM_RATE,
			);
		}
	});
});

describe("bulk discrete Gaussian: single words", () => {
	const SIGMAS = [9, 300, 8651.3, 2 ** 21];

	it("mean the same to the table and to the definition it abbreviates", () => {
		for (const sigma of SIGMAS) {
			const table = buildCellTable(sigma);
			const words = new Uint32Array(8000);
			seededWordsForTests(1)(words);
			const wasm = wasmNoise();
			wasm.table.set(table.entries);
			for (let start = 0; start < words.length; start += 4000) {
				const block = words.subarray(start, start + 4000);
				wasm.words.set(block);
				const unsure = wasm.sample(block.length, table.lowBits, 2048 << table.lowBits);
				const positions = new Set(wasm.unsure.subarray(0, unsure));
				block.forEach((word, i) => {
					if (positions.has(i)) return;
					expect(decide(table, word, new RandomWords(seededWordsForTests(i)))).toBe(wasm.noise[i]);
				});
			}
		}
	});

	it("are decided in doubles as integers decide them", () => {
		for (const sigma of SIGMAS) {
			const table = buildCellTable(sigma);
			const source = new RandomWords(seededWordsForTests(2));
			let rejected = 0;
			for (let i = 0; i < 1500; i++) {
				const word = unsureWord(table, source);
				const further = [source.word(), source.word()];
				const outcome = decide(table, word, scripted(further));
				expect(outcome).toBe(inIntegers(table, word, further, []));
				if (outcome === REJECTED) rejected++;
			}
			// Half of the unsure words of a wide cell are rejected; a cell of one integer rejects nothing.
			if (table.lowBits === 0) expect(rejected).toBe(0);
			else expect(rejected).toBeGreaterThan(150);
		}
	});

	it("go to the integers where u comes closer to a bound than doubles tell, and fall on the right side", () => {
		for (const sigma of [300, 8651.3]) {
			const table = buildCellTable(sigma);
			const source = new RandomWords(seededWordsForTests(3));
			const outcomes = new Set<boolean>();
			for (let i = 0; i < 300; i++) {
				const place = source.word() & ((1 << table.lowBits) - 1);
				const column = source.word() >>> 20;
				const probability = probabilityOf(table, column, place);
				// Where the own cell is always accepted, the alias begins at its bound.
				if (probability === 1n << EXPONENTIAL_BITS) continue;
				// The bound of acceptance for the own cell, to all the bits that integers see, and next to it.
				const bits = BigInt(20 - table.lowBits) + 213n;
				const whole = table.thresholds[column]! << (bits - 106n);
				const u = ((whole * probability) >> EXPONENTIAL_BITS) + BigInt(i % 3) - 1n;
				if (u < 1n << (bits - 20n)) continue;
				const word = ((column << 20) | (Number(u >> 213n) << table.lowBits) | place) >>> 0;
				const next = Number((u >> 160n) & ((1n << 53n) - 1n));
				const script = [Math.floor(next / 2 ** 32) * 2 ** 11, next % 2 ** 32];
				const rest = Array.from({ length: 5 }, (_, j) => Number((u >> BigInt(128 - 32 * j)) & 0xffffffffn));
				const outcome = decide(table, word, scripted([...script, ...rest]));
				expect(outcome === REJECTED).toBe(u << EXPONENTIAL_BITS >= whole * probability);
				outcomes.add(outcome === REJECTED);
			}
			expect(outcomes.size).toBe(2);
		}
	});
});

describe("bulk discrete Gaussian: use", () => {
	it("fills any length, in blocks or not, and overwrites what was there", () => {
		const sampler = tableGaussian(50);
		for (const length of [0, 1, 3, 4, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3]) {
			const target = new Int32Array(length).fill(2 ** 30);
			sampler.fill(target);
			expect(target.every((x) => Math.abs(x) < 50 * 25)).toBe(true);
		}
	});

	it("uses the system's randomness unless told otherwise, and the words it is given", () => {
		const [first, second] = [new Int32Array(2000), new Int32Array(2000)];
		const sampler = tableGaussian(50);
		sampler.fill(first);
		sampler.fill(second);
		expect(first).not.toEqual(second);
		expect(draw(8651.3, BLOCK + 9, 5)).toEqual(draw(8651.3, BLOCK + 9, 5));
	});

	it("keeps tables of several sigmas apart", () => {
		const [narrow, wide] = [tableGaussian(2), tableGaussian(5000)];
		const values = new Int32Array(1000);
		wide.fill(values);
		narrow.fill(values);
		expect(Math.max(...values)).toBeLessThan(40);
		wide.fill(values);
		expect(Math.max(...values)).toBeGreaterThan(1000);
	});

	it("leaves no noise behind, also when its visitor throws", () => {
		const wasm = wasmNoise();
		const spent = () => [...wasm.words, ...wasm.noise, ...wasm.values].some((x) => x !== 0);
		tableGaussian(50).fill(new Int32Array(BLOCK + 5));
		expect(spent()).toBe(false);
		expect(() =>
			tableGaussian(50).forEachBlock(BLOCK + 5, () => {
				expect(spent()).toBe(true);
				throw new Error("visitor");
			}),
		).toThrow("visitor");
		expect(spent()).toBe(false);
	});

	it("refuses a standard deviation that is no noise or out of range", () => {
		for (const sigma of [0, -1, 0.05, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 23]) {
			expect(() => tableGaussian(sigma)).toThrow(expect.objectContaining({ code: "privacy.bad_sigma" }));
		}
	});
});

/** The probability, in units of 2^-256, that a place of a cell is accepted. */
function probabilityOf({ lowBits, variance }: CellTable, cell: number, place: number): bigint {
	const { first, peak } = cellAt(cell, lowBits);
	const excess = BigInt(first + place) ** 2n - BigInt(peak) ** 2n;
	return fixedPointExp(excess * variance.denominator, 2n * variance.numerator);
}

function unsureWord({ entries }: CellTable, source: RandomWords): number {
	for (;;) {
		const column = source.word() >>> 20;
		const width = Math.floor(entries[2 * column + 1]! / 4096);
		if (width > 0) return entries[2 * column]! + (source.word() % width);
	}
}

function inIntegers(
	table: CellTable,
	word: number,
	further: readonly number[],
	rest: readonly number[],
): number {
	const next = BigInt(further[0]! >>> 11) * 2n ** 32n + BigInt(further[1]!);
	const leading = BigInt((word & 0xfffff) >>> table.lowBits);
	const place = word & ((1 << table.lowBits) - 1);
	return decideInIntegers(table, word >>> 20, place, (leading << 53n) | next, scripted(rest));
}

/** A source of the given words, then zeros. */
function scripted(words: readonly number[]): RandomWords {
	return new RandomWords((target) => {
		for (let i = 0; i < target.length; i++) target[i] = words[i] ?? 0;
	});
}
