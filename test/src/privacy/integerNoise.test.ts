import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
	effectiveNoiseMultiplier,
	latticeSlack,
	ROUNDING_SIGMA,
	sigmaFor,
} from "../../../src/privacy/integerNoise.ts";

/** Lower tail of the standard normal law by its integral: accurate to 1e-12, all this file needs. */
function normalCdf(x: number): number {
	const steps = 4000;
	const width = (x + 12) / steps;
	let sum = 0;
	for (let i = 0; i < steps; i++) {
		const middle = -12 + (i + 0.5) * width;
		sum += Math.exp((-middle * middle) / 2);
	}
	return (sum * width) / Math.sqrt(2 * Math.PI);
}

/** Hockey-stick divergence of the Gaussian mechanism (Balle, Wang 2018, Thm. 8). */
function gaussianDelta(noiseMultiplier: number, epsilon: number): number {
	const half = 1 / (2 * noiseMultiplier);
	const shift = epsilon * noiseMultiplier;
	return normalCdf(half - shift) - Math.exp(epsilon) * normalCdf(-half - shift);
}

/** The same when a record joins with probability q, for removing and for adding it. */
function sampledGaussianDeltas(noiseMultiplier: number, q: number, epsilon: number) {
	const remove = q * gaussianDelta(noiseMultiplier, Math.log1p(Math.expm1(epsilon) / q));
	// H(Q || (1-q) Q + q P) at e^eps: with u = 1 - (1 - q) e^eps, u Q > q e^eps P on the set that counts.
	const rest = 1 - (1 - q) * Math.exp(epsilon);
	if (rest <= 0) return { remove, add: 0 };
	const shifted = Math.log((q * Math.exp(epsilon)) / rest);
	return { remove, add: rest * gaussianDelta(noiseMultiplier, shifted) };
}

/** Sum over the lattice of max(0, p - e^eps q) for N_Z(D, s^2)^d sampled with q, in one or two dimensions. */
function latticeDeltas(shift: readonly number[], sigma: number, q: number, epsilon: number) {
	const reach = Math.ceil(14 * sigma) + 10;
	const weights = (centre: number) =>
		Float64Array.from({ length: 2 * reach + 1 }, (_, i) =>
			Math.exp(-((i - reach - centre) ** 2) / (2 * sigma * sigma)),
		);
	const total = weights(0).reduce((sum, weight) => sum + weight, 0);
	const [x, y = 0] = shift;
	const axes = [weights(0), weights(x!), weights(0), weights(y)] as const;
	let remove = 0;
	let add = 0;
	const take = (without: number, withRecord: number) => {
		const mixed = (1 - q) * without + q * withRecord;
		remove += Math.max(0, mixed - Math.exp(epsilon) * without);
		add += Math.max(0, without - Math.exp(epsilon) * mixed);
	};
	for (let i = 0; i <= 2 * reach; i++) {
		if (shift.length === 1) take(axes[0][i]! / total, axes[1][i]! / total);
		else
			for (let j = 0; j <= 2 * reach; j++)
				take((axes[0][i]! * axes[2][j]!) / total ** 2, (axes[1][i]! * axes[3][j]!) / total ** 2);
	}
	return { remove, add };
}

describe("integer noise charged as a Gaussian", () => {
	it("bounds the hockey-stick divergence of the lattice mechanism, sampled or not, in one and two dimensions", () => {
		for (const { shift, sigma } of [
			{ shift: [1], sigma: 2.2 },
			{ shift: [5], sigma: 4 },
			{ shift: [12], sigma: 6.3 },
			{ shift: [3, 4], sigma: 5 },
			{ shift: [-1, 1], sigma: 2.5 },
		]) {
			const sensitivity = Math.hypot(...shift);
			const charged = effectiveNoiseMultiplier({ sigma, sensitivity });
			for (const q of [0.1, 0.6, 1]) {
				for (const epsilon of [0, 0.2, 1, 3]) {
					const lattice = latticeDeltas(shift, sigma, q, epsilon);
					const bound = sampledGaussianDeltas(charged, q, epsilon);
					expect(lattice.remove).toBeLessThanOrEqual(bound.remove + 1e-9);
					expect(lattice.add).toBeLessThanOrEqual(bound.add + 1e-9);
					// Not by being void: an eighth more noise than there is would already be too little of a charge.
					const claimed = sampledGaussianDeltas((sigma / sensitivity) * 1.125, q, epsilon);
					if (lattice.remove > 1e-6) expect(lattice.remove).toBeGreaterThan(claimed.remove);
				}
			}
		}
	});

	it("is within the theorem's factor of the rounded continuous mechanism, and no much smaller one would do", () => {
		// r = 1/2 makes theta visible: 0.0144.
		const r = 0.5;
		const theta = 2 * (Math.exp(-2 * Math.PI ** 2 * r * r) + Math.exp(-8 * Math.PI ** 2 * r * r));
		let largest = 0;
		for (const s of [0.6, 1, 3]) {
			const t = Math.sqrt(s * s - r * r);
			let norm = 0;
			for (let k = -60; k <= 60; k++) norm += Math.exp((-k * k) / (2 * s * s));
			for (let y = -3; y <= 3; y++) {
				const discrete = Math.exp((-y * y) / (2 * s * s)) / norm;
				let rounded = 0;
				const step = t / 400;
				for (let g = -12 * t; g <= 12 * t; g += step) {
					let theta_r = 0;
					for (let k = Math.floor(g) - 12; k <= g + 12; k++)
						theta_r += Math.exp(-((k - g) ** 2) / (2 * r * r));
					rounded += (Math.exp((-g * g) / (2 * t * t)) * Math.exp(-((y - g) ** 2) / (2 * r * r))) / theta_r;
				}
				rounded *= step / (t * Math.sqrt(2 * Math.PI));
				const ratio = discrete / rounded;
				expect(ratio).toBeLessThanOrEqual(1 + theta + 1e-9);
				expect(ratio).toBeGreaterThanOrEqual((1 - theta) / (1 + theta) - 1e-9);
				largest = Math.max(largest, Math.abs(ratio - 1));
			}
		}
		expect(largest).toBeGreaterThan(theta / 4);
	});

	it("turns a multiplier into sigma and back, never to more than was asked for", () => {
		const positive = (max: number) => fc.double({ min: 1e-3, max, noNaN: true });
		fc.assert(
			fc.property(positive(100), positive(1e7), (noiseMultiplier, sensitivity) => {
				fc.pre(noiseMultiplier * sensitivity > 1e-2);
				const sigma = sigmaFor({ noiseMultiplier, sensitivity });
				expect(sigma).toBeGreaterThan(ROUNDING_SIGMA);
				const charged = effectiveNoiseMultiplier({ sigma, sensitivity });
				expect(charged / noiseMultiplier).toBeCloseTo(1, 8);
				expect(sigma ** 2).toBeGreaterThanOrEqual((noiseMultiplier * sensitivity) ** 2 + ROUNDING_SIGMA ** 2);
			}),
		);
	});

	it("has a slack that is nothing beside any delta, and grows with the number of coordinates", () => {
		expect(latticeSlack({ length: 1 })).toBeLessThan(1e-33);
		expect(latticeSlack({ length: 1e9 })).toBeLessThan(1e-24);
		expect(latticeSlack({ length: 2000 })).toBeGreaterThan(latticeSlack({ length: 1000 }));
	});

	it("refuses noise too small for the argument, and numbers out of range", () => {
		expect(() => effectiveNoiseMultiplier({ sigma: 2, sensitivity: 1 })).toThrowError(/finer encoding/);
		expect(() => effectiveNoiseMultiplier({ sigma: 5, sensitivity: 0 })).toThrowError(/sensitivity/);
		expect(() => sigmaFor({ noiseMultiplier: Number.NaN, sensitivity: 1 })).toThrowError(/multiplier/);
	});
});
