/** Mean and variance from noisy counts and sums of deviations. */
import { countEstimate, type Estimate, linearEstimate, type NoiseLaw } from "./estimate.ts";
import { rangeOf } from "./siteVector.ts";
import type { QueryOf } from "./spec.ts";

export interface MomentAnswer<Kind extends "mean" | "variance"> {
	readonly kind: Kind;
	/** Null where the noisy count is too small against its noise for a ratio to mean anything. */
	readonly estimate: Estimate | null;
	readonly records: Estimate;
}

/** Noisy counts below so many of their own standard deviations carry no ratio. */
const LEAST_DEVIATIONS = { mean: 5, variance: 10 };

/**
 * Mean = centre + half-width x S / N. The interval is Fieller's: the values theta for which
 * S - theta N, of standard deviation sigma sqrt(1 + theta^2), is not surprising; it needs no
 * approximation of the ratio's law.
 */
export function meanAnswer(
	spec: QueryOf<"mean">,
	law: NoiseLaw,
	[count, deviations]: readonly [number, number],
): MomentAnswer<"mean"> {
	const records = countEstimate(law, count);
	if (!enough("mean", law, count)) return { kind: "mean", estimate: null, records };
	const { centre, halfWidth } = rangeOf(spec);
	const share = clampUnit(deviations / count);
	const reach = law.deviationsFor95 * law.standardDeviation;
	const [low, high] = fieller(deviations, count, reach);
	const rounding = law.rounding / count;
	const toValue = (ratio: number) => centre + halfWidth * clampUnit(ratio);
	return {
		kind: "mean",
		estimate: {
			value: toValue(share),
			standardError: (halfWidth * law.standardDeviation * Math.sqrt(1 + share * share)) / count,
			interval: [toValue(low - rounding), toValue(high + rounding)],
		},
		records,
	};
}

/** The ends of {theta : |S - theta N| <= reach sqrt(1 + theta^2)}, bounded as |N| > reach. */
function fieller(numerator: number, denominator: number, reach: number): [number, number] {
	const middle = numerator * denominator;
	const spread = reach * Math.sqrt(numerator ** 2 + denominator ** 2 - reach ** 2);
	const divisor = denominator ** 2 - reach ** 2;
	return [(middle - spread) / divisor, (middle + spread) / divisor];
}

/**
 * Variance (of the population, divided by N) = half-width^2 (Q/N - (S/N)^2). Standard error by the
 * delta method: the gradient in (N, S, Q) is (2 m^2 - q, -2 m, 1) / N with m = S/N, q = Q/N.
 */
export function varianceAnswer(
	spec: QueryOf<"variance">,
	law: NoiseLaw,
	[count, deviations, squares]: readonly [number, number, number],
): MomentAnswer<"variance"> {
	const records = countEstimate(law, count);
	if (!enough("variance", law, count)) return { kind: "variance", estimate: null, records };
	const { halfWidth } = rangeOf(spec);
	const unit = halfWidth * halfWidth;
	const mean = clampUnit(deviations / count);
	const meanSquare = Math.max(0, Math.min(1, squares / count));
	const value = Math.max(0, Math.min(1, meanSquare - mean * mean));
	const slope = Math.sqrt((2 * mean * mean - meanSquare) ** 2 + 4 * mean * mean + 1) / count;
	const estimate = linearEstimate(
		law,
		{
			value: unit * value,
			standardError: unit * slope * law.standardDeviation,
			rounding: (unit * law.rounding * (1 + 2 * Math.abs(mean))) / count,
		},
		[0, unit],
	);
	return { kind: "variance", estimate, records };
}

function enough(kind: "mean" | "variance", law: NoiseLaw, count: number): boolean {
	return count >= LEAST_DEVIATIONS[kind] * law.standardDeviation;
}

function clampUnit(value: number): number {
	return Math.max(-1, Math.min(1, value));
}
