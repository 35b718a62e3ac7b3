import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LIBRARY_ORDERS } from "../../../../scripts/vectors/libraryOrders.ts";
import {
	gaussian,
	type MechanismEvent,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../../../src/privacy/accounting/events.ts";
import { integerOrderBound } from "../../../../src/privacy/accounting/rdp/poissonSampling.ts";
import { withoutReplacementRdp } from "../../../../src/privacy/accounting/rdp/withoutReplacement.ts";
import { curveOf, epsilonFromRdp, rdpOf } from "../../../../src/privacy/accounting/rdp.ts";
import { vectors } from "../vectors.ts";

const rdpAt = (event: PrivacyEvent, order: number): number => curveOf(event, "addRemove", [order])[0]!;

/** Exact divergences of (1-q) Q + q P against Q and back, on a finite lattice. */
function bothDirections(
	weightOf: (x: number) => number,
	shift: number,
	q: number,
	order: number,
): { remove: number; add: number } {
	let mass = 0;
	let remove = 0;
	let add = 0;
	for (let x = -400; x <= 400; x++) {
		const without = weightOf(x);
		if (without === 0) continue;
		const ratio = 1 - q + (q * weightOf(x - shift)) / without;
		mass += without;
		remove += without * ratio ** order;
		add += without * ratio ** (1 - order);
	}
	return { remove: Math.log(remove / mass) / (order - 1), add: Math.log(add / mass) / (order - 1) };
}

describe("RDP of the Poisson-subsampled Gaussian", () => {
	it("matches the reference at every integer order, and is never above it between", () => {
		let integers = 0;
		let fractions = 0;
		for (const { id, params, expected } of vectors<
			{ q: number; sigma: number; orders: number[] },
			{ rdp: (number | null)[] }
		>("rdp_poisson_gaussian_orders")) {
			for (const [i, order] of params.orders.entries()) {
				const reference = expected.rdp[i]!;
				if (reference === null) continue;
				const ours = rdpAt(poissonSampled(params.q, gaussian(params.sigma)), order);
				if (Number.isInteger(order)) {
					expect(Math.abs(ours / reference - 1), `${id} order ${order}`).toBeLessThan(1e-9);
					integers++;
				} else {
					// The library adds up the absolute values of an alternating series there: an upper bound.
					expect(ours, `${id} order ${order}`).toBeLessThanOrEqual(reference * (1 + 1e-9));
					fractions++;
				}
			}
		}
		expect(integers).toBeGreaterThan(60);
		expect(fractions).toBeGreaterThan(20);
	});

	it("matches an evaluation of the integral in 40 digits at orders between the integers", () => {
		for (const [q, sigma, order, rdp] of [
			[0.01, 1, 1.1, 9.241471084686957e-5],
			[0.1, 2, 1.5, 0.002098934595710177],
			[0.5, 4, 2.5, 0.02015315047271624],
			[0.04, 0.5, 1.1, 0.01605065643734429],
			[0.0001, 1, 1.01, 8.675004462713376e-9],
			[1e-7, 0.7, 3.3, 1.104989928180897e-13],
			[0.001, 0.3, 5.5, 22.11274354791072],
			[0.02, 8, 10.7, 3.379125867500958e-5],
			[0.9, 30, 1.7, 0.0007650577899154607],
		] as const) {
			const ours = rdpAt(poissonSampled(q, gaussian(sigma)), order);
			expect(Math.abs(ours / rdp - 1), `q ${q} sigma ${sigma} order ${order}`).toBeLessThan(1e-9);
		}
	});

	it("is convex as a log-moment and does not decrease with the order, integer and real orders alike", () => {
		fc.assert(
			fc.property(
				fc.double({ min: -6, max: -0.01, noNaN: true }).map((x) => 10 ** x),
				fc.double({ min: Math.log(0.25), max: Math.log(50), noNaN: true }).map(Math.exp),
				fc.double({ min: 1.02, max: 10, noNaN: true }),
				fc.double({ min: 0.01, max: 2, noNaN: true }),
				(q, sigma, order, gap) => {
					const orders = [order, order + gap, order + 2 * gap];
					const curve = curveOf(poissonSampled(q, gaussian(sigma)), "addRemove", orders);
					const [low, middle, high] = orders.map((a, i) => (a - 1) * curve[i]!) as [number, number, number];
					expect(middle).toBeLessThanOrEqual(((low + high) / 2) * (1 + 1e-9));
					expect(curve[0]!).toBeLessThanOrEqual(curve[1]! * (1 + 1e-9));
				},
			),
			{ numRuns: 200 },
		);
	});
});

describe("RDP of other mechanisms under Poisson sampling", () => {
	const lattice: readonly [string, MechanismEvent, (x: number) => number, number][] = [
		[
			"discrete Gaussian",
			{ kind: "discreteGaussian", sigma: 1.7, sensitivity: 1 },
			(x) => Math.exp(-(x * x) / (2 * 1.7 ** 2)),
			1,
		],
		[
			"discrete Gaussian of sensitivity 3",
			{ kind: "discreteGaussian", sigma: 4, sensitivity: 3 },
			(x) => Math.exp(-(x * x) / 32),
			3,
		],
		[
			"discrete Laplace",
			{ kind: "discreteLaplace", scale: 2, sensitivity: 2 },
			(x) => Math.exp(-Math.abs(x) / 2),
			2,
		],
	];
	for (const [name, event, weightOf, shift] of lattice) {
		it(`is exact for ${name} at integer orders, and covers both directions between`, () => {
			for (const q of [0.01, 0.3]) {
				for (const order of [1.2, 2, 2.6, 3, 5]) {
					const { remove, add } = bothDirections(weightOf, shift, q, order);
					const bound = rdpAt(poissonSampled(q, event), order);
					expect(add).toBeLessThanOrEqual(remove * (1 + 1e-12));
					expect(bound).toBeGreaterThanOrEqual(remove * (1 - 1e-12));
					if (Number.isInteger(order)) expect(bound).toBeLessThan(remove * (1 + 1e-9));
				}
			}
		});
	}

	it("bounds sampled pure differential privacy by its exact two-point pair", () => {
		const epsilon = 0.8;
		const high = Math.exp(epsilon) / (1 + Math.exp(epsilon));
		const low = 1 - high;
		for (const q of [0.05, 0.6]) {
			for (const order of [2, 3, 7]) {
				const removing = (a: number, b: number): number =>
					Math.log(a ** order * low ** (1 - order) + b ** order * high ** (1 - order)) / (order - 1);
				const exact = removing(q * high + (1 - q) * low, q * low + (1 - q) * high);
				const bound = rdpAt(poissonSampled(q, { kind: "pureDp", epsilon }), order);
				expect(bound / exact).toBeCloseTo(1, 9);
			}
		}
	});

	it("gives up a factor where symmetry is not known, and never more than sampling could gain", () => {
		const q = 0.02;
		const rho = 1 / 8;
		const general = rdpOf(poissonSampled(q, { kind: "zeroConcentrated", rho }));
		const tight = rdpOf(poissonSampled(q, gaussian(2)));
		const unsampled = rdpOf(gaussian(2));
		let looser = 0;
		for (let i = 0; i < general.length; i++) {
			expect(general[i]).toBeGreaterThanOrEqual(tight[i]! * (1 - 1e-9));
			expect(general[i]).toBeLessThanOrEqual(unsampled[i]! * (1 + 1e-9));
			if (general[i]! > tight[i]! * 1.001) looser++;
		}
		expect(looser).toBeGreaterThan(20);
	});

	it("is the direct sum of the general theorem", () => {
		const q = 0.1;
		const moment = (l: number): number => (l * (l - 1)) / 8;
		const bound = integerOrderBound(q, moment, 3, 8);
		for (const a of [2, 3, 8]) {
			let sum = (1 - q) ** (a - 1) * (a * q - q + 1);
			let choose = a;
			for (let l = 2; l <= a; l++) {
				choose = (choose * (a - l + 1)) / l;
				sum += (l >= 3 ? 3 : 1) * choose * (1 - q) ** (a - l) * q ** l * Math.exp(moment(l));
			}
			expect(bound(a)).toBeCloseTo(Math.log(sum), 12);
		}
	});

	it("refuses to sample what has no batch", () => {
		const response = { kind: "randomizedResponse", categories: 3, noiseProbability: 0.5 } as const;
		expect(() => rdpOf(poissonSampled(0.1, response))).toThrow(
			expect.objectContaining({ code: "privacy.unsupported_event" }),
		);
		expect(() => rdpOf(poissonSampled(0.1, selfComposed(gaussian(1), 2) as never))).toThrow(
			expect.objectContaining({ code: "privacy.unsupported_event" }),
		);
	});
});

describe("fixed batches without replacement", () => {
	it("matches the reference per order and composed", () => {
		for (const { id, params, expected } of vectors<
			{ q: number; sigma: number; orders: number[] },
			{ rdp: number[] }
		>("rdp_sample_without_replacement_orders")) {
			const batch = { samplingFraction: params.q, noiseMultiplier: params.sigma };
			const curve = withoutReplacementRdp(batch, "replaceOne", params.orders);
			for (const [i, rdp] of expected.rdp.entries()) {
				expect(Math.abs(curve[i]! / rdp - 1), id).toBeLessThan(1e-9);
			}
		}
		for (const { id, params, expected } of vectors<
			{ n: number; batch: number; sigma: number; steps: number; delta: number },
			{ epsilon_rdp: number }
		>("fixed_batch_without_replacement")) {
			const batch = { samplingFraction: params.batch / params.n, noiseMultiplier: params.sigma };
			const curve = withoutReplacementRdp(batch, "replaceOne", LIBRARY_ORDERS).map((r) => r * params.steps);
			const { epsilon } = epsilonFromRdp(curve, params.delta, LIBRARY_ORDERS);
			expect(Math.abs(epsilon / expected.epsilon_rdp - 1), id).toBeLessThan(1e-9);
		}
	});

	it("is refused where it proves nothing", () => {
		const batch = { samplingFraction: 0.1, noiseMultiplier: 1 };
		expect(() => withoutReplacementRdp(batch, "addRemove", [2])).toThrow(
			expect.objectContaining({ code: "privacy.unsupported_event" }),
		);
		for (const bad of [
			{ samplingFraction: 0, noiseMultiplier: 1 },
			{ samplingFraction: 1.1, noiseMultiplier: 1 },
			{ samplingFraction: 0.1, noiseMultiplier: 0 },
		]) {
			expect(() => withoutReplacementRdp(bad, "replaceOne", [2])).toThrow(
				expect.objectContaining({ code: "privacy.bad_event" }),
			);
		}
	});
});
