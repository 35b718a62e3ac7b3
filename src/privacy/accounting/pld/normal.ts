/**
 * Tails of the standard normal distribution, accurate relative to themselves: a tail of 1e-300 has as
 * many right digits as one of 0.1. Differences of `1 - cdf` would have none.
 */

const SQRT2 = Math.SQRT2;
const HALF_LOG_2PI = 0.5 * Math.log(2 * Math.PI);

// Rational minimax approximations of W. J. Cody, "Rational Chebyshev approximations for the error
// function", Math. Comp. 23 (1969): erfc from 0.46875 to 4 and beyond.
const MIDDLE_NUMERATOR = [
	0.5641884969886701, 8.883149794388377, 66.11919063714163, 298.6351381974001, 881.952221241769,
	1712.0476126340707, 2051.0783778260716, 1230.3393547979972, 2.1531153547440383e-8,
];
const MIDDLE_DENOMINATOR = [
	15.744926110709835, 117.6939508913125, 537.1811018620099, 1621.3895745666903, 3290.7992357334597,
	4362.619090143247, 3439.3676741437216, 1230.3393548037495,
];
const FAR_NUMERATOR = [
	0.30532663496123236, 0.36034489994980445, 0.12578172611122926, 0.016083785148742275, 0.0006587491615298378,
	0.016315387137302097,
];
const FAR_DENOMINATOR = [
	2.568520192289822, 1.8729528499234673, 0.5279051029514285, 0.06051834131244132, 0.0023352049762686918,
];
const INVERSE_SQRT_PI = 0.5641895835477563;

/** Complementary error function; relative error below 1e-15 until it underflows (x > 26.5: 0). */
function erfc(x: number): number {
	const y = Math.abs(x);
	if (y <= 0.46875) {
		// Taylor's series of erf: the 14th term is below 1e-17 of the first.
		const square = y * y;
		let sum = 0;
		for (let n = 13; n >= 0; n--) sum = 1 / (2 * n + 1) - (square / (n + 1)) * sum;
		return 1 - 2 * INVERSE_SQRT_PI * x * sum;
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
