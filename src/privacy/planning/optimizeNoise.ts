/**
 * The best training settings within a target: sampling, rounds and noise such that the noise is
 * least beside the signal, and whether a utility limit can be met, or by how much it cannot.
 *
 * The measure: after T rounds the model has moved by the sum of the released mean gradients. Their
 * signal adds up, T g; independent noise z C sqrt(d) / (q n) a round adds up to sqrt(T) of it.
 *
 *     noise-to-signal = z C sqrt(d) / (q n g sqrt(T))
 *
 * with d parameters, n records, clipping norm C, and g(C) the norm of the mean clipped gradient, a
 * public guess (0.1 C to 0.5 C early in training, less where C is far above the gradients).
 * Sampling noise is not in it.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { calibrateNoiseMultiplier } from "../accounting/calibration.ts";
import { gaussianNoiseMultiplier } from "../accounting/pld/gaussian.ts";

export interface TrainingSetting {
	readonly samplingProbability: number;
	readonly steps: number;
	readonly clippingNorm: number;
	readonly noiseMultiplier: number;
	readonly noiseToSignal: number;
}

export interface OptimizationRequest {
	/** Records over all sites, public or a public estimate, >= 1. */
	readonly records: number;
	/** Parameters of the model, >= 1. */
	readonly parameters: number;
	readonly epsilon: number;
	readonly delta: number;
	/** Clipping norms C to choose from, each with its public guess of g(C), 0 < g(C) <= C. */
	readonly clipping: readonly { readonly norm: number; readonly signal: number }[];
	/** Most gradients of single records to be computed over the whole job. */
	readonly largestWork: number;
	/** Sampling probabilities to choose from, each in (0, 1]. */
	readonly samplingProbabilities: readonly number[];
	/** Numbers of rounds to choose from. */
	readonly steps: readonly number[];
	/** The noise-to-signal ratio wanted at most, > 0. */
	readonly utilityLimit: number;
}

export interface Optimization {
	readonly best: TrainingSetting;
	readonly meetsLimit: boolean;
	/** noiseToSignal / utilityLimit of the best setting: above 1, the limit is missed by this factor. */
	readonly excess: number;
	/**
	 * What would meet the limit otherwise, everything else kept: so many records, or this epsilon
	 * (absent where even epsilon 100 would not do).
	 */
	readonly wouldMeet: { readonly records: number; readonly epsilon?: number } | undefined;
}

const LARGEST_EPSILON = 100;

/** @throws AlthingError `privacy.bad_plan` for a request out of range or without a setting within the work */
export function optimizeNoise(request: OptimizationRequest): Optimization {
	requireSound(request);
	const best = promising(request)
		.map(({ samplingProbability, steps }) => settingAt(request, samplingProbability, steps, request.epsilon))
		.reduce((least, setting) => (setting.noiseToSignal < least.noiseToSignal ? setting : least));
	const excess = best.noiseToSignal / request.utilityLimit;
	if (excess <= 1) return { best, meetsLimit: true, excess, wouldMeet: undefined };
	const epsilon = epsilonMeeting(request, best);
	return {
		best,
		meetsLimit: false,
		excess,
		// At fixed sampling and steps the ratio is inversely proportional to the number of records.
		wouldMeet: {
			records: Math.ceil(request.records * excess),
			...(epsilon === undefined ? {} : { epsilon }),
		},
	};
}

/** The settings of the grid that no other beats in both epsilon and noise-to-signal, by rising epsilon. */
export function paretoFrontier(
	request: Omit<OptimizationRequest, "epsilon" | "utilityLimit">,
	epsilons: readonly number[],
): readonly (TrainingSetting & { readonly epsilon: number })[] {
	const frontier: (TrainingSetting & { epsilon: number })[] = [];
	for (const epsilon of [...epsilons].sort((a, b) => a - b)) {
		const { best } = optimizeNoise({ ...request, epsilon, utilityLimit: Number.MAX_VALUE });
		const before = frontier.at(-1);
		if (before === undefined || best.noiseToSignal < before.noiseToSignal)
			frontier.push({ ...best, epsilon });
	}
	return frontier;
}

function candidates(request: OptimizationRequest): { samplingProbability: number; steps: number }[] {
	const { samplingProbabilities, steps, largestWork, records } = request;
	const within = samplingProbabilities.flatMap((samplingProbability) =>
		steps
			.filter((count) => samplingProbability * records * count <= largestWork)
			.map((count) => ({ samplingProbability, steps: count })),
	);
	if (within.length > 0) return within;
	throw new AlthingError(
		"privacy.bad_plan",
		`No combination of sampling and rounds stays within ${largestWork} gradients. Allow more work, or fewer rounds and smaller samples.`,
	);
}

/** Exact calibration takes long, so it is spent on the settings that an estimate finds best. */
const CALIBRATED = 4;

/**
 * The candidates with the least noise-to-signal if the rounds together were Gaussian, with
 * mu^2 = q^2 T (e^(1/z^2) - 1): what many rounds come close to (Dong, Roth, Su 2022, sec. 5).
 */
function promising(request: OptimizationRequest): { samplingProbability: number; steps: number }[] {
	const mu = 1 / gaussianNoiseMultiplier(request.epsilon, request.delta);
	const estimate = ({ samplingProbability, steps }: { samplingProbability: number; steps: number }) => {
		const share = mu / samplingProbability;
		const noiseMultiplier = 1 / Math.sqrt(Math.log1p((share * share) / steps));
		return noiseMultiplier / (samplingProbability * Math.sqrt(steps));
	};
	return candidates(request)
		.toSorted((a, b) => estimate(a) - estimate(b))
		.slice(0, CALIBRATED);
}

function settingAt(
	request: OptimizationRequest,
	samplingProbability: number,
	steps: number,
	epsilon: number,
): TrainingSetting {
	const { delta, parameters, records } = request;
	// Noise scales with C, signal with g(C): nothing else depends on the choice.
	const { norm, signal } = request.clipping.reduce((best, one) =>
		one.signal / one.norm > best.signal / best.norm ? one : best,
	);
	const noiseMultiplier = calibrateNoiseMultiplier({ epsilon, delta, samplingProbability, steps });
	const noiseToSignal =
		(noiseMultiplier * norm * Math.sqrt(parameters)) /
		(samplingProbability * records * signal * Math.sqrt(steps));
	return { samplingProbability, steps, clippingNorm: norm, noiseMultiplier, noiseToSignal };
}

/** Least epsilon, to 1 %, at which the setting's sampling and steps meet the limit. */
function epsilonMeeting(request: OptimizationRequest, best: TrainingSetting): number | undefined {
	const meets = (epsilon: number) =>
		settingAt(request, best.samplingProbability, best.steps, epsilon).noiseToSignal <= request.utilityLimit;
	if (!meets(LARGEST_EPSILON)) return undefined;
	let low = request.epsilon;
	let high = LARGEST_EPSILON;
	while (high > low * 1.01) {
		const middle = Math.sqrt(low * high);
		if (meets(middle)) high = middle;
		else low = middle;
	}
	return high;
}

function requireSound(request: OptimizationRequest): void {
	const { epsilon, delta, records, parameters, clipping, samplingProbabilities, steps, utilityLimit } =
		request;
	const refuse = (why: string): never => {
		throw new AlthingError("privacy.bad_plan", `The noise cannot be optimized: ${why}.`);
	};
	if (!(epsilon > 0 && epsilon < Number.POSITIVE_INFINITY)) refuse("epsilon is positive and finite");
	if (!(delta > 0 && delta < 1)) refuse("delta is strictly between 0 and 1");
	if (!(records >= 1 && parameters >= 1)) refuse("records and parameters are at least 1");
	const sound = ({ norm, signal }: { norm: number; signal: number }) => signal > 0 && signal <= norm;
	if (clipping.length === 0 || !clipping.every(sound)) {
		refuse("every clipping norm has a signal above 0 and at most the norm");
	}
	if (!(utilityLimit > 0)) refuse("the utility limit is positive");
	if (!samplingProbabilities.every((value) => value > 0 && value <= 1)) {
		refuse("sampling probabilities are in (0, 1]");
	}
	if (!steps.every((count) => Number.isSafeInteger(count) && count >= 1)) refuse("rounds are whole numbers");
}
