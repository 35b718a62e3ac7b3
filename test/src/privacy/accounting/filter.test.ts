import { describe, expect, it } from "vitest";
import {
	composed,
	gaussian,
	type PrivacyEvent,
	poissonSampled,
	selfComposed,
} from "../../../../src/privacy/accounting/events.ts";
import { RdpFilter } from "../../../../src/privacy/accounting/filter.ts";
import {
	epsilonFromRdp,
	epsilonOf,
	RDP_ORDERS,
	type RdpCurve,
	rdpOf,
} from "../../../../src/privacy/accounting/rdp.ts";

/** A mechanism by the probabilities of its few outputs, with and without the record. */
interface Table {
	readonly with: readonly number[];
	readonly without: readonly number[];
	readonly curve: RdpCurve;
}

function divergence(p: readonly number[], q: readonly number[], order: number): number {
	const moment = p.reduce((sum, mass, i) => sum + mass ** order * q[i]! ** (1 - order), 0);
	if (moment < Number.POSITIVE_INFINITY) return Math.log(moment) / (order - 1);
	const terms = p.map((mass, i) => order * Math.log(mass) + (1 - order) * Math.log(q[i]!));
	const largest = Math.max(...terms);
	return (largest + Math.log(terms.reduce((sum, t) => sum + Math.exp(t - largest), 0))) / (order - 1);
}

function table(p: readonly number[], q: readonly number[]): Table {
	return {
		with: p,
		without: q,
		curve: Float64Array.from(RDP_ORDERS, (order) =>
			Math.max(divergence(p, q, order), divergence(q, p, order), 0),
		),
	};
}

/** An output of probability `mass` that carries a privacy loss of `loss`; the other carries next to none. */
function rare(mass: number, loss: number): Table {
	return table([mass, 1 - mass], [mass * Math.exp(-loss), 1 - mass * Math.exp(-loss)]);
}

function response(epsilon: number): Table {
	const truth = 1 / (1 + Math.exp(-epsilon));
	return table([truth, 1 - truth], [1 - truth, truth]);
}

/** Whether a further mechanism may be run after what was spent. */
type Rule = (spent: RdpCurve, addition: RdpCurve) => boolean;

/**
 * The hockey-stick divergence at epsilon that the cleverest adversary reaches: before every
 * step it sees all outputs so far and runs any mechanism the rule lets it run, or stops.
 */
function worstDelta(mechanisms: readonly Table[], rule: Rule, epsilon: number, depth: number): number {
	const visit = (p: number, q: number, spent: RdpCurve, left: number): number => {
		let worst = Math.max(0, p - Math.exp(epsilon) * q);
		if (left === 0) return worst;
		for (const mechanism of mechanisms) {
			if (!rule(spent, mechanism.curve)) continue;
			const next = spent.map((value, i) => value + mechanism.curve[i]!);
			let delta = 0;
			for (let o = 0; o < mechanism.with.length; o++) {
				delta += visit(p * mechanism.with[o]!, q * mechanism.without[o]!, next, left - 1);
			}
			worst = Math.max(worst, delta);
		}
		return worst;
	};
	return visit(1, 1, new Float64Array(RDP_ORDERS.length), depth);
}

/** The rule that looks for the best order afterwards, valid for parameters fixed beforehand only. */
const bestOrderAfterwards =
	(epsilon: number, delta: number): Rule =>
	(spent, addition) =>
		epsilonFromRdp(
			spent.map((value, i) => value + addition[i]!),
			delta,
		).epsilon <= epsilon;

/** The largest parameter at which `accepts` still holds. */
function largest(accepts: (x: number) => boolean, low: number, high: number): number {
	for (let step = 0; step < 60; step++) {
		const middle = (low + high) / 2;
		if (accepts(middle)) low = middle;
		else high = middle;
	}
	return low;
}

describe("RdpFilter", () => {
	// A first output decides whether the adversary bets on a high order (a loss that builds up
	// further) or on a low one (one rare, large loss). Each plan alone exhausts (10, 0.01).
	const epsilon = 10;
	const delta = 0.01;
	const first = rare(0.05, 1.8);
	const naive = bestOrderAfterwards(epsilon, delta);
	const buildUp = table(
		...((loss: number): [number[], number[]] => [
			[0.9, 0.1],
			[0.9 * Math.exp(-loss), 1 - 0.9 * Math.exp(-loss)],
		])(
			largest(
				(loss) =>
					naive(first.curve, table([0.9, 0.1], [0.9 * Math.exp(-loss), 1 - 0.9 * Math.exp(-loss)]).curve),
				5,
				12,
			),
		),
	);
	const oneBlow = rare(
		largest((mass) => naive(first.curve, rare(mass, epsilon + Math.LN2).curve), 1e-6, 0.5),
		epsilon + Math.LN2,
	);

	it("holds against an adversary that picks by outputs, where the best order picked afterwards does not", () => {
		const mechanisms = [first, buildUp, oneBlow];
		expect(worstDelta([first, buildUp], naive, epsilon, 2)).toBeLessThan(delta);
		expect(worstDelta([first, oneBlow], naive, epsilon, 2)).toBeLessThan(delta);
		expect(worstDelta(mechanisms, naive, epsilon, 2)).toBeGreaterThan(delta * 1.2);
		const filter = new RdpFilter({ epsilonLimit: epsilon, deltaLimit: delta });
		const rule: Rule = (spent, addition) => filter.fits(spent, addition);
		expect(worstDelta(mechanisms, rule, epsilon, 4)).toBeLessThanOrEqual(delta);
	});

	it("holds over deeper trees of stronger and weaker mechanisms, and lets enough through to be put to the test", () => {
		for (const limits of [
			{ epsilonLimit: 2, deltaLimit: 0.05 },
			{ epsilonLimit: 5, deltaLimit: 0.01 },
		]) {
			const filter = new RdpFilter(limits);
			const rule: Rule = (spent, addition) => filter.fits(spent, addition);
			const mechanisms = [
				response(0.9),
				response(0.4),
				rare(limits.deltaLimit, limits.epsilonLimit),
				rare(0.02, 3),
			];
			const worst = worstDelta(mechanisms, rule, limits.epsilonLimit, 6);
			expect(worst).toBeLessThanOrEqual(limits.deltaLimit);
			expect(worst).toBeGreaterThan(0);
		}
	});

	it("satisfies the inequality its proof rests on, at every loss", () => {
		const limits = { epsilonLimit: 3, deltaLimit: 1e-6 };
		const filter = new RdpFilter(limits);
		for (const event of [
			selfComposed(gaussian(4), 3),
			selfComposed(poissonSampled(0.01, gaussian(1)), 900),
			composed(gaussian(5), selfComposed({ kind: "laplace", scale: 20 }, 15)),
		]) {
			const curve = rdpOf(event);
			const epsilon = filter.epsilonOf(curve);
			let tightest = Number.POSITIVE_INFINITY;
			for (let x = 1e-4; x < 20; x *= 1.02) {
				let sum = 0;
				for (const [i, order] of RDP_ORDERS.entries()) {
					sum += filter.weights[i]! * Math.exp((order - 1) * (epsilon + x - curve[i]!));
				}
				const room = (limits.deltaLimit * sum) / -Math.expm1(-x);
				tightest = Math.min(tightest, room);
			}
			// The filter keeps 2^-10 of delta for what is charged beside the curves.
			expect(tightest).toBeGreaterThanOrEqual(1);
			expect(tightest).toBeLessThan(1.01);
		}
	});

	it("states a few per cent more than the bound for parameters fixed beforehand", () => {
		const ratios: number[] = [];
		for (const [q, z, steps] of [
			[1, 20, 70],
			[0.1, 4, 257],
			[0.04, 2, 339],
			[0.01, 2, 6009],
			[0.02, 1.1, 981],
			[0.01, 1, 3089],
			[0.01, 1, 531],
		] as const) {
			const event = selfComposed(poissonSampled(q, gaussian(z)), steps);
			const fixed = epsilonOf(event, 1e-6);
			const filter = new RdpFilter({ epsilonLimit: fixed * 1.05, deltaLimit: 1e-6 });
			const ratio = filter.epsilonOf(rdpOf(event)) / fixed;
			expect(ratio).toBeGreaterThan(1);
			expect(ratio).toBeLessThan(1.15);
			ratios.push(ratio);
		}
		ratios.sort((a, b) => a - b);
		expect(ratios[3]).toBeLessThan(1.04);
	});

	it("fits exactly while the epsilon it states is within the limit", () => {
		const filter = new RdpFilter({ epsilonLimit: 2, deltaLimit: 1e-6 });
		const one: PrivacyEvent = poissonSampled(0.02, gaussian(1.2));
		const curve = rdpOf(one);
		const spent = new Float64Array(RDP_ORDERS.length);
		let rounds = 0;
		while (filter.fits(spent, curve)) {
			for (let i = 0; i < spent.length; i++) spent[i]! += curve[i]!;
			rounds++;
		}
		expect(rounds).toBeGreaterThan(50);
		expect(filter.epsilonOf(spent)).toBeLessThanOrEqual(2);
		expect(filter.epsilonOf(rdpOf(selfComposed(one, rounds + 1)))).toBeGreaterThan(2);
		expect(filter.epsilonOf(new Float64Array(RDP_ORDERS.length))).toBe(0);
	});

	it("keeps what is charged beside the curves within the part of delta set aside for it", () => {
		const filter = new RdpFilter({ epsilonLimit: 2, deltaLimit: 1e-6 });
		const nothing = new Float64Array(RDP_ORDERS.length);
		expect(filter.slackLimit).toBeGreaterThan(0);
		expect(filter.fits(nothing, nothing, filter.slackLimit)).toBe(true);
		expect(filter.fits(nothing, nothing, filter.slackLimit * 1.0001)).toBe(false);
		expect(filter.fits(nothing, nothing, Number.NaN)).toBe(false);
	});

	it("lets nothing through that has no bound, and refuses limits that mean nothing", () => {
		const filter = new RdpFilter({ epsilonLimit: 2, deltaLimit: 1e-6 });
		const nothing = new Float64Array(RDP_ORDERS.length);
		expect(
			filter.fits(
				nothing,
				nothing.map(() => Number.POSITIVE_INFINITY),
			),
		).toBe(false);
		expect(
			filter.fits(
				nothing,
				nothing.map(() => Number.NaN),
			),
		).toBe(false);
		for (const epsilonLimit of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
			expect(() => new RdpFilter({ epsilonLimit, deltaLimit: 1e-6 })).toThrow(
				expect.objectContaining({ code: "privacy.bad_target" }),
			);
		}
		for (const deltaLimit of [0, 1, Number.NaN]) {
			expect(() => new RdpFilter({ epsilonLimit: 1, deltaLimit })).toThrow(
				expect.objectContaining({ code: "privacy.bad_delta" }),
			);
		}
	});
});
