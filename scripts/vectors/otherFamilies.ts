/** Families of noise laws, encodings, the matrix mechanism, and audits. */
import { z } from "zod";
import {
	discreteGaussianEncoding,
	distributedDiscreteGaussianEpsilon,
	distributedSkellamEpsilon,
	roundedL2Norm,
} from "../../src/privacy/accounting/distributedNoise.ts";
import {
	inverseCoefficients,
	prefixError,
	squareRootCoefficients,
	toeplitzSensitivitySquared,
} from "../../src/privacy/accounting/matrixMechanism.ts";
import { clopperPearsonUpper } from "../../src/privacy/auditing/clopperPearson.ts";
import { oneRunEpsilonLower, oneRunPValue } from "../../src/privacy/auditing/oneRun.ts";
import { oneRunGaussianEpsilonLower } from "../../src/privacy/auditing/oneRunTradeoff.ts";
import { discreteGaussianMoments, discreteLaplaceMoments } from "../../src/privacy/samplers/moments.ts";
import { type Family, family } from "./family.ts";

const number = z.number();

/** Coefficients shown by the reference. */
const SHOWN = 8;

export const otherFamilies: Readonly<Record<string, Family>> = {
	discrete_gaussian_moments: family({ sigma2: number }, ({ sigma2 }) => {
		const { variance, pmf, fourthMoment } = discreteGaussianMoments(sigma2);
		return { variance, pmf_0_up: [...pmf], kurtosis4: fourthMoment };
	}),
	discrete_laplace_moments: family({ scale: number }, ({ scale }) => {
		const { variance, pmf } = discreteLaplaceMoments(scale);
		return { variance, pmf_0_up: [...pmf], p_zero: pmf[0]! };
	}),
	distributed_discrete_gaussian: family(
		{
			clients: number,
			dim: number,
			l2_clip: number,
			q: number,
			steps: number,
			local_stddev: number,
			gamma: number,
			beta: number,
			delta: number,
		},
		({ clients, dim, l2_clip, q, steps, local_stddev, gamma, beta, delta }) => ({
			epsilon: distributedDiscreteGaussianEpsilon(
				{ length: dim, clippingNorm: l2_clip, granularity: gamma, beta },
				{ clients, localStandardDeviation: local_stddev },
				{ samplingProbability: q, steps },
				delta,
			),
			l2_inflated: gamma * roundedL2Norm(l2_clip / gamma, dim, beta),
		}),
	),
	distributed_skellam: family(
		{
			clients: number,
			dim: number,
			l2_clip: number,
			q: number,
			steps: number,
			central_stddev: number,
			scale: number,
			beta: number,
			delta: number,
		},
		({ dim, l2_clip, q, steps, central_stddev, scale, beta, delta }) => ({
			epsilon: distributedSkellamEpsilon(
				{ length: dim, clippingNorm: l2_clip, granularity: 1 / scale, beta },
				central_stddev,
				{ samplingProbability: q, steps },
				delta,
			),
		}),
	),
	ddgauss_params: family(
		{
			epsilon: number,
			bits: number,
			clients: number,
			dim: number,
			l2_clip: number,
			q: number,
			steps: number,
			delta: number,
			beta: number,
			k_stddevs: number,
		},
		(params) => {
			const { granularity, localStandardDeviation } = discreteGaussianEncoding({
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
			});
			return { gamma: granularity, local_stddev: localStandardDeviation };
		},
	),
	rounded_l2_norm_bound: family(
		{ scaled_l2: number, beta: number, dim: number },
		({ scaled_l2, beta, dim }) => ({
			bound: roundedL2Norm(scaled_l2, dim, beta),
		}),
	),
	toeplitz_mf: family(
		{ n: number, bands: number, min_sep: number, max_participations: number },
		({ n, bands, min_sep, max_participations }) => {
			const coefficients = squareRootCoefficients(bands);
			const participation = { steps: n, minSeparation: min_sep, maxParticipations: max_participations };
			const sensitivitySquared = toeplitzSensitivitySquared(coefficients, participation);
			const error = prefixError(coefficients, n);
			const independent = squareRootCoefficients(1);
			return {
				sensitivity_squared: sensitivitySquared,
				strategy_coefs_first8: [...coefficients.slice(0, SHOWN)],
				noising_coefs_first8: [...inverseCoefficients(coefficients, SHOWN)],
				max_query_error_unit_noise: error.max,
				mean_query_error_unit_noise: error.mean,
				rms_error_times_sensitivity: Math.sqrt(error.mean * sensitivitySquared),
				identity_baseline_rms_times_sens: Math.sqrt(
					prefixError(independent, n).mean * toeplitzSensitivitySquared(independent, participation),
				),
			};
		},
	),
	audit_one_run: family(
		{ canaries: number, guesses: number, correct: number, significance: number, delta: number },
		({ significance, delta, ...guesses }) => ({
			epsilon_lower_one_run: oneRunEpsilonLower(guesses, delta, significance),
			p_value_at_eps_1: oneRunPValue(guesses, 1, delta),
			...(delta === 0
				? {}
				: { epsilon_lower_one_run_fdp: oneRunGaussianEpsilonLower(guesses, delta, significance) }),
		}),
	),
	clopper_pearson_upper: family({ k: number, n: number, significance: number }, ({ k, n, significance }) => ({
		upper: clopperPearsonUpper(k, n, significance),
	})),
};
