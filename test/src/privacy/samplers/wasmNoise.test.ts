import { describe, expect, it } from "vitest";
import { buildCellTable, ZERO_CELL } from "../../../../src/privacy/samplers/bulkTable.ts";
import { wasmNoise } from "../../../../src/privacy/samplers/wasmNoise.ts";
import { seededWordsForTests } from "../seededWordsForTests.ts";

describe("the noise kernel", () => {
	it("reads a table as its text says, at every threshold and between", () => {
		const wasm = wasmNoise();
		for (const sigma of [3, 500, 2 ** 20]) {
			const { entries, lowBits } = buildCellTable(sigma);
			const words = edgeWords(entries);
			wasm.table.set(entries);
			for (let start = 0; start < words.length; start += wasm.words.length) {
				const block = words.subarray(start, start + wasm.words.length);
				wasm.words.set(block);
				const unsure = wasm.sample(block.length, lowBits, ZERO_CELL << lowBits);
				const expected = Array.from(block, (word) => readTable(entries, lowBits, word));
				expect(Array.from(wasm.noise.subarray(0, block.length))).toEqual(expected.map(({ noise }) => noise));
				const positions = Array.from(wasm.unsure.subarray(0, unsure)).filter((i) => i < block.length);
				expect(positions).toEqual(expected.flatMap(({ isUnsure }, i) => (isUnsure ? [i] : [])));
			}
		}
		wasm.wipe();
	});

	it("works on the count it is given, rounded up to four, and no more", () => {
		const wasm = wasmNoise();
		wasm.table.set(buildCellTable(3).entries);
		for (const [count, written] of [
			[1, 4],
			[4, 4],
			[5, 8],
			[16383, 16384],
		] as const) {
			wasm.noise.fill(-(2 ** 31));
			wasm.sample(count, 0, 0);
			expect(wasm.noise.findIndex((value) => value === -(2 ** 31))).toBe(
				written === wasm.noise.length ? -1 : written,
			);
		}
		wasm.wipe();
	});

	it("wipes noise, randomness and values", () => {
		const wasm = wasmNoise();
		for (const part of [wasm.words, wasm.noise, wasm.values]) part.fill(7);
		wasm.wipe();
		for (const part of [wasm.words, wasm.noise, wasm.values]) expect(part.every((x) => x === 0)).toBe(true);
	});
});

/** What wasmNoise.wat says of `sample`. */
function readTable(entries: Uint32Array, lowBits: number, word: number) {
	const column = Math.floor(word / 2 ** 20);
	const threshold = entries[2 * column]!;
	const width = Math.floor(entries[2 * column + 1]! / 4096);
	const cell = word < threshold ? column : entries[2 * column + 1]! % 4096;
	return {
		noise: (cell - ZERO_CELL) * 2 ** lowBits + (word % 2 ** lowBits),
		isUnsure: word >= threshold && word < threshold + width,
	};
}

/** Words next to where each column's answer changes, the ends of the columns, and some between. */
function edgeWords(entries: Uint32Array): Uint32Array {
	const random = new Uint32Array(entries.length);
	seededWordsForTests(1)(random);
	const words: number[] = [];
	for (let column = 0; column < entries.length / 2; column++) {
		const threshold = entries[2 * column]!;
		const width = Math.floor(entries[2 * column + 1]! / 4096);
		const first = column * 2 ** 20;
		for (const word of [threshold - 1, threshold, threshold + width - 1, threshold + width]) {
			if (word >= first && word < first + 2 ** 20) words.push(word);
		}
		words.push(first, first + 2 ** 20 - 1, first + (random[column]! % 2 ** 20));
	}
	return Uint32Array.from(words);
}
