import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LEAST_MODULUS_BITS, type ModulusBits } from "../../../crypto/ringPacking.ts";
import {
	decode,
	type EncodingPlan,
	encode,
	fromRing,
	planEncoding,
	toRing,
} from "../../../src/privacy/fixedPoint.ts";
import { effectiveNoiseMultiplier } from "../../../src/privacy/integerNoise.ts";
import { largestNoiseMultiplier, planNoiseShares, slackDelta } from "../../../src/privacy/noiseShares.ts";
import { tableGaussian } from "../../../src/privacy/samplers/tableGaussian.ts";
import { seededWordsForTests } from "./seededWordsForTests.ts";

const request = { length: 650, clippingNorm: 1, maximumContributors: 5, perSiteBound: 64 };

/** Sum modulo 2^m, as masked aggregation does it. */
function ringSum(vectors: readonly Uint32Array[], modulusBits: ModulusBits): Uint32Array {
	const sum = new Uint32Array(vectors[0]!.length);
	for (const vector of vectors) for (let i = 0; i < sum.length; i++) sum[i]! += vector[i]!;
	return toRing(Int32Array.from(sum), modulusBits);
}

const anyRequest = fc.record({
	length: fc.integer({ min: 1, max: 40 }),
	clippingNorm: fc.double({ min: 1e-3, max: 1e3, noNaN: true }),
	maximumContributors: fc.integer({ min: 1, max: 30 }),
	perSiteBound: fc.double({ min: 0.1, max: 500, noNaN: true }),
	largestNoiseMultiplier: fc.double({ min: 0, max: 8, noNaN: true }),
});

describe("planEncoding", () => {
	it("leaves room for the worst case of every plan it makes, and takes the least modulus that fits", () => {
		fc.assert(
			fc.property(anyRequest, (asked) => {
				const plan = planEncoding(asked);
				const sigma = plan.sensitivity * asked.largestNoiseMultiplier;
				const half = 2 ** (plan.modulusBits - 1);
				// 2 d exp(-t^2 / 2) is 2^-40 at t = 7.5 for one coordinate.
				expect(asked.maximumContributors * plan.coordinateBound + 7.5 * sigma).toBeLessThanOrEqual(half - 1);
				expect(plan.wrapProbability).toBeLessThanOrEqual(2 ** -40);
				expect(Number.isInteger(Math.log2(plan.scale))).toBe(true);
				expect(plan.scale * asked.clippingNorm).toBeGreaterThanOrEqual(
					16 * Math.sqrt(asked.length) * (1 - 1e-12),
				);
				if (plan.modulusBits !== LEAST_MODULUS_BITS) {
					const tight = (): EncodingPlan => planEncoding({ ...asked, modulusBits: plan.modulusBits - 1 });
					let scale = 0;
					try {
						scale = tight().scale;
					} catch (error) {
						expect(error).toMatchObject({ code: "privacy.no_headroom" });
					}
					expect(scale).toBeLessThan(plan.scale);
				}
			}),
		);
	});

	it("survives the ring with every site at its bound, in either direction", () => {
		fc.assert(
			fc.property(anyRequest, fc.boolean(), (asked, up) => {
				const plan = planEncoding(asked);
				const extreme = new Float64Array(asked.length).fill((up ? 1 : -1) * 1e9);
				const encoded = encode(extreme, plan);
				expect(Math.abs(encoded[0]!)).toBe(plan.coordinateBound);
				const ring = toRing(encoded, plan.modulusBits);
				const sum = fromRing(
					ringSum(Array<Uint32Array>(asked.maximumContributors).fill(ring), plan.modulusBits),
					plan.modulusBits,
				);
				expect(sum[0]).toBe((up ? 1 : -1) * asked.maximumContributors * plan.coordinateBound);
			}),
		);
	});

	it("bounds how far one record moves the encoded vector", () => {
		fc.assert(
			fc.property(
				anyRequest,
				fc.array(fc.double({ min: -1, max: 1, noNaN: true }), { minLength: 80, maxLength: 80 }),
				(asked, numbers) => {
					const plan = planEncoding(asked);
					const without = Float64Array.from(
						{ length: asked.length },
						(_, i) => numbers[i]! * 3 * asked.clippingNorm,
					);
					const direction = numbers.slice(40, 40 + asked.length);
					const norm = Math.hypot(...direction) || 1;
					const withRecord = without.map((value, i) => value + (direction[i]! / norm) * asked.clippingNorm);
					const a = encode(without, plan);
					const b = encode(withRecord, plan);
					expect(Math.hypot(...a.map((value, i) => value - b[i]!))).toBeLessThanOrEqual(plan.sensitivity);
				},
			),
		);
	});

	it("gives up precision before it gives up, when the modulus is fixed", () => {
		const roomy = planEncoding({ ...request, length: 100, perSiteBound: 4 });
		const tight = planEncoding({ ...request, length: 100, perSiteBound: 50, modulusBits: 16 });
		expect(roomy.scale).toBeGreaterThan(tight.scale);
		expect(tight.modulusBits).toBe(16);
	});

	it("throws privacy.no_headroom rather than wrap", () => {
		expect(() => planEncoding({ ...request, perSiteBound: 500, modulusBits: 16 })).toThrow(
			expect.objectContaining({ code: "privacy.no_headroom" }),
		);
		expect(() => planEncoding({ ...request, length: 1_000_000, largestNoiseMultiplier: 1e6 })).toThrow(
			expect.objectContaining({ code: "privacy.no_headroom" }),
		);
	});

	it("refuses requests out of range", () => {
		for (const bad of [
			{ length: 0 },
			{ clippingNorm: 0 },
			{ maximumContributors: 1.5 },
			{ perSiteBound: Number.NaN },
			{ largestNoiseMultiplier: -1 },
			{ modulusBits: 7 as ModulusBits },
			{ modulusBits: 12.5 as ModulusBits },
			{ modulusBits: 33 as ModulusBits },
		]) {
			expect(() => planEncoding({ ...request, ...bad })).toThrow(
				expect.objectContaining({ code: "privacy.bad_encoding" }),
			);
		}
	});
});

describe("encode and the ring", () => {
	const plan = planEncoding(request);

	it("rounds to the nearest unit and comes back", () => {
		const values = Float64Array.from({ length: 650 }, (_, i) => Math.sin(i) * 50);
		const back = decode(fromRing(toRing(encode(values, plan), plan.modulusBits), plan.modulusBits), plan);
		for (const [i, value] of values.entries()) {
			expect(Math.abs(back[i]! - value)).toBeLessThanOrEqual(0.5 / plan.scale);
		}
	});

	it("wraps negative numbers at every modulus", () => {
		for (const bits of [8, 13, 16, 24, 31, 32]) {
			const half = 2 ** (bits - 1);
			const values = Int32Array.of(-1, 0, 1, -half, half - 1);
			const ring = toRing(values, bits);
			expect(Math.max(...ring)).toBe(2 * half - 1);
			expect([...fromRing(ring, bits)]).toEqual([...values]);
		}
	});

	it("refuses what is not a number, or another length", () => {
		const values = new Float64Array(650);
		values[7] = Number.NaN;
		expect(() => encode(values, plan)).toThrow(expect.objectContaining({ code: "privacy.not_finite" }));
		expect(() => encode(new Float64Array(649), plan)).toThrow(
			expect.objectContaining({ code: "privacy.wrong_length" }),
		);
	});
});

describe("noise shares", () => {
	const shares = {
		noiseMultiplier: 1.2,
		sensitivity: 500,
		minimumSurvivors: 4,
		corrupted: 1,
		maximumContributors: 5,
	};

	it("carry the target with the fewest honest survivors, and the headroom covers all of them", () => {
		const plan = planNoiseShares(shares);
		expect(plan.minimumHonestSurvivors).toBe(3);
		expect(plan.sigmaLocal ** 2 * 3).toBeGreaterThanOrEqual(plan.sigmaTarget ** 2);
		expect(plan.sigmaLocal ** 2 * 3).toBeLessThan(plan.sigmaTarget ** 2 * (1 + 1e-12));
		expect(
			effectiveNoiseMultiplier({ sigma: plan.sigmaTarget, sensitivity: shares.sensitivity }),
		).toBeCloseTo(shares.noiseMultiplier, 9);
		fc.assert(
			fc.property(anyRequest, (asked) => {
				const counts = { ...shares, length: asked.length, maximumContributors: 5 };
				const largest = largestNoiseMultiplier(counts);
				const encoding = planEncoding({ ...asked, maximumContributors: 5, largestNoiseMultiplier: largest });
				const { sigmaLocal } = planNoiseShares({ ...shares, sensitivity: encoding.sensitivity + 10 });
				expect(sigmaLocal * Math.sqrt(5)).toBeLessThanOrEqual(largest * (encoding.sensitivity + 10));
			}),
		);
	});

	it("sum to the target through encoding, masks' ring and decoding", () => {
		const encoding = planEncoding({
			...request,
			length: 20_000,
			largestNoiseMultiplier: largestNoiseMultiplier({ ...shares, length: 20_000 }),
		});
		const plan = planNoiseShares({ ...shares, sensitivity: encoding.sensitivity });
		const sampler = tableGaussian(plan.sigmaLocal);
		const words = seededWordsForTests(11);
		const vectors = Array.from({ length: plan.minimumHonestSurvivors }, () => {
			const noise = new Int32Array(encoding.length);
			sampler.fill(noise, words);
			return toRing(noise, encoding.modulusBits);
		});
		const sum = fromRing(ringSum(vectors, encoding.modulusBits), encoding.modulusBits);
		const variance = sum.reduce((total, x) => total + x * x, 0) / sum.length;
		// Six standard errors of a variance over 20,000 normal values: 6 sqrt(2 / 20000) = 6 %.
		expect(Math.abs(variance / plan.sigmaTarget ** 2 - 1)).toBeLessThan(0.06);
	});

	it("refuse too fine a noise, nobody to rely on, and counts that contradict", () => {
		expect(() => planNoiseShares({ ...shares, sensitivity: 5 })).toThrow(
			expect.objectContaining({ code: "privacy.noise_too_fine" }),
		);
		expect(() => planNoiseShares({ ...shares, corrupted: 4 })).toThrow(
			expect.objectContaining({ code: "privacy.no_honest_noise" }),
		);
		for (const bad of [
			{ maximumContributors: 3 },
			{ noiseMultiplier: 0 },
			{ corrupted: -1 },
			{ sensitivity: 0 },
		]) {
			expect(() => planNoiseShares({ ...shares, ...bad })).toThrow(
				expect.objectContaining({ code: "privacy.bad_noise_plan" }),
			);
		}
	});

	it("charge the sampler and the sum of shares to delta, and little of it", () => {
		const slack = {
			sigmaLocal: 4,
			length: 1e6,
			maximumContributors: 64,
			samplerDistance: 2 ** -104,
			epsilon: 8,
		};
		const delta = slackDelta(slack);
		expect(delta).toBeGreaterThanOrEqual(64e6 * 2 ** -104 * Math.exp(8));
		expect(delta).toBeLessThan(1e-17);
		// The sum's own part, visible where the noise is too fine to be allowed.
		expect(slackDelta({ ...slack, sigmaLocal: 0.5 })).toBeGreaterThan(delta);
		expect(
			slackDelta({ ...slack, maximumContributors: 1, samplerDistance: 0, sigmaLocal: 0.5 }),
		).toBeLessThan(1e-24);
	});

	it("stay within the proven factor of one discrete Gaussian: two shares, summed exactly", () => {
		const sigma = 0.7;
		const pmf = (s: number): Map<number, number> => {
			const weights = Array.from({ length: 61 }, (_, i) => Math.exp(-((i - 30) ** 2) / (2 * s * s)));
			const total = weights.reduce((sum, weight) => sum + weight, 0);
			return new Map(weights.map((weight, i) => [i - 30, weight / total]));
		};
		const one = pmf(sigma);
		const direct = pmf(sigma * Math.SQRT2);
		const tau = 10 * Math.exp((-2 * Math.PI ** 2 * sigma ** 2) / 2);
		let largest = 0;
		for (let x = -5; x <= 5; x++) {
			let convolved = 0;
			for (const [y, probability] of one) convolved += probability * (one.get(x - y) ?? 0);
			largest = Math.max(largest, Math.abs(Math.log(convolved / direct.get(x)!)));
		}
		expect(largest).toBeGreaterThan(tau / 100);
		expect(largest).toBeLessThanOrEqual(tau);
	});
});
