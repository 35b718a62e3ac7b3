import { describe, expect, it } from "vitest";
import { sampleExactGaussian } from "../../../src/privacy/samplers/exactGaussian.ts";
import { RandomWords } from "../../../src/privacy/samplers/randomWords.ts";
import { exactSquare } from "../../../src/privacy/samplers/rational.ts";
import { fillDiscreteGaussian, tableGaussian } from "../../../src/privacy/samplers/tableGaussian.ts";
import { seededWordsForTests } from "./seededWordsForTests.ts";
import { vectors } from "./vectors.ts";

/** Standard normal quantile of 1 - 1e-6: each test below raises a false alarm once in a million seeds. */
const QUANTILE = 4.7534;

/** pmf of N_Z(0, sigma^2) on 0 .. 12 sigma, by direct summation. */
function exactPmf(sigma: number): number[] {
	const weights = Array.from({ length: Math.ceil(12 * sigma) + 1 }, (_, x) =>
		Math.exp(-(x * x) / (2 * sigma * sigma)),
	);
	const total = weights.reduce((sum, weight, x) => sum + (x === 0 ? weight : 2 * weight), 0);
	return weights.map((weight) => weight / total);
}

/** Whether samples pass a chi-square test against the pmf; bins expect at least 20 samples, tails are pooled. */
function fits(samples: Int32Array, pmfUp: readonly number[]): boolean {
	const bins = new Map<number, number>();
	for (const sample of samples) bins.set(sample, (bins.get(sample) ?? 0) + 1);
	let statistic = 0;
	let cells = 0;
	let restExpected = samples.length;
	let restObserved = samples.length;
	for (let x = 0; x < pmfUp.length; x++) {
		for (const value of x === 0 ? [0] : [x, -x]) {
			const expected = pmfUp[x]! * samples.length;
			if (expected < 20) continue;
			const observed = bins.get(value) ?? 0;
			statistic += (observed - expected) ** 2 / expected;
			restExpected -= expected;
			restObserved -= observed;
			cells++;
		}
	}
	if (restExpected >= 5) {
		statistic += (restObserved - restExpected) ** 2 / restExpected;
		cells++;
	} else if (restObserved > restExpected + 30) return false;
	// Wilson-Hilferty critical value of chi-square with cells - 1 degrees of freedom.
	const freedom = cells - 1;
	const critical = freedom * (1 - 2 / (9 * freedom) + QUANTILE * Math.sqrt(2 / (9 * freedom))) ** 3;
	return statistic <= critical;
}

function exactSamples(sigma: number, count: number, seed: number): Int32Array {
	const words = new RandomWords(seededWordsForTests(seed));
	return Int32Array.from({ length: count }, () => sampleExactGaussian(sigma, words));
}

function tableSamples(sigma: number, count: number, seed: number): Int32Array {
	const samples = new Int32Array(count);
	tableGaussian(sigma).fill(samples, seededWordsForTests(seed));
	return samples;
}

const TABLE_SAMPLES = 400_000;
const EXACT_SAMPLES = 40_000;

describe("discrete Gaussian samplers", () => {
	for (const { params, expected } of vectors<{ sigma2: number }, { pmf_0_up: number[]; variance: number }>(
		"discrete_gaussian_moments",
	)) {
		const sigma = Math.sqrt(params.sigma2);
		// The published table stops at 60 for wide laws: the rest is summed here and checked against it.
		const pmf = exactPmf(sigma);

		it(`agree with the published pmf and variance at sigma^2 = ${params.sigma2}`, () => {
			for (const [x, probability] of expected.pmf_0_up.slice(0, pmf.length).entries()) {
				expect(Math.abs(pmf[x]! - probability)).toBeLessThan(1e-12);
			}
			const table = tableSamples(sigma, TABLE_SAMPLES, 1);
			expect(fits(table, pmf)).toBe(true);
			expect(fits(exactSamples(sigma, EXACT_SAMPLES, 2), pmf)).toBe(true);
			const secondMoment = table.reduce((sum, x) => sum + x * x, 0) / table.length;
			// Var[X^2] < 3 variance^2 + variance for these laws; six standard errors.
			const error = Math.sqrt((3 * expected.variance ** 2 + expected.variance) / table.length);
			expect(Math.abs(secondMoment - expected.variance)).toBeLessThan(6 * error);
		});
	}

	it("agree with the exact law where sigma^2 is no nice number, and where two tables are convolved", () => {
		expect(fits(tableSamples(7.3, TABLE_SAMPLES, 3), exactPmf(7.3))).toBe(true);
		expect(fits(exactSamples(7.3, EXACT_SAMPLES, 4), exactPmf(7.3))).toBe(true);
		expect(fits(tableSamples(1500.25, 2_000_000, 5), exactPmf(1500.25))).toBe(true);
	});

	it("fail the same test when biased: wrong sigma by 1 %, doubled zero, lost sign, shifted mean", () => {
		const good = tableSamples(9, 4 * TABLE_SAMPLES, 6);
		const pmf = exactPmf(9);
		expect(fits(good, pmf)).toBe(true);
		expect(fits(tableSamples(9.09, 4 * TABLE_SAMPLES, 6), pmf)).toBe(false);
		expect(
			fits(
				good.map((x, i) => (Math.abs(x) === 1 && i % 8 === 0 ? 0 : x)),
				pmf,
			),
		).toBe(false);
		expect(
			fits(
				good.map((x, i) => (i % 50 === 0 ? Math.abs(x) : x)),
				pmf,
			),
		).toBe(false);
		expect(
			fits(
				good.map((x, i) => (i % 8 === 0 ? x + 1 : x)),
				pmf,
			),
		).toBe(false);
	});

	it("draw independent coordinates: neighbours are uncorrelated", () => {
		const samples = tableSamples(20, TABLE_SAMPLES, 7);
		let product = 0;
		for (let i = 1; i < samples.length; i++) product += samples[i]! * samples[i - 1]!;
		expect(Math.abs(product / (400 * Math.sqrt(samples.length)))).toBeLessThan(QUANTILE);
	});

	it("state a distance to the exact law below 2^-100, also for wide laws", () => {
		for (const sigma of [0.5, 4, 333.3, 1024, 1024.5, 54321.9, 2 ** 22]) {
			const { totalVariationDistance } = tableGaussian(sigma);
			expect(totalVariationDistance).toBeGreaterThan(0);
			expect(totalVariationDistance).toBeLessThan(2 ** -100);
		}
	});

	it("use the system's randomness unless told otherwise, and overwrite the target", () => {
		const first = new Int32Array(2000).fill(1 << 30);
		const second = new Int32Array(2000);
		fillDiscreteGaussian(first, 50);
		fillDiscreteGaussian(second, 50);
		expect(first).not.toEqual(second);
		expect(Math.max(...first.map(Math.abs))).toBeLessThan(50 * 14);
	});

	it("refuse a standard deviation that is no noise", () => {
		for (const sigma of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 23]) {
			expect(() => tableGaussian(sigma)).toThrow(expect.objectContaining({ code: "privacy.bad_sigma" }));
		}
		for (const sigma of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
			expect(() => exactSquare(sigma)).toThrow(expect.objectContaining({ code: "privacy.bad_sigma" }));
		}
		expect(exactSquare(1.5)).toEqual({ numerator: 9n, denominator: 4n });
	});
});
