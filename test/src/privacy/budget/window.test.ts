import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { gaussian } from "../../../../src/privacy/accounting/events.ts";
import { RDP_ORDERS, rdpOf } from "../../../../src/privacy/accounting/rdp.ts";
import { LossSum } from "../../../../src/privacy/budget/loss.ts";
import type { Partition } from "../../../../src/privacy/budget/records.ts";
import { type PricedEvent, PriceList } from "../../../../src/privacy/budget/spending.ts";
import { type TreeShape, Window } from "../../../../src/privacy/budget/window.ts";

/** Two units of which one is disjoint inside, below one account at the top; `s` is a sub-unit. */
const PARENTS: Record<string, string> = {
	a: "top",
	b: "top",
	s: "b",
	d1: "a",
	d2: "a",
	d3: "b",
	d4: "s",
	d5: "s",
};
const DATASETS = ["d1", "d2", "d3", "d4", "d5"];

function shape(disjoint: readonly string[]): TreeShape {
	return {
		childrenOf: (account) => Object.keys(PARENTS).filter((child) => PARENTS[child] === account),
		parentOf: (account) => PARENTS[account],
		ruleOf: (account) => (disjoint.includes(account) ? "disjoint" : "sequential"),
	};
}

const prices = new PriceList();
const events = [1, 3, 10].map((z) => prices.price(gaussian(z), z * 1e-12));
/** Orders and slack that are compared: one low, one high, and delta. */
const LOW = 0;
const HIGH = RDP_ORDERS.length - 1;

interface Charge {
	readonly dataset: string;
	readonly partition: Partition;
	readonly priced: PricedEvent;
}

/** The same by definition: every data set's two sums, folded up the tree from scratch. */
function worstByDefinition(
	charges: readonly Charge[],
	tree: TreeShape,
	figure: (priced: PricedEvent) => number,
): number {
	const of = (account: string): number => {
		if (DATASETS.includes(account)) {
			const parts = (["train", "heldOut"] as const).map((partition) =>
				charges
					.filter((charge) => charge.dataset === account && charge.partition === partition)
					.reduce((sum, { priced }) => sum + figure(priced), 0),
			);
			return Math.max(...parts);
		}
		const children = tree.childrenOf(account).map(of);
		return tree.ruleOf(account) === "disjoint" ? Math.max(...children) : children.reduce((a, b) => a + b, 0);
	};
	return of("top");
}

const anyCharge = fc.record({
	dataset: fc.constantFrom(...DATASETS),
	partition: fc.constantFrom("train" as const, "heldOut" as const),
	priced: fc.constantFrom(...events),
	keep: fc.boolean(),
});

describe("sums up the tree", () => {
	it("kept as charges come and go are never below their definition, and never visibly above", () => {
		fc.assert(
			fc.property(
				fc.array(anyCharge, { maxLength: 40 }),
				fc.subarray(["top", "a", "b", "s"]),
				(steps, disjoint) => {
					const tree = shape(disjoint);
					const window = new Window("top", tree);
					const kept: Charge[] = [];
					for (const [i, { keep, ...charge }] of steps.entries()) {
						window.add(charge.dataset, charge.partition, charge.priced);
						// Asking in between is what makes sums to be kept.
						if (i % 3 === 0) window.branches();
						if (keep) kept.push(charge);
						else window.remove(charge.dataset, charge.partition, charge.priced);
					}
					const figures = [
						(priced: PricedEvent) => priced.loss.curve[LOW] ?? 0,
						(priced: PricedEvent) => priced.loss.curve[HIGH] ?? 0,
						(priced: PricedEvent) => priced.loss.slackDelta,
					];
					const kinds = [
						(loss: { curve: Float64Array }) => loss.curve[LOW] ?? 0,
						(loss: { curve: Float64Array }) => loss.curve[HIGH] ?? 0,
						(loss: { slackDelta: number }) => loss.slackDelta,
					];
					for (const [i, figure] of figures.entries()) {
						const exact = worstByDefinition(kept, tree, figure);
						const stated = Math.max(0, ...window.branches().map((loss) => kinds[i]?.(loss) ?? 0));
						expect(stated).toBeGreaterThanOrEqual(exact * (1 - 1e-15));
						expect(stated).toBeLessThanOrEqual(exact * (1 + 1e-11));
					}
				},
			),
			{ numRuns: 200 },
		);
	});

	it("asked about one data set alone leave out disjoint branches that it cannot have changed", () => {
		const window = new Window("top", shape(["top"]));
		window.add("d1", "train", events[0] as PricedEvent);
		window.add("d3", "train", events[2] as PricedEvent);
		expect(window.branches()).toHaveLength(2);
		expect(window.branches("d3").map(({ curve }) => curve[0])).toEqual([events[2]?.loss.curve[0]]);
	});
});

describe("a loss sum", () => {
	it("rounds up: ten thousand additions are not below the product", () => {
		const one = { curve: rdpOf(gaussian(1000)), slackDelta: 1e-30 };
		const sum = new LossSum();
		for (let i = 0; i < 1e4; i++) sum.add(one);
		for (const [i, value] of sum.curve.entries()) {
			expect(value).toBeGreaterThanOrEqual((one.curve[i] ?? 0) * 1e4);
			expect(value).toBeLessThan((one.curve[i] ?? 0) * 1e4 * (1 + 1e-11));
		}
		expect(sum.slackDelta).toBeGreaterThanOrEqual(1e-26);
	});

	it("stays infinite where something was", () => {
		const sum = new LossSum();
		const infinite = {
			curve: new Float64Array(RDP_ORDERS.length).fill(Number.POSITIVE_INFINITY),
			slackDelta: 0,
		};
		const growth = new LossSum();
		sum.raise(infinite, growth);
		expect(growth.curve[0]).toBe(Number.POSITIVE_INFINITY);
		sum.raise(infinite, growth);
		expect([sum.curve[0], growth.curve[0]]).toEqual([Number.POSITIVE_INFINITY, 0]);
	});
});
