/**
 * The instance of ringProjectionSums.wat that serves one thread, and its memory as typed arrays. Everything is
 * synchronous, so callers never find it in use.
 */
import { RING_PROJECTION_SUMS_BYTES } from "./ringProjectionSumsBytes.ts";
import { type WasmGlobal, wasmInstance } from "./wasmModule.ts";

interface WasmExports {
	readonly memory: { readonly buffer: ArrayBuffer };
	readonly blockGroups: WasmGlobal;
	readonly valuesAt: WasmGlobal;
	readonly lowAt: WasmGlobal;
	readonly highAt: WasmGlobal;
	readonly streamAt: WasmGlobal;
	project(groups: number): void;
}

/** `project` adds to `low` and `high` what so many groups of values and of keystream give. */
export interface RingProjectionSums extends Pick<WasmExports, "project"> {
	/** Eight a group. */
	readonly values: Uint16Array;
	/** 128 bytes a group. */
	readonly stream: Uint8Array;
	/** Sums of the low bytes, mod 2^16. */
	readonly low: Uint16Array;
	/** Sums of the high bytes, mod 2^8. */
	readonly high: Uint8Array;
}

let instance: RingProjectionSums | undefined;

/** This thread's instance, made when first asked for. */
export function ringProjectionSums(): RingProjectionSums {
	instance ??= instantiate();
	return instance;
}

function instantiate(): RingProjectionSums {
	const wasm = wasmInstance<WasmExports>(RING_PROJECTION_SUMS_BYTES);
	const { buffer } = wasm.memory;
	const groups = wasm.blockGroups.value;
	return {
		values: new Uint16Array(buffer, wasm.valuesAt.value, 8 * groups),
		stream: new Uint8Array(buffer, wasm.streamAt.value, 128 * groups),
		low: new Uint16Array(buffer, wasm.lowAt.value, 128),
		high: new Uint8Array(buffer, wasm.highAt.value, 128),
		project: wasm.project,
	};
}
