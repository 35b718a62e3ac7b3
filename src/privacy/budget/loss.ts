/**
 * What was lost, as ledgers add it up: a Renyi curve and the delta charged beside it.
 * All arithmetic rounds up, so that no number of additions understates a loss.
 */
import { RDP_ORDERS, type RdpCurve } from "../accounting/rdp.ts";

export interface Loss {
	readonly curve: RdpCurve;
	/** Delta beyond the accountant's: distances of real samplers to their exact laws. */
	readonly slackDelta: number;
}

/** More than an addition and the subtraction before it can lose. */
const UP = 1 + 2 ** -51;

export const NO_LOSS: Loss = { curve: new Float64Array(RDP_ORDERS.length), slackDelta: 0 };

/** Both on the same records. */
export function both(a: Loss, b: Loss): Loss {
	return {
		curve: a.curve.map((value, i) => add(value, b.curve[i]!)),
		slackDelta: add(a.slackDelta, b.slackDelta),
	};
}

/** Whichever is worse, at each order: for records that are in one of two, not in both. */
export function worse(a: Loss, b: Loss): Loss {
	return {
		curve: a.curve.map((value, i) => Math.max(value, b.curve[i]!)),
		slackDelta: Math.max(a.slackDelta, b.slackDelta),
	};
}

/** `loss`, `count` times on the same records. */
export function times(loss: Loss, count: number): Loss {
	return {
		curve: loss.curve.map((value) => value * count * UP),
		slackDelta: loss.slackDelta * count * UP,
	};
}

/** `total` with one part grown from `before` to `after`. */
export function grown(total: Loss, before: Loss, after: Loss): Loss {
	const step = (sum: number, from: number, to: number): number =>
		// What was infinite before stays so.
		sum === Number.POSITIVE_INFINITY || to === from ? sum : add(sum, to - from);
	return {
		curve: total.curve.map((value, i) => step(value, before.curve[i]!, after.curve[i]!)),
		slackDelta: step(total.slackDelta, before.slackDelta, after.slackDelta),
	};
}

function add(a: number, b: number): number {
	return a === 0 ? b : b === 0 ? a : (a + b) * UP;
}
