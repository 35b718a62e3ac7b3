/**
 * Tails of the binomial distribution with relative accuracy, however small: what every
 * confidence bound of an audit rests on.
 *
 * The success probability is given by its log-odds, log(p / (1 - p)), so that p and 1 - p are
 * both accurate near their ends.
 */

const HALF_LOG_TAU = 0.5 * Math.log(2 * Math.PI);

/** log n! less Stirling's leading terms; exact factorials below 16, the series above (error below 1e-16). */
function stirlingError(n: number): number {
	if (n < 16) {
		if (n === 0) return 0;
		let factorial = 1;
		for (let i = 2; i <= n; i++) factorial *= i;
		return Math.log(factorial) - (n + 0.5) * Math.log(n) + n - HALF_LOG_TAU;
	}
	const square = n * n;
	return (1 / 12 - (1 / 360 - (1 / 1260 - (1 / 1680 - 1 / 1188 / square) / square) / square) / square) / n;
}

/** x log(x / mean) + mean - x without cancellation near x = mean (Loader 2000). */
function deviance(x: number, mean: number): number {
	if (Math.abs(x - mean) < 0.1 * (x + mean)) {
		const v = (x - mean) / (x + mean);
		let sum = (x - mean) * v;
		let term = 2 * x * v;
		for (let j = 1; ; j++) {
			term *= v * v;
			const next = sum + term / (2 * j + 1);
			if (next === sum) return next;
			sum = next;
		}
	}
	return x * Math.log(x / mean) + mean - x;
}

/**
 * log P[X = k] for X ~ Bin(n, p), by Loader's saddle-point expansion (relative error near 1e-14).
 * @param k an integer in [0, n]
 */
export function logBinomialMass(k: number, n: number, logOdds: number): number {
	const logP = -Math.log1p(Math.exp(-logOdds));
	const logNotP = -Math.log1p(Math.exp(logOdds));
	if (k === 0) return n * logNotP;
	if (k === n) return n * logP;
	return (
		stirlingError(n) -
		stirlingError(k) -
		stirlingError(n - k) -
		deviance(k, n * Math.exp(logP)) -
		deviance(n - k, n * Math.exp(logNotP)) -
		HALF_LOG_TAU -
		0.5 * (Math.log(k) + Math.log1p(-k / n))
	);
}

/** log P[X >= k], X ~ Bin(n, p). @param k any integer */
export function logBinomialUpperTail(k: number, n: number, logOdds: number): number {
	if (k <= 0) return 0;
	if (k > n) return Number.NEGATIVE_INFINITY;
	const mean = n / (1 + Math.exp(-logOdds));
	if (k > mean) return summedTail(k, n, logOdds);
	return Math.log1p(-Math.exp(summedTail(n - k + 1, n, -logOdds)));
}

/** log P[X <= k], X ~ Bin(n, p). @param k any integer */
export function logBinomialLowerTail(k: number, n: number, logOdds: number): number {
	return logBinomialUpperTail(n - k, n, -logOdds);
}

/** The upper tail summed outwards from k above the mean, where the terms fall. */
function summedTail(k: number, n: number, logOdds: number): number {
	if (k > n) return Number.NEGATIVE_INFINITY;
	const odds = Math.exp(logOdds);
	let term = 1;
	let sum = 1;
	for (let j = k; j < n; j++) {
		term *= ((n - j) / (j + 1)) * odds;
		sum += term;
		if (term < 1e-17 * sum) break;
	}
	return Math.min(0, logBinomialMass(k, n, logOdds) + Math.log(sum));
}
