/**
 * Renyi differential privacy of any event: curves over orders, which compose by addition.
 *
 * The fast accountant, and the one behind the adaptive filter. It is a bound, looser than the
 * privacy-loss distribution (`pld/`) where both apply; `accountant.ts` takes the better one.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { Adjacency } from "./adjacency.ts";
import type { PoissonSampledEvent, PrivacyEvent } from "./events.ts";
import { epsilonAtOrders, logDeltaAtOrders } from "./rdp/conversion.ts";
import { mechanismRdp } from "./rdp/mechanisms.ts";
import { poissonSampledRdp } from "./rdp/poissonSampling.ts";
import { repeatAndSelectRdp } from "./rdp/repeatAndSelect.ts";
import { replacingOne } from "./rdp/replaceOne.ts";

/** Consecutive multiples of `unit`. */
function range(first: number, last: number, unit: number): number[] {
	return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * unit);
}

/** The orders at which curves are kept: near 1 for large epsilons, far up for tiny ones and for pure differential privacy. */
export const RDP_ORDERS: readonly number[] = [
	...[1.005, 1.01, 1.02, 1.03, 1.04, 1.06, 1.08],
	...Array.from({ length: 99 }, (_, i) => (11 + i) / 10),
	...range(11, 64, 1),
	...range(33, 64, 2),
	...range(33, 64, 4),
	...[288, 320, 384, 448, 512, 640, 768, 896, 1024, 1536, 2048, 3072, 4096],
];

/** Renyi divergence bound per order, {@link RDP_ORDERS} unless stated otherwise, in both directions of the adjacency. */
export type RdpCurve = Float64Array;

/** Covers the rounding in the moments (relative error under 1e-11), always upwards. */
const ROUNDING = 1 + 1e-10;

/**
 * The RDP curve of an event; composition adds, per order (Mironov 2017, Prop. 1).
 * @throws AlthingError `privacy.unsupported_event` where no bound is known
 */
export function rdpOf(event: PrivacyEvent, adjacency: Adjacency = "addRemove"): RdpCurve {
	return curveOf(event, adjacency, RDP_ORDERS);
}

/** {@link rdpOf} at other orders, ascending, all > 1. */
export function curveOf(event: PrivacyEvent, adjacency: Adjacency, orders: readonly number[]): RdpCurve {
	switch (event.kind) {
		case "poissonSampled":
			return sampledCurve(event, adjacency, orders);
		case "selfComposed": {
			if (event.count === 0) return new Float64Array(orders.length);
			return curveOf(event.event, adjacency, orders).map((value) => value * event.count);
		}
		case "composed": {
			const total = new Float64Array(orders.length);
			for (const part of event.events) {
				const curve = curveOf(part, adjacency, orders);
				for (let i = 0; i < total.length; i++) total[i]! += curve[i]!;
			}
			return total;
		}
		case "repeatAndSelect":
			return repeatAndSelectRdp(curveOf(event.event, adjacency, orders), event, orders).map(
				(value) => value * ROUNDING,
			);
		default: {
			const mechanism = adjacency === "replaceOne" ? replacingOne(event) : event;
			return Float64Array.from(orders, (order) => mechanismRdp(mechanism, order) * ROUNDING);
		}
	}
}

const curveCache = new Map<string, RdpCurve>();
const CURVE_CACHE_SIZE = 256;

function sampledCurve(event: PoissonSampledEvent, adjacency: Adjacency, orders: readonly number[]): RdpCurve {
	if (event.samplingProbability === 1) return curveOf(event.event, adjacency, orders);
	if (adjacency === "replaceOne") {
		throw new AlthingError(
			"privacy.unsupported_event",
			"No Renyi bound is known here for Poisson sampling when one record is replaced. Use the privacy-loss distribution, or add/remove adjacency.",
			{ adjacency },
		);
	}
	const key = orders === RDP_ORDERS ? JSON.stringify(event) : undefined;
	const known = key === undefined ? undefined : curveCache.get(key);
	if (known !== undefined) return known.slice();
	const curve = poissonSampledRdp(event.event, event.samplingProbability, orders).map(
		(value) => value * ROUNDING,
	);
	if (key !== undefined) {
		if (curveCache.size >= CURVE_CACHE_SIZE) curveCache.delete(curveCache.keys().next().value!);
		curveCache.set(key, curve.slice());
	}
	return curve;
}

/** Epsilon at a delta, and the order that gave it. */
export interface EpsilonBound {
	readonly epsilon: number;
	readonly order: number;
}

/**
 * Smallest epsilon over the orders such that the curve implies (epsilon, delta)-DP
 * (`rdp/conversion.ts`), for parameters fixed beforehand.
 * @param delta in (0, 1)
 * @throws AlthingError `privacy.bad_delta` outside the range
 */
export function epsilonFromRdp(
	curve: RdpCurve,
	delta: number,
	orders: readonly number[] = RDP_ORDERS,
): EpsilonBound {
	requireDelta(delta);
	return epsilonAtOrders(curve, Math.log(delta), orders);
}

/** Delta at an epsilon, and the order that gave it. */
export interface DeltaBound {
	readonly delta: number;
	readonly order: number;
}

/**
 * Smallest delta over the orders such that the curve implies (epsilon, delta)-DP: the
 * inverse of {@link epsilonFromRdp}.
 * @param epsilon >= 0
 * @throws AlthingError `privacy.bad_epsilon` outside the range
 */
export function deltaFromRdp(
	curve: RdpCurve,
	epsilon: number,
	orders: readonly number[] = RDP_ORDERS,
): DeltaBound {
	requireEpsilon(epsilon);
	const { logDelta, order } = logDeltaAtOrders(curve, epsilon, orders);
	return { delta: Math.exp(logDelta), order };
}

/** {@link epsilonFromRdp} of an event's curve. */
export function epsilonOf(event: PrivacyEvent, delta: number): number {
	return epsilonFromRdp(rdpOf(event), delta).epsilon;
}

/** @throws AlthingError `privacy.bad_delta` unless delta is in (0, 1) */
export function requireDelta(delta: number): void {
	if (!(delta > 0 && delta < 1)) {
		throw new AlthingError("privacy.bad_delta", `Delta must be strictly between 0 and 1, not ${delta}.`, {
			delta,
		});
	}
}

/** @throws AlthingError `privacy.bad_epsilon` unless epsilon is finite and >= 0 */
export function requireEpsilon(epsilon: number): void {
	if (!(epsilon >= 0 && epsilon < Number.POSITIVE_INFINITY)) {
		throw new AlthingError("privacy.bad_epsilon", `Epsilon must be at least 0 and finite, not ${epsilon}.`, {
			epsilon,
		});
	}
}
