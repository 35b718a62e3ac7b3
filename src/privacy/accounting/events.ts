/**
 * What a mechanism did to one record, as data: the only thing an accountant accepts.
 *
 * Adjacency is add-or-remove one record. Vocabulary after dp_accounting's DpEvent tree
 * (google/differential-privacy, dp_event.py).
 */
import { z } from "zod";
import { AlthingError } from "../../../crypto/error.ts";

/** Gaussian noise (continuous, or discrete on the integers) of standard deviation noiseMultiplier x L2 sensitivity. */
export interface GaussianEvent {
	readonly kind: "gaussian";
	readonly noiseMultiplier: number;
}

/** `event` run on a batch into which every record entered independently, in secret, with `samplingProbability`. */
export interface PoissonSampledEvent {
	readonly kind: "poissonSampled";
	readonly samplingProbability: number;
	readonly event: PrivacyEvent;
}

/** `event` run `count` times. */
export interface SelfComposedEvent {
	readonly kind: "selfComposed";
	readonly event: PrivacyEvent;
	readonly count: number;
}

/** All of `events`, on the same records. An empty list releases nothing. */
export interface ComposedEvent {
	readonly kind: "composed";
	readonly events: readonly PrivacyEvent[];
}

export type PrivacyEvent = GaussianEvent | PoissonSampledEvent | SelfComposedEvent | ComposedEvent;

/** The decoded shape of an event; refuses what no accountant here can bound (no noise, more than one level of sampling). */
export const privacyEventSchema: z.ZodType<PrivacyEvent> = z.lazy(() =>
	z.union([
		gaussianSchema,
		z.strictObject({
			kind: z.literal("poissonSampled"),
			samplingProbability: z.number().gt(0).lte(1),
			event: gaussianSchema,
		}),
		z.strictObject({
			kind: z.literal("selfComposed"),
			event: privacyEventSchema,
			count: z.int().gte(0),
		}),
		z.strictObject({ kind: z.literal("composed"), events: z.array(privacyEventSchema) }),
	]),
);

const gaussianSchema = z.strictObject({
	kind: z.literal("gaussian"),
	noiseMultiplier: z.number().positive(),
});

/**
 * @param noiseMultiplier standard deviation of the noise over the L2 sensitivity, > 0 and finite
 * @throws AlthingError `privacy.bad_event` otherwise (zero noise is never an event)
 */
export function gaussian(noiseMultiplier: number): GaussianEvent {
	if (!(noiseMultiplier > 0 && noiseMultiplier < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_event",
			`A Gaussian mechanism needs a positive, finite noise multiplier, not ${noiseMultiplier}.`,
			{ noiseMultiplier },
		);
	}
	return { kind: "gaussian", noiseMultiplier };
}

/**
 * @param samplingProbability in (0, 1]
 * @throws AlthingError `privacy.bad_event` for a probability outside the range
 */
export function poissonSampled(samplingProbability: number, event: PrivacyEvent): PoissonSampledEvent {
	if (!(samplingProbability > 0 && samplingProbability <= 1)) {
		throw new AlthingError(
			"privacy.bad_event",
			`The sampling probability must be in (0, 1], not ${samplingProbability}.`,
			{ samplingProbability },
		);
	}
	return { kind: "poissonSampled", samplingProbability, event };
}

/**
 * @param count how often, an integer >= 0
 * @throws AlthingError `privacy.bad_event` for any other count
 */
export function selfComposed(event: PrivacyEvent, count: number): SelfComposedEvent {
	if (!Number.isSafeInteger(count) || count < 0) {
		throw new AlthingError(
			"privacy.bad_event",
			`An event is composed a whole number of times, not ${count}.`,
			{ count },
		);
	}
	return { kind: "selfComposed", event, count };
}

/** All the events, one after the other, each may depend on the outputs before it. */
export function composed(...events: readonly PrivacyEvent[]): ComposedEvent {
	return { kind: "composed", events };
}
