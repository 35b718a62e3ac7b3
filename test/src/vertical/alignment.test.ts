import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashFields } from "../../../crypto/hash.ts";
import { alignByKey, alignmentVector, areAligned } from "../../../src/vertical/alignment.ts";

const JOB = hashFields("job");

function summed(digests: readonly Uint8Array[]): Uint32Array {
	const vectors = digests.map(alignmentVector);
	return vectors[0]!.map((_, i) => vectors.reduce((sum, vector) => sum + vector[i]!, 0));
}

describe("alignment by key", () => {
	it("puts rows in one order, however each organization's file is sorted", () => {
		const keys = Array.from({ length: 50 }, (_, i) => `patient ${i}`);
		const shuffled = keys.map((_, i) => keys[(i * 17) % 50]!);
		const here = alignByKey(keys, 50, JOB);
		const there = alignByKey(shuffled, 50, JOB);
		expect(Array.from(there.rows, (row) => shuffled[row])).toEqual(Array.from(here.rows, (row) => keys[row]));
		expect(there.digest).toEqual(here.digest);
		expect([...here.rows].sort((a, b) => a - b)).toEqual(keys.map((_, i) => i));
		expect(alignByKey(keys, 50, hashFields("another job")).digest).not.toEqual(here.digest);
	});

	it("refuses a file without keys, or with other than the agreed records, and names no key", () => {
		expect(() => alignByKey(undefined, 5, JOB)).toThrow(expect.objectContaining({ code: "vertical.no_key" }));
		expect(() => alignByKey(["secret"], 5, JOB)).toThrow(
			expect.objectContaining({
				code: "vertical.record_count",
				message: expect.not.stringContaining("secret"),
			}),
		);
	});

	it("tells from sums whether all have the same records, for up to 127 organizations", () => {
		const digest = hashFields("records");
		for (const count of [1, 3, 127])
			expect(areAligned(summed(Array.from({ length: count }, () => digest)), count)).toBe(true);
		fc.assert(
			fc.property(fc.integer({ min: 2, max: 20 }), fc.nat(), fc.nat(), (count, at, seed) => {
				const digests = Array.from({ length: count }, () => digest);
				digests[at % count] = hashFields("other records", seed);
				return !areAligned(summed(digests), count);
			}),
		);
		// The largest words of the most organizations stay below 2^31.
		const largest = summed(Array.from({ length: 127 }, () => new Uint8Array(32).fill(255)));
		expect(Math.max(...largest)).toBeLessThan(2 ** 31);
	});
});
