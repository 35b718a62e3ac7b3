/** Finds ballots that a member should never have signed together. */
import { type Ballot, slotId } from "../../../protocols/certificate/index.ts";

export type { Ballot };

/** Slots in which the ballots name more than one value. */
export function contradictsForTests(ballots: readonly Ballot[]): string[] {
	const values = new Map<string, Set<string>>();
	for (const { slot, value } of ballots) {
		const id = slotId(slot);
		values.set(id, (values.get(id) ?? new Set()).add(String(value)));
	}
	return [...values].filter(([, known]) => known.size > 1).map(([id]) => id);
}
