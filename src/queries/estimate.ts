/** A number from a noisy release, with what the noise alone makes of it: its law is public, so this is post-processing. */

/** 97.5 % quantile of the standard normal distribution. */
export const NORMAL_97_5 = 1.959963984540054;

export interface Estimate {
	readonly value: number;
	/** Standard deviation of the noise in `value`. */
	readonly standardError: number;
	/** 95 % interval for the answer on the records themselves. */
	readonly interval: readonly [low: number, high: number];
}

/**
 * @param rounding bound on what deterministic rounding adds, in units of the value
 * @param least the true answer is known to be at least that
 */
export function normalEstimate(
	value: number,
	standardError: number,
	rounding = 0,
	least = Number.NEGATIVE_INFINITY,
): Estimate {
	const reach = NORMAL_97_5 * standardError + rounding;
	return {
		value,
		standardError,
		interval: [Math.max(least, value - reach), Math.max(least, value + reach)],
	};
}
