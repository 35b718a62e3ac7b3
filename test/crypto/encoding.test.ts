import fc from "fast-check";
import { expect, test } from "vitest";
import {
	decodeCanonical,
	type Encodable,
	encodeCanonical,
	equalBytes,
	fromHex,
	toHex,
} from "../../crypto/encoding.ts";

const value: fc.Arbitrary<Encodable> = fc.letrec<{ node: Encodable }>((tie) => ({
	node: fc.oneof(
		{ maxDepth: 4 },
		fc.constant(null),
		fc.boolean(),
		fc.maxSafeInteger(),
		fc.double({ noNaN: true, noDefaultInfinity: true }).filter((number) => !Object.is(number, -0)),
		fc.string(),
		fc.uint8Array(),
		fc.array(tie("node"), { maxLength: 4 }),
		fc.dictionary(fc.string(), tie("node"), { maxKeys: 4 }),
	),
})).node;

test("decoding gives back what was encoded, and the encoding of it is the same bytes", () => {
	fc.assert(
		fc.property(value, (original) => {
			const bytes = encodeCanonical(original);
			const decoded = decodeCanonical(bytes);
			expect(Buffer.compare(encodeCanonical(decoded as Encodable), bytes)).toBe(0);
			expect(decoded).toEqual(original);
		}),
	);
});

test("the order of keys does not matter and undefined values are left out", () => {
	const a = encodeCanonical({ bb: 1, a: 2, c: undefined });
	expect(toHex(a)).toBe(toHex(encodeCanonical({ a: 2, bb: 1 })));
	// RFC 8949 section 4.2.1: sorted by encoded key.
	expect(toHex(a)).toBe("a2616102626262" + "01");
});

test("vectors of RFC 8949 appendix A", () => {
	for (const [hex, decoded] of [
		["00", 0],
		["1903e8", 1000],
		["3903e7", -1000],
		["1b000000e8d4a51000", 1000000000000],
		["f93e00", 1.5],
		["fb3ff199999999999a", 1.1],
		["f5", true],
		["f6", null],
		["62c3bc", "\u00fc"],
		["8301820203820405", [1, [2, 3], [4, 5]]],
		["a26161016162820203", { a: 1, b: [2, 3] }],
	] as const) {
		expect(toHex(encodeCanonical(decoded as Encodable))).toBe(hex);
		expect(decodeCanonical(fromHex(hex))).toEqual(decoded);
	}
});

test.each([
	["an integer that is not shortest", "1800"],
	["a float that could be shorter", "fb3ff8000000000000"],
	["keys out of order", "a2616201616101"],
	["a repeated key", "a2616101616102"],
	["an indefinite length", "9f01ff"],
	["undefined", "f7"],
	["NaN", "f97e00"],
	["infinity", "f97c00"],
	["a tag", "c11a514b67b0"],
	["a key that is not text", "a10102"],
	["trailing bytes", "0000"],
	["truncation", "8201"],
	["nothing", ""],
	["text that is not UTF-8", "61ff"],
	["nesting without end", "81".repeat(100_000)],
	["nesting deeper than any message", `${"81".repeat(40)}00`],
])("refuses %s", (_, hex) => {
	expect(() => decodeCanonical(fromHex(hex))).toThrow(
		expect.objectContaining({ code: "encoding.not_canonical" }),
	);
});

test("whatever bytes arrive, decoding returns their only value or a clear error", () => {
	fc.assert(
		fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
			let decoded: unknown;
			try {
				decoded = decodeCanonical(bytes);
			} catch (error) {
				expect(error).toMatchObject({ code: "encoding.not_canonical" });
				return;
			}
			expect(toHex(encodeCanonical(decoded as Encodable))).toBe(toHex(bytes));
		}),
		{ numRuns: 2000 },
	);
});

test("refuses input above the caller's limit", () => {
	expect(() => decodeCanonical(new Uint8Array(11), 10)).toThrow(
		expect.objectContaining({ code: "encoding.too_large" }),
	);
});

test("a key named __proto__ is data", () => {
	const decoded = decodeCanonical(fromHex("a1695f5f70726f746f5f5fa161780 1".replace(" ", ""))) as object;
	expect(Object.hasOwn(decoded, "__proto__")).toBe(true);
	expect("x" in {}).toBe(false);
});

test("refuses to encode what has no encoding", () => {
	for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, [undefined], () => 1, 2n ** 70n]) {
		expect(() => encodeCanonical(bad as Encodable)).toThrow(
			expect.objectContaining({ code: "encoding.unsupported" }),
		);
	}
});

test("hexadecimal text", () => {
	expect(toHex(fromHex("00FFa0"))).toBe("00ffa0");
	expect(() => fromHex("abc")).toThrow(expect.objectContaining({ code: "encoding.not_hex" }));
	expect(() => fromHex("zz")).toThrow(expect.objectContaining({ code: "encoding.not_hex" }));
});

test("byte comparison", () => {
	expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true);
	expect(equalBytes(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
	expect(equalBytes(Uint8Array.of(1), Uint8Array.of(1, 2))).toBe(false);
});
