import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decode, encode, planEncoding, toRing } from "../../../../src/privacy/fixedPoint.ts";
import { addNoiseOnGrid, encodeToRing } from "../../../../src/privacy/samplers/bulkEncoding.ts";
import { tableGaussian } from "../../../../src/privacy/samplers/tableGaussian.ts";
import { wasmNoise } from "../../../../src/privacy/samplers/wasmNoise.ts";
import { seededWordsForTests } from "../seededWordsForTests.ts";

/** Values that the kernel makes at once. */
const BLOCK = wasmNoise().noise.length;

const planOf = (length: number, modulusBits: number) =>
	planEncoding({ length, clippingNorm: 1, maximumContributors: 3, perSiteBound: 4, modulusBits });

/** Values where rounding, clamping or conversion could differ, in units of the grid. */
const edges = [0, -0, 0.5, -0.5, 1.5, -1.5, 2.5, -2.5, 0.49999999999999994, -0.49999999999999994]
	.concat([0.5000000000000001, -0.5000000000000001, 1e300, -1e300, Number.MAX_VALUE, -Number.MAX_VALUE])
	.concat([Number.MIN_VALUE, -Number.MIN_VALUE, 2 ** 31, -(2 ** 31), 2 ** 31 - 0.5, 2 ** 52 + 0.5]);

describe("encoding in one pass", () => {
	it("gives the same bits as the encoding in steps, for any finite values", () => {
		const value = fc.oneof(
			fc.double({ noNaN: true, noDefaultInfinity: true }),
			fc.double({ min: -8, max: 8, noNaN: true }),
			fc.integer({ min: -(2 ** 20), max: 2 ** 20 }).map((halves) => halves / 2),
			fc.constantFrom(...edges),
		);
		fc.assert(
			fc.property(
				fc.array(value, { minLength: 1, maxLength: 70 }),
				fc.constantFrom(16 as const, 24 as const, 32 as const),
				fc.boolean(),
				(list, modulusBits, inGridUnits) => {
					const plan = planOf(list.length, modulusBits);
					const values = Float64Array.from(list, (x) => (inGridUnits ? x / plan.scale : x));
					const target = new Uint32Array(list.length);
					encodeToRing(values, plan, "none", target);
					expect(target).toEqual(toRing(encode(values, plan), modulusBits));
				},
			),
			{ numRuns: 400 },
		);
	});

	it("clamps to the largest bound there is", () => {
		const plan = { length: 4, scale: 1, coordinateBound: 2 ** 31 - 1, modulusBits: 32 as const };
		const values = Float64Array.of(2 ** 31, -(2 ** 31), 2 ** 31 - 1.5, 7);
		const target = new Uint32Array(4);
		encodeToRing(values, plan, "none", target);
		expect(new Int32Array(target.buffer)).toEqual(
			encode(values, { ...plan, sensitivity: 1, wrapProbability: 0 }),
		);
	});

	it("adds the sampler's own samples, reduced to the ring", () => {
		for (const length of [1, 3, 4, 5, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7]) {
			for (const modulusBits of [16, 24, 32] as const) {
				const plan = planOf(length, modulusBits);
				const values = Float64Array.from({ length }, (_, i) => Math.sin(i));
				const before = values.slice();
				const sampler = tableGaussian(1000);
				const noise = new Int32Array(length);
				sampler.fill(noise, seededWordsForTests(length));
				const target = new Uint32Array(length);
				encodeToRing(values, plan, sampler, target, seededWordsForTests(length));
				const sum = encode(values, plan).map((x, i) => x + noise[i]!);
				expect(target).toEqual(toRing(sum, modulusBits));
				expect(values).toEqual(before);
			}
		}
	});

	it("adds noise on the grid in place, with the same samples", () => {
		for (const length of [1, 6, BLOCK + 6]) {
			const plan = planOf(length, 32);
			const values = Float64Array.from({ length }, (_, i) => Math.cos(i));
			const sampler = tableGaussian(77.7);
			const noise = new Int32Array(length);
			sampler.fill(noise, seededWordsForTests(9));
			const expected = decode(
				encode(values, plan).map((x, i) => x + noise[i]!),
				plan,
			);
			addNoiseOnGrid(values, plan, sampler, seededWordsForTests(9));
			expect(values).toEqual(expected);
		}
	});

	it("draws fresh noise for every vector", () => {
		const plan = planOf(500, 32);
		const sampler = tableGaussian(500);
		const [first, second] = [new Uint32Array(500), new Uint32Array(500)];
		encodeToRing(new Float64Array(500), plan, sampler, first);
		encodeToRing(new Float64Array(500), plan, sampler, second);
		expect(first).not.toEqual(second);
	});

	it("refuses what is not finite, wherever it is, and leaves zeros, not half of a vector", () => {
		const sampler = tableGaussian(50);
		for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
			const length = BLOCK + 1001;
			for (const position of [0, 1, 2, 3, BLOCK, length - 2, length - 1]) {
				const plan = planOf(length, 32);
				const values = new Float64Array(length).fill(0.25);
				values[position] = bad;
				for (const noise of [sampler, "none"] as const) {
					const target = new Uint32Array(length).fill(1);
					expect(() => encodeToRing(values, plan, noise, target)).toThrow(
						expect.objectContaining({ code: "privacy.not_finite" }),
					);
					expect(target.every((x) => x === 0)).toBe(true);
				}
				expect(() => addNoiseOnGrid(values, plan, sampler)).toThrow(
					expect.objectContaining({ code: "privacy.not_finite" }),
				);
				expect(values.every((x) => x === 0)).toBe(true);
				expect(wasmNoise().noise.every((x) => x === 0)).toBe(true);
			}
		}
		// A failure leaves nothing that the next vector would be refused for.
		expect(() => addNoiseOnGrid(new Float64Array(3), planOf(3, 32), sampler)).not.toThrow();
	});

	it("refuses a target of another length", () => {
		expect(() => encodeToRing(new Float64Array(3), planOf(3, 32), "none", new Uint32Array(4))).toThrow(
			expect.objectContaining({ code: "privacy.wrong_length" }),
		);
	});
});
