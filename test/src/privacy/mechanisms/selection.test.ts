import { describe, expect, it } from "vitest";
import { FALSE_ALARM_RATE, upperGamma } from "../../../../bench/goodnessOfFit.ts";
import { exponentialMechanism } from "../../../../src/privacy/mechanisms/exponential.ts";
import {
	ExponentialWeights,
	exponentialBounds,
} from "../../../../src/privacy/mechanisms/exponentialWeights.ts";
import { permuteAndFlip } from "../../../../src/privacy/mechanisms/permuteAndFlip.ts";
import { reportNoisyMax } from "../../../../src/privacy/mechanisms/reportNoisyMax.ts";
import { ExactSelection } from "../../../../src/privacy/mechanisms/selection.ts";
import { topK } from "../../../../src/privacy/mechanisms/topK.ts";
import { discreteLaplaceMoments } from "../../../../src/privacy/samplers/moments.ts";
import { RandomWords } from "../../../../src/privacy/samplers/randomWords.ts";
import { seededWordsForTests } from "../seededWordsForTests.ts";
import { exponentialLaw, permuteAndFlipLaw } from "./selectionLaws.ts";
import { worstRatio } from "./worstRatio.ts";

const DRAWS = 20_000;

function seeded(seed: number): RandomWords {
	return new RandomWords(seededWordsForTests(seed));
}

/** p-value of Pearson's test of how often each index was drawn. */
function pValueOf(draw: () => number, probabilities: readonly number[]): number {
	const seen = new Float64Array(probabilities.length);
	for (let i = 0; i < DRAWS; i++) seen[draw()]!++;
	let statistic = 0;
	for (const [i, probability] of probabilities.entries()) {
		statistic += (seen[i]! - DRAWS * probability) ** 2 / (DRAWS * probability);
	}
	return upperGamma((probabilities.length - 1) / 2, statistic / 2);
}

function normalized(weights: readonly number[]): number[] {
	const total = weights.reduce((sum, weight) => sum + weight, 0);
	return weights.map((weight) => weight / total);
}

/** Report-noisy-max's law: own noise z, all earlier candidates below, all later ones not above. */
function noisyMaxLaw(scores: readonly number[], scale: number): number[] {
	const { pmf } = discreteLaplaceMoments(scale);
	const at = (z: number) => pmf[Math.abs(z)] ?? 0;
	const atMost = (z: number) => {
		let sum = 0;
		for (let x = -pmf.length + 1; x <= Math.min(z, pmf.length - 1); x++) sum += at(x);
		return sum;
	};
	return scores.map((score, i) => {
		let sum = 0;
		for (let z = -60; z <= 60; z++) {
			let others = 1;
			for (const [j, other] of scores.entries()) {
				if (j !== i) others *= atMost(score + z - other - (j < i ? 1 : 0));
			}
			sum += at(z) * others;
		}
		return sum;
	});
}

/** Added records raise one score and lower others: what a monotone rate must not be used for. */
const CANDIDATES = 21;
const one = Array.from({ length: CANDIDATES }, (_, i) => (i === 0 ? 1 : 0));
const others = one.map((score) => 1 - score);

describe("exact exponentials", () => {
	it("lie within their bounds, as twice the precision tells", () => {
		for (const [numerator, denominator] of [
			[1n, 1n],
			[1n, 3n],
			[1000n, 7n],
			[1n, 10n ** 30n],
			[0n, 1n],
		] as const) {
			const { low, high } = exponentialBounds(numerator, denominator, 192n);
			const precise = exponentialBounds(numerator, denominator, 512n);
			expect(low << 320n).toBeLessThanOrEqual(precise.high);
			expect(high << 320n).toBeGreaterThanOrEqual(precise.low);
			expect(high - low).toBeLessThanOrEqual(2n);
			const expected = Math.exp(-Number(numerator) / Number(denominator));
			expect(Number(low >> 128n) / 2 ** 64).toBeCloseTo(expected, 14);
		}
		expect(exponentialBounds(500n, 1n, 192n)).toEqual({ low: 0n, high: 1n });
	});

	it("compose over the digits of gaps and end in almost nothing", () => {
		const weights = new ExponentialWeights({ numerator: 1n, denominator: 100n }, 192);
		for (const k of [0, 7, 1023, 1024, 5000, 12_345]) {
			const { low, high } = weights.at(k);
			const precise = exponentialBounds(BigInt(k), 100n, 400n);
			expect(low << 208n).toBeLessThanOrEqual(precise.high);
			expect(high << 208n).toBeGreaterThanOrEqual(precise.low);
			expect(high - low).toBeLessThanOrEqual(8n);
		}
		const slow = new ExponentialWeights({ numerator: 1n, denominator: 10n ** 14n }, 192);
		for (const k of [2 ** 40, 2 ** 52 - 1, 123_456_789_012_345]) {
			const { low, high } = slow.at(k);
			const precise = exponentialBounds(BigInt(k), 10n ** 14n, 400n);
			expect(low << 208n).toBeLessThanOrEqual(precise.high);
			expect(high << 208n).toBeGreaterThanOrEqual(precise.low);
			expect(high - low).toBeLessThanOrEqual(32n);
		}
		expect(weights.at(2 ** 52).low).toBe(0n);
		expect(weights.at(2 ** 52).high).toBeLessThanOrEqual(2n);
	});

	it("draw more bits where the first do not decide", () => {
		// Two equal weights: a uniform number that agrees with 1/2 in its first 192 bits.
		const scripted = (first: number, rest: number, later: number) => {
			const words = [first, ...Array(5).fill(rest), ...Array(6).fill(later)];
			return new RandomWords((target) => {
				for (let i = 0; i < target.length; i++) target[i] = words[i] ?? 0;
			});
		};
		const selection = new ExactSelection({ numerator: 1n, denominator: 1n });
		const items = { gaps: new Float64Array(2) };
		expect(selection.select(items, scripted(0x80000000, 0, 1))).toBe(1);
		expect(selection.select(items, scripted(0x7fffffff, 0xffffffff, 0xfffffffe))).toBe(0);
	});
});

describe("selection mechanisms", () => {
	const scores = [3, 0, 5, 4];

	it("exponential: has its law, with multiplicities too", () => {
		const mechanism = exponentialMechanism({ epsilon: 1.5, sensitivity: 2, monotone: false }, seeded(1));
		const rate = 1.5 / 4;
		const law = exponentialLaw(scores, rate);
		expect(pValueOf(() => mechanism.select(scores), law)).toBeGreaterThan(FALSE_ALARM_RATE);
		const multiplicities = Float64Array.of(10, 1000, 0, 3);
		const weighted = normalized(scores.map((score, i) => multiplicities[i]! * Math.exp(rate * score)));
		const drawn = pValueOf(
			() => [0, 1, 3].indexOf(mechanism.select(scores, multiplicities)),
			[weighted[0]!, weighted[1]!, weighted[3]!],
		);
		expect(drawn).toBeGreaterThan(FALSE_ALARM_RATE);
		expect(pValueOf(() => mechanism.select(scores), normalized([1, 1, 1, 1]))).toBeLessThan(FALSE_ALARM_RATE);
		expect(mechanism.event).toEqual({ kind: "boundedRange", epsilon: 1.5 });
	});

	it("permute-and-flip: has its law", () => {
		const mechanism = permuteAndFlip({ epsilon: 2, sensitivity: 1, monotone: false }, seeded(2));
		expect(pValueOf(() => mechanism.select(scores), permuteAndFlipLaw(scores, 1))).toBeGreaterThan(
			FALSE_ALARM_RATE,
		);
		expect(mechanism.event).toEqual({ kind: "permuteAndFlip", epsilon: 2 });
		const monotone = permuteAndFlip({ epsilon: 2, sensitivity: 1, monotone: true }, seeded(3));
		expect(pValueOf(() => monotone.select(scores), permuteAndFlipLaw(scores, 2))).toBeGreaterThan(
			FALSE_ALARM_RATE,
		);
		expect(monotone.event).toEqual({ kind: "pureDp", epsilon: 2 });
	});

	it("report noisy max: has its law, ties to the lowest index", () => {
		const mechanism = reportNoisyMax({ epsilon: 1.25, sensitivity: 1, monotone: false }, seeded(4));
		expect(pValueOf(() => mechanism.select(scores), noisyMaxLaw(scores, 2 / 1.25))).toBeGreaterThan(
			FALSE_ALARM_RATE,
		);
		expect(mechanism.event).toEqual({ kind: "pureDp", epsilon: 1.25 });
	});

	it("top k: takes different candidates, the best most often, each round as an exponential mechanism", () => {
		const mechanism = topK({ epsilon: 4, sensitivity: 1, monotone: true, k: 2 }, seeded(5));
		const rate = 2;
		const weights = scores.map((score) => Math.exp(rate * score));
		const total = weights.reduce((sum, weight) => sum + weight, 0);
		const pairs = scores.flatMap((_, i) => scores.flatMap((_, j) => (i === j ? [] : [[i, j] as const])));
		const law = pairs.map(([i, j]) => ((weights[i]! / total) * weights[j]!) / (total - weights[i]!));
		const draw = () => {
			const [first, second] = mechanism.select(scores);
			return pairs.findIndex(([i, j]) => i === first && j === second);
		};
		expect(pValueOf(draw, law)).toBeGreaterThan(FALSE_ALARM_RATE);
		expect(mechanism.event).toEqual({
			kind: "selfComposed",
			event: { kind: "boundedRange", epsilon: 2 },
			count: 2,
		});
		expect(() => mechanism.select([1])).toThrow(expect.objectContaining({ code: "privacy.bad_scores" }));
	});

	it("keep every outcome's probability within e^epsilon between neighbours", () => {
		const request = { epsilon: 1, sensitivity: 1, monotone: false };
		for (const [seed, make] of [exponentialMechanism, permuteAndFlip, reportNoisyMax].entries()) {
			const mechanism = make(request, seeded(10 + seed));
			expect(
				worstRatio(
					() => mechanism.select(one),
					() => mechanism.select(others),
					1,
				),
			).toBeLessThan(5);
		}
	});

	it("fail that test where scores are called monotone that are not", () => {
		const request = { epsilon: 1, sensitivity: 1, monotone: true };
		for (const [seed, make] of [exponentialMechanism, permuteAndFlip, reportNoisyMax].entries()) {
			const mechanism = make(request, seeded(20 + seed));
			expect(
				worstRatio(
					() => mechanism.select(one),
					() => mechanism.select(others),
					1,
				),
			).toBeGreaterThan(5);
		}
	});

	it("refuse what they cannot prove anything about", () => {
		const request = { epsilon: 1, sensitivity: 1, monotone: false };
		for (const make of [exponentialMechanism, permuteAndFlip, reportNoisyMax]) {
			for (const epsilon of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
				expect(() => make({ ...request, epsilon })).toThrow(
					expect.objectContaining({ code: "privacy.bad_epsilon" }),
				);
			}
			for (const sensitivity of [0, 0.5, -1, Number.NaN]) {
				expect(() => make({ ...request, sensitivity })).toThrow(
					expect.objectContaining({ code: "privacy.bad_sensitivity" }),
				);
			}
			for (const bad of [[], [0.5], [Number.NaN], [2 ** 52]]) {
				expect(() => make(request).select(bad)).toThrow(
					expect.objectContaining({ code: "privacy.bad_scores" }),
				);
			}
		}
		for (const k of [0, 1.5]) {
			expect(() => topK({ ...request, k })).toThrow(expect.objectContaining({ code: "privacy.bad_count" }));
		}
	});
});
