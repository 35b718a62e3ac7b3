/**
 * The instance of wasmNoise.wat that serves one thread, and its memory as typed arrays.
 * Everything is synchronous, so callers never find it in use; each brings its own table.
 */
import { type WasmGlobal, wasmInstance } from "../../../crypto/wasmModule.ts";
import { WASM_NOISE_BYTES } from "./wasmNoiseBytes.ts";

interface WasmExports {
	readonly memory: { readonly buffer: ArrayBuffer };
	readonly blockValues: WasmGlobal;
	readonly tableAt: WasmGlobal;
	readonly wordsAt: WasmGlobal;
	readonly noiseAt: WasmGlobal;
	readonly valuesAt: WasmGlobal;
	readonly unsureAt: WasmGlobal;
	sample(count: number, lowBits: number, origin: number): number;
	encode(count: number, scale: number, bound: number, mask: number): number;
	decode(count: number, unit: number): void;
}

/** See the text for what each function reads and writes; no count may exceed the block. */
export interface WasmNoise extends Pick<WasmExports, "sample" | "encode" | "decode"> {
	/** Two words a column: threshold, reach. */
	readonly table: Uint32Array;
	/** Each of the following holds one block. */
	readonly words: Uint32Array;
	readonly noise: Int32Array;
	readonly values: Float64Array;
	readonly unsure: Int32Array;
	/** Overwrites noise, the randomness it came from, and the values: none may be found in memory later. */
	wipe(): void;
}

/** Columns of the table: words are read by their top 12 bits. */
export const COLUMN_BITS = 12;

let instance: WasmNoise | undefined;

/** This thread's instance, made when first asked for. */
export function wasmNoise(): WasmNoise {
	instance ??= instantiate();
	return instance;
}

function instantiate(): WasmNoise {
	const wasm = wasmInstance<WasmExports>(WASM_NOISE_BYTES);
	const { buffer } = wasm.memory;
	const block = wasm.blockValues.value;
	const words = new Uint32Array(buffer, wasm.wordsAt.value, block);
	const noise = new Int32Array(buffer, wasm.noiseAt.value, block);
	const values = new Float64Array(buffer, wasm.valuesAt.value, block);
	return {
		table: new Uint32Array(buffer, wasm.tableAt.value, 2 << COLUMN_BITS),
		words,
		noise,
		values,
		unsure: new Int32Array(buffer, wasm.unsureAt.value, block),
		sample: wasm.sample,
		encode: wasm.encode,
		decode: wasm.decode,
		wipe: () => {
			words.fill(0);
			noise.fill(0);
			values.fill(0);
		},
	};
}
