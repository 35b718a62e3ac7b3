import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { violations } from "../../scripts/check-imports.ts";

let root: string;

beforeEach(() => {
	root = mkdtempSync(join(tmpdir(), "althing-imports-"));
	for (const folder of ["crypto", "src", "protocols", "node"]) mkdirSync(join(root, folder));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function file(path: string, text: string): void {
	mkdirSync(dirname(join(root, path)), { recursive: true });
	writeFileSync(join(root, path), text);
}

describe("the direction of imports", () => {
	it("is one way: node -> protocols -> src -> crypto", () => {
		file("crypto/hash.ts", `import { createHash } from "node:crypto";\nexport const x = createHash;\n`);
		file("src/a.ts", `import { x } from "../crypto/hash.ts";\nexport { x };\n`);
		file("protocols/p/b.ts", `import { x } from "../../src/a.ts";\nimport "../../crypto/hash.ts";\n`);
		file("node/c.ts", `import { readFileSync } from "node:fs";\nimport "../protocols/p/b.ts";\n`);
		expect(violations(root)).toEqual([]);
	});

	it.each([
		["an import", `import { y } from "../node/c.ts";`],
		["an import of several lines", `import {\n\ty,\n} from "../node/c.ts";`],
		["a type import", `import type { Y } from "../node/c.ts";`],
		["an import for its effects", `import "../node/c.ts";`],
		["a re-export", `export * from "../node/c.ts";`],
		["a dynamic import", `const y = await import("../node/c.ts");`],
		["a worker's script", `new Worker(new URL("../node/c.ts", import.meta.url));`],
	])("refuses %s against it, naming file and line", (_, text) => {
		file("src/a.ts", `// first line\n${text}\n`);
		const found = violations(root);
		expect(found).toHaveLength(1);
		expect(found[0]).toMatch(/^src[/\\]a\.ts:[2345]: src\/ must not import from node\//);
	});

	it.each([
		["crypto/a.ts", "../src/b.ts"],
		["crypto/a.ts", "../protocols/b.ts"],
		["src/a.ts", "../protocols/b.ts"],
		["protocols/p/a.ts", "../../node/b.ts"],
		["node/a.ts", "../testnet/b.ts"],
		["node/a.ts", "../test/b.ts"],
	])("refuses %s importing %s", (from, target) => {
		file(from, `import "${target}";\n`);
		expect(violations(root)).toHaveLength(1);
	});

	it.each(["node:net", "node:fs/promises", "node:child_process", "libp2p", "@libp2p/tcp", "level", "hono"])(
		"keeps %s out of crypto/ and protocols/",
		(name) => {
			for (const folder of ["crypto", "protocols"]) file(`${folder}/a.ts`, `import "${name}";\n`);
			file("node/a.ts", `import "${name}";\n`);
			expect(violations(root).map((one) => one.split("/")[0])).toEqual(["crypto", "protocols"]);
		},
	);

	it.each(["node:net", "node:http", "node:dgram", "libp2p", "@libp2p/tcp", "hono"])(
		"keeps the network (%s) out of src/, whose readers may open files",
		(name) => {
			file("src/data/a.ts", `import "${name}";\n`);
			file("src/data/b.ts", `import { readFile } from "node:fs/promises";\n`);
			expect(violations(root)).toHaveLength(1);
		},
	);

	it("keeps files out of src/ outside of src/data/", () => {
		file("src/learning/a.ts", `import { readFileSync } from "node:fs";\n`);
		expect(violations(root)).toHaveLength(1);
	});

	it("finds nothing to object to in this tree", () => {
		expect(violations(join(import.meta.dirname, "../.."))).toEqual([]);
	});
});
