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
import { gaussianLogDelta, gaussianNoiseMultiplier } from "../../src/privacy/accounting/pld/gaussian.ts";
import { type Family, family } from "./family.ts";
import { libraryRdpEpsilon, rdpEpsilon } from "./renyiFamilies.ts";

const number = z.number();
const delta = number;
const count = number;

const upper = (event: PrivacyEvent, at: number): number => epsilonBounds(checkedEvent(event), at).upper;

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

/** (epsilon, d)-DP is epsilon-DP that fails altogether with probability d: the failures are taken off delta first. */
function heterogeneousEpsilon(parts: readonly Part[], total: number): number {
	let left = total;
	for (const one of parts) if (one.type === "epsilon_delta") left -= one.delta * one.count;
	if (left <= 0) return Number.POSITIVE_INFINITY;
	return upper(composed(...parts.map((one) => selfComposed(mechanismOf(one), one.count))), left);
}

export const boundFamilies: Readonly<Record<string, Family>> = {
	dpsgd_poisson_gaussian: family(
		{ q: number, sigma: number, steps: number, delta },
		(params, primary) => {
			// Where epsilon is beyond any use the reference has the library's RDP only.
			if (primary === "epsilon_rdp_lib") return { epsilon_rdp_lib: rdpEpsilon(params) };
			const step = poissonSampled(params.q, gaussian(params.sigma));
			return { epsilon_true: upper(selfComposed(step, params.steps), params.delta) };
		},
		(params) => ({ epsilon_rdp_lib: libraryRdpEpsilon(params) }),
	),
	calibrate_sigma: family({ q: number, steps: number, epsilon: number, delta }, (params) => ({
		sigma_true: calibrateNoiseMultiplier({
			epsilon: params.epsilon,
			delta: params.delta,
			samplingProbability: params.q,
			steps: params.steps,
		}),
	})),
	gaussian_epsilon: family({ sigma: number, delta }, (params) => ({
		epsilon: upper(gaussian(params.sigma), params.delta),
	})),
	gaussian_composed: family({ sigma: number, count, delta }, (params) => ({
		epsilon: upper(selfComposed(gaussian(params.sigma), params.count), params.delta),
	})),
	gaussian_sigma: family({ epsilon: number, delta }, (params) => ({
		sigma: gaussianNoiseMultiplier(params.epsilon, params.delta),
	})),
	gaussian_delta: family({ sigma: number, epsilon: number }, (params) => {
		const logDelta = gaussianLogDelta(params.sigma, params.epsilon);
		return { log_delta: logDelta, delta: Math.exp(logDelta) };
	}),
	laplace: family({ scale: number, sensitivity: number, count, delta }, (params) => ({
		epsilon_true: upper(
			selfComposed({ kind: "laplace", scale: params.scale / params.sensitivity }, params.count),
			params.delta,
		),
		epsilon_pure: (params.count * params.sensitivity) / params.scale,
	})),
	poisson_laplace: family({ scale: number, q: number, count, delta }, (params) => ({
		epsilon_true: upper(
			selfComposed(poissonSampled(params.q, { kind: "laplace", scale: params.scale }), params.count),
			params.delta,
		),
	})),
	heterogeneous: family({ parts: z.array(part), delta }, ({ parts, delta: total }) => ({
		epsilon_true: heterogeneousEpsilon(parts, total),
	})),
	discrete_gaussian: family({ sigma: number, sensitivity: number, count, delta }, (params) => ({
		epsilon_true: upper(
			selfComposed(
				{ kind: "discreteGaussian", sigma: params.sigma, sensitivity: params.sensitivity },
				params.count,
			),
			params.delta,
		),
		rho: (params.count * params.sensitivity ** 2) / (2 * params.sigma ** 2),
	})),
	discrete_laplace: family({ parameter: number, sensitivity: number, count, delta }, (params) => ({
		epsilon_true: upper(
			selfComposed(
				{ kind: "discreteLaplace", scale: 1 / params.parameter, sensitivity: params.sensitivity },
				params.count,
			),
			params.delta,
		),
	})),
	permute_and_flip: family({ epsilon: number, count, delta }, (params) => ({
		epsilon_pld: upper(
			selfComposed({ kind: "permuteAndFlip", epsilon: params.epsilon }, params.count),
			params.delta,
		),
	})),
	pure_dp_composition: family({ epsilon: number, count, delta }, (params) => ({
		epsilon_pld: upper(selfComposed({ kind: "pureDp", epsilon: params.epsilon }, params.count), params.delta),
	})),
};
