/** The least noise of a family that stays within a target: calibration of anything with one knob. */
import { AlthingError } from "../../../crypto/error.ts";
import { epsilonBounds } from "../accounting/accountant.ts";
import type { PrivacyEvent } from "../accounting/events.ts";

const LARGEST = 1e9;

/**
 * Least factor, rounded up, such that the event is within (epsilon, delta); more of it is more noise.
 * @throws AlthingError `privacy.bad_target`, `privacy.unreachable_target`
 */
export function leastScale(target: {
	readonly epsilon: number;
	readonly delta: number;
	readonly eventOf: (factor: number) => PrivacyEvent;
}): number {
	const { epsilon, delta, eventOf } = target;
	if (!(epsilon > 0 && epsilon < Number.POSITIVE_INFINITY)) {
		throw new AlthingError(
			"privacy.bad_target",
			`The target epsilon must be positive and finite, not ${epsilon}.`,
		);
	}
	const enough = (factor: number) => epsilonBounds(eventOf(factor), delta).upper <= epsilon;
	let high = 1;
	while (!enough(high)) {
		high *= 2;
		if (high > LARGEST) {
			throw new AlthingError(
				"privacy.unreachable_target",
				`No amount of noise gives epsilon ${epsilon} at delta ${delta}. Allow more, or release less.`,
				{ epsilon, delta },
			);
		}
	}
	let low = high / 2;
	while (enough(low)) {
		high = low;
		low /= 2;
	}
	while (high > low * (1 + 1e-9)) {
		const middle = Math.sqrt(high * low);
		if (enough(middle)) high = middle;
		else low = middle;
	}
	return high;
}
