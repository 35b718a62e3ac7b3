/**
 * An organization's own part of the model: secret, at rest sealed by the node, never sent. It moves
 * when errors come back, one private step at a time.
 */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { float64FromBytes, float64ToBytes } from "../learning/littleEndian.ts";

export interface OwnPart {
	/** Of the job whose errors move it: how many of them have been taken in or passed by. */
	readonly errorsTaken: number;
	readonly bottom: Float64Array;
	/** The label holder's part behind the cut. */
	readonly top?: Float64Array;
	/**
	 * The label holder's errors for the step it answered last: asked again, it answers the same, and
	 * its part has moved once.
	 */
	readonly answered?: { readonly step: number; readonly errors: Float64Array };
}

const partSchema = z.strictObject({
	errorsTaken: z.int().min(0),
	bottom: z.instanceof(Uint8Array),
	top: z.instanceof(Uint8Array).optional(),
	answered: z.strictObject({ step: z.int().min(0), errors: z.instanceof(Uint8Array) }).optional(),
});

export function encodeOwnPart({ errorsTaken, bottom, top, answered }: OwnPart): Uint8Array {
	return encodeCanonical({
		errorsTaken,
		bottom: float64ToBytes(bottom),
		...(top === undefined ? {} : { top: float64ToBytes(top) }),
		...(answered === undefined
			? {}
			: { answered: { step: answered.step, errors: float64ToBytes(answered.errors) } }),
	});
}

/** @throws AlthingError `vertical.bad_part` */
export function decodeOwnPart(bytes: Uint8Array): OwnPart {
	const parsed = partSchema.safeParse(decodeCanonical(bytes, bytes.length));
	if (!parsed.success) {
		throw new AlthingError("vertical.bad_part", "This organization's stored part of the model is damaged.");
	}
	const { errorsTaken, bottom, top, answered } = parsed.data;
	return {
		errorsTaken,
		bottom: float64FromBytes(bottom),
		...(top === undefined ? {} : { top: float64FromBytes(top) }),
		...(answered === undefined
			? {}
			: { answered: { step: answered.step, errors: float64FromBytes(answered.errors) } }),
	};
}
