/**
 * The instance of maskAddition.wat that serves one thread, and its memory as typed arrays. Everything is
 * synchronous, so callers never find it in use.
 */
import { MASK_ADDITION_BYTES } from "./maskAdditionBytes.ts";
import { type WasmGlobal, wasmInstance } from "./wasmModule.ts";

interface WasmExports {
	readonly memory: { readonly buffer: ArrayBuffer };
	readonly blockBytes: WasmGlobal;
	readonly totalAt: WasmGlobal;
	readonly streamAt: WasmGlobal;
	add16(countBytes: number): void;
	subtract16(countBytes: number): void;
	add32(countBytes: number): void;
	subtract32(countBytes: number): void;
}

/** Each function adds the stream to the total, or takes it away, on so many bytes of at most a block. */
export interface MaskAddition extends Pick<WasmExports, "add16" | "subtract16" | "add32" | "subtract32"> {
	readonly total: Uint8Array;
	readonly stream: Uint8Array;
	/** Overwrites both: neither masks nor masked values may be found in memory later. */
	wipe(): void;
}

let instance: MaskAddition | undefined;

/** This thread's instance, made when first asked for. */
export function maskAddition(): MaskAddition {
	instance ??= instantiate();
	return instance;
}

function instantiate(): MaskAddition {
	const wasm = wasmInstance<WasmExports>(MASK_ADDITION_BYTES);
	const { buffer } = wasm.memory;
	const total = new Uint8Array(buffer, wasm.totalAt.value, wasm.blockBytes.value);
	const stream = new Uint8Array(buffer, wasm.streamAt.value, wasm.blockBytes.value);
	const { add16, subtract16, add32, subtract32 } = wasm;
	return {
		total,
		stream,
		add16,
		subtract16,
		add32,
		subtract32,
		wipe: () => {
			total.fill(0);
			stream.fill(0);
		},
	};
}
