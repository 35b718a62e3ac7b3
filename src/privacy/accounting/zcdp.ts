/**
 * Zero-concentrated differential privacy: divergence of order a at most rho a, for every a > 1.
 * Composition adds rho. Conversion at the best real order (Canonne, Kamath, Steinke 2020, Prop. 7 and 12);
 * any order gives a valid bound, so an inexact minimum is only less tight.
 */
import { requireDelta, requireEpsilon } from "./rdp.ts";

const SEARCH_STEPS = 100;
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * Least epsilon such that rho-zCDP implies (epsilon, delta)-DP.
 * @param rho >= 0
 * @param delta in (0, 1)
 */
export function zcdpEpsilon(rho: number, delta: number): number {
	requireDelta(delta);
	if (rho === 0 || 2 * Math.log(delta) > Math.log(-Math.expm1(-rho))) return 0;
	return Math.max(
		0,
		leastOverOrders((a) => rho * a + atOrder(a, -Math.log(delta))),
	);
}

/**
 * Least delta such that rho-zCDP implies (epsilon, delta)-DP; 0 if below the smallest double.
 * @param rho >= 0
 * @param epsilon >= 0
 */
export function zcdpDelta(rho: number, epsilon: number): number {
	requireEpsilon(epsilon);
	if (rho === 0) return 0;
	const logDelta = leastOverOrders((a) => (a - 1) * (rho * a - epsilon + atOrder(a, 0)));
	return Math.min(Math.sqrt(-Math.expm1(-rho)), Math.exp(Math.min(0, logDelta)));
}

/**
 * Largest rho that implies (epsilon, delta)-DP.
 * @param epsilon > 0
 * @param delta in (0, 1)
 */
export function zcdpRho(epsilon: number, delta: number): number {
	requireDelta(delta);
	requireEpsilon(epsilon);
	return Math.max(0, -leastOverOrders((a) => (atOrder(a, -Math.log(delta)) - epsilon) / a));
}

/** What the conversion at order a adds to the divergence: (log(1/delta) + (a-1) log(1 - 1/a) - log a) / (a-1). */
function atOrder(a: number, logInverseDelta: number): number {
	return Math.log1p(-1 / a) + (logInverseDelta - Math.log(a)) / (a - 1);
}

/** Golden-section search over log(a - 1); the functions above have one valley only. */
function leastOverOrders(value: (order: number) => number): number {
	const at = (logDown: number): number => value(1 + Math.exp(logDown));
	let low = Math.log(1e-10);
	let high = Math.log(1e15);
	let left = high - GOLDEN * (high - low);
	let right = low + GOLDEN * (high - low);
	let atLeft = at(left);
	let atRight = at(right);
	for (let step = 0; step < SEARCH_STEPS; step++) {
		if (atLeft <= atRight) {
			high = right;
			right = left;
			atRight = atLeft;
			left = high - GOLDEN * (high - low);
			atLeft = at(left);
		} else {
			low = left;
			left = right;
			atLeft = atRight;
			right = low + GOLDEN * (high - low);
			atRight = at(right);
		}
	}
	return Math.min(atLeft, atRight);
}
