/**
 * What a job's compression comes to: how many values carry an update, and how those and the figures
 * beside them (evaluation, weight) become coordinates of one ring.
 */

import { AlthingError } from "../../crypto/error.ts";
import { LARGEST_MODULUS_BITS, LEAST_MODULUS_BITS } from "../../crypto/ringPacking.ts";
import { largestProjectedNorm } from "../../crypto/signProjection.ts";
import type { SketchShape } from "../compression/countSketch.ts";
import { MOST_COORDINATES } from "../compression/sharedCoordinates.ts";
import type { EncodingPlan } from "../privacy/fixedPoint.ts";
import type { CompressionChoice } from "./compressionChoice.ts";

export interface CompressionPlan {
	/** Of the model: length of an update. */
	readonly parameters: number;
	/** Values that carry it: coordinates, or cells of a sketch. */
	readonly values: number;
	/** Of the coordinates: those that the last released sum was largest in. */
	readonly informed: number;
	readonly rotated: boolean;
	/** Sites keep what they do not send. Otherwise coordinates sent now and then are scaled up, so that the mean is right. */
	readonly errorFeedback: boolean;
	readonly sketch?: SketchShape & { readonly recovered: number; readonly momentum: number };
	/** Records that a weight of one stands for; undefined where sites weigh as they do without compression. */
	readonly largestWeight?: number;
}

/**
 * How the evaluation's three figures and the weight are coordinates of the vector. `copies`: each figure
 * that many times, the same unit of it in each, so that none needs more range than the update's
 * coordinates; noise and sensitivity of the sum grow alike, with the root of the copies. `limbs`: the
 * figures' own 32-bit ring elements in pieces of few bits, which add up without a carry: exact, for
 * figures that are public or have each site's own noise.
 */
export type FigurePlan =
	| { readonly kind: "copies"; readonly copies: number }
	| {
			readonly kind: "limbs";
			readonly encoding: EncodingPlan;
			readonly limbBits: number;
			readonly limbs: number;
	  };

/** Range of a rotated coordinate, in standard deviations: beyond it, 2.6e-12 of a normal law's values. */
const ROTATED_DEVIATIONS = 7;

/** @throws AlthingError `job.invalid` for a sketch that is not smaller than the model */
export function planCompression(choice: CompressionChoice, parameters: number): CompressionPlan {
	const { coordinates, share = 1, rotation, errorFeedback, sketch, largestWeight } = choice;
	if (parameters >= MOST_COORDINATES)
		throw new AlthingError(
			"job.invalid",
			`compression is for models of fewer than ${MOST_COORDINATES} parameters`,
		);
	const common = {
		parameters,
		rotated: rotation === "hadamard",
		errorFeedback,
		...(largestWeight === undefined ? {} : { largestWeight }),
	};
	if (sketch !== undefined) {
		const values = sketch.rows * sketch.columns;
		if (values >= parameters) {
			throw new AlthingError(
				"job.invalid",
				`compression.sketch has ${values} cells, the model ${parameters} parameters: sending them all is smaller; use fewer rows or columns`,
				{ values, parameters },
			);
		}
		return { ...common, values, informed: 0, sketch };
	}
	const values = Math.max(1, Math.ceil(share * parameters));
	const informed = coordinates === "informed" ? Math.floor(values / 2) : 0;
	return { ...common, values, informed };
}

/** What a rotated vector's coordinates are clamped to, relative to its norm; 1 for one that is not rotated. */
export function rangeOfCoordinates({ values, rotated }: CompressionPlan): number {
	return rotated ? Math.min(1, ROTATED_DEVIATIONS / Math.sqrt(values)) : 1;
}

/**
 * The encoding of updates without shared noise to a few bits: the least ring in which the sum of all
 * sites cannot wrap, whatever they send (m >= b + log2 n), and as many levels as it has room for.
 * @param bits b, of one site's value
 * @param normBound L2 bound of one site's vector
 * @param screened whether inputs are screened: the ring then has room for projections of a whole vector
 */
export function planQuantization(
	compression: CompressionPlan,
	bits: number,
	normBound: number,
	participants: number,
	screened: boolean,
): EncodingPlan {
	const { values } = compression;
	const range = rangeOfCoordinates(compression);
	/** Largest |coordinate| in a ring. */
	const roomIn = (modulusBits: number): number => {
		const summed = Math.floor((2 ** (modulusBits - 1) - 1) / participants);
		if (!screened) return summed;
		const norm = largestProjectedNorm(modulusBits) * (1 - 2 ** -10) - Math.sqrt(values);
		return Math.min(summed, Math.floor(norm * range));
	};
	let modulusBits = LEAST_MODULUS_BITS;
	while (modulusBits < LARGEST_MODULUS_BITS && roomIn(modulusBits) < 2 ** (bits - 1) - 1) modulusBits++;
	const coordinateBound = roomIn(modulusBits);
	if (coordinateBound < 2 ** (bits - 1) - 1)
		throw new AlthingError(
			"job.invalid",
			`compression.bits ${bits} of ${values} values and ${participants} participants do not fit a ring of ${LARGEST_MODULUS_BITS} bits: use fewer`,
			{ bits, values, participants },
		);
	const scale = coordinateBound / (normBound * range);
	return {
		length: compression.values,
		scale,
		modulusBits,
		coordinateBound,
		sensitivity: normBound * scale + Math.sqrt(compression.values),
		wrapProbability: 0,
	};
}

/** The pieces of 32-bit figures in a smaller ring: as large as may be added up by all participants. */
export function planLimbs(encoding: EncodingPlan, modulusBits: number, participants: number): FigurePlan {
	let limbBits = modulusBits;
	while (participants * (2 ** limbBits - 1) >= 2 ** modulusBits) limbBits--;
	return { kind: "limbs", encoding, limbBits, limbs: Math.ceil(LARGEST_MODULUS_BITS / limbBits) };
}

/** What participants must agree on of it, as plain data. */
export function hashedCompression({ sketch, ...compression }: CompressionPlan, figures: FigurePlan) {
	return {
		compression: { ...compression, ...(sketch === undefined ? {} : { sketch: { ...sketch } }) },
		figures: figures.kind === "copies" ? { ...figures } : { ...figures, encoding: { ...figures.encoding } },
	};
}

/** Coordinates of one figure. */
export function coordinatesOfFigure(figures: FigurePlan): number {
	return figures.kind === "copies" ? figures.copies : figures.limbs;
}
