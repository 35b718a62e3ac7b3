import { describe, expect, it } from "vitest";
import { LIBRARY_ORDERS } from "../../../../scripts/vectors/libraryOrders.ts";
import {
	gaussian,
	type PrivacyEvent,
	poissonSampled,
	privacyEventSchema,
	type RepeatAndSelectEvent,
	selfComposed,
} from "../../../../src/privacy/accounting/events.ts";
import {
	repeatedSlackDelta,
	truncatedNegativeBinomialGamma,
} from "../../../../src/privacy/accounting/rdp/repeatAndSelect.ts";
import { curveOf, epsilonFromRdp, epsilonOf, rdpOf } from "../../../../src/privacy/accounting/rdp.ts";
import { vectors } from "../vectors.ts";

const selection = (
	event: PrivacyEvent,
	meanTrials: number,
	shape: RepeatAndSelectEvent["shape"],
): RepeatAndSelectEvent => ({ kind: "repeatAndSelect", event, meanTrials, shape });

/** P[K = k] of the truncated negative binomial, k >= 1, relative to the first one. */
function weights(shape: number, gamma: number, count: number): number[] {
	const list = [1];
	for (let k = 2; k <= count; k++) list.push((list[k - 2]! * (1 - gamma) * (k - 1 + shape)) / k);
	return list;
}

describe("repeat and select", () => {
	it("matches the reference, or is below it where that adds up a series by absolute values", () => {
		let equal = 0;
		for (const { id, params, expected } of vectors<
			{ q: number; sigma: number; steps: number; mean: number; shape: number | "inf"; delta: number },
			{ epsilon: number; gamma: number | null }
		>("repeat_and_select")) {
			const shape = params.shape === "inf" ? "poisson" : params.shape;
			const run = selfComposed(poissonSampled(params.q, gaussian(params.sigma)), params.steps);
			const curve = curveOf(selection(run, params.mean, shape), "addRemove", LIBRARY_ORDERS);
			const { epsilon } = epsilonFromRdp(curve, params.delta, LIBRARY_ORDERS);
			expect(epsilon, id).toBeLessThanOrEqual(expected.epsilon * (1 + 1e-9));
			expect(epsilon, id).toBeGreaterThan(expected.epsilon * (1 - 1e-4));
			if (epsilon > expected.epsilon * (1 - 1e-8)) equal++;
			if (shape === "poisson") continue;
			expect(truncatedNegativeBinomialGamma(shape, params.mean) / expected.gamma!).toBeCloseTo(1, 8);
		}
		expect(equal).toBeGreaterThanOrEqual(10);
	});

	it("has the mean that was asked for, whatever the shape", () => {
		for (const shape of [-0.9, -0.5, 0, 0.5, 1, 5]) {
			// Near -1 the tail is too heavy to be summed at larger means.
			for (const mean of shape < -0.5 ? [1.5] : [1.5, 20]) {
				const gamma = truncatedNegativeBinomialGamma(shape, mean);
				const list = weights(shape, gamma, 40_000);
				const total = list.reduce((sum, weight) => sum + weight, 0);
				const average = list.reduce((sum, weight, i) => sum + weight * (i + 1), 0) / total;
				expect(average / mean, `shape ${shape} mean ${mean}`).toBeCloseTo(1, 6);
			}
		}
	});

	it("bounds the exact divergence of selecting among randomized responses", () => {
		// One run answers 1 with probability p or p', and 1 is preferred: the selection answers 0
		// only if every run does, E[(1 - p)^K].
		const epsilon = 0.6;
		const truth = Math.exp(epsilon) / (1 + Math.exp(epsilon));
		for (const [shape, mean] of [
			[0, 5],
			[1, 10],
			[2, 4],
		] as const) {
			const list = weights(shape, truncatedNegativeBinomialGamma(shape, mean), 5000);
			const total = list.reduce((sum, weight) => sum + weight, 0);
			const none = (p: number): number =>
				list.reduce((sum, weight, i) => sum + weight * (1 - p) ** (i + 1), 0) / total;
			const [a, b] = [none(truth), none(1 - truth)];
			const orders = [1.5, 2, 5, 20];
			const curve = curveOf(selection({ kind: "pureDp", epsilon }, mean, shape), "addRemove", LIBRARY_ORDERS);
			for (const order of orders) {
				const exact = Math.max(
					Math.log(a ** order * b ** (1 - order) + (1 - a) ** order * (1 - b) ** (1 - order)),
					Math.log(b ** order * a ** (1 - order) + (1 - b) ** order * (1 - a) ** (1 - order)),
				);
				const bound = curve[LIBRARY_ORDERS.findIndex((one) => one >= order)]!;
				expect(bound).toBeGreaterThanOrEqual(exact / (order - 1));
			}
		}
	});

	it("costs more with more trials, at least one run, and does not decrease with the order", () => {
		const run = selfComposed(poissonSampled(0.02, gaussian(1.5)), 200);
		const single = rdpOf(run);
		for (const shape of [0, 1, "poisson"] as const) {
			let last = single;
			for (const mean of [3, 30, 300]) {
				const curve = rdpOf(selection(run, mean, shape));
				for (let i = 0; i < curve.length; i++) {
					expect(curve[i]).toBeGreaterThanOrEqual(last[i]!);
					if (i > 0) expect(curve[i]).toBeGreaterThanOrEqual(curve[i - 1]!);
				}
				last = curve;
			}
		}
		expect(epsilonOf(selfComposed(selection(run, 3, 1), 2), 1e-6)).toBeGreaterThan(
			epsilonOf(selection(run, 3, 1), 1e-6),
		);
	});

	it("multiplies what every run charges to delta (a reference library adds it once)", () => {
		expect(repeatedSlackDelta(1000, 1e-7)).toBeCloseTo(1e-4, 15);
	});

	it("refuses laws that do not exist", () => {
		for (const [shape, mean] of [
			[-1, 5],
			[1, 1],
			[1, 0.5],
			[0, Number.POSITIVE_INFINITY],
		] as const) {
			expect(() => rdpOf(selection(gaussian(1), mean, shape))).toThrow(
				expect.objectContaining({ code: "privacy.bad_event" }),
			);
		}
		expect(() => rdpOf(selection(gaussian(1), 0, "poisson"))).toThrow(
			expect.objectContaining({ code: "privacy.bad_event" }),
		);
		expect(privacyEventSchema.safeParse(selection(gaussian(1), 5, -1)).success).toBe(false);
	});
});
