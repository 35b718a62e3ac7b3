import fc from "fast-check";
import { expect, test } from "vitest";
import {
	gatherCoordinates,
	largestCoordinates,
	MOST_COORDINATES,
	sharedCoordinates,
} from "../../../src/compression/sharedCoordinates.ts";
import { seed, vector } from "./vectorsForTests.ts";

const selection = fc
	.record({
		length: fc.integer({ min: 1, max: 300 }),
		share: fc.double({ min: 0, max: 1, noNaN: true }),
		seed32: seed,
	})
	.map(({ length, share, seed32 }) => ({ seed32, length, count: Math.max(1, Math.floor(share * length)) }));

test("exactly as many as asked for, in order, all that are fixed among them", () => {
	fc.assert(
		fc.property(selection, fc.nat(20), (asked, fixed) => {
			const always = sharedCoordinates({ ...asked, seed32: new Uint8Array(32) }).slice(0, fixed);
			const chosen = sharedCoordinates({ ...asked, always });
			expect(chosen.length).toBe(asked.count);
			expect([...chosen]).toEqual([...new Set(chosen)].sort((a, b) => a - b));
			expect(chosen.at(-1)).toBeLessThan(asked.length);
			for (const one of always) expect(chosen).toContain(one);
		}),
	);
});

test("each coordinate as often as any other, over many rounds", () => {
	const times = new Uint32Array(40);
	for (let round = 0; round < 4000; round++) {
		const seed32 = new Uint8Array(32);
		new DataView(seed32.buffer).setUint32(0, round);
		for (const i of sharedCoordinates({ seed32, length: 40, count: 10 })) times[i]!++;
	}
	// Fixed seeds. Binomial(4000, 1/4): mean 1000, deviation 27; seven of them.
	for (const count of times) expect(Math.abs(count - 1000)).toBeLessThan(192);
});

test("impossible selections are refused", () => {
	const seed32 = new Uint8Array(32);
	const always = Uint32Array.of(1, 2, 3);
	for (const bad of [
		{ length: 5, count: 6 },
		{ length: 5, count: 0 },
		{ length: 5, count: 2, always },
		{ length: 5.5, count: 2 },
		{ length: MOST_COORDINATES, count: 2 },
	]) {
		expect(() => sharedCoordinates({ seed32, ...bad })).toThrow(
			expect.objectContaining({ code: "compression.bad_selection" }),
		);
	}
});

test("the largest coordinates are the largest, and the first of equal ones", () => {
	fc.assert(
		fc.property(vector(60), fc.nat(60), (values, wanted) => {
			const count = Math.min(wanted, values.length);
			const expected = [...values.keys()]
				.sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!) || a - b)
				.slice(0, count)
				.sort((a, b) => a - b);
			expect([...largestCoordinates(values, count)]).toEqual(expected);
		}),
	);
	expect([...gatherCoordinates(Float64Array.of(5, 6, 7), Uint32Array.of(0, 2))]).toEqual([5, 7]);
});
