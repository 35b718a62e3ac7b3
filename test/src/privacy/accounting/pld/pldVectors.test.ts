import { describe, expect, it } from "vitest";
import {
	gaussian,
	type MechanismEvent,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../../../../src/privacy/accounting/events.ts";
import { amplifiedBandedEvent } from "../../../../../src/privacy/accounting/pld/bandedMatrix.ts";
import {
	gaussianEpsilon,
	gaussianLogDelta,
	gaussianNoiseMultiplier,
} from "../../../../../src/privacy/accounting/pld/gaussian.ts";
import { pldEpsilon } from "../../../../../src/privacy/accounting/pld/index.ts";
import { tradeoffFromPld } from "../../../../../src/privacy/accounting/pld/tradeoff.ts";
import { truncatedPoissonEpsilon } from "../../../../../src/privacy/accounting/pld/truncatedPoisson.ts";
import { vectors } from "../../vectors.ts";

/** Slack of conventions.test_rule: a sound accountant is at least truth x (1 - 2e-5). */
const SOUND = 1 - 2e-5;
/** Closer than the 1e-3 that the figures allow. */
const CLOSE = 3e-4;

interface Expected {
	readonly epsilon_true?: number | "inf";
	readonly epsilon_pld?: number;
	readonly epsilon_pld_lib?: number | "inf";
	readonly anchor_below_truth?: boolean;
}

function sampled(q: number, event: MechanismEvent): PrivacyEvent {
	return q === 1 ? event : poissonSampled(q, event);
}

/** Close to the truth, never below it, never above the library; the lower bound never above the truth. */
function judge(id: string, expected: Expected, bounds: { lower: number; upper: number }): void {
	const truth = expected.epsilon_true ?? expected.epsilon_pld;
	if (typeof truth !== "number") throw new Error(`no truth in ${id}`);
	expect(bounds.upper, id).toBeGreaterThanOrEqual(truth * SOUND);
	expect(bounds.upper, id).toBeLessThanOrEqual(truth * (1 + CLOSE) + 1e-6);
	expect(bounds.lower, id).toBeLessThanOrEqual(truth * (1 + 2e-5) + 1e-12);
	expect(bounds.lower, id).toBeGreaterThanOrEqual(truth * (1 - 2e-3) - 1e-6);
	const library = expected.epsilon_pld_lib;
	if (typeof library === "number" && expected.anchor_below_truth !== true) {
		expect(bounds.upper, id).toBeLessThanOrEqual(library * 1.001);
	}
}

interface Params {
	readonly q: number;
	readonly sigma: number;
	readonly steps: number;
	readonly count: number;
	readonly scale: number;
	readonly parameter: number;
	readonly sensitivity: number;
	readonly epsilon: number;
	readonly delta: number;
}

const families: Readonly<Record<string, (params: Params) => PrivacyEvent>> = {
	laplace: (p) => selfComposed({ kind: "laplace", scale: p.scale / p.sensitivity }, p.count),
	poisson_laplace: (p) => selfComposed(sampled(p.q, { kind: "laplace", scale: p.scale }), p.count),
	discrete_gaussian: (p) =>
		selfComposed({ kind: "discreteGaussian", sigma: p.sigma, sensitivity: p.sensitivity }, p.count),
	discrete_laplace: (p) =>
		selfComposed({ kind: "discreteLaplace", scale: 1 / p.parameter, sensitivity: p.sensitivity }, p.count),
	permute_and_flip: (p) => selfComposed({ kind: "permuteAndFlip", epsilon: p.epsilon }, p.count),
	pure_dp_composition: (p) => selfComposed({ kind: "pureDp", epsilon: p.epsilon }, p.count),
};

describe("privacy-loss distributions against the certified figures", () => {
	for (const [family, eventOf] of Object.entries(families)) {
		it(`bounds ${family} from both sides`, () => {
			for (const [i, { id, params, expected }] of vectors<Params, Expected>(family).entries()) {
				if (family === "laplace" && i % 6 !== 0) continue;
				judge(id, expected, pldEpsilon(eventOf(params), params.delta));
			}
		});
	}

	it("bounds DP-SGD from both sides (every sixteenth figure; npm run check:vectors has them all)", () => {
		let compared = 0;
		for (const [i, { id, params, expected }] of vectors<Params, Expected>(
			"dpsgd_poisson_gaussian",
		).entries()) {
			if (i % 16 !== 3 || expected.epsilon_true === undefined) continue;
			judge(
				id,
				expected,
				pldEpsilon(selfComposed(sampled(params.q, gaussian(params.sigma)), params.steps), params.delta),
			);
			compared++;
		}
		expect(compared).toBeGreaterThan(38);
	});

	it("bounds mixtures of mechanisms", () => {
		interface Part {
			readonly type: string;
			readonly q: number;
			readonly sigma: number;
			readonly scale: number;
			readonly count: number;
		}
		let compared = 0;
		for (const { id, params, expected } of vectors<{ parts: Part[]; delta: number }, Expected>(
			"heterogeneous",
		)) {
			if (params.parts.some(({ type }) => type === "epsilon_delta")) continue;
			const events = params.parts.map((part): PrivacyEvent => {
				const one: MechanismEvent =
					part.type === "laplace" ? { kind: "laplace", scale: part.scale } : gaussian(part.sigma);
				return selfComposed(part.type === "poisson_gaussian" ? sampled(part.q, one) : one, part.count);
			});
			judge(id, expected, pldEpsilon({ kind: "composed", events }, params.delta));
			compared++;
		}
		expect(compared).toBeGreaterThanOrEqual(20);
	});

	it("bounds truncated Poisson batches and banded matrices", () => {
		for (const { id, params, expected } of vectors<
			{ n: number; q: number; max_batch: number; sigma: number; steps: number; delta: number },
			Expected
		>("truncated_poisson")) {
			const { n, q, max_batch, sigma, steps, delta } = params;
			const run = {
				records: n,
				samplingProbability: q,
				largestBatch: max_batch,
				noiseMultiplier: sigma,
				steps,
			};
			judge(id, expected, truncatedPoissonEpsilon(run, delta));
		}
		for (const { id, params, expected } of vectors<
			{
				noise_multiplier: number;
				iterations: number;
				bands: number;
				sampling_prob_within_group: number;
				delta: number;
			},
			Expected
		>("amplified_bandmf")) {
			const event = amplifiedBandedEvent({
				noiseMultiplier: params.noise_multiplier,
				iterations: params.iterations,
				bands: params.bands,
				samplingProbability: params.sampling_prob_within_group,
			});
			judge(id, expected, pldEpsilon(event, params.delta));
		}
	});

	it("bounds what an attacker can do", () => {
		for (const { id, params, expected } of vectors<Params & { fpr: number[] }, { tpr_upper_bound: number[] }>(
			"tradeoff_from_pld",
		)) {
			const event = selfComposed(sampled(params.q, gaussian(params.sigma)), params.steps);
			const rates = tradeoffFromPld(event, params.fpr, { tolerance: 1e-3 });
			for (const [i, rate] of rates.entries()) {
				expect(Math.abs(rate / expected.tpr_upper_bound[i]! - 1), id).toBeLessThan(1e-3);
			}
		}
		expect(() => tradeoffFromPld(gaussian(1), [1.1])).toThrow(
			expect.objectContaining({ code: "privacy.bad_rate" }),
		);
	});
});

describe("the Gaussian in closed form", () => {
	it("matches epsilon, delta and noise multiplier to nine digits", () => {
		type Figures = { epsilon: number; sigma: number; log_delta: number };
		type Given = { sigma: number; epsilon: number; delta: number; count: number };
		for (const { id, params, expected, rtol } of vectors<Given, Figures>("gaussian_epsilon")) {
			expect(Math.abs(gaussianEpsilon(params.sigma, params.delta) / expected.epsilon - 1), id).toBeLessThan(
				rtol,
			);
		}
		for (const { id, params, expected, rtol } of vectors<Given, Figures>("gaussian_sigma")) {
			const multiplier = gaussianNoiseMultiplier(params.epsilon, params.delta);
			expect(Math.abs(multiplier / expected.sigma - 1), id).toBeLessThan(rtol);
		}
		for (const { id, params, expected, rtol } of vectors<Given, Figures>("gaussian_delta")) {
			const logDelta = gaussianLogDelta(params.sigma, params.epsilon);
			expect(Math.abs(logDelta / expected.log_delta - 1), id).toBeLessThan(rtol);
		}
		for (const { id, params, expected, rtol } of vectors<Given, Figures>("gaussian_composed")) {
			const { upper } = pldEpsilon(selfComposed(gaussian(params.sigma), params.count), params.delta);
			expect(Math.abs(upper / expected.epsilon - 1), id).toBeLessThan(rtol);
		}
	});
});
