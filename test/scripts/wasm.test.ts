import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { assembledModule, bytesFileOf, WASM_TEXTS } from "../../scripts/wasm.ts";

it.each(Object.keys(WASM_TEXTS))("the committed bytes of %s are its text's", async (path) => {
	expect(readFileSync(bytesFileOf(path), "utf8")).toBe(await assembledModule(path));
});
