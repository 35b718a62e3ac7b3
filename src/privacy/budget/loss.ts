/**
 * What was lost, as ledgers add it up: a Renyi curve and the delta charged beside it. Sums are
 * changed in place, for there is one of them for every charge and account above it; all
 * arithmetic rounds up, so that no number of additions understates a loss.
 */
import { RDP_ORDERS, type RdpCurve } from "../accounting/rdp.ts";

export interface Loss {
	readonly curve: RdpCurve;
	/** Delta beyond the accountant's: distances of real samplers to their exact laws. */
	readonly slackDelta: number;
}

/** More than an addition, and a subtraction before it, can lose. */
const UP = 1 + 2 ** -51;

/** A loss that grows. */
export class LossSum implements Loss {
	readonly curve: RdpCurve = new Float64Array(RDP_ORDERS.length);
	slackDelta = 0;

	copy(): LossSum {
		const copy = new LossSum();
		copy.curve.set(this.curve);
		copy.slackDelta = this.slackDelta;
		return copy;
	}

	/** `loss`, `count` times more, on the same records. */
	add(loss: Loss, count = 1): void {
		const { curve } = this;
		const factor = count === 1 ? 1 : count * UP;
		for (let i = 0; i < curve.length; i++) curve[i] = plus(curve[i]!, loss.curve[i]! * factor);
		this.slackDelta = plus(this.slackDelta, loss.slackDelta * factor);
	}

	/**
	 * At least `loss`, at each order: for records that are in this part or in that one, not in both.
	 * @param growth set to how much larger that has made the sum
	 */
	raise(loss: Loss, growth: LossSum): void {
		const { curve } = this;
		for (let i = 0; i < curve.length; i++) {
			growth.curve[i] = difference(loss.curve[i]!, curve[i]!);
			curve[i] = Math.max(curve[i]!, loss.curve[i]!);
		}
		growth.slackDelta = difference(loss.slackDelta, this.slackDelta);
		this.slackDelta = Math.max(this.slackDelta, loss.slackDelta);
	}
}

function plus(a: number, b: number): number {
	return a === 0 ? b : b === 0 ? a : (a + b) * UP;
}

/** How much `to` is above `from`. What was infinite before has not grown. */
function difference(to: number, from: number): number {
	return to > from ? to - from : 0;
}
