/**
 * What a mechanism did to one record, as data: the only thing an accountant accepts.
 *
 * Parameters are relative to the sensitivity under adding or removing one record; an accountant
 * asked about replacing one record derives that from them. Vocabulary after dp_accounting's
 * DpEvent tree (google/differential-privacy, dp_event.py).
 */
import { z } from "zod";
import { AlthingError } from "../../../crypto/error.ts";

/**
 * Gaussian noise of standard deviation noiseMultiplier x L2 sensitivity. Integer noise is charged
 * as one, too, with the multiplier that `integerNoise.ts` proves for it.
 */
export interface GaussianEvent {
	readonly kind: "gaussian";
	readonly noiseMultiplier: number;
}

/** Laplace noise of scale b = scale x L1 sensitivity: (1 / scale)-DP. */
interface LaplaceEvent {
	readonly kind: "laplace";
	readonly scale: number;
}

/** One integer query of integer sensitivity with noise N_Z(0, sigma^2). */
interface DiscreteGaussianEvent {
	readonly kind: "discreteGaussian";
	/** Parameter of the discrete Gaussian (not its standard deviation), in integer units. */
	readonly sigma: number;
	/** Integer >= 1. */
	readonly sensitivity: number;
}

/** One integer query of integer sensitivity with noise P(k) proportional to exp(-|k| / scale): (sensitivity / scale)-DP. */
export interface DiscreteLaplaceEvent {
	readonly kind: "discreteLaplace";
	/** In integer units. */
	readonly scale: number;
	/** Integer >= 1. */
	readonly sensitivity: number;
}

/** An integer vector with Skellam noise of `variance` per coordinate. */
export interface SkellamEvent {
	readonly kind: "skellam";
	/** Of the noise that counts (the honest survivors'), integer units squared. */
	readonly variance: number;
	readonly l1Sensitivity: number;
	readonly l2Sensitivity: number;
}

/**
 * A categorical answer, replaced by a uniform one of `categories` with `noiseProbability`.
 * The adjacency is that of local privacy whatever is asked: the answer changes to any other one.
 */
interface RandomizedResponseEvent {
	readonly kind: "randomizedResponse";
	/** Integer >= 2. */
	readonly categories: number;
	/** In (0, 1]. */
	readonly noiseProbability: number;
}

/** Any mechanism of which nothing more is known than (epsilon, 0)-DP. */
interface PureDpEvent {
	readonly kind: "pureDp";
	readonly epsilon: number;
}

/** epsilon-bounded range, as the exponential mechanism and report-noisy-max with Gumbel noise (Durfee, Rogers 2019). */
interface BoundedRangeEvent {
	readonly kind: "boundedRange";
	readonly epsilon: number;
}

/** Permute-and-flip (McKenna, Sheldon 2020) at epsilon: dominated by Laplace noise of scale 1 / epsilon. */
interface PermuteAndFlipEvent {
	readonly kind: "permuteAndFlip";
	readonly epsilon: number;
}

/** Any mechanism of which rho-zCDP is known. */
interface ZeroConcentratedEvent {
	readonly kind: "zeroConcentrated";
	readonly rho: number;
}

/** A single mechanism: what can be sampled for. */
export type MechanismEvent =
	| GaussianEvent
	| LaplaceEvent
	| DiscreteGaussianEvent
	| DiscreteLaplaceEvent
	| SkellamEvent
	| RandomizedResponseEvent
	| PureDpEvent
	| BoundedRangeEvent
	| PermuteAndFlipEvent
	| ZeroConcentratedEvent;

/** `event` run on a batch into which every record entered independently, in secret, with `samplingProbability`. */
export interface PoissonSampledEvent {
	readonly kind: "poissonSampled";
	/** In (0, 1]. */
	readonly samplingProbability: number;
	readonly event: MechanismEvent;
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

/**
 * `event` run a random, secret number of times and only the best output released
 * (Papernot, Steinke 2022): K truncated negative binomial with `shape`, or Poisson.
 */
export interface RepeatAndSelectEvent {
	readonly kind: "repeatAndSelect";
	readonly event: PrivacyEvent;
	/** E[K], > 1 for the truncated negative binomial, > 0 for Poisson. */
	readonly meanTrials: number;
	/** eta > -1 (0: logarithmic, 1: geometric), or "poisson". */
	readonly shape: number | "poisson";
}

export type PrivacyEvent =
	| MechanismEvent
	| PoissonSampledEvent
	| SelfComposedEvent
	| ComposedEvent
	| RepeatAndSelectEvent;

const positive = z.number().positive();
const mechanismSchemas = [
	z.strictObject({ kind: z.literal("gaussian"), noiseMultiplier: positive }),
	z.strictObject({ kind: z.literal("laplace"), scale: positive }),
	z.strictObject({ kind: z.literal("discreteGaussian"), sigma: positive, sensitivity: z.int().min(1) }),
	z.strictObject({ kind: z.literal("discreteLaplace"), scale: positive, sensitivity: z.int().min(1) }),
	z.strictObject({
		kind: z.literal("skellam"),
		variance: positive,
		l1Sensitivity: positive,
		l2Sensitivity: positive,
	}),
	z.strictObject({
		kind: z.literal("randomizedResponse"),
		categories: z.int().min(2),
		noiseProbability: z.number().gt(0).lte(1),
	}),
	z.strictObject({ kind: z.literal("pureDp"), epsilon: positive }),
	z.strictObject({ kind: z.literal("boundedRange"), epsilon: positive }),
	z.strictObject({ kind: z.literal("permuteAndFlip"), epsilon: positive }),
	z.strictObject({ kind: z.literal("zeroConcentrated"), rho: positive }),
] as const;

/** The decoded shape of an event; refuses what no accountant here can bound (no noise, more than one level of sampling). */
export const privacyEventSchema: z.ZodType<PrivacyEvent> = z.lazy(() =>
	z.discriminatedUnion("kind", [
		...mechanismSchemas,
		z.strictObject({
			kind: z.literal("poissonSampled"),
			samplingProbability: z.number().gt(0).lte(1),
			event: z.discriminatedUnion("kind", mechanismSchemas),
		}),
		z.strictObject({
			kind: z.literal("selfComposed"),
			event: privacyEventSchema,
			count: z.int().gte(0),
		}),
		z.strictObject({ kind: z.literal("composed"), events: z.array(privacyEventSchema) }),
		z.strictObject({
			kind: z.literal("repeatAndSelect"),
			event: privacyEventSchema,
			meanTrials: positive,
			shape: z.union([z.number().gt(-1), z.literal("poisson")]),
		}),
	]),
);

/**
 * Any event from its parts, checked.
 * @throws AlthingError `privacy.bad_event` naming what is out of range (zero noise is never an event)
 */
export function checkedEvent<Event extends PrivacyEvent>(event: Event): Event {
	const parsed = privacyEventSchema.safeParse(event);
	if (parsed.success) return event;
	const issue = parsed.error.issues[0];
	throw new AlthingError(
		"privacy.bad_event",
		`The privacy event "${event.kind}" is not valid at "${issue?.path.join(".") ?? ""}": ${issue?.message ?? "unknown shape"}.`,
		{ kind: event.kind },
	);
}

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
export function poissonSampled(samplingProbability: number, event: MechanismEvent): PoissonSampledEvent {
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
