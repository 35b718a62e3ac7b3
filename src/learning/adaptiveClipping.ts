/**
 * The clipping norm that follows a quantile of the gradients' norms (Andrew, Thakkar, McMahan,
 * Ramaswamy 2021, arXiv:1905.03871): after each round it moves geometrically towards the norm that
 * `targetQuantile` of the examples stay within. It is computed from the released, noised count
 * alone, so it is public and costs nothing beyond that count.
 *
 * Exactly rounded operations only: every node must reach the same bits.
 */

export interface AdaptiveClippingSettings {
	/** Share of the examples that should be within the norm, in (0, 1). */
	readonly targetQuantile: number;
	/** eta, largest |change| of log C in one round, in (0, 1]. */
	readonly rate: number;
	readonly initialNorm: number;
}

/** The norm stays within this factor of the initial one. */
const LARGEST_CHANGE = 2 ** 20;

/**
 * C exp(-eta (b - gamma)), b clamped to [0, 1].
 * @param norm C, > 0
 * @param withinShare b, the noised estimate of the share of examples within C
 */
export function nextClippingNorm(
	settings: AdaptiveClippingSettings,
	norm: number,
	withinShare: number,
): number {
	const { targetQuantile, rate, initialNorm } = settings;
	const share = Math.min(1, Math.max(0, withinShare));
	const next = norm * exponential(-rate * (share - targetQuantile));
	return Math.min(initialNorm * LARGEST_CHANGE, Math.max(initialNorm / LARGEST_CHANGE, next));
}

/** exp on [-1, 1] to 1e-15 by its series: Math.exp is not exactly rounded, and engines differ in its last bits. */
function exponential(x: number): number {
	let sum = 1;
	for (let k = 20; k >= 1; k--) sum = 1 + (x / k) * sum;
	return sum;
}
