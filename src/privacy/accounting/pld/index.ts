/**
 * The privacy-loss-distribution accountant: bounds on epsilon and delta from both sides, tight to a few
 * parts in ten thousand, for every event with a proven dominating pair. README.md has the mathematics.
 *
 *     const { lower, upper } = pldEpsilon(selfComposed(poissonSampled(0.01, gaussian(1)), 1000), 1e-6);
 */
import { AlthingError } from "../../../../crypto/error.ts";
import type { Adjacency } from "../adjacency.ts";
import type { PrivacyEvent } from "../events.ts";
import { composedBounds, type PldBounds, type Precision } from "./composition.ts";
import {
	gaussianEpsilon,
	gaussianLogDelta,
	sampledGaussianEpsilon,
	sampledGaussianLogDelta,
} from "./gaussian.ts";
import { countedPairs } from "./mechanisms.ts";

export type { PldBounds } from "./composition.ts";

export interface PldOptions extends Precision {
	/** Default `addRemove`. */
	readonly adjacency?: Adjacency;
}

/**
 * Bounds on the least epsilon >= 0 with which the event is (epsilon, delta)-DP.
 * @param delta in (0, 1)
 * @throws AlthingError `privacy.bad_delta`, `privacy.unsupported_event` where no dominating pair is proven
 */
export function pldEpsilon(event: PrivacyEvent, delta: number, options: PldOptions = {}): PldBounds {
	if (!(delta > 0 && delta < 1)) {
		throw new AlthingError("privacy.bad_delta", `Delta must be strictly between 0 and 1, not ${delta}.`, {
			delta,
		});
	}
	const pairs = countedPairs(event, options.adjacency ?? "addRemove");
	if (pairs.kind === "nothing") return { lower: 0, upper: 0 };
	if (pairs.kind === "gaussian") return exactly(gaussianEpsilon(pairs.noiseMultiplier, delta));
	if (pairs.kind === "sampledGaussian") {
		return exactly(sampledGaussianEpsilon(pairs.samplingProbability, pairs.noiseMultiplier, delta));
	}
	return composedBounds(pairs.pairs, { delta }, options);
}

/**
 * Bounds on the least delta with which the event is (epsilon, delta)-DP.
 * @param epsilon >= 0
 * @throws AlthingError `privacy.bad_epsilon`, `privacy.unsupported_event` where no dominating pair is proven
 */
export function pldDelta(event: PrivacyEvent, epsilon: number, options: PldOptions = {}): PldBounds {
	if (!(epsilon >= 0 && epsilon < Number.POSITIVE_INFINITY)) {
		throw new AlthingError("privacy.bad_epsilon", `Epsilon must be at least 0 and finite, not ${epsilon}.`, {
			epsilon,
		});
	}
	const pairs = countedPairs(event, options.adjacency ?? "addRemove");
	if (pairs.kind === "nothing") return { lower: 0, upper: 0 };
	if (pairs.kind === "gaussian") return exactly(Math.exp(gaussianLogDelta(pairs.noiseMultiplier, epsilon)));
	if (pairs.kind === "sampledGaussian") {
		return exactly(
			Math.exp(sampledGaussianLogDelta(pairs.samplingProbability, pairs.noiseMultiplier, epsilon)),
		);
	}
	return composedBounds(pairs.pairs, { epsilon }, options);
}

/** A closed form, with its rounding: the functions behind it are good to 1e-12. */
function exactly(value: number): PldBounds {
	return { lower: value * (1 - 1e-11), upper: value * (1 + 1e-11) };
}
