/**
 * Zero-concentrated differential privacy: divergence of order a at most rho a, for every a > 1.
 * Composition adds rho. Conversion at the best real order (Canonne, Kamath, Steinke 2020, Prop. 7 and 12);
 * any order gives a valid bound, so an inexact minimum is only less tight.
 */
import { lowestPoint } from "./goldenSection.ts";
import { requireDelta, requireEpsilon } from "./rdp.ts";

/** Of log(a - 1). A value near the least one differs from it by the square of this. */
const SETTLED = 1e-12;

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

/** Least over the orders a > 1; the functions above have one valley only, in log(a - 1) as well. */
function leastOverOrders(value: (order: number) => number): number {
	return lowestPoint((logDown) => value(1 + Math.exp(logDown)), Math.log(1e-10), Math.log(1e15), SETTLED)
		.value;
}
