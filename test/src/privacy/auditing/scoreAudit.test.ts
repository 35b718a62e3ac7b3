/** The verdict on scores whose law is known: N(mu, 1) for canaries that were in, N(0, 1) for the others. */
import { describe, expect, it } from "vitest";
import { epsilonBounds } from "../../../../src/privacy/accounting/accountant.ts";
import { gaussian } from "../../../../src/privacy/accounting/events.ts";
import { gaussianMu, normalCdf, normalQuantile } from "../../../../src/privacy/auditing/gaussianTradeoff.ts";
import { auditScores } from "../../../../src/privacy/auditing/scoreAudit.ts";
import { claimsOf, curveOfClaims } from "../../../../src/privacy/auditing/tradeoffCurve.ts";
import { seededRandomForTests } from "../../../../testnet/simulate/seededRandom.ts";

const DELTA = 1e-6;
const random = seededRandomForTests(21);
const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());

function scoresOf(canaries: number, mu: number) {
	const included = Array.from({ length: canaries }, () => random() < 0.5);
	return { included, scores: Float64Array.from(included, (inside) => (inside ? mu : 0) + normal()) };
}

const mu = gaussianMu(4, DELTA);
const claim = { delta: DELTA, curve: curveOfClaims(claimsOf(gaussian(1 / mu))) };

describe("the verdict on canaries' scores", () => {
	it("is right about a true claim at least as often as it says", () => {
		// 100 seeded runs at significance 0.05: violations are at most Bin(100, 0.05), above 20 with probability 1e-8.
		let refuted = 0;
		let above = 0;
		for (let run = 0; run < 100; run++) {
			const { oneRun, independent } = auditScores(scoresOf(500, mu), claim, 0.05);
			if (oneRun.refutesClaim || independent.refutesClaim) refuted++;
			if (Math.max(oneRun.epsilonLower, independent.gaussianEpsilonLower) > 4) above++;
		}
		expect(refuted).toBeLessThanOrEqual(20);
		expect(above).toBeLessThanOrEqual(20);
	});

	it("refutes twice the signal, with thresholds fixed beforehand or found", () => {
		for (const thresholds of [undefined, [mu]]) {
			const scores = { ...scoresOf(3000, 2 * mu), ...(thresholds === undefined ? {} : { thresholds }) };
			const { independent } = auditScores(scores, claim, 1e-6);
			expect(independent.refutesClaim).toBe(true);
			expect(independent.gaussianEpsilonLower).toBeGreaterThan(4);
			expect(independent.gaussianEpsilonLower).toBeLessThan(epsilonBounds(gaussian(0.5 / mu), DELTA).upper);
		}
	});

	it("without assumptions: proves some, and refutes a leak that is gross", () => {
		const some = auditScores(scoresOf(3000, 2 * mu), claim, 0.01).oneRun;
		expect(some.epsilonLower).toBeGreaterThan(1);
		expect(some.correct / some.guesses).toBeGreaterThan(0.8);
		const gross = auditScores(scoresOf(3000, 10), claim, 0.01).oneRun;
		expect(gross.refutesClaim).toBe(true);
		expect(gross.epsilonLower).toBeGreaterThan(4);
	});

	it("proves nothing from nothing", () => {
		const none = { included: [true, true], scores: Float64Array.of(1, 2) };
		const { oneRun, independent } = auditScores(none, claim, 0.05);
		expect(oneRun).toMatchObject({ epsilonLower: 0, refutesClaim: false });
		expect(independent).toMatchObject({ epsilonLower: 0, gaussianEpsilonLower: 0, refutesClaim: false });
		expect(() => auditScores(none, claim, 0)).toThrowError(/significance/);
	});
});

describe("curves of claims", () => {
	it("of a Gaussian come close to its own, from the safe side", () => {
		for (const rate of [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98]) {
			const exact = normalCdf(normalQuantile(rate) - mu);
			expect(claim.curve(rate)).toBeLessThanOrEqual(exact * (1 + 1e-6));
			expect(claim.curve(rate)).toBeGreaterThan(exact * 0.9);
		}
	});

	it("refuse claims that are none", () => {
		expect(() => curveOfClaims([{ epsilon: 1, delta: Number.NaN }])).toThrowError(/A claim/);
	});
});
