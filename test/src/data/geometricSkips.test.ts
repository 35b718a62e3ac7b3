import { describe, expect, it } from "vitest";
import { GeometricSkips } from "../../../src/data/geometricSkips.ts";
import { seededRandomForTests } from "../../../src/data/testnetPartition.ts";
import { type FillWords, RandomWords } from "../../../src/privacy/samplers/randomWords.ts";

function seededWords(seed: number): RandomWords {
	const random = seededRandomForTests(seed);
	return new RandomWords((target) => {
		for (let i = 0; i < target.length; i++) target[i] = Math.floor(random() * 2 ** 32);
	});
}

/** Words that are given, then zeros. */
function wordsFrom(given: readonly number[]): RandomWords {
	let next = 0;
	const fill: FillWords = (target) => {
		for (let i = 0; i < target.length; i++) target[i] = given[next++] ?? 0;
	};
	return new RandomWords(fill);
}

/** The two words that `word53` makes a number of. */
function asWords(uniform: bigint): [number, number] {
	return [Number((uniform >> 32n) << 11n), Number(uniform & 0xffffffffn)];
}

describe("skips between successes", () => {
	// Chi-square over the first cells and the rest; the seed is fixed, so it passes always or never.
	it.each([0.5, 0.3, 0.02, 0.001, 0.0004])("follow the geometric law for q = %s", (q) => {
		const skips = new GeometricSkips(q, seededWords(17));
		const draws = 200_000;
		const width = Math.max(1, Math.round(0.1 / q));
		const cells = new Float64Array(41);
		for (let i = 0; i < draws; i++) cells[Math.min(40, Math.floor(skips.next(2 ** 40) / width))]! += 1;
		let statistic = 0;
		for (let cell = 0; cell < 41; cell++) {
			const tail = (j: number) => (1 - q) ** (j * width);
			const expected = draws * (cell === 40 ? tail(40) : tail(cell) - tail(cell + 1));
			if (expected > 5) statistic += (cells[cell]! - expected) ** 2 / expected;
		}
		// 40 degrees of freedom: beyond 100 with probability below 1e-6.
		expect(statistic).toBeLessThan(100);
	});

	it("are none with certainty, and end with the coins", () => {
		const certain = new GeometricSkips(1, seededWords(1));
		for (let i = 0; i < 1000; i++) expect(certain.next(10)).toBe(0);
		expect(new GeometricSkips(2 ** -54, seededWords(1)).next(1e9)).toBe(1e9);
		expect(new GeometricSkips(1e-9, seededWords(1)).next(3)).toBeGreaterThanOrEqual(3);
	});

	it("decide a tie of the first 53 bits by the bits that follow, exactly", () => {
		// q = 1/3 to 53 bits; P(G >= 2) = (1 - q)^2 has 106 bits.
		const failure = 2n ** 53n - BigInt(Math.floor(2 ** 53 / 3));
		const square = failure * failure;
		const leading = square >> 53n;
		const fraction = square & (2n ** 53n - 1n);
		// The table of q = 1/3 reaches to 9: a tie is settled with 53 * 8 more bits.
		const bits = 53n * 8n;
		// The last word is shifted in whole: the value is the lowest `bits` bits of all words.
		const wordsOf = (value: bigint): number[] => {
			const count = Number((bits + 31n) / 32n);
			return Array.from({ length: count }, (_, i) =>
				Number((value >> (32n * BigInt(count - 1 - i))) & 0xffffffffn),
			);
		};
		const exact = fraction << (bits - 53n);
		const skip = (value: bigint) =>
			new GeometricSkips(1 / 3, wordsFrom([...asWords(leading), ...wordsOf(value)])).next(100);
		expect(skip(exact - 1n)).toBe(2);
		expect(skip(exact)).toBe(1);
		expect(skip(exact + 1n)).toBe(1);
	});

	it.each([0, -0.1, 1.1, Number.NaN])("refuse a probability of %s", (q) => {
		expect(() => new GeometricSkips(q)).toThrow(expect.objectContaining({ code: "data.bad_sampling" }));
	});
});
