/** The best proven figure of all accountants that know an event. */
import type { Adjacency } from "./adjacency.ts";
import type { PrivacyEvent } from "./events.ts";
import { deltaFromRdp, epsilonFromRdp, rdpOf } from "./rdp.ts";

/** What is proven of one figure: it lies in [lower, upper]; `upper` is the guarantee. */
export interface Bounds {
	readonly lower: number;
	readonly upper: number;
	/** The accountant whose bound `upper` is. */
	readonly method: string;
}

/**
 * Epsilon of an event whose parameters were fixed before its data was touched.
 * @param delta in (0, 1)
 * @throws AlthingError `privacy.bad_delta`, `privacy.unsupported_event` where no accountant knows the event
 */
export function epsilonBounds(
	event: PrivacyEvent,
	delta: number,
	adjacency: Adjacency = "addRemove",
): Bounds {
	return { lower: 0, upper: epsilonFromRdp(rdpOf(event, adjacency), delta).epsilon, method: "rdp" };
}

/**
 * Delta of an event whose parameters were fixed before its data was touched.
 * @param epsilon >= 0
 * @throws AlthingError `privacy.bad_epsilon`, `privacy.unsupported_event` where no accountant knows the event
 */
export function deltaBounds(
	event: PrivacyEvent,
	epsilon: number,
	adjacency: Adjacency = "addRemove",
): Bounds {
	return { lower: 0, upper: deltaFromRdp(rdpOf(event, adjacency), epsilon).delta, method: "rdp" };
}
