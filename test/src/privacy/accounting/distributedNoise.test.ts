import { describe, expect, it } from "vitest";
import {
	discreteGaussianEncoding,
	distributedDiscreteGaussianEpsilon,
	distributedSkellamEpsilon,
	roundedL2Norm,
} from "../../../../src/privacy/accounting/distributedNoise.ts";
import { vectors } from "../vectors.ts";

interface Common {
	clients: number;
	dim: number;
	l2_clip: number;
	q: number;
	steps: number;
	beta: number;
	delta: number;
}

describe("published accounting of noise in shares", () => {
	it("matches the discrete Gaussian's reference", () => {
		for (const { id, params, expected } of vectors<
			Common & { local_stddev: number; gamma: number },
			{ epsilon: number; l2_inflated: number }
		>("distributed_discrete_gaussian")) {
			const vector = {
				length: params.dim,
				clippingNorm: params.l2_clip,
				granularity: params.gamma,
				beta: params.beta,
			};
			const epsilon = distributedDiscreteGaussianEpsilon(
				vector,
				{ clients: params.clients, localStandardDeviation: params.local_stddev },
				{ samplingProbability: params.q, steps: params.steps },
				params.delta,
			);
			expect(Math.abs(epsilon / expected.epsilon - 1), id).toBeLessThan(1e-12);
			const norm = roundedL2Norm(params.l2_clip / params.gamma, params.dim, params.beta) * params.gamma;
			expect(Math.abs(norm / expected.l2_inflated - 1), id).toBeLessThan(1e-12);
		}
	});

	it("matches the Skellam reference", () => {
		for (const { id, params, expected } of vectors<
			Common & { central_stddev: number; scale: number },
			{ epsilon: number }
		>("distributed_skellam")) {
			const epsilon = distributedSkellamEpsilon(
				{
					length: params.dim,
					clippingNorm: params.l2_clip,
					granularity: 1 / params.scale,
					beta: params.beta,
				},
				params.central_stddev,
				{ samplingProbability: params.q, steps: params.steps },
				params.delta,
			);
			expect(Math.abs(epsilon / expected.epsilon - 1), id).toBeLessThan(1e-12);
		}
	});

	it("charges coarse shares for not adding up to one discrete Gaussian", () => {
		const at = (granularity: number): number =>
			distributedDiscreteGaussianEpsilon(
				{ length: 1000, clippingNorm: 1, granularity, beta: 0 },
				{ clients: 10, localStandardDeviation: 1 },
				{ samplingProbability: 1, steps: 1 },
				1e-6,
			);
		// Shares of 1 integer unit: tau is about 1e-3. Shares of 100: nothing.
		const { l2 } = { l2: roundedL2Norm(1, 1000, 0) };
		const withoutTau = (order: number): number =>
			((order / 2) * (l2 * l2)) / 10 + Math.log1p(-1 / order) - Math.log(1e-6 * order) / (order - 1);
		const best = Math.min(...Array.from({ length: 127 }, (_, i) => withoutTau(i + 2)));
		expect(at(1)).toBeGreaterThan(best * 1.0001);
		expect(at(1)).toBeGreaterThan(at(0.01));
	});

	it("rounds no norm down, and bounds what rounding does to vectors", () => {
		for (const [length, norm] of [
			[16, 3],
			[1000, 50],
		] as const) {
			const coordinate = norm / Math.sqrt(length);
			const worst = Math.sqrt(length) * Math.ceil(coordinate);
			expect(roundedL2Norm(norm, length, 0)).toBeGreaterThanOrEqual(worst);
			expect(roundedL2Norm(norm, length, Math.exp(-0.5))).toBeGreaterThan(norm);
			expect(roundedL2Norm(norm, length, Math.exp(-0.5))).toBeLessThanOrEqual(roundedL2Norm(norm, length, 0));
		}
		for (const [norm, length, beta] of [
			[0, 4, 0.5],
			[1, 0, 0.5],
			[1, 4, 1],
			[1, 4, -0.1],
		] as const) {
			expect(() => roundedL2Norm(norm, length, beta)).toThrow(
				expect.objectContaining({ code: "privacy.bad_event" }),
			);
		}
	});
});

describe("an encoding for a number of bits", () => {
	it("is the reference's, meets the target and fills the ring", () => {
		for (const { params, expected } of vectors<
			Common & { epsilon: number; bits: number; k_stddevs: number },
			{ gamma: number; local_stddev: number }
		>("ddgauss_params")) {
			const target = {
				epsilon: params.epsilon,
				delta: params.delta,
				bits: params.bits,
				clients: params.clients,
				length: params.dim,
				clippingNorm: params.l2_clip,
				samplingProbability: params.q,
				steps: params.steps,
				beta: params.beta,
				windowDeviations: params.k_stddevs,
			};
			const { granularity, localStandardDeviation } = discreteGaussianEncoding(target);
			expect(granularity / expected.gamma).toBeCloseTo(1, 5);
			expect(localStandardDeviation / expected.local_stddev).toBeCloseTo(1, 5);
			const epsilon = distributedDiscreteGaussianEpsilon(
				{ ...target, granularity },
				{ clients: target.clients, localStandardDeviation },
				target,
				target.delta,
			);
			expect(epsilon).toBeLessThanOrEqual(target.epsilon);
			expect(epsilon).toBeGreaterThan(target.epsilon * (1 - 1e-6));
			const variance =
				(target.clippingNorm * target.clients) ** 2 / target.length +
				(granularity ** 2 / 4 + localStandardDeviation ** 2) * target.clients;
			const needed = (2 * target.windowDeviations * Math.sqrt(variance)) / granularity;
			expect(needed).toBeLessThanOrEqual(2 ** target.bits * (1 + 1e-9));
		}
	});

	it("does not exist for too few bits", () => {
		expect(() =>
			discreteGaussianEncoding({
				epsilon: 5,
				delta: 1e-5,
				bits: 3,
				clients: 1000,
				length: 64,
				clippingNorm: 1,
				samplingProbability: 1,
				steps: 1,
				beta: Math.exp(-0.5),
				windowDeviations: 4,
			}),
		).toThrow(expect.objectContaining({ code: "privacy.unreachable_target" }));
	});
});
