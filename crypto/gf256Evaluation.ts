/**
 * The instance of gf256Evaluation.wat that serves one thread, and its memory as bytes. Everything is
 * synchronous, so callers never find it in use.
 */
import { GF256_EVALUATION_BYTES } from "./gf256EvaluationBytes.ts";
import { type WasmGlobal, wasmInstance } from "./wasmModule.ts";

interface WasmExports {
	readonly memory: { readonly buffer: ArrayBuffer };
	readonly productsAt: WasmGlobal;
	readonly valueAt: WasmGlobal;
	readonly coefficientsAt: WasmGlobal;
	evaluate(rows: number, widthBytes: number): void;
}

export const MAX_ROWS = 255;
export const MAX_WIDTH_BYTES = 128;

/** `evaluate` leaves in `value` what the coefficients are worth at the point whose products are given. */
export interface Gf256Evaluation extends Pick<WasmExports, "evaluate"> {
	readonly products: Uint8Array;
	readonly value: Uint32Array;
	readonly coefficients: Uint8Array;
}

let instance: Gf256Evaluation | undefined;

/** This thread's instance, made when first asked for. */
export function gf256Evaluation(): Gf256Evaluation {
	instance ??= instantiate();
	return instance;
}

function instantiate(): Gf256Evaluation {
	const wasm = wasmInstance<WasmExports>(GF256_EVALUATION_BYTES);
	const { buffer } = wasm.memory;
	return {
		products: new Uint8Array(buffer, wasm.productsAt.value, 32),
		value: new Uint32Array(buffer, wasm.valueAt.value, MAX_WIDTH_BYTES / 4),
		coefficients: new Uint8Array(buffer, wasm.coefficientsAt.value, MAX_ROWS * MAX_WIDTH_BYTES),
		evaluate: wasm.evaluate,
	};
}
