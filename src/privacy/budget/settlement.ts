/** Which charges a decided round settles. */
import type { ChargeView } from "./charges.ts";

/**
 * The charges that paid for this site's part in a released sum, one for each part of each data
 * set. Where a crash made the site charge an attempt twice, the later one is what it sent last;
 * the other stays held for good, wasted.
 * @param charges of the round, in the order in which they were made
 * @param attempt the one whose sum was opened
 */
export function chargesReleased(charges: readonly ChargeView[], attempt: number): readonly ChargeView[] {
	const released = new Map<string, ChargeView>();
	const settled = new Set<string>();
	for (const charge of charges) {
		const part = `${charge.dataset}/${charge.partition}`;
		if (charge.state === "released") settled.add(part);
		else if (charge.liveAttempts.includes(attempt)) released.set(part, charge);
	}
	return [...released].filter(([part]) => !settled.has(part)).map(([, charge]) => charge);
}

/** The charges of a round that a Dead certificate for `attempt` takes that attempt back from. */
export function chargesBuried(charges: readonly ChargeView[], attempt: number): readonly ChargeView[] {
	return charges.filter(({ state, liveAttempts }) => state === "held" && liveAttempts.includes(attempt));
}
