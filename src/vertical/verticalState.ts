/** What every organization knows alike after each certified round of a vertical job. */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { allFinite } from "../learning/finite.ts";
import { float64FromBytes, float64ToBytes } from "../learning/littleEndian.ts";

export interface VerticalState {
	/** The job's public seed, 32 bytes: draws the batches. */
	readonly seed: Uint8Array;
	/** Released sums of the own parts' outputs that no errors or scores have followed yet, chunk by chunk. */
	readonly activations: readonly Float64Array[];
	/** The last errors that came back, and which step they belong to. */
	readonly errors?: { readonly step: number; readonly values: Float64Array };
}

const stateSchema = z.strictObject({
	seed: z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === 32),
	activations: z.array(z.instanceof(Uint8Array)),
	errors: z.strictObject({ step: z.int().min(0), values: z.instanceof(Uint8Array) }).optional(),
});

export function encodeVerticalState({ seed, activations, errors }: VerticalState): Uint8Array {
	return encodeCanonical({
		seed,
		activations: activations.map(float64ToBytes),
		...(errors === undefined ? {} : { errors: { step: errors.step, values: float64ToBytes(errors.values) } }),
	});
}

/** @throws AlthingError `vertical.bad_state` */
export function decodeVerticalState(bytes: Uint8Array): VerticalState {
	const parsed = stateSchema.safeParse(decodeCanonical(bytes, bytes.length));
	if (parsed.success) {
		const { seed, errors } = parsed.data;
		const activations = parsed.data.activations.map(float64FromBytes);
		const values = errors === undefined ? undefined : float64FromBytes(errors.values);
		if (activations.every(allFinite) && (values === undefined || allFinite(values)))
			return {
				seed,
				activations,
				...(errors === undefined || values === undefined ? {} : { errors: { step: errors.step, values } }),
			};
	}
	throw new AlthingError(
		"vertical.bad_state",
		"The stored job state is damaged: fetch it again from a peer.",
	);
}
