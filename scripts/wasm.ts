/**
 * Assembles the WebAssembly texts of this repository and writes the bytes beside each, so that neither
 * building nor running needs an assembler: `npm run wasm` after changing a text.
 * test/scripts/wasm.test.ts fails when bytes are not their text's.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import loadWabt from "wabt";

const root = join(import.meta.dirname, "..");

/** Texts by path without ending, with the name of the constant that holds the bytes. */
export const WASM_TEXTS: Readonly<Record<string, string>> = {
	"crypto/gf256Evaluation": "GF256_EVALUATION_BYTES",
	"crypto/maskAddition": "MASK_ADDITION_BYTES",
	"crypto/ringProjectionSums": "RING_PROJECTION_SUMS_BYTES",
	"src/privacy/samplers/wasmNoise": "WASM_NOISE_BYTES",
};

/** The TypeScript module beside `<path>.wat` that holds the assembled bytes. */
export function bytesFileOf(path: string): string {
	return join(root, `${path}Bytes.ts`);
}

/** What that module has to say. */
export async function assembledModule(path: string): Promise<string> {
	const wabt = await loadWabt();
	const name = `${basename(path)}.wat`;
	const text = readFileSync(join(root, `${path}.wat`), "utf8");
	const module = wabt.parseWat(name, text, { simd: true, sat_float_to_int: true });
	try {
		module.validate();
		const base64 = Buffer.from(module.toBinary({}).buffer).toString("base64");
		return [
			`/** ${name} as bytes, base64. Written by \`npm run wasm\`: change the text, not this. */`,
			`export const ${WASM_TEXTS[path]} =\n\t"${base64}";`,
			"",
		].join("\n");
	} finally {
		module.destroy();
	}
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
	for (const path of Object.keys(WASM_TEXTS)) {
		writeFileSync(bytesFileOf(path), await assembledModule(path));
		console.log(bytesFileOf(path));
	}
}
