import { describe, expect, it } from "vitest";
import {
	attackLimits,
	attackReport,
	likelihoodRatioScores,
	lossScores,
} from "../../../../src/privacy/auditing/membershipInference.ts";
import { seededRandomForTests } from "../../../../testnet/simulate/seededRandom.ts";

const random = seededRandomForTests(3);
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

describe("an attack report", () => {
	it("finds perfect separation, and none", () => {
		const low = Array.from({ length: 200 }, (_, i) => i / 200);
		const high = low.map((value) => value + 2);
		const perfect = attackReport(high, low);
		expect(perfect.auc.estimate).toBe(1);
		expect(perfect.advantage.estimate).toBe(1);
		expect(perfect.truePositiveRates.every(({ rate }) => rate.estimate === 1)).toBe(true);
		const none = attackReport(low, low);
		expect(none.auc.estimate).toBeCloseTo(0.5, 12);
		expect(none.advantage.estimate).toBe(0);
		expect(none.auc.lower).toBeLessThan(0.5);
		expect(none.auc.upper).toBeGreaterThan(0.5);
	});

	it("gives intervals that hold the truth: N(1, 1) against N(0, 1)", () => {
		// AUC is Phi(1 / sqrt 2) = 0.7602, the advantage 2 Phi(1/2) - 1 = 0.3829. Seeded; 60 repetitions.
		let missed = 0;
		for (let i = 0; i < 60; i++) {
			const report = attackReport(
				Array.from({ length: 300 }, () => 1 + normal()),
				Array.from({ length: 300 }, normal),
			);
			if (report.auc.lower > 0.7602 || report.auc.upper < 0.7602) missed++;
			expect(report.advantage.lower).toBeLessThan(0.3829);
			expect(report.advantage.upper).toBeGreaterThan(0.3829);
		}
		expect(missed).toBeLessThan(12);
	});

	it("refuses too few scores", () => {
		expect(() => attackReport([1], [1, 2])).toThrowError(/at least 2/);
	});
});

describe("what (epsilon, delta) leaves to attackers", () => {
	it("is nothing at epsilon 0 and everything without a claim", () => {
		const nothing = attackLimits([{ epsilon: 0, delta: 0 }]);
		expect(nothing.advantage).toBe(0);
		expect(nothing.auc).toBeCloseTo(0.5, 3);
		expect(nothing.truePositiveRates[1]!.rate).toBeCloseTo(0.01, 12);
		expect(attackLimits([]).advantage).toBe(1);
	});

	it("holds for randomized response, which attains it", () => {
		const { advantage, truePositiveRates } = attackLimits([{ epsilon: Math.log(3), delta: 0 }], [0.25]);
		expect(advantage).toBeCloseTo(0.5, 12);
		expect(truePositiveRates[0]!.rate).toBeCloseTo(0.75, 12);
	});
});

describe("likelihood-ratio scores", () => {
	it("see members that loss alone cannot: records of different difficulty", () => {
		const records = 400;
		const difficulty = Array.from({ length: records }, () => 3 * normal());
		const included = Array.from({ length: records }, () => random() < 0.5);
		// A record's confidence rises by 1 when it was trained with.
		const losses = (flags: readonly boolean[]) =>
			flags.map((flag, i) => Math.log1p(Math.exp(-(difficulty[i]! + (flag ? 1 : 0) + 0.3 * normal()))));
		const shadows = Array.from({ length: 8 }, (_, shadow) => {
			const flags = difficulty.map((_, i) => (i + shadow) % 2 === 0);
			return { losses: losses(flags), included: flags };
		});
		const target = losses(included);
		const split = (scores: readonly number[]) =>
			attackReport(
				scores.filter((_, i) => included[i]),
				scores.filter((_, i) => !included[i]),
			);
		expect(split(likelihoodRatioScores(target, shadows)).auc.estimate).toBeGreaterThan(0.95);
		expect(split(lossScores(target)).auc.estimate).toBeLessThan(0.7);
	});

	it("need two shadow models of each kind", () => {
		expect(() => likelihoodRatioScores([1], [{ losses: [1], included: [true] }])).toThrowError(/shadow/);
	});
});
