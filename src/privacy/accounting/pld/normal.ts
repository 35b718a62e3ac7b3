/**
 * Tails of the standard normal distribution, accurate relative to themselves: a tail of 1e-300 has as
 * many right digits as one of 0.1. Differences of `1 - cdf` would have none.
 */

const SQRT2 = Math.SQRT2;
const HALF_LOG_2PI = 0.5 * Math.log(2 * Math.PI);

// Rational minimax approximations of W. J. Cody, "Rational Chebyshev approximations for the error
// function", Math. Comp. 23 (1969): erf below 0.46875, erfc up to 4, erfc beyond.
const ERF_NUMERATOR = [
	3.1611237438705656, 113.86415415105016, 377.485237685302021, 3209.37757913846947, 0.185777706184603153,
];
const ERF_DENOMINATOR = [23.6012909523441209, 244.024637934444173, 1282.61652607737228, 2844.23683343917062];
const MIDDLE_NUMERATOR = [
	0.564188496988670089, 8.88314979438837594, 66.1191906371416295, 298.635138197400131, 881.95222124176909,
	1712.04761263407058, 2051.07837782607147, 1230.33935479799725, 2.15311535474403846e-8,
];
const MIDDLE_DENOMINATOR = [
	15.7449261107098347, 117.693950891312499, 537.181101862009858, 1621.38957456669019, 3290.79923573345963,
	4362.61909014324716, 3439.36767414372164, 1230.33935480374942,
];
const FAR_NUMERATOR = [
	0.305326634961232344, 0.360344899949804439, 0.125781726111229246, 0.0160837851487422766,
	6.58749161529837803e-4, 0.0163153871373020978,
];
const FAR_DENOMINATOR = [
	2.56852019228982242, 1.87295284992346725, 0.527905102951428412, 0.0605183413124413191,
	0.00233520497626869185,
];
const INVERSE_SQRT_PI = 0.564189583547756287;

/** Complementary error function; relative error below 1e-15 until it underflows (x > 26.5: 0). */
export function erfc(x: number): number {
	const y = Math.abs(x);
	if (y <= 0.46875) {
		const square = y * y;
		let numerator = ERF_NUMERATOR[4]! * square;
		let denominator = square;
		for (let i = 0; i < 3; i++) {
			numerator = (numerator + ERF_NUMERATOR[i]!) * square;
			denominator = (denominator + ERF_DENOMINATOR[i]!) * square;
		}
		return 1 - (x * (numerator + ERF_NUMERATOR[3]!)) / (denominator + ERF_DENOMINATOR[3]!);
	}
	let scaled: number;
	if (y <= 4) {
		let numerator = MIDDLE_NUMERATOR[8]! * y;
		let denominator = y;
		for (let i = 0; i < 7; i++) {
			numerator = (numerator + MIDDLE_NUMERATOR[i]!) * y;
			denominator = (denominator + MIDDLE_DENOMINATOR[i]!) * y;
		}
		scaled = (numerator + MIDDLE_NUMERATOR[7]!) / (denominator + MIDDLE_DENOMINATOR[7]!);
	} else if (y >= 27) {
		return x > 0 ? 0 : 2;
	} else {
		const inverse = 1 / (y * y);
		let numerator = FAR_NUMERATOR[5]! * inverse;
		let denominator = inverse;
		for (let i = 0; i < 4; i++) {
			numerator = (numerator + FAR_NUMERATOR[i]!) * inverse;
			denominator = (denominator + FAR_DENOMINATOR[i]!) * inverse;
		}
		const correction = (inverse * (numerator + FAR_NUMERATOR[4]!)) / (denominator + FAR_DENOMINATOR[4]!);
		scaled = (INVERSE_SQRT_PI - correction) / y;
	}
	// exp(-y^2) in two factors: y^2 rounded would lose y^2 ulp in the exponent.
	const coarse = Math.trunc(y * 16) / 16;
	const tail = Math.exp(-coarse * coarse) * Math.exp(-(y - coarse) * (y + coarse)) * scaled;
	return x > 0 ? tail : 2 - tail;
}

/** P(Z > z), relative accuracy 1e-15 down to 1e-300. */
export function normalTail(z: number): number {
	return 0.5 * erfc(z / SQRT2);
}

/** log P(Z > z) for any z, without underflow. */
export function logNormalTail(z: number): number {
	if (z < -5) return Math.log1p(-normalTail(-z));
	if (z < 20) return Math.log(normalTail(z));
	// Laplace's continued fraction for Mills' ratio; from 20 on, 20 levels are exact to rounding.
	let fraction = z;
	for (let level = 20; level >= 1; level--) fraction = z + level / fraction;
	return -0.5 * z * z - HALF_LOG_2PI - Math.log(fraction);
}

/** The z with log P(Z > z) = logTail, for logTail < log(1/2); to 1e-9, never less than the root by more. */
export function normalQuantileOfLogTail(logTail: number): number {
	let z = Math.sqrt(Math.max(0.5, -2 * logTail));
	for (let i = 0; i < 60; i++) {
		// Newton; the slope of log P(Z > z) is minus the hazard rate, between max(z, 0.8) and z + 1/z.
		const step = (logNormalTail(z) - logTail) / (z + 1 / (z + 2 / (z + 0.5)));
		z += step;
		if (Math.abs(step) < 1e-10) break;
	}
	return z;
}
