/** The events that mechanisms state, held against the exact hockey-stick divergence of their outputs. */
import { describe, expect, it } from "vitest";
import { deltaBounds } from "../../../../src/privacy/accounting/accountant.ts";
import { exponentialMechanism } from "../../../../src/privacy/mechanisms/exponential.ts";
import { gridGaussian, gridLaplace } from "../../../../src/privacy/mechanisms/gridNoise.ts";
import { permuteAndFlip } from "../../../../src/privacy/mechanisms/permuteAndFlip.ts";
import { randomizedResponse } from "../../../../src/privacy/mechanisms/randomizedResponse.ts";
import { discreteGaussianMoments, discreteLaplaceMoments } from "../../../../src/privacy/samplers/moments.ts";
import { exponentialLaw, permuteAndFlipLaw } from "./selectionLaws.ts";

/** The larger of sum max(0, p - e^epsilon q) either way round. */
function hockeyStick(p: readonly number[], q: readonly number[], epsilon: number): number {
	const factor = Math.exp(epsilon);
	const one = p.reduce((sum, value, i) => sum + Math.max(0, value - factor * q[i]!), 0);
	const other = q.reduce((sum, value, i) => sum + Math.max(0, value - factor * p[i]!), 0);
	return Math.max(one, other);
}

/** Neighbouring scores of sensitivity 1 that move to both sides, and to one. */
const neighbours: readonly (readonly [readonly number[], readonly number[]])[] = [
	[
		[1, 0, 0, 0, 0, 0],
		[0, 1, 1, 1, 1, 1],
	],
	[
		[3, 2, 0, 5],
		[2, 3, 1, 4],
	],
	[
		[2, 2],
		[3, 1],
	],
];
const monotoneNeighbours: typeof neighbours = [
	[
		[1, 0, 0, 0],
		[1, 1, 1, 1],
	],
	[
		[2, 2, 5],
		[3, 2, 5],
	],
	[
		[0, 0, 0, 0, 0],
		[1, 0, 0, 0, 0],
	],
];
const EPSILONS = [0, 0.1, 0.4, 0.8, 1.2];

describe("the cost that mechanisms state", () => {
	for (const monotone of [false, true]) {
		const pairs = monotone ? monotoneNeighbours : neighbours;
		const rate = monotone ? 1.25 : 1.25 / 2;
		const request = { epsilon: 1.25, sensitivity: 1, monotone };

		it(`bounds the exponential mechanism's outputs, ${monotone ? "monotone" : "general"} scores`, () => {
			const { event } = exponentialMechanism(request);
			for (const [one, other] of pairs) {
				const [p, q] = [one, other].map((scores) => exponentialLaw(scores, rate)) as [number[], number[]];
				for (const epsilon of EPSILONS) {
					expect(hockeyStick(p, q, epsilon)).toBeLessThanOrEqual(deltaBounds(event, epsilon).upper);
				}
			}
		});

		it(`bounds permute-and-flip's outputs, ${monotone ? "monotone" : "general"} scores`, () => {
			const { event } = permuteAndFlip(request);
			for (const [one, other] of pairs) {
				const [p, q] = [one, other].map((scores) => permuteAndFlipLaw(scores, rate)) as [number[], number[]];
				for (const epsilon of EPSILONS) {
					expect(hockeyStick(p, q, epsilon)).toBeLessThanOrEqual(deltaBounds(event, epsilon).upper);
				}
			}
		});
	}

	it("is the noise on a grid itself, for every neighbour within the steps, and near it for the farthest", () => {
		const laplace = gridLaplace({ sensitivity: 1, epsilon: 0.8 });
		const gaussian = gridGaussian({ sensitivity: 1, noiseMultiplier: 1.5 });
		for (const mechanism of [laplace, gaussian]) {
			const { event } = mechanism;
			const law =
				event.kind === "discreteLaplace"
					? discreteLaplaceMoments(event.scale)
					: event.kind === "discreteGaussian"
						? discreteGaussianMoments(event.sigma ** 2)
						: undefined;
			if (law === undefined || !("sensitivity" in event)) throw new Error(event.kind);
			const size = law.pmf.length - 1;
			const shifted = (shift: number) =>
				Array.from({ length: 2 * size }, (_, i) => law.pmf[Math.abs(i - size - shift)] ?? 0);
			const base = shifted(0);
			for (const epsilon of [0.2, 0.6]) {
				const { upper } = deltaBounds(event, epsilon);
				for (const steps of [1, event.sensitivity >> 1, event.sensitivity]) {
					expect(hockeyStick(base, shifted(steps), epsilon)).toBeLessThanOrEqual(upper * (1 + 1e-9));
				}
				expect(hockeyStick(base, shifted(event.sensitivity), epsilon) / upper).toBeGreaterThan(0.98);
				expect(hockeyStick(base, shifted(2 * event.sensitivity), epsilon)).toBeGreaterThan(upper);
			}
		}
	});

	it("bounds randomized response", () => {
		const { event, noiseProbability, categories } = randomizedResponse({ epsilon: 1, categories: 4 });
		const answered = (answer: number) =>
			Array.from(
				{ length: categories },
				(_, i) => noiseProbability / categories + (i === answer ? 1 - noiseProbability : 0),
			);
		for (const epsilon of [0, 0.5, 0.9]) {
			const exact = hockeyStick(answered(0), answered(1), epsilon);
			const { upper } = deltaBounds(event, epsilon);
			expect(exact).toBeLessThanOrEqual(upper * (1 + 1e-9));
			expect(exact / upper).toBeGreaterThan(0.98);
		}
	});
});
