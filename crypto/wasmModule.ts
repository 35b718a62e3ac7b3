/** Starts the small WebAssembly modules that this repository holds as bytes (scripts/wasm.ts). */

/** The part used here of what the runtime has and @types/node does not declare. */
declare const WebAssembly: {
	readonly Module: new (bytes: Uint8Array) => object;
	readonly Instance: new (module: object) => { readonly exports: unknown };
};

/** An exported constant. */
export interface WasmGlobal {
	readonly value: number;
}

/** The exports of a new instance of a module that imports nothing, given in base64. */
export function wasmInstance<Exports>(base64: string): Exports {
	const module = new WebAssembly.Module(Buffer.from(base64, "base64"));
	return new WebAssembly.Instance(module).exports as Exports;
}
