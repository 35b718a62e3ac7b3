/** The scores that selection mechanisms accept, and the rates that follow from epsilon. */
import { AlthingError } from "../../../crypto/error.ts";
import { exactFraction, type Rational } from "../samplers/rational.ts";

/** How one record may change the scores. */
export interface SelectionRequest {
	/** Of one selection, > 0. */
	readonly epsilon: number;
	/** A whole number >= 1 that no score changes by more than between neighbours. */
	readonly sensitivity: number;
	/** True only if an added record never lowers any score, as with counts: half the noise is enough then. */
	readonly monotone: boolean;
}

/**
 * The rate eta of exp(eta score): epsilon / (2 sensitivity), or epsilon / sensitivity for monotone
 * scores; the double epsilon is taken as the exact fraction it is.
 * @throws AlthingError `privacy.bad_epsilon`, `privacy.bad_sensitivity`
 */
export function selectionRate({ epsilon, sensitivity, monotone }: SelectionRequest): Rational {
	requireEpsilon(epsilon);
	requireSensitivity(sensitivity);
	const { numerator, denominator } = exactFraction(epsilon);
	return { numerator, denominator: denominator * BigInt(sensitivity) * (monotone ? 1n : 2n) };
}

/** @throws AlthingError `privacy.bad_epsilon` unless 0 < epsilon < infinity */
export function requireEpsilon(epsilon: number): void {
	if (epsilon > 0 && epsilon < Number.POSITIVE_INFINITY) return;
	throw new AlthingError("privacy.bad_epsilon", `Epsilon must be positive and finite, not ${epsilon}.`, {
		epsilon,
	});
}

/** @throws AlthingError `privacy.bad_sensitivity` unless a whole number from 1 to 2^52 */
export function requireSensitivity(sensitivity: number): void {
	if (Number.isSafeInteger(sensitivity) && sensitivity >= 1 && sensitivity <= 2 ** 52) return;
	throw new AlthingError(
		"privacy.bad_sensitivity",
		`The sensitivity of whole-numbered scores must be a whole number from 1 upwards, not ${sensitivity}.`,
		{ sensitivity },
	);
}

/**
 * Each score's distance to the largest.
 *
 * Scores are whole numbers because a floating-point score's sensitivity is not what its formula
 * says (Casacuberta et al. 2022). That they are is a matter of how they were computed, not of the
 * records, so an error here tells nothing of them.
 * @throws AlthingError `privacy.bad_scores`
 */
export function gapsOf(scores: ArrayLike<number>): Float64Array {
	let largest = Number.NEGATIVE_INFINITY;
	for (let i = 0; i < scores.length; i++) {
		const score = scores[i]!;
		if (!Number.isSafeInteger(score) || Math.abs(score) > 2 ** 51) {
			throw new AlthingError(
				"privacy.bad_scores",
				"Scores must be whole numbers of at most 2^51. Round them to a public grid and state the sensitivity on that grid.",
			);
		}
		if (score > largest) largest = score;
	}
	if (scores.length === 0) {
		throw new AlthingError(
			"privacy.bad_scores",
			"There is nothing to select from: the list of scores is empty.",
		);
	}
	return Float64Array.from({ length: scores.length }, (_, i) => largest - scores[i]!);
}
