/** A number from a noisy release, with what the noise alone makes of it: its law is public, so this is post-processing. */

/** The law of the noise in each coordinate of a released vector, independent between coordinates. */
export interface NoiseLaw {
	readonly standardDeviation: number;
	/**
	 * Half-width of the 95 % interval of a linear combination, in its standard deviations. Gaussian:
	 * the normal quantile. Laplace: ln(20) / sqrt(2), exact for one coordinate and more than a sum
	 * of several needs (it lies between this and the normal's).
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
		// P[|Z| > t] <= exp(-t^2 / 2).
		tail: (chance) => standardDeviation * Math.sqrt(-2 * Math.log(chance)),
		rounding,
	};
}

/** @param scale b of the discrete Laplace law exp(-|x| / b), in records */
export function laplaceLaw(scale: number, rounding: number): NoiseLaw {
	return {
		standardDeviation: Math.SQRT2 * scale,
		deviationsFor95: Math.log(20) / Math.SQRT2,
		tail: (chance) => -scale * Math.log(chance),
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
