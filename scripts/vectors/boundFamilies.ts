/** Families of tight epsilons, noise multipliers and trade-offs, all through what jobs are planned and charged with. */
import { z } from "zod";
import { epsilonBounds } from "../../src/privacy/accounting/accountant.ts";
import { calibrateNoiseMultiplier } from "../../src/privacy/accounting/calibration.ts";
import {
	checkedEvent,
	composed,
	gaussian,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../src/privacy/accounting/events.ts";
import { amplifiedBandedEvent } from "../../src/privacy/accounting/pld/bandedMatrix.ts";
import { gaussianLogDelta, gaussianNoiseMultiplier } from "../../src/privacy/accounting/pld/gaussian.ts";
import { tradeoffFromPld } from "../../src/privacy/accounting/pld/tradeoff.ts";
import { truncatedPoissonEpsilon } from "../../src/privacy/accounting/pld/truncatedPoisson.ts";
import { type Family, type Figures, family } from "./family.ts";
import { libraryRdpEpsilon, rdpEpsilon } from "./renyiFamilies.ts";

const number = z.number();
const delta = number;
const count = number;

/** One kind of mechanism in a heterogeneous composition, with the failure probability beside it. */
const part = z.discriminatedUnion("type", [
	z.strictObject({ type: z.literal("gaussian"), sigma: number, count }),
	z.strictObject({ type: z.literal("poisson_gaussian"), q: number, sigma: number, count }),
	z.strictObject({ type: z.literal("laplace"), scale: number, sensitivity: number.optional(), count }),
	z.strictObject({ type: z.literal("poisson_laplace"), q: number, scale: number, count }),
	z.strictObject({ type: z.literal("discrete_gaussian"), sigma: number, sensitivity: number, count }),
	z.strictObject({ type: z.literal("discrete_laplace"), parameter: number, sensitivity: number, count }),
	z.strictObject({ type: z.literal("epsilon_delta"), epsilon: number, delta, count }),
]);

type Part = z.infer<typeof part>;

function mechanismOf(one: Part): PrivacyEvent {
	switch (one.type) {
		case "gaussian":
			return gaussian(one.sigma);
		case "poisson_gaussian":
			return poissonSampled(one.q, gaussian(one.sigma));
		case "laplace":
			return { kind: "laplace", scale: one.scale / (one.sensitivity ?? 1) };
		case "poisson_laplace":
			return poissonSampled(one.q, { kind: "laplace", scale: one.scale });
		case "discrete_gaussian":
			return { kind: "discreteGaussian", sigma: one.sigma, sensitivity: one.sensitivity };
		case "discrete_laplace":
			return { kind: "discreteLaplace", scale: 1 / one.parameter, sensitivity: one.sensitivity };
		case "epsilon_delta":
			return { kind: "pureDp", epsilon: one.epsilon };
	}
}

/** What is released, and the delta asked at. */
interface Case {
	readonly event: PrivacyEvent;
	readonly delta: number;
	/** Figures of the family besides epsilon. */
	readonly beside?: Figures;
}

/** A family of epsilons; an entry beyond any use may have the library's RDP for its primary figure. */
function epsilonFamily<Shape extends z.ZodRawShape>(
	shape: Shape,
	caseOf: (params: z.infer<z.ZodObject<Shape>>) => Case,
): Family {
	return family(
		shape,
		(params, primary) => {
			const { event, delta: at, beside } = caseOf(params);
			const byRdp = primary.startsWith("epsilon_rdp");
			return { [primary]: epsilon(event, at, byRdp ? rdpEpsilon : tightEpsilon), ...beside };
		},
		(params) => {
			const { event, delta: at } = caseOf(params);
			return { epsilon_rdp_lib: epsilon(event, at, libraryRdpEpsilon) };
		},
	);
}

function epsilon(
	event: PrivacyEvent,
	at: number,
	by: (event: PrivacyEvent, delta: number) => number,
): number {
	return at <= 0 ? Number.POSITIVE_INFINITY : by(checkedEvent(event), at);
}

const tightEpsilon = (event: PrivacyEvent, at: number): number => epsilonBounds(event, at).upper;

export const boundFamilies: Readonly<Record<string, Family>> = {
	dpsgd_poisson_gaussian: epsilonFamily({ q: number, sigma: number, steps: count, delta }, (params) => ({
		event: selfComposed(poissonSampled(params.q, gaussian(params.sigma)), params.steps),
		delta: params.delta,
	})),
	gaussian_epsilon: epsilonFamily({ sigma: number, delta }, (params) => ({
		event: gaussian(params.sigma),
		delta: params.delta,
	})),
	gaussian_composed: epsilonFamily({ sigma: number, count, delta }, (params) => ({
		event: selfComposed(gaussian(params.sigma), params.count),
		delta: params.delta,
	})),
	laplace: epsilonFamily({ scale: number, sensitivity: number, count, delta }, (params) => ({
		event: selfComposed({ kind: "laplace", scale: params.scale / params.sensitivity }, params.count),
		delta: params.delta,
		beside: { epsilon_pure: (params.count * params.sensitivity) / params.scale },
	})),
	poisson_laplace: epsilonFamily({ scale: number, q: number, count, delta }, (params) => ({
		event: selfComposed(poissonSampled(params.q, { kind: "laplace", scale: params.scale }), params.count),
		delta: params.delta,
	})),
	// (epsilon, d)-DP is epsilon-DP that fails altogether with probability d: the failures come off delta first.
	heterogeneous: epsilonFamily({ parts: z.array(part), delta }, (params) => ({
		event: composed(...params.parts.map((one) => selfComposed(mechanismOf(one), one.count))),
		delta: params.parts.reduce(
			(left, one) => (one.type === "epsilon_delta" ? left - one.delta * one.count : left),
			params.delta,
		),
	})),
	discrete_gaussian: epsilonFamily({ sigma: number, sensitivity: number, count, delta }, (params) => ({
		event: selfComposed(
			{ kind: "discreteGaussian", sigma: params.sigma, sensitivity: params.sensitivity },
			params.count,
		),
		delta: params.delta,
		beside: { rho: (params.count * params.sensitivity ** 2) / (2 * params.sigma ** 2) },
	})),
	discrete_laplace: epsilonFamily({ parameter: number, sensitivity: number, count, delta }, (params) => ({
		event: selfComposed(
			{ kind: "discreteLaplace", scale: 1 / params.parameter, sensitivity: params.sensitivity },
			params.count,
		),
		delta: params.delta,
	})),
	permute_and_flip: epsilonFamily({ epsilon: number, count, delta }, (params) => ({
		event: selfComposed({ kind: "permuteAndFlip", epsilon: params.epsilon }, params.count),
		delta: params.delta,
	})),
	pure_dp_composition: epsilonFamily({ epsilon: number, count, delta }, (params) => ({
		event: selfComposed({ kind: "pureDp", epsilon: params.epsilon }, params.count),
		delta: params.delta,
	})),
	amplified_bandmf: epsilonFamily(
		{
			noise_multiplier: number,
			iterations: count,
			bands: count,
			sampling_prob_within_group: number,
			delta,
		},
		(params) => ({
			event: amplifiedBandedEvent({
				noiseMultiplier: params.noise_multiplier,
				iterations: params.iterations,
				bands: params.bands,
				samplingProbability: params.sampling_prob_within_group,
			}),
			delta: params.delta,
		}),
	),
	truncated_poisson: family(
		{ n: count, q: number, max_batch: count, sigma: number, steps: count, delta },
		(params) => ({
			epsilon_pld: truncatedPoissonEpsilon(
				{
					records: params.n,
					samplingProbability: params.q,
					largestBatch: params.max_batch,
					noiseMultiplier: params.sigma,
					steps: params.steps,
				},
				params.delta,
			).upper,
			epsilon_untruncated: tightEpsilon(
				selfComposed(poissonSampled(params.q, gaussian(params.sigma)), params.steps),
				params.delta,
			),
		}),
	),
	tradeoff_from_pld: family({ q: number, sigma: number, steps: count, fpr: z.array(number) }, (params) => ({
		tpr_upper_bound: tradeoffFromPld(
			selfComposed(poissonSampled(params.q, gaussian(params.sigma)), params.steps),
			params.fpr,
		),
	})),
	calibrate_sigma: family({ q: number, steps: count, epsilon: number, delta }, (params) => ({
		sigma_true: calibrateNoiseMultiplier({
			epsilon: params.epsilon,
			delta: params.delta,
			samplingProbability: params.q,
			steps: params.steps,
		}),
	})),
	gaussian_sigma: family({ epsilon: number, delta }, (params) => ({
		sigma: gaussianNoiseMultiplier(params.epsilon, params.delta),
	})),
	gaussian_delta: family({ sigma: number, epsilon: number }, (params) => {
		const logDelta = gaussianLogDelta(params.sigma, params.epsilon);
		return { log_delta: logDelta, delta: Math.exp(logDelta) };
	}),
};
