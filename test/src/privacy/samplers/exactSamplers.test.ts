import { describe, expect, it } from "vitest";
import { FALSE_ALARM_RATE, testSamples, upperGamma } from "../../../../bench/goodnessOfFit.ts";
import { bernoulliExp } from "../../../../src/privacy/samplers/bernoulliExp.ts";
import { discreteLaplace, fillDiscreteLaplace } from "../../../../src/privacy/samplers/discreteLaplace.ts";
import { sampleExactGaussian } from "../../../../src/privacy/samplers/exactGaussian.ts";
import {
	discreteGaussianMoments,
	discreteLaplaceMoments,
	type SymmetricLaw,
	skellamMoments,
} from "../../../../src/privacy/samplers/moments.ts";
import { poisson } from "../../../../src/privacy/samplers/poisson.ts";
import { RandomWords } from "../../../../src/privacy/samplers/randomWords.ts";
import { exactFraction } from "../../../../src/privacy/samplers/rational.ts";
import { fillSkellam, skellam } from "../../../../src/privacy/samplers/skellam.ts";
import { seededWordsForTests } from "../seededWordsForTests.ts";
import { vectors } from "../vectors.ts";

/** The least p-value of all tests: below FALSE_ALARM_RATE one of them rejects the samples. */
function worst(samples: ArrayLike<number>, law: SymmetricLaw): number {
	return Math.min(...testSamples(samples, law).map(({ pValue }) => pValue));
}

function draw(sample: (words: RandomWords) => number, count: number, seed: number): Float64Array {
	const words = new RandomWords(seededWordsForTests(seed));
	return Float64Array.from({ length: count }, () => sample(words));
}

describe("moments of the noise laws", () => {
	it("agree with the published discrete Gaussian tables", () => {
		for (const { params, expected } of vectors<
			{ sigma2: number },
			{ variance: number; pmf_0_up: number[]; kurtosis4: number }
		>("discrete_gaussian_moments")) {
			const law = discreteGaussianMoments(params.sigma2);
			expect(law.variance / expected.variance).toBeCloseTo(1, 10);
			expect(law.fourthMoment / expected.kurtosis4).toBeCloseTo(1, 10);
			for (const [x, probability] of expected.pmf_0_up.entries()) {
				expect(Math.abs((law.pmf[x] ?? 0) - probability)).toBeLessThan(1e-12 * (law.pmf[0] ?? 0));
			}
		}
	});

	it("agree with the published discrete Laplace tables", () => {
		for (const { params, expected } of vectors<
			{ scale: number },
			{ variance: number; pmf_0_up: number[]; p_zero: number }
		>("discrete_laplace_moments")) {
			const law = discreteLaplaceMoments(params.scale);
			expect(law.variance / expected.variance).toBeCloseTo(1, 10);
			expect(law.pmf[0]).toBeCloseTo(expected.p_zero, 12);
			for (const [x, probability] of expected.pmf_0_up.entries()) {
				expect((law.pmf[x] ?? 0) / probability).toBeCloseTo(1, 10);
			}
		}
	});

	it("give Skellam its defining variance, fourth moment and mass at 0", () => {
		for (const variance of [0.01, 0.5, 3, 40, 9e4]) {
			const law = skellamMoments(variance);
			expect(law.variance / variance).toBeCloseTo(1, 9);
			expect(law.fourthMoment / (variance + 3 * variance ** 2)).toBeCloseTo(1, 9);
		}
		// exp(-1) I_0(1), Abramowitz and Stegun table 9.8.
		expect(skellamMoments(1).pmf[0]).toBeCloseTo(0.4657596077, 9);
	});
});

describe("exact samplers", () => {
	it("draw the discrete Laplace law, on the small and the large path", () => {
		// 0.3 and 7.3 are fractions with 53-bit numerators, which need big integers.
		for (const [i, scale] of [0.3, 1.5, 7.3, 1024].entries()) {
			expect(
				worst(draw(discreteLaplace(scale), 60_000, 10 + i), discreteLaplaceMoments(scale)),
			).toBeGreaterThan(FALSE_ALARM_RATE);
		}
	});

	it("draw the discrete Gaussian law", () => {
		for (const [i, sigma] of [0.4, 3, 50.5].entries()) {
			const samples = draw((words) => sampleExactGaussian(sigma, words), 40_000, 20 + i);
			expect(worst(samples, discreteGaussianMoments(sigma * sigma))).toBeGreaterThan(FALSE_ALARM_RATE);
		}
	});

	it("draw the Skellam law, from tiny to wide", () => {
		for (const [i, variance] of [0.1, 2, 77.7, 3e5].entries()) {
			expect(worst(draw(skellam(variance), 60_000, 30 + i), skellamMoments(variance))).toBeGreaterThan(
				FALSE_ALARM_RATE,
			);
		}
	});

	it("draw the Poisson law itself, whose skewness a difference would hide", () => {
		for (const [i, mean] of [0.2, 0.5, 1, 6.25, 120].entries()) {
			const count = 60_000;
			const samples = draw(poisson(mean), count, 40 + i);
			let statistic = 0;
			let cells = 0;
			let probability = Math.exp(-mean);
			for (let k = 0; k < 10 * mean + 20; k++) {
				const expected = count * probability;
				if (expected > 25) {
					statistic += (samples.filter((value) => value === k).length - expected) ** 2 / expected;
					cells++;
				}
				probability *= mean / (k + 1);
			}
			// The values left out make one cell more: degrees of freedom are at most `cells`.
			expect(upperGamma(cells / 2, statistic / 2)).toBeGreaterThan(FALSE_ALARM_RATE);
			expect(Math.min(...samples)).toBeGreaterThanOrEqual(0);
		}
	});

	it("are told apart from laws that are slightly wrong", () => {
		const laplace = draw(discreteLaplace(7.3), 60_000, 50);
		const law = discreteLaplaceMoments(7.3);
		const wrong = [
			discreteLaplaceMoments(7.3 * 1.05),
			discreteLaplaceMoments(7.3 / 1.05),
			discreteGaussianMoments(law.variance),
		];
		for (const other of wrong) expect(worst(laplace, other)).toBeLessThan(FALSE_ALARM_RATE);
		// Zero counted with both signs: the mistake that Algorithm 2's rejection avoids.
		const doubledZero = laplace.map((x, i) => (Math.abs(x) === 1 && i % 2 === 0 ? 0 : x));
		expect(worst(doubledZero, law)).toBeLessThan(FALSE_ALARM_RATE);
		expect(
			worst(
				laplace.map((x, i) => (i % 20 === 0 ? Math.abs(x) : x)),
				law,
			),
		).toBeLessThan(FALSE_ALARM_RATE);
		expect(
			worst(
				laplace.map((x, i) => (i % 2 === 0 ? x : (laplace[i - 1] ?? 0))),
				law,
			),
		).toBeLessThan(FALSE_ALARM_RATE);
		// A tail cut off at about 1e-3.
		expect(
			worst(
				laplace.map((x) => Math.max(-50, Math.min(50, x))),
				law,
			),
		).toBeLessThan(FALSE_ALARM_RATE);
	});

	it("decide coins of probability exp(-x), also beyond doubles", () => {
		const words = new RandomWords(seededWordsForTests(60));
		const count = 60_000;
		for (const [numerator, denominator] of [
			[1n, 3n],
			[7n, 4n],
			[3n * 2n ** 80n + 1n, 10n * 2n ** 80n],
		] as const) {
			let heads = 0;
			for (let i = 0; i < count; i++) if (bernoulliExp(numerator, denominator, words)) heads++;
			const expected = Math.exp(-Number(numerator) / Number(denominator));
			const deviate = (heads - count * expected) / Math.sqrt(count * expected * (1 - expected));
			expect(upperGamma(0.5, deviate ** 2 / 2)).toBeGreaterThan(FALSE_ALARM_RATE);
		}
		expect(bernoulliExp(0n, 5n, words)).toBe(true);
		expect(bernoulliExp(10_000n, 1n, words)).toBe(false);
	});

	it("decide a Poisson proposal in integers where doubles cannot", () => {
		// Mean 1/2: side right, block 0, place 1 propose the value 1, accepted with probability exactly 1/2.
		const scripted = (uniform: number) => {
			const script = [0x80000000, 0x80000000, 1, Math.floor(uniform / 2 ** 32) * 2 ** 11, uniform % 2 ** 32];
			// Rejected, the next proposal is the value 0, accepted with certainty.
			const words = [...script, 0x80000000, 0x80000000, 0, 0, 0];
			return new RandomWords((target) => {
				for (let i = 0; i < target.length; i++) target[i] = words[i] ?? 0;
			});
		};
		expect(poisson(0.5)(scripted(2 ** 52 - 1))).toBe(1);
		expect(poisson(0.5)(scripted(2 ** 52))).toBe(0);
	});

	it("take doubles as the fractions they are", () => {
		expect(exactFraction(0.75)).toEqual({ numerator: 3n, denominator: 4n });
		expect(exactFraction(12)).toEqual({ numerator: 12n, denominator: 1n });
		const third = exactFraction(1 / 3);
		expect(third.numerator * 3n).not.toBe(third.denominator);
	});

	it("draw uniform integers below any bound, without modulo bias", () => {
		const words = new RandomWords(seededWordsForTests(70));
		// 3 * 2^51: plain word53 % bound would make the lower third of the range twice as likely.
		for (const bound of [1, 3, 6, 2 ** 32, 3 * 2 ** 51]) {
			let upperThird = 0;
			const count = 30_000;
			for (let i = 0; i < count; i++) {
				const value = words.belowNumber(bound);
				expect(value >= 0 && value < bound && Number.isInteger(value)).toBe(true);
				if (value >= bound / 1.5) upperThird++;
			}
			if (bound < 3) continue;
			const deviate = (upperThird - count / 3) / Math.sqrt((count * 2) / 9);
			expect(upperGamma(0.5, deviate ** 2 / 2)).toBeGreaterThan(FALSE_ALARM_RATE);
		}
	});

	it("use the system's randomness unless told otherwise", () => {
		const [first, second] = [new Float64Array(200), new Float64Array(200)];
		fillDiscreteLaplace(first, 50);
		fillDiscreteLaplace(second, 50);
		expect(first).not.toEqual(second);
		fillSkellam(first, 900);
		fillSkellam(second, 900);
		expect(first).not.toEqual(second);
	});

	it("refuse parameters that are no noise", () => {
		for (const bad of [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 42]) {
			expect(() => discreteLaplace(bad)).toThrow(expect.objectContaining({ code: "privacy.bad_scale" }));
			expect(() => skellam(bad)).toThrow(expect.objectContaining({ code: "privacy.bad_variance" }));
			expect(() => poisson(bad)).toThrow(expect.objectContaining({ code: "privacy.bad_mean" }));
		}
		expect(() => skellam(Number.MIN_VALUE)).toThrow(
			expect.objectContaining({ code: "privacy.bad_variance" }),
		);
	});
});
