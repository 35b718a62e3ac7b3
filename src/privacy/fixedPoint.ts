/**
 * Real vectors as integers for the ring Z_2^m that masked sums live in, with headroom that
 * is proven rather than hoped for.
 */
import { AlthingError } from "../../crypto/error.ts";
import {
	isModulusBits,
	LARGEST_MODULUS_BITS,
	LEAST_MODULUS_BITS,
	type ModulusBits,
} from "../../crypto/ringPacking.ts";
import { roundedReach } from "../compression/stochasticRounding.ts";

export interface EncodingRequest {
	/** Number of coordinates d, an integer >= 1. */
	readonly length: number;
	/**
	 * L2 bound C on what one record adds to a site's vector, in real units, > 0. It includes
	 * the slack of the arithmetic that summed the records: where a record's presence can move
	 * the floating-point sum of the others by r (L2), pass C + r.
	 */
	readonly clippingNorm: number;
	/** How coordinates become integers: to the nearest ({@link encode}), or by `roundAtRandom` before that. */
	readonly rounding?: "nearest" | "random" | undefined;
	/**
	 * Encoded vectors that one record enters, if more than one: then clippingNorm bounds its part in all
	 * of them together, and each of them is rounded by itself.
	 */
	readonly roundings?: number | undefined;
	/** Largest number n of sites whose vectors enter one sum, an integer >= 1. */
	readonly maximumContributors: number;
	/** Largest |coordinate| of one site's vector, in clipping norms, > 0; larger ones are clamped to it. */
	readonly perSiteBound: number;
	/**
	 * Standard deviation of the noise of the whole sum when all n sites add their share, in
	 * units of `sensitivity`; absent or 0 for a sum without noise. It is more than the noise
	 * multiplier, because shares are sized for the fewest survivors: see planNoiseShares.
	 */
	readonly largestNoiseMultiplier?: number | undefined;
	/** Fix the modulus instead of taking the least that fits. */
	readonly modulusBits?: ModulusBits | undefined;
	/** Of the largest modulus allowed, all the room there is: the finest scale that fits. */
	readonly finest?: boolean | undefined;
}

/** A pure function of the request: every site derives the same one from the signed job. */
export interface EncodingPlan {
	readonly length: number;
	/** Integer units per real unit; a power of two, so that scaling is exact in floating point. */
	readonly scale: number;
	readonly modulusBits: ModulusBits;
	/** Largest |coordinate| of an encoded vector, in integer units. */
	readonly coordinateBound: number;
	/** L2 sensitivity of an encoded vector to one record, in integer units, rounding included. */
	readonly sensitivity: number;
	/** Upper bound on the probability that any coordinate of the sum wraps around; 0 without noise. */
	readonly wrapProbability: number;
}

/**
 * Scale wanted, as s C over sqrt(d): rounding then costs at most 1/16 of the sensitivity, at random at
 * most 1/32, as its errors hardly add up.
 */
const WANTED_ROUNDING_RATIO = { nearest: 16, random: 2 };
/** Scale needed at the very least: below s C = sqrt(d), rounding to the nearest would double the sensitivity. */
const LEAST_ROUNDING_RATIO = 1;
/** log2 of the probability, at most, that any coordinate of a sum wraps around. */
const WRAP_EXPONENT = -40;
/** Relative margin over all floating-point rounding in the computation of the sensitivity. */
const MARGIN = 1 + 2 ** -40;

/**
 * Choose scale and modulus so that the sum cannot wrap except by the noise's far tail.
 *
 * Proof of headroom. Every encoded coordinate is clamped to [-b, b] with b =
 * `coordinateBound`, so the sum of at most n sites' values is at most n b in absolute
 * value, whatever the data. The noise of the sum is a sum of independent discrete Gaussians
 * with variances adding up to at most sigma^2; each is sub-Gaussian with its own variance
 * parameter (Canonne-Kamath-Steinke 2020, Cor. 17), hence so is the sum, and
 * P[|noise| >= t sigma] <= 2 exp(-t^2 / 2). With t = (2^(m-1) - 1 - n b) / sigma a union bound over
 * d coordinates gives `wrapProbability` = 2 d exp(-t^2 / 2), and m is the least for which that is at
 * most 2^-40: t^2 >= 2 ln 2 (41 + log2 d). A dishonest site can add anything, here as anywhere
 * under masks; its damage is to utility. A wrap would too: it is post-processing of the
 * noised sum and costs no privacy.
 *
 * Proof of sensitivity. Let u, v be a site's real vectors with and without one record,
 * |u - v|_2 <= C. Rounding moves each by at most 1/2 per coordinate, so
 * |round(s u) - round(s v)|_2 <= s C + sqrt(d); clamping is 1-Lipschitz per coordinate. With k
 * `roundings`, stacking the k vectors makes that s C + sqrt(k d).
 * Scaling by a power of two adds no error of its own. For rounding at random the bound is
 * `roundedReach`, which holds but for a probability that is charged to delta.
 *
 * @throws AlthingError `privacy.bad_encoding` for a request out of range,
 *   `privacy.no_headroom` when no allowed scale fits
 */
export function planEncoding(request: EncodingRequest): EncodingPlan {
	requireValid(request);
	const { length, clippingNorm, perSiteBound, modulusBits, roundings = 1, rounding = "nearest" } = request;
	const root = Math.sqrt(length * roundings);
	const wanted = Math.ceil(Math.log2((WANTED_ROUNDING_RATIO[rounding] * root) / clippingNorm));
	const least = Math.ceil(Math.log2((LEAST_ROUNDING_RATIO * root) / clippingNorm));
	const largest = modulusBits ?? LARGEST_MODULUS_BITS;
	if (request.finest !== true) {
		for (let bits = modulusBits ?? LEAST_MODULUS_BITS; bits <= largest; bits++) {
			const plan = planAt(request, wanted, bits);
			if (plan !== undefined) return plan;
		}
	}
	// Above what any sum of the largest modulus has room for.
	const finest = largest - Math.floor(Math.log2(clippingNorm * perSiteBound));
	for (let exponent = request.finest === true ? finest : wanted - 1; exponent >= least; exponent--) {
		const plan = planAt(request, exponent, largest);
		if (plan !== undefined) return plan;
	}
	throw new AlthingError(
		"privacy.no_headroom",
		`A sum of ${request.maximumContributors} vectors of ${length} coordinates, each bounded by ${request.perSiteBound} clipping norms, with noise ${request.largestNoiseMultiplier ?? 0} times the sensitivity does not fit modulus 2^${largest}. Use a larger modulus, fewer contributors, a smaller bound per site, or less noise.`,
		{ ...request, modulusBits: largest },
	);
}

/** What the sensitivity of any plan for vectors of this length is at least, in integer units. */
export function leastSensitivity(length: number): number {
	return LEAST_ROUNDING_RATIO * Math.sqrt(length);
}

function planAt(
	request: EncodingRequest,
	scaleExponent: number,
	modulusBits: ModulusBits,
): EncodingPlan | undefined {
	const { length, clippingNorm, maximumContributors, perSiteBound, roundings = 1 } = request;
	const { rounding = "nearest" } = request;
	const scale = 2 ** scaleExponent;
	const coordinateBound = Math.floor(scale * clippingNorm * perSiteBound);
	// A bound below one unit would encode every vector as zero.
	if (coordinateBound < 1) return undefined;
	const reach = scale * clippingNorm;
	const values = length * roundings;
	const sensitivity =
		(rounding === "random" ? roundedReach(reach, values) : reach + Math.sqrt(values)) * MARGIN;
	const sigma = sensitivity * (request.largestNoiseMultiplier ?? 0) * MARGIN;
	const room = 2 ** (modulusBits - 1) - 1 - maximumContributors * coordinateBound;
	if (room < deviationsKeptFree(length) * sigma) return undefined;
	const deviations = room / sigma;
	const wrapProbability =
		sigma === 0
			? 0
			: // Never rounded down to the zero that is true without noise only.
				Math.max(Number.MIN_VALUE, Math.min(1, 2 * length * Math.exp(-(deviations * deviations) / 2)));
	return { length, scale, modulusBits, coordinateBound, sensitivity, wrapProbability };
}

/** Of noise, in the sum of a coordinate, so that one of `length` exceeds them with probability 2^-40 at most. */
function deviationsKeptFree(length: number): number {
	// The bits of the length instead of its logarithm, which processors may round differently.
	const lengthBits = length.toString(2).length;
	return Math.sqrt(1.3863 * (1 - WRAP_EXPONENT + lengthBits));
}

function requireValid(request: EncodingRequest): void {
	const refuse = (what: string): never => {
		throw new AlthingError("privacy.bad_encoding", `Cannot plan the encoding: ${what}.`, { ...request });
	};
	const finite = (value: number): boolean => value > 0 && value < Number.POSITIVE_INFINITY;
	const { length, clippingNorm, maximumContributors, perSiteBound, largestNoiseMultiplier = 0 } = request;
	const { roundings = 1 } = request;
	if (!Number.isSafeInteger(length) || length < 1)
		refuse(`length must be an integer from 1 upwards, not ${length}`);
	if (!Number.isSafeInteger(roundings) || roundings < 1)
		refuse(`roundings must be an integer from 1 upwards, not ${roundings}`);
	if (!finite(clippingNorm)) refuse(`clippingNorm must be positive and finite, not ${clippingNorm}`);
	if (!Number.isSafeInteger(maximumContributors) || maximumContributors < 1) {
		refuse(`maximumContributors must be an integer from 1 upwards, not ${maximumContributors}`);
	}
	if (!finite(perSiteBound)) refuse(`perSiteBound must be positive and finite, not ${perSiteBound}`);
	if (!(largestNoiseMultiplier >= 0 && largestNoiseMultiplier < Number.POSITIVE_INFINITY)) {
		refuse(`largestNoiseMultiplier must be finite and not negative, not ${largestNoiseMultiplier}`);
	}
	if (request.modulusBits !== undefined && !isModulusBits(request.modulusBits)) {
		refuse(
			`modulusBits must be an integer from ${LEAST_MODULUS_BITS} to ${LARGEST_MODULUS_BITS}, not ${request.modulusBits}`,
		);
	}
}

/**
 * Scale, round to nearest, clamp to the plan's coordinate bound.
 * @throws AlthingError `privacy.wrong_length`, or `privacy.not_finite` for a NaN or infinity
 */
export function encode(values: Float64Array | Float32Array, plan: EncodingPlan): Int32Array {
	if (values.length !== plan.length) {
		throw new AlthingError(
			"privacy.wrong_length",
			`The vector has ${values.length} coordinates, the plan is for ${plan.length}.`,
		);
	}
	const { scale, coordinateBound } = plan;
	const encoded = new Int32Array(values.length);
	for (let i = 0; i < values.length; i++) {
		const value = values[i]!;
		if (!Number.isFinite(value)) {
			throw new AlthingError(
				"privacy.not_finite",
				`Coordinate ${i} of the vector to encode is not a finite number. Non-finite gradients must be replaced by zeros before they are summed.`,
				{ coordinate: i },
			);
		}
		encoded[i] = Math.max(-coordinateBound, Math.min(coordinateBound, Math.round(value * scale)));
	}
	return encoded;
}

/** Integers as ring elements: two's complement modulo 2^modulusBits. */
export function toRing(values: Int32Array, modulusBits: ModulusBits): Uint32Array {
	const mask = ringMask(modulusBits);
	const ring = new Uint32Array(values.length);
	for (let i = 0; i < values.length; i++) ring[i] = values[i]! & mask;
	return ring;
}

/** Ring elements as the integers of least absolute value, in [-2^(m-1), 2^(m-1)); higher bits are ignored. */
export function fromRing(ring: Uint32Array, modulusBits: ModulusBits): Int32Array {
	const shift = 32 - modulusBits;
	const values = new Int32Array(ring.length);
	for (let i = 0; i < ring.length; i++) values[i] = (ring[i]! << shift) >> shift;
	return values;
}

function ringMask(modulusBits: ModulusBits): number {
	return modulusBits === 32 ? -1 : (1 << modulusBits) - 1;
}

/** A decoded sum in real units. Divide by a public number (the expected batch), never by a private count. */
export function decode(sum: Int32Array, plan: Pick<EncodingPlan, "scale">): Float64Array {
	const values = new Float64Array(sum.length);
	for (let i = 0; i < values.length; i++) values[i] = sum[i]! / plan.scale;
	return values;
}
