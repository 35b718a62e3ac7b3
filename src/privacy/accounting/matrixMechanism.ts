/**
 * Prefix sums released with correlated noise (matrix mechanism, DP-FTRL): what a record's
 * participations cost, and what error is left. Pure figures; nothing here draws noise.
 *
 * The prefix-sum workload A = B C releases C x + z and decodes with B = A C^-1. With z of
 * standard deviation sigma x (largest norm of the change of C x), it costs one Gaussian mechanism
 * of multiplier sigma, whatever the participation pattern, adaptive inputs included (Denisov,
 * McMahan, Rush, Smith, Thakurta 2022, Thm. 2.1).
 */
import { AlthingError } from "../../../crypto/error.ts";

/** How often, and how far apart, one record may enter the sum. */
export interface Participation {
	/** Number of released sums, an integer >= 1. */
	readonly steps: number;
	/** Least distance between two steps a record takes part in, an integer >= 1. */
	readonly minSeparation: number;
	/** Largest number of steps a record takes part in, an integer >= 1. */
	readonly maxParticipations: number;
}

/**
 * The first `bands` coefficients of the square root of the prefix-sum matrix, c_0 = 1,
 * c_k = c_(k-1) (2k - 1) / (2k) (Henzinger, Upadhyay 2023; banded: Kalinin, Lampert 2024).
 * @param bands an integer >= 1; 1 is independent noise
 */
export function squareRootCoefficients(bands: number): Float64Array {
	requireCount("bands", bands);
	const coefficients = new Float64Array(bands);
	coefficients[0] = 1;
	for (let k = 1; k < bands; k++) coefficients[k] = (coefficients[k - 1]! * (2 * k - 1)) / (2 * k);
	return coefficients;
}

/**
 * The first `length` coefficients of the inverse of a lower triangular Toeplitz matrix.
 * @param coefficients of the matrix, the first one not 0; zero beyond its end
 */
export function inverseCoefficients(coefficients: Float64Array, length: number): Float64Array {
	const first = coefficients[0];
	if (first === undefined || first === 0) {
		throw new AlthingError("privacy.bad_matrix", "A Toeplitz matrix needs a first coefficient other than 0.");
	}
	const inverse = new Float64Array(length);
	for (let i = 0; i < length; i++) {
		let sum = i === 0 ? 1 : 0;
		for (let k = 1; k <= Math.min(i, coefficients.length - 1); k++) sum -= coefficients[k]! * inverse[i - k]!;
		inverse[i] = sum / first;
	}
	return inverse;
}

/**
 * Squared norm of the largest change of C x by one record whose every contribution has norm at
 * most 1: all participations as early and as close as allowed, |sum_j C e_(j b)|^2. That pattern is
 * the worst one for coefficients that are nonnegative and do not increase (Kalinin, Lampert 2024, Thm. 2).
 * @throws AlthingError `privacy.bad_matrix` for other coefficients, or a pattern out of range
 */
export function toeplitzSensitivitySquared(coefficients: Float64Array, participation: Participation): number {
	const { steps, minSeparation, maxParticipations } = participation;
	requireCount("steps", steps);
	requireCount("minSeparation", minSeparation);
	requireCount("maxParticipations", maxParticipations);
	for (let k = 0; k < coefficients.length; k++) {
		if (!(coefficients[k]! >= 0 && coefficients[k]! <= (coefficients[k - 1] ?? Number.POSITIVE_INFINITY))) {
			throw new AlthingError(
				"privacy.bad_matrix",
				`The sensitivity is known only for coefficients that are nonnegative and do not increase; coefficient ${k} breaks that.`,
			);
		}
	}
	const participations = Math.min(maxParticipations, Math.ceil(steps / minSeparation));
	let total = 0;
	for (let row = 0; row < steps; row++) {
		let change = 0;
		for (let j = 0; j < participations && j * minSeparation <= row; j++) {
			change += coefficients[row - j * minSeparation] ?? 0;
		}
		total += change * change;
	}
	return total;
}

/** Variance of the released prefix sums per unit of noise variance. */
export interface PrefixError {
	/** Of the last sum, the largest one. */
	readonly max: number;
	/** Over all sums. */
	readonly mean: number;
}

/**
 * What the decoded prefix sums A C^-1 z carry of unit noise z.
 * @param coefficients of C
 * @param steps number of prefix sums, an integer >= 1
 */
export function prefixError(coefficients: Float64Array, steps: number): PrefixError {
	requireCount("steps", steps);
	const inverse = inverseCoefficients(coefficients, steps);
	let entry = 0;
	let variance = 0;
	let sum = 0;
	for (let k = 0; k < steps; k++) {
		entry += inverse[k]!;
		variance += entry * entry;
		sum += variance;
	}
	return { max: variance, mean: sum / steps };
}

/**
 * Levels of the binary tree over `steps` leaves: how many noised nodes one record is in, so that
 * noise of multiplier sigma per node costs rho = levels / (2 sigma^2) a tree (Kairouz, McMahan,
 * Song, Thakkar, Thakurta, Xu 2021, App. D).
 * @param steps leaves, an integer >= 1
 */
export function treeLevels(steps: number): number {
	requireCount("steps", steps);
	let levels = 0;
	for (let reach = 1; reach < steps + 1; reach *= 2) levels++;
	return levels;
}

function requireCount(name: string, value: number): void {
	if (!Number.isSafeInteger(value) || value < 1) {
		throw new AlthingError(
			"privacy.bad_matrix",
			`"${name}" must be an integer from 1 upwards, not ${value}.`,
			{
				[name]: value,
			},
		);
	}
}
