import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FALSE_ALARM_RATE, testSamples, upperGamma } from "../../../../bench/goodnessOfFit.ts";
import { checkedEvent } from "../../../../src/privacy/accounting/events.ts";
import {
	gridGaussian,
	gridGaussianVector,
	gridLaplace,
} from "../../../../src/privacy/mechanisms/gridNoise.ts";
import { privateQuantile } from "../../../../src/privacy/mechanisms/privateQuantile.ts";
import { randomizedResponse } from "../../../../src/privacy/mechanisms/randomizedResponse.ts";
import { skellamShare } from "../../../../src/privacy/mechanisms/skellamShare.ts";
import { SparseVector } from "../../../../src/privacy/mechanisms/sparseVector.ts";
import {
	discreteGaussianMoments,
	discreteLaplaceMoments,
	skellamMoments,
} from "../../../../src/privacy/samplers/moments.ts";
import { RandomWords } from "../../../../src/privacy/samplers/randomWords.ts";
import { seededWordsForTests } from "../seededWordsForTests.ts";
import { worstRatio } from "./worstRatio.ts";

function seeded(seed: number): RandomWords {
	return new RandomWords(seededWordsForTests(seed));
}

describe("noise on a grid", () => {
	it("is the whole-number law it is charged as, on multiples of a power of two", () => {
		const laplace = gridLaplace({ sensitivity: 0.37, epsilon: 2 }, seeded(1));
		const gaussian = gridGaussian({ sensitivity: 12.5, noiseMultiplier: 0.3 }, seeded(2));
		for (const { mechanism, law } of [
			{
				mechanism: laplace,
				law:
					laplace.event.kind === "discreteLaplace" ? discreteLaplaceMoments(laplace.event.scale) : undefined,
			},
			{
				mechanism: gaussian,
				law:
					gaussian.event.kind === "discreteGaussian"
						? discreteGaussianMoments(gaussian.event.sigma ** 2)
						: undefined,
			},
		]) {
			if (law === undefined) throw new Error("the event is not the discrete law");
			const centre = Math.round(7.77 / mechanism.granularity);
			const steps = Float64Array.from(
				{ length: 30_000 },
				() => mechanism.release(7.77) / mechanism.granularity - centre,
			);
			expect(steps.every(Number.isInteger)).toBe(true);
			for (const { pValue } of testSamples(steps, law)) expect(pValue).toBeGreaterThan(FALSE_ALARM_RATE);
			expect(mechanism.standardError / mechanism.granularity / Math.sqrt(law.variance)).toBeCloseTo(1, 4);
			expect(Number.isInteger(Math.log2(mechanism.granularity))).toBe(true);
			checkedEvent(mechanism.event);
		}
	});

	it("charges the rounding: no two values within the sensitivity are more steps apart", () => {
		fc.assert(
			fc.property(
				fc.double({ min: 1e-6, max: 1e6, noNaN: true }),
				fc.double({ min: -1e9, max: 1e9, noNaN: true }),
				fc.double({ min: 0, max: 1, noNaN: true }),
				(sensitivity, value, part) => {
					const { granularity, event } = gridLaplace({ sensitivity, epsilon: 1 });
					if (event.kind !== "discreteLaplace") throw new Error("wrong event");
					const neighbour = value + part * sensitivity;
					// In doubles the neighbour may be a rounding error beyond the sensitivity.
					if (neighbour - value > sensitivity) return;
					const apart = Math.abs(Math.round(neighbour / granularity) - Math.round(value / granularity));
					expect(apart).toBeLessThanOrEqual(event.sensitivity);
					expect(event.sensitivity * granularity).toBeLessThanOrEqual(sensitivity * (1 + 2 ** -10));
				},
			),
			{ seed: 3, numRuns: 2000 },
		);
	});

	it("never stops at a value, whatever the records made of it", () => {
		const mechanism = gridLaplace({ sensitivity: 1, epsilon: 1 }, seeded(4));
		for (const value of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e308, 5e-324, -0]) {
			expect(Number.isFinite(mechanism.release(value))).toBe(true);
		}
	});

	it("covers vectors, charged as a Gaussian of no more than the multiplier asked for", () => {
		const mechanism = gridGaussianVector({ length: 500, sensitivity: 3, noiseMultiplier: 2 }, seeded(5));
		if (mechanism.event.kind !== "gaussian") throw new Error("wrong event");
		expect(mechanism.event.noiseMultiplier).toBeCloseTo(2, 9);
		expect(mechanism.event.noiseMultiplier).toBeLessThanOrEqual(2 * (1 + 1e-12));
		const noise = mechanism.release(new Float64Array(500).fill(0.5)).map((value) => value - 0.5);
		const deviation = Math.sqrt(noise.reduce((sum, x) => sum + x * x, 0) / 500);
		// Six standard errors of a standard deviation from 500 values.
		expect(Math.abs(deviation / mechanism.standardError - 1)).toBeLessThan(6 / Math.sqrt(1000));
		expect(mechanism.standardError / 6).toBeCloseTo(1, 2);
		expect(() => mechanism.release(new Float64Array(2))).toThrow(
			expect.objectContaining({ code: "privacy.wrong_length" }),
		);
	});

	it("refuses parameters out of range", () => {
		for (const bad of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
			expect(() => gridLaplace({ sensitivity: bad, epsilon: 1 })).toThrow(
				expect.objectContaining({ code: "privacy.bad_sensitivity" }),
			);
			expect(() => gridLaplace({ sensitivity: 1, epsilon: bad })).toThrow(
				expect.objectContaining({ code: "privacy.bad_epsilon" }),
			);
			expect(() => gridGaussian({ sensitivity: 1, noiseMultiplier: bad })).toThrow(
				expect.objectContaining({ code: "privacy.bad_sigma" }),
			);
			expect(() => gridGaussianVector({ length: bad, sensitivity: 1, noiseMultiplier: 1 })).toThrow(
				expect.objectContaining({ code: "privacy.wrong_length" }),
			);
		}
	});
});

describe("Skellam noise in shares", () => {
	const request = { variance: 9, minimumHonestSurvivors: 3, l1Sensitivity: 4, l2Sensitivity: 2 };

	it("adds up to the law that is charged when the fewest honest sites survive", () => {
		const share = skellamShare(request, seeded(20));
		const values = new Int32Array(30_000).fill(-7);
		const sum = new Float64Array(values.length);
		for (let site = 0; site < 3; site++) for (const [i, one] of share.add(values).entries()) sum[i]! += one;
		const noise = sum.map((value) => value + 21);
		for (const { pValue } of testSamples(noise, skellamMoments(9)))
			expect(pValue).toBeGreaterThan(FALSE_ALARM_RATE);
		const single = share.add(values).map((value) => value + 7);
		expect(Math.min(...testSamples(single, skellamMoments(9)).map(({ pValue }) => pValue))).toBeLessThan(
			FALSE_ALARM_RATE,
		);
		expect(share.event).toEqual({ kind: "skellam", variance: 9, l1Sensitivity: 4, l2Sensitivity: 2 });
		expect(3 * share.shareVariance).toBeGreaterThanOrEqual(9);
	});

	it("refuses shares that nobody can be counted on for, and sensitivities that cannot be", () => {
		for (const bad of [
			{ minimumHonestSurvivors: 0 },
			{ minimumHonestSurvivors: 1.5 },
			{ l1Sensitivity: 1 },
			{ l2Sensitivity: 0 },
		]) {
			expect(() => skellamShare({ ...request, ...bad })).toThrow(
				expect.objectContaining({ code: "privacy.bad_noise_plan" }),
			);
		}
		expect(() => skellamShare({ ...request, variance: 0 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_variance" }),
		);
	});
});

describe("randomized response", () => {
	it("keeps or replaces answers with exactly the charged probability", () => {
		const mechanism = randomizedResponse({ epsilon: 1, categories: 5 }, seeded(6));
		const { noiseProbability } = mechanism;
		const draws = 50_000;
		const seen = new Float64Array(5);
		for (let i = 0; i < draws; i++) seen[mechanism.respond(3)]!++;
		let statistic = 0;
		for (let category = 0; category < 5; category++) {
			const expected = draws * (noiseProbability / 5 + (category === 3 ? 1 - noiseProbability : 0));
			statistic += (seen[category]! - expected) ** 2 / expected;
		}
		expect(upperGamma(2, statistic / 2)).toBeGreaterThan(FALSE_ALARM_RATE);
		const epsilon = Math.log1p((5 * (1 - noiseProbability)) / noiseProbability);
		expect(epsilon).toBeLessThanOrEqual(1);
		expect(epsilon).toBeCloseTo(1, 9);
		expect(
			worstRatio(
				() => mechanism.respond(0),
				() => mechanism.respond(1),
				1,
			),
		).toBeLessThan(5);
		expect(
			worstRatio(
				() => mechanism.respond(0),
				() => mechanism.respond(1),
				0.8,
			),
		).toBeGreaterThan(5);
		expect(mechanism.event).toEqual({ kind: "randomizedResponse", categories: 5, noiseProbability });
	});

	it("estimates the true shares without bias, with honest standard errors", () => {
		const mechanism = randomizedResponse({ epsilon: 0.7, categories: 3 }, seeded(7));
		const truth = [0.6, 0.3, 0.1];
		const people = 40_000;
		const counts = new Float64Array(3);
		for (let i = 0; i < people; i++) {
			const answer = i < truth[0]! * people ? 0 : i < 0.9 * people ? 1 : 2;
			counts[mechanism.respond(answer)]!++;
		}
		for (const [category, { share, standardError }] of mechanism.estimate(counts).entries()) {
			expect(Math.abs(share - truth[category]!)).toBeLessThan(5 * standardError);
			expect(standardError).toBeLessThan(0.02);
		}
	});

	it("refuses answers outside the list, and epsilons that leave nothing", () => {
		const mechanism = randomizedResponse({ epsilon: 1, categories: 2 });
		for (const bad of [-1, 2, 0.5, Number.NaN]) {
			expect(() => mechanism.respond(bad)).toThrow(expect.objectContaining({ code: "privacy.bad_category" }));
		}
		expect(() => mechanism.estimate([1])).toThrow(expect.objectContaining({ code: "privacy.wrong_length" }));
		expect(() => mechanism.estimate([0, 0])).toThrow(expect.objectContaining({ code: "privacy.bad_count" }));
		expect(() => randomizedResponse({ epsilon: 1e-13, categories: 2 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_epsilon" }),
		);
		expect(() => randomizedResponse({ epsilon: 1, categories: 1 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_count" }),
		);
	});
});

describe("sparse vector", () => {
	const request = { epsilon: 1, sensitivity: 1, monotone: false, positives: 1, threshold: 0 };
	/** Answers until it ends, as a word. */
	const pattern = (values: readonly number[], words: RandomWords, positives = 1): string => {
		const sparse = new SparseVector({ ...request, positives }, words);
		let word = "";
		for (const value of values) if (sparse.open) word += sparse.above(value) ? "+" : "-";
		return word;
	};

	it("keeps every pattern of answers within e^epsilon between neighbours", () => {
		const words = seeded(8);
		const [one, other] = [
			[0, 0, 0, 0, 0, 1, 1],
			[1, 1, 1, 1, 1, 0, 0],
		];
		for (const positives of [1, 2]) {
			const ratio = worstRatio(
				() => pattern(one, words, positives),
				() => pattern(other, words, positives),
				1,
			);
			expect(ratio).toBeLessThan(5);
		}
	});

	it("keeps it through a long silence, which only the threshold's noise can hide", () => {
		const words = seeded(22);
		const firstAbove = (value: number): number => {
			const sparse = new SparseVector({ ...request, epsilon: 3, threshold: 3 }, words);
			for (let asked = 0; asked < 74; asked++) if (sparse.above(value)) return asked;
			return -1;
		};
		const ratio = worstRatio(
			() => firstAbove(0),
			() => firstAbove(1),
			3,
			10_000,
		);
		expect(ratio).toBeLessThan(5);
	});

	it("tells high from low, ends by itself, and says so", () => {
		const sparse = new SparseVector({ ...request, epsilon: 2, positives: 3, threshold: 1000 }, seeded(9));
		const answers = [0, 2000, 0, 0, 2000, 0, 2000].map((value) => sparse.above(value));
		expect(answers).toEqual([false, true, false, false, true, false, true]);
		expect(sparse.open).toBe(false);
		expect(() => sparse.above(0)).toThrow(
			expect.objectContaining({ code: "privacy.sparse_vector_exhausted" }),
		);
		expect(sparse.event).toEqual({ kind: "pureDp", epsilon: 2 });
	});

	it("refuses what is not whole", () => {
		expect(() => new SparseVector(request).above(0.5)).toThrow(
			expect.objectContaining({ code: "privacy.bad_scores" }),
		);
		expect(() => new SparseVector({ ...request, threshold: 0.5 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_scores" }),
		);
		expect(() => new SparseVector({ ...request, positives: 0 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_count" }),
		);
		expect(() => new SparseVector({ ...request, epsilon: 0 })).toThrow(
			expect.objectContaining({ code: "privacy.bad_epsilon" }),
		);
	});
});

describe("private quantile", () => {
	const bounds = [0, 100] as const;

	it("has the exponential mechanism's law over the grid", () => {
		const values = Float64Array.of(10, 10, 50, 90);
		const epsilon = 2;
		const mechanism = privateQuantile({ epsilon, fraction: 0.5, bounds }, seeded(10));
		// Records below and not above, by hand, for places between and at the records; S = 1/2.
		const rate = epsilon / (2 * 0.5);
		const weight = (length: number, below: number, notAbove: number) =>
			length * Math.exp(-rate * Math.max(0, below - 2, 2 - notAbove));
		const weights = [weight(10, 0, 0), weight(40, 2, 2), weight(40, 3, 3), weight(10, 4, 4)];
		const total = weights.reduce((sum, one) => sum + one, 0);
		const draws = 10_000;
		const seen = new Float64Array(4);
		for (let i = 0; i < draws; i++) {
			const value = mechanism.select(values);
			seen[value < 10 ? 0 : value < 50 ? 1 : value < 90 ? 2 : 3]!++;
		}
		let statistic = 0;
		for (const [i, one] of weights.entries()) {
			statistic += (seen[i]! - (draws * one) / total) ** 2 / ((draws * one) / total);
		}
		expect(upperGamma(1.5, statistic / 2)).toBeGreaterThan(FALSE_ALARM_RATE);
		expect(mechanism.event).toEqual({ kind: "boundedRange", epsilon });
		expect(mechanism.sensitivity).toBe(0.5);
	});

	it("keeps its epsilon when a record leaves, and finds the value that most records share", () => {
		const mechanism = privateQuantile({ epsilon: 0.5, fraction: 0.25, bounds }, seeded(11));
		const bin = (values: Float64Array) => Math.floor(mechanism.select(values) / 5);
		const all = Float64Array.of(10, 40, 40, 80, 95);
		const worst = worstRatio(
			() => bin(all),
			() => bin(all.subarray(1)),
			0.5,
			15_000,
		);
		expect(worst).toBeLessThan(5);
		const same = new Float64Array(500).fill(33.3);
		expect(Math.abs(mechanism.select(same) - 33.3)).toBeLessThan(1e-3);
	});

	it("errs in rank by no more than it states, and stays within the bounds", () => {
		const values = Float64Array.from({ length: 1000 }, (_, i) => i / 10);
		const mechanism = privateQuantile({ epsilon: 1, fraction: 0.9, bounds }, seeded(12));
		let beyond = 0;
		for (let i = 0; i < 200; i++) {
			const rank = mechanism.select(values) * 10;
			if (Math.abs(rank - 900) > mechanism.rankError95) beyond++;
		}
		// The bound is loose: 5 % would be 10 of 200.
		expect(beyond).toBeLessThan(10);
		for (const odd of [Float64Array.of(), Float64Array.of(Number.NaN, -1e9, 1e9)]) {
			const value = mechanism.select(odd);
			expect(value >= 0 && value <= 100).toBe(true);
		}
	});

	it("refuses bounds and fractions that make no grid", () => {
		for (const bad of [
			[1, 1],
			[2, 1],
			[0, Number.POSITIVE_INFINITY],
			[Number.NaN, 1],
		] as const) {
			expect(() => privateQuantile({ epsilon: 1, fraction: 0.5, bounds: bad })).toThrow(
				expect.objectContaining({ code: "privacy.bad_bounds" }),
			);
		}
		for (const fraction of [0, 1, Number.NaN]) {
			expect(() => privateQuantile({ epsilon: 1, fraction, bounds })).toThrow(
				expect.objectContaining({ code: "privacy.bad_fraction" }),
			);
		}
	});
});
