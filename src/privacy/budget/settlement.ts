/** Which charges a decided round settles. */
import type { ChargeView } from "./charges.ts";

/**
 * Ends the id of a charge that later rounds rely on, such as that of correlated noise: it pays for
 * their releases, too, so no Dead certificate for its own round takes it back.
 */
export const STANDING = "/standing";

export function isStanding({ chargeId }: { readonly chargeId: string }): boolean {
	return chargeId.endsWith(STANDING);
}

/**
 * The charges that paid for this site's part in a released sum, one for each part of each data
 * set, and beside it the standing one, if any. Where a crash made the site charge an attempt
 * twice, the later one is what it sent last; the other stays held for good, wasted.
 * @param charges of the round, in the order in which they were made
 * @param attempt the one whose sum was opened
 */
export function chargesReleased(charges: readonly ChargeView[], attempt: number): readonly ChargeView[] {
	const released = new Map<string, ChargeView>();
	const settled = new Set<string>();
	for (const charge of charges) {
		const part = partOf(charge);
		if (charge.state === "released") settled.add(part);
		else if (charge.liveAttempts.includes(attempt)) released.set(part, charge);
	}
	return [...released].filter(([part]) => !settled.has(part)).map(([, charge]) => charge);
}

/** The charges of a round that a Dead certificate for `attempt` takes that attempt back from. */
export function chargesBuried(charges: readonly ChargeView[], attempt: number): readonly ChargeView[] {
	return charges.filter(
		(charge) => charge.state === "held" && charge.liveAttempts.includes(attempt) && !isStanding(charge),
	);
}

/** What a round is charged for once: a part of a data set, apart from what stands for later rounds. */
export function partOf(charge: ChargeView): string {
	return `${charge.dataset} (${charge.partition}${isStanding(charge) ? ", standing" : ""})`;
}
