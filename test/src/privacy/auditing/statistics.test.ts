import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
	logBinomialLowerTail,
	logBinomialMass,
	logBinomialUpperTail,
} from "../../../../src/privacy/auditing/binomial.ts";
import { clopperPearsonLower, clopperPearsonUpper } from "../../../../src/privacy/auditing/clopperPearson.ts";
import {
	epsilonOfMu,
	gaussianMu,
	normalCdf,
	normalQuantile,
} from "../../../../src/privacy/auditing/gaussianTradeoff.ts";
import { oneRunEpsilonLower, oneRunPValue } from "../../../../src/privacy/auditing/oneRun.ts";
import {
	gaussianLeastFalsePositiveRate,
	oneRunGaussianEpsilonLower,
	refutesTradeoff,
} from "../../../../src/privacy/auditing/oneRunTradeoff.ts";
import { seededRandomForTests } from "../../../../testnet/simulate/seededRandom.ts";
import { vectors } from "../vectors.ts";

describe("binomial tails", () => {
	it("agree with exact fractions for small counts", () => {
		// Bin(10, 1/4): sum_{k>=7} C(10,k) 3^(10-k) / 4^10 in integers.
		const logOdds = Math.log(1 / 3);
		const choose = [1, 10, 45, 120, 210, 252, 210, 120, 45, 10, 1];
		for (let k = 0; k <= 10; k++) {
			let exact = 0;
			for (let j = k; j <= 10; j++) exact += choose[j]! * 3 ** (10 - j);
			exact /= 4 ** 10;
			expect(Math.exp(logBinomialUpperTail(k, 10, logOdds)) / exact).toBeCloseTo(1, 12);
			expect(
				Math.exp(logBinomialMass(k, 10, logOdds)) / ((choose[k]! * 3 ** (10 - k)) / 4 ** 10),
			).toBeCloseTo(1, 12);
		}
	});

	it("keep relative accuracy far out: P[Bin(n, p) >= n] = p^n", () => {
		for (const n of [5, 100, 5000, 1_000_000]) {
			const logP = -Math.log1p(Math.exp(2));
			expect(logBinomialUpperTail(n, n, -2) / (n * logP)).toBeCloseTo(1, 10);
		}
	});

	it("of both sides add up to one", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 1, max: 3000 }),
				fc.double({ min: 0, max: 1, noNaN: true }),
				fc.double({ min: -6, max: 6, noNaN: true }),
				(n, share, logOdds) => {
					const k = Math.floor(share * n);
					const total =
						Math.exp(logBinomialUpperTail(k + 1, n, logOdds)) + Math.exp(logBinomialLowerTail(k, n, logOdds));
					expect(Math.abs(total - 1)).toBeLessThan(1e-11);
				},
			),
			{ numRuns: 200 },
		);
	});
});

describe("Clopper-Pearson bounds", () => {
	it.each(
		vectors<{ k: number; n: number; significance: number }, { upper: number }>("clopper_pearson_upper"),
	)("$id", ({ params, expected, rtol }) => {
		const upper = clopperPearsonUpper(params.k, params.n, params.significance);
		expect(Math.abs(upper - expected.upper)).toBeLessThanOrEqual(rtol * expected.upper);
	});

	it("are 1 and 0 where everything or nothing succeeded, and mirror each other", () => {
		expect(clopperPearsonUpper(10, 10, 0.05)).toBe(1);
		expect(clopperPearsonLower(0, 10, 0.05)).toBe(0);
		expect(clopperPearsonLower(10, 10, 0.05)).toBeCloseTo(0.05 ** 0.1, 9);
	});

	it("cover the truth as often as they say", () => {
		// 4000 seeded experiments at significance 0.05: misses are at most Bin(4000, 0.05), beyond 280 with probability 2e-8.
		const random = seededRandomForTests(7);
		let misses = 0;
		for (let experiment = 0; experiment < 4000; experiment++) {
			let k = 0;
			for (let i = 0; i < 60; i++) if (random() < 0.2) k++;
			if (clopperPearsonUpper(k, 60, 0.05) < 0.2) misses++;
		}
		expect(misses).toBeLessThan(280);
		expect(misses).toBeGreaterThan(40);
	});

	it("refuse counts and confidences that are none", () => {
		expect(() => clopperPearsonUpper(11, 10, 0.05)).toThrowError(/no count/);
		expect(() => clopperPearsonUpper(1, 10, 1)).toThrowError(/significance/);
	});
});

interface Params {
	readonly canaries: number;
	readonly guesses: number;
	readonly correct: number;
	readonly significance: number;
	readonly delta: number;
}
interface Expected {
	readonly epsilon_lower_one_run: number;
	readonly p_value_at_eps_1: number;
	readonly epsilon_lower_one_run_fdp?: number;
}

describe("the audit from one run", () => {
	it.each(vectors<Params, Expected>("audit_one_run"))("$id", ({ params, expected, rtol }) => {
		const close = (got: number, want: number) =>
			expect(Math.abs(got - want)).toBeLessThanOrEqual(rtol * Math.abs(want) + 1e-9);
		const { significance, delta } = params;
		close(oneRunEpsilonLower(params, delta, significance), expected.epsilon_lower_one_run);
		close(oneRunPValue(params, 1, delta), expected.p_value_at_eps_1);
		if (expected.epsilon_lower_one_run_fdp !== undefined) {
			close(oneRunGaussianEpsilonLower(params, delta, significance), expected.epsilon_lower_one_run_fdp);
		}
	});

	it("rarely refutes the truth: randomized response of known epsilon", () => {
		// 400 runs of 500 canaries, each told right with probability p(epsilon); a valid bound at
		// significance 0.05 errs in at most Bin(400, 0.05): beyond 50 with probability 1e-9.
		const random = seededRandomForTests(11);
		const epsilon = 1.2;
		const truthful = 1 / (1 + Math.exp(-epsilon));
		let refuted = 0;
		for (let run = 0; run < 400; run++) {
			let correct = 0;
			for (let i = 0; i < 500; i++) if (random() < truthful) correct++;
			const guesses = { canaries: 500, guesses: 500, correct };
			if (oneRunPValue(guesses, epsilon, 0) < 0.05) refuted++;
		}
		expect(refuted).toBeLessThan(50);
		expect(refuted).toBeGreaterThan(4);
	});

	it("grows with the right guesses and falls with delta", () => {
		const at = (correct: number, delta: number) =>
			oneRunEpsilonLower({ canaries: 1000, guesses: 200, correct }, delta, 0.05);
		expect(at(180, 1e-6)).toBeGreaterThan(at(150, 1e-6));
		expect(at(180, 1e-4)).toBeLessThan(at(180, 1e-9));
		expect(at(100, 0)).toBe(0);
	});

	it("refuses results that are none", () => {
		expect(() => oneRunPValue({ canaries: 10, guesses: 11, correct: 5 }, 1, 0)).toThrowError(/no result/);
		expect(() => oneRunEpsilonLower({ canaries: 10, guesses: 5, correct: 5 }, 0, 0)).toThrowError(
			/significance/,
		);
	});

	it("refutes no curve when nothing was guessed or guesses are random", () => {
		const curve = gaussianLeastFalsePositiveRate(0.5);
		expect(refutesTradeoff({ canaries: 100, guesses: 0, correct: 0 }, curve, 0.05)).toBe(false);
		expect(refutesTradeoff({ canaries: 100, guesses: 100, correct: 50 }, curve, 0.05)).toBe(false);
		expect(refutesTradeoff({ canaries: 100, guesses: 100, correct: 95 }, curve, 0.05)).toBe(true);
	});
});

describe("Gaussian trade-off curves", () => {
	it("invert: quantile of cdf, mu of delta", () => {
		for (const x of [-37, -12, -5, -3, -1, -1e-3, 0.2, 2, 4]) {
			expect(normalQuantile(normalCdf(x))).toBeCloseTo(x, 8);
		}
		expect(normalCdf(-1.959963984540054)).toBeCloseTo(0.025, 14);
		for (const epsilon of [0.1, 1, 8, 40]) {
			for (const delta of [1e-3, 1e-9]) {
				expect(epsilonOfMu(gaussianMu(epsilon, delta), delta) / epsilon).toBeCloseTo(1, 9);
			}
		}
		expect(epsilonOfMu(0, 1e-6)).toBe(0);
	});

	it("refuse what is no privacy parameter", () => {
		expect(() => gaussianMu(-1, 1e-5)).toThrowError(/Gaussian mechanism/);
		expect(() => gaussianMu(1, 0)).toThrowError(/Gaussian mechanism/);
	});
});
