import fc from "fast-check";
import { expect, test } from "vitest";
import {
	decodeCoordinates,
	decodeSparse,
	encodeCoordinates,
	encodeSparse,
} from "../../../src/compression/sparseVectorCoding.ts";
import { seededRandomForTests } from "../../../src/data/testnetPartition.ts";

const LARGEST = 2 ** 31 - 1;
const sparse = fc
	.array(
		fc.oneof(
			{ arbitrary: fc.constant(0), weight: 5 },
			fc.integer({ min: -LARGEST, max: LARGEST }),
			fc.integer({ min: -3, max: 3 }),
		),
	)
	.map((values) => Int32Array.from(values));
const malformed = expect.objectContaining({ code: "compression.malformed" });

test("any vector comes back", () => {
	fc.assert(
		fc.property(sparse, (values) => {
			const bytes = encodeSparse(values);
			expect(decodeSparse(bytes, { length: values.length, largest: LARGEST })).toEqual(values);
		}),
		{ numRuns: 300 },
	);
});

test("a sparse vector costs about its entropy", () => {
	const random = seededRandomForTests(4);
	const length = 100_000;
	const share = 0.05;
	const values = Int32Array.from({ length }, () => (random() < share ? (random() < 0.5 ? 1 : -1) : 0));
	const entropy = -share * Math.log2(share / 2) - (1 - share) * Math.log2(1 - share);
	const size = encodeSparse(values).length;
	expect(size * 8).toBeGreaterThan(length * entropy * 0.97);
	expect(size * 8).toBeLessThan(length * entropy * 1.1);
	expect(encodeSparse(new Int32Array(length)).length).toBeLessThan(length / 200);
});

test("bytes that no vector has are refused: cut, prolonged, changed, too large, random", () => {
	const values = Int32Array.from({ length: 200 }, (_, i) => (i % 7 === 0 ? i - 90 : 0));
	const bytes = encodeSparse(values);
	const expected = { length: 200, largest: 110 };
	expect(decodeSparse(bytes, expected)).toEqual(values);
	expect(() => decodeSparse(bytes.subarray(0, bytes.length - 3), expected)).toThrow(malformed);
	expect(() => decodeSparse(Uint8Array.of(...bytes, 0), expected)).toThrow(malformed);
	expect(() => decodeSparse(new Uint8Array(), expected)).toThrow(malformed);
	expect(() => decodeSparse(bytes, { ...expected, largest: 50 })).toThrow(malformed);
	fc.assert(
		fc.property(fc.uint8Array({ maxLength: 60 }), (noise) => {
			try {
				const decoded = decodeSparse(noise, { length: 40, largest: 1000 });
				expect(encodeSparse(decoded)).toEqual(noise);
			} catch (error) {
				expect(error).toEqual(malformed);
			}
		}),
		{ numRuns: 500 },
	);
});

test("sets of coordinates come back; a vector with other marks is none", () => {
	const coordinates = Uint32Array.of(0, 3, 4, 99);
	expect(decodeCoordinates(encodeCoordinates(coordinates, 100), 100)).toEqual(coordinates);
	expect(() => decodeCoordinates(encodeSparse(Int32Array.of(0, -1)), 2)).toThrow(malformed);
	expect(() => decodeCoordinates(encodeSparse(Int32Array.of(2, 1)), 2)).toThrow(malformed);
});
