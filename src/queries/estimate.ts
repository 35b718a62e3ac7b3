/** A number from a noisy release, with what the noise alone makes of it: its law is public, so this is post-processing. */

/** The law of the noise in each coordinate of a released vector, independent between coordinates. */
export interface NoiseLaw {
	readonly standardDeviation: number;
	/**
	 * Half-width of the 95 % interval of a linear combination, in its standard deviations. Gaussian:
	 * the normal quantile. Laplace: ln(20) / sqrt(2), or more where the law is so narrow that its
	 * being discrete shows; what one coordinate needs, and no less than a sum of several does.
	 */
	readonly deviationsFor95: number;
	/** P[|noise| > this] <= chance, for one coordinate. */
	readonly tail: (chance: number) => number;
	/** Bound on what rounding to integer units adds to a coordinate of values, in records. */
	readonly rounding: number;
}

export interface Estimate {
	readonly value: number;
	/** Standard deviation of the noise in `value`. */
	readonly standardError: number;
	/** 95 % interval for the answer on the records themselves: the noise's part alone, not that of sampling people. */
	readonly interval: readonly [low: number, high: number];
}

/** @param standardDeviation of one coordinate, in records */
export function gaussianLaw(standardDeviation: number, rounding: number): NoiseLaw {
	return {
		standardDeviation,
		deviationsFor95: 1.959963984540054,
		// P[|Z| > t] <= exp(-t^2 / 2). Upwards to sixteenths: every participant computes a federation's
		// answer, and the last bits of a logarithm differ between processors.
		tail: (chance) => standardDeviation * (Math.ceil(16 * Math.sqrt(-2 * Math.log(chance))) / 16),
		rounding,
	};
}

/**
 * @param scale b of the discrete Laplace law exp(-|x| / b), in integer units
 * @param units that one record counts for
 */
export function laplaceLaw(scale: number, units: number, rounding: number): NoiseLaw {
	const decay = Math.exp(-1 / scale);
	const standardDeviation = Math.sqrt(2 * decay) / -Math.expm1(-1 / scale) / units;
	// P[|X| > m] = 2 exp(-(m + 1) / b) / (1 + exp(-1 / b)) for whole m >= 0: the least such m.
	const tail = (chance: number) =>
		Math.max(0, Math.ceil(scale * Math.log(2 / (chance * (1 + decay)))) - 1) / units;
	return {
		standardDeviation,
		deviationsFor95: Math.max(Math.log(20) / Math.SQRT2, tail(0.05) / standardDeviation),
		tail,
		rounding,
	};
}

/** An estimate whose noise is a linear combination, with its bounds where the true answer has any. */
export function linearEstimate(
	law: NoiseLaw,
	terms: { readonly value: number; readonly standardError: number; readonly rounding?: number },
	[least, largest]: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
): Estimate {
	const { value, standardError, rounding = 0 } = terms;
	const reach = law.deviationsFor95 * standardError + rounding;
	const within = (end: number) => Math.max(least, Math.min(largest, end));
	return { value, standardError, interval: [within(value - reach), within(value + reach)] };
}

/** A count of records. */
export function countEstimate(law: NoiseLaw, value: number, terms = 1): Estimate {
	return linearEstimate(law, { value, standardError: law.standardDeviation * Math.sqrt(terms) }, [
		0,
		Number.POSITIVE_INFINITY,
	]);
}
