import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
	centredResidue,
	projectSigns,
	SIGN_PROJECTIONS,
	SQUARES_LIMIT,
} from "../../crypto/signProjection.ts";
import { seededRandomForTests } from "../../testnet/simulate/seededRandom.ts";

const MODULI = [16, 24, 32] as const;
const seedOf = (byte: number) => new Uint8Array(32).fill(byte);
const modulusBits = fc.constantFrom(...MODULI);

const squares = (seed: number, values: Int32Array) =>
	[...projectSigns(seedOf(seed), new Uint32Array(values.buffer), 32)]
		.map((value) => centredResidue(value, 32) ** 2)
		.reduce((sum, value) => sum + value, 0);

describe("sign projections", () => {
	test("are linear mod 2^m", () => {
		const vectors = fc
			.integer({ min: 0, max: 50 })
			.chain((length) =>
				fc.tuple(...[0, 1].map(() => fc.uint32Array({ minLength: length, maxLength: length }))),
			);
		fc.assert(
			fc.property(vectors, modulusBits, fc.nat(255), ([a, b], bits, byte) => {
				const sum = Uint32Array.from(a!, (value, i) => value + b![i]!);
				const seed = seedOf(byte);
				const [pa, pb] = [projectSigns(seed, a!, bits), projectSigns(seed, b!, bits)];
				const expected = pa.map((value, k) => (value + pb[k]!) & (bits === 32 ? -1 : 2 ** bits - 1));
				expect(projectSigns(seed, sum, bits)).toEqual(expected);
			}),
		);
	});

	test("add, subtract or leave out every coordinate, each row in its own way", () => {
		for (const bits of MODULI) {
			const entries = Array.from({ length: 37 }, (_, i) => {
				const unit = Uint32Array.from({ length: 37 }, (_, j) => (i === j ? 1 : 0));
				return [...projectSigns(seedOf(3), unit, bits)].map((value) => centredResidue(value, bits));
			});
			expect(new Set(entries.flat())).toEqual(new Set([-1, 0, 1]));
			const zeros = entries.flat().filter((entry) => entry === 0).length / entries.flat().length;
			expect(Math.abs(zeros - 0.5)).toBeLessThan(0.1);
			const columns = Array.from({ length: SIGN_PROJECTIONS }, (_, k) => entries.map((row) => row[k]).join());
			expect(new Set(columns).size).toBe(SIGN_PROJECTIONS);
		}
	});

	test("see half a modulus in any number of places, which signs alone would not", () => {
		for (const places of [1, 2, 8]) {
			const values = Uint32Array.from({ length: 50 }, (_, i) => (i < places ? 2 ** 31 : 0));
			const seen = [...projectSigns(seedOf(places), values, 32)].filter((value) => value === 2 ** 31);
			expect(seen.length).toBeGreaterThan(2);
			expect(seen.length).toBeLessThan(14);
		}
	});

	test("tell the length of a vector: 8 squared norms on average, never the limit", () => {
		const random = seededRandomForTests(5);
		const values = Int32Array.from({ length: 1000 }, () => Math.floor(random() * 2001) - 1000);
		const norm = values.reduce((sum, value) => sum + value * value, 0);
		const ratios = Array.from({ length: 200 }, (_, seed) => squares(seed, values) / norm);
		const mean = ratios.reduce((sum, value) => sum + value, 0) / ratios.length;
		expect(mean).toBeGreaterThan(7.2);
		expect(mean).toBeLessThan(8.8);
		expect(Math.max(...ratios)).toBeLessThan(SQUARES_LIMIT);
		expect(
			squares(
				1,
				values.map((value) => value * 6),
			) / norm,
		).toBeGreaterThan(SQUARES_LIMIT);
	});

	test("state a false alarm below 2^-40", () => {
		const bound = (SQUARES_LIMIT / 8) ** 8 * Math.exp(-(SQUARES_LIMIT - 8));
		expect(Math.log2(bound)).toBeLessThan(-40);
	});

	test("refuse a seed of another length", () => {
		expect(() => projectSigns(new Uint8Array(31), new Uint32Array(4), 32)).toThrow(/32 bytes/);
	});
});
