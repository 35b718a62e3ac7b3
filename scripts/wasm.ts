/**
 * Assembles src/privacy/samplers/wasmNoise.wat and writes the bytes beside it, so that neither
 * building nor running needs an assembler: `npm run wasm` after changing the text.
 * test/src/privacy/samplers/wasmNoise.test.ts fails when the bytes are not the text's.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import loadWabt from "wabt";

const folder = join(import.meta.dirname, "../src/privacy/samplers");

/** The TypeScript module that holds the assembled bytes. */
export async function assembledModule(): Promise<string> {
	const wabt = await loadWabt();
	const text = readFileSync(join(folder, "wasmNoise.wat"), "utf8");
	const module = wabt.parseWat("wasmNoise.wat", text, { simd: true, sat_float_to_int: true });
	try {
		module.validate();
		const base64 = Buffer.from(module.toBinary({}).buffer).toString("base64");
		return [
			"/** wasmNoise.wat as bytes, base64. Written by `npm run wasm`: change the text, not this. */",
			`export const WASM_NOISE_BYTES =\n\t"${base64}";`,
			"",
		].join("\n");
	} finally {
		module.destroy();
	}
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
	writeFileSync(join(folder, "wasmNoiseBytes.ts"), await assembledModule());
	console.log("src/privacy/samplers/wasmNoiseBytes.ts");
}
