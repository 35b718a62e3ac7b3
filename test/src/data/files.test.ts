import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readCsv } from "../../../src/data/csv.ts";
import { gather } from "../../../src/data/dataset.ts";
import { readIdx } from "../../../src/data/idx.ts";

let folder: string;
beforeAll(() => {
	folder = mkdtempSync(join(tmpdir(), "althing-data-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, content: string | Uint8Array): string {
	const path = join(folder, name);
	writeFileSync(path, content);
	return path;
}

const byClass = { labelColumn: "kind", labelKind: "class" } as const;

function failure(run: () => unknown): { code: string; message: string } {
	try {
		run();
	} catch (error) {
		return error as { code: string; message: string };
	}
	throw new Error("nothing was thrown");
}

describe("readCsv", () => {
	const text = '\uFEFFa,kind,"b"\r\n1,"x, y",-2.5\r\n\r\n 3 ,z,4e2\r\n';

	it("reads plain and gzip alike: quotes, byte-order mark, blank lines, spaces", () => {
		for (const path of [file("plain.csv", text), file("packed.csv.gz", gzipSync(text))]) {
			expect(readCsv(path, byClass)).toEqual({
				features: Float32Array.of(1, -2.5, 3, 400),
				labels: Float32Array.of(0, 1),
				rows: 2,
				columns: ["a", "b"],
				labelNames: ["x, y", "z"],
			});
		}
	});

	it("reads a numeric target", () => {
		const path = file("target.csv", "a,y\n1,0.5\n2,-7\n");
		const dataset = readCsv(path, { labelColumn: "y", labelKind: "number" });
		expect(dataset.labels).toEqual(Float32Array.of(0.5, -7));
		expect(dataset.labelNames).toEqual([]);
	});

	it("names file, line and column of a cell that is no number, and never quotes the cell", () => {
		for (const cell of ["secret", "", "NaN", "1e999", "12 kg"]) {
			const path = file("cell.csv", `a,kind,b\n1,x,2\n1,x,${cell}\n`);
			const error = failure(() => readCsv(path, byClass));
			expect(error.code).toBe("data.not_numeric");
			expect(error.message).toContain(`${path}, line 3, column "b"`);
			expect(error.message).not.toContain("secret");
		}
	});

	it("reads records that have no label, and keeps their keys apart from the features", () => {
		const path = file("keyed.csv", "a,patient,b\n1,p-7,2\n3,p-2,4\n");
		const dataset = readCsv(path, { labelKind: "none", keyColumn: "patient" });
		expect(dataset).toMatchObject({ columns: ["a", "b"], rows: 2, keys: ["p-7", "p-2"], labelNames: [] });
		expect([...dataset.features]).toEqual([1, 2, 3, 4]);
		expect(gather(dataset, Int32Array.of(1)).keys).toEqual(["p-2"]);
		for (const [content, code] of [
			["a,patient\n1,\n", "data.missing_key"],
			["a,patient\n1,secret\n2,secret\n", "data.duplicate_key"],
			["a,b\n1,2\n", "data.missing_key_column"],
		] as const) {
			const error = failure(() =>
				readCsv(file("bad.csv", content), { labelKind: "none", keyColumn: "patient" }),
			);
			expect(error.code).toBe(code);
			expect(error.message).not.toContain("secret");
		}
	});

	it("says what is wrong with the file as a whole", () => {
		const cases: [string, string | Uint8Array, string, RegExp][] = [
			["ragged.csv", "a,kind\n1,x\n1,x,secret\n", "data.malformed", /line 3: .*number of cells/],
			["quote.csv", 'a,kind\n1,"secret\n', "data.malformed", /never closed/],
			["nolabel.csv", "a,b\n1,2\n", "data.missing_label_column", /"kind".*a, b/],
			["blank.csv", "a,kind\n1,\n", "data.missing_label", /line 2/],
			["twice.csv", "a,a,kind\n1,2,x\n", "data.duplicate_column", /"a" twice/],
			["header.csv", "a,kind\n", "data.empty", /no records/],
			["empty.csv", "", "data.empty", /is empty/],
			["broken.csv.gz", gzipSync("a,kind\n1,x\n").subarray(0, 20), "data.unreadable", /cut short/],
		];
		for (const [name, content, code, message] of cases) {
			const path = file(name, content);
			const error = failure(() => readCsv(path, byClass));
			expect(error.code, name).toBe(code);
			expect(error.message).toMatch(message);
			expect(error.message).toContain(path);
			expect(error.message).not.toContain("secret");
		}
		const missing = failure(() => readCsv(join(folder, "nowhere.csv"), byClass));
		expect(missing.code).toBe("data.unreadable");
		expect(missing.message).toContain("ENOENT");
	});
});

/** An IDX file of unsigned bytes. */
function idx(sizes: number[], values: number[]): Uint8Array {
	const bytes = new Uint8Array(4 + 4 * sizes.length + values.length);
	const view = new DataView(bytes.buffer);
	view.setUint32(0, 0x0800 | sizes.length);
	for (const [i, size] of sizes.entries()) view.setUint32(4 + 4 * i, size);
	bytes.set(values, 4 + 4 * sizes.length);
	return bytes;
}

describe("readIdx", () => {
	it("reads images and labels, plain or gzip", () => {
		const images = file("images", gzipSync(idx([2, 1, 3], [0, 128, 255, 1, 2, 3])));
		const labels = file("labels", idx([2], [7, 3]));
		expect(readIdx(images, labels)).toEqual({
			features: Float32Array.of(0, 128, 255, 1, 2, 3),
			labels: Float32Array.of(1, 0),
			rows: 2,
			columns: ["p0", "p1", "p2"],
			labelNames: ["3", "7"],
		});
	});

	it("refuses swapped, truncated, mismatched and empty files by name", () => {
		const images = file("ok-images", idx([2, 1, 1], [1, 2]));
		const labels = file("ok-labels", idx([2], [7, 3]));
		const cases: [string, string, string][] = [
			[labels, images, "data.wrong_magic"],
			[file("tiny", Uint8Array.of(0, 0)), labels, "data.wrong_magic"],
			[file("header", idx([2, 1, 1], []).subarray(0, 9)), labels, "data.truncated"],
			[file("short", idx([2, 1, 1], [1])), labels, "data.truncated"],
			[file("long", idx([2, 1, 1], [1, 2, 3])), labels, "data.truncated"],
			[file("three", idx([3, 1, 1], [1, 2, 3])), labels, "data.length_mismatch"],
			[file("none", idx([0, 1, 1], [])), labels, "data.empty"],
			[join(folder, "nowhere"), labels, "data.unreadable"],
		];
		for (const [first, second, code] of cases) {
			const error = failure(() => readIdx(first, second));
			expect(error.code).toBe(code);
			expect(error.message).toContain(first);
		}
	});
});
