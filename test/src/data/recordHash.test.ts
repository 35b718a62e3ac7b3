import { createHmac } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { KeyedRecordHash } from "../../../src/data/recordHash.ts";

describe("the keyed hash of a record", () => {
	it("is HMAC-SHA256 over its features and label as little-endian float32", () => {
		const records = fc.record({
			key: fc.uint8Array({ minLength: 0, maxLength: 64 }),
			features: fc.array(fc.float({ noNaN: true }), { maxLength: 20 }),
			label: fc.float({ noNaN: true }),
			offset: fc.nat(5),
		});
		fc.assert(
			fc.property(records, ({ key, features, label, offset }) => {
				const bytes = Buffer.alloc(4 * (features.length + 1));
				for (const [i, value] of [...features, label].entries()) bytes.writeFloatLE(value, 4 * i);
				const expected = createHmac("sha256", key).update(bytes).digest().readUIntBE(0, 6);
				const hash = new KeyedRecordHash(key, features.length);
				const placed = Float32Array.from([...Array(offset).fill(9), ...features]);
				expect(hash.uint48(placed, offset, label)).toBe(expected);
				// What it hashed before leaves nothing behind.
				hash.uint48(new Float32Array(features.length), 0, 1);
				expect(hash.uint48(placed, offset, label)).toBe(expected);
			}),
		);
	});

	it("refuses a key that HMAC would have to shorten first", () => {
		expect(() => new KeyedRecordHash(new Uint8Array(65), 1)).toThrow(
			expect.objectContaining({ code: "data.bad_split" }),
		);
	});
});
