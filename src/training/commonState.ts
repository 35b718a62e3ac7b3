/**
 * The common state that every node holds bit for bit alike after each certified round: the
 * model's parameters and the public optimizer's state. Its SHA-256 is what a quorum certifies.
 */
import { AlthingError } from "../../crypto/error.ts";
import { float32FromBytes, float32ToBytes } from "../learning/littleEndian.ts";
import { decodeOptimizerState, encodeOptimizerState, type OptimizerState } from "../learning/optimizer.ts";

export interface CommonState {
	readonly parameters: Float32Array;
	readonly optimizer: OptimizerState;
}

const MAGIC = 0x31534c41; // "ALS1", little-endian
const HEADER_BYTES = 8;

/** Layout: magic u32, parameter count u32, float32 parameters, optimizer state; little-endian. */
export function encodeCommonState(state: CommonState): Uint8Array {
	const optimizer = encodeOptimizerState(state.optimizer);
	const parameters = float32ToBytes(state.parameters);
	const bytes = new Uint8Array(HEADER_BYTES + parameters.length + optimizer.length);
	const view = new DataView(bytes.buffer);
	view.setUint32(0, MAGIC, true);
	view.setUint32(4, state.parameters.length, true);
	bytes.set(parameters, HEADER_BYTES);
	bytes.set(optimizer, HEADER_BYTES + parameters.length);
	return bytes;
}

/** @throws AlthingError `training.bad_state` when the bytes are no state of `parameterCount` parameters. */
export function decodeCommonState(bytes: Uint8Array, parameterCount: number): CommonState {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const end = HEADER_BYTES + 4 * parameterCount;
	if (
		bytes.length <= end ||
		view.getUint32(0, true) !== MAGIC ||
		view.getUint32(4, true) !== parameterCount
	) {
		throw new AlthingError(
			"training.bad_state",
			`the stored model state is not one of ${parameterCount} parameters; fetch it again from a peer`,
		);
	}
	return {
		parameters: float32FromBytes(bytes.subarray(HEADER_BYTES, end)),
		optimizer: decodeOptimizerState(bytes.subarray(end)),
	};
}
