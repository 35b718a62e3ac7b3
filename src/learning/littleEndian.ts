/** Floating-point vectors as little-endian bytes: the one form in which they are hashed, stored and exported. */
import { AlthingError } from "../../crypto/error.ts";

/** 4 bytes for each value. */
export function float32ToBytes(values: Float32Array): Uint8Array {
	const bytes = new Uint8Array(values.length * 4);
	const view = new DataView(bytes.buffer);
	for (let i = 0; i < values.length; i++) view.setFloat32(4 * i, values[i]!, true);
	return bytes;
}

/** @throws AlthingError `learning.invalid_bytes` when the length is no multiple of 4. */
export function float32FromBytes(bytes: Uint8Array): Float32Array {
	const view = viewOf(bytes, 4);
	const values = new Float32Array(bytes.length / 4);
	for (let i = 0; i < values.length; i++) values[i] = view.getFloat32(4 * i, true);
	return values;
}

/** 8 bytes for each value. */
export function float64ToBytes(values: Float64Array): Uint8Array {
	const bytes = new Uint8Array(values.length * 8);
	const view = new DataView(bytes.buffer);
	for (let i = 0; i < values.length; i++) view.setFloat64(8 * i, values[i]!, true);
	return bytes;
}

/** @throws AlthingError `learning.invalid_bytes` when the length is no multiple of 8. */
export function float64FromBytes(bytes: Uint8Array): Float64Array {
	const view = viewOf(bytes, 8);
	const values = new Float64Array(bytes.length / 8);
	for (let i = 0; i < values.length; i++) values[i] = view.getFloat64(8 * i, true);
	return values;
}

function viewOf(bytes: Uint8Array, elementBytes: number): DataView {
	if (bytes.length % elementBytes !== 0) {
		throw new AlthingError(
			"learning.invalid_bytes",
			`${bytes.length} bytes are no whole number of ${elementBytes}-byte values: the vector is cut off or damaged.`,
			{ sizeBytes: bytes.length, elementBytes },
		);
	}
	return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
