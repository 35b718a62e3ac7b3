import fc from "fast-check";
import { expect, test } from "vitest";
import { FairQueue } from "../../../node/workers/fairQueue.ts";

interface Item {
	readonly group: string;
	readonly index: number;
	readonly costMs: number;
}

/** Serves everything by one server. */
function serve(queue: FairQueue<Item>, each: (item: Item) => void = () => {}): Item[] {
	const served: Item[] = [];
	for (let next = queue.shift(); next; next = queue.shift()) {
		served.push(next.item);
		next.settle(next.item.costMs);
		each(next.item);
	}
	return served;
}

const GROUPS = ["a", "b", "c", "d"];
const costs = fc.integer({ min: 1, max: 500 });
const loads = fc.array(fc.record({ group: fc.constantFrom(...GROUPS), costMs: costs }), { maxLength: 60 });

test("everything is served once, in order within each group", () => {
	fc.assert(
		fc.property(loads, (load) => {
			const queue = new FairQueue<Item>();
			load.forEach((item, index) => {
				queue.push(item.group, { ...item, index });
			});
			expect(queue.length).toBe(load.length);
			const served = serve(queue);
			expect(queue.length).toBe(0);
			expect(served.map(({ index }) => index).sort((a, b) => a - b)).toEqual(load.map((_, i) => i));
			for (const group of GROUPS) {
				const indices = served.filter((item) => item.group === group).map(({ index }) => index);
				expect(indices).toEqual([...indices].sort((a, b) => a - b));
			}
		}),
	);
});

test("two groups that wait all the while differ in time served by at most their longest items", () => {
	fc.assert(
		fc.property(
			fc.array(costs, { minLength: 5, maxLength: 40 }),
			fc.array(costs, { minLength: 5 }),
			(a, b) => {
				const queue = new FairQueue<Item>();
				a.forEach((costMs, index) => {
					queue.push("a", { group: "a", index, costMs });
				});
				b.forEach((costMs, index) => {
					queue.push("b", { group: "b", index, costMs });
				});
				const used: Record<string, number> = { a: 0, b: 0 };
				const bound = Math.max(...a) + Math.max(...b);
				serve(queue, ({ group, costMs }) => {
					used[group]! += costMs;
					if (queue.waiting("a") > 0 && queue.waiting("b") > 0)
						expect(Math.abs(used.a! - used.b!)).toBeLessThanOrEqual(bound);
				});
			},
		),
	);
});

test("one group that floods with heavy items delays a light one by one item at most", () => {
	const queue = new FairQueue<Item>();
	for (let index = 0; index < 1000; index++) queue.push("flood", { group: "flood", index, costMs: 1000 });
	// The flood has had the server to itself for a while.
	for (let turn = 0; turn < 10; turn++) queue.shift()?.settle(1000);
	for (let job = 0; job < 99; job++) {
		const group = `light-${job}`;
		for (let index = 0; index < 3; index++) queue.push(group, { group, index, costMs: 10 });
	}
	const served: string[] = [];
	serve(queue, ({ group }) => served.push(group));
	const lastLight = served.findLastIndex((group) => group !== "flood");
	expect(served.slice(0, lastLight + 1).filter((group) => group === "flood").length).toBeLessThanOrEqual(1);
});

test("a newcomer is served after at most one item of each other group, whatever they have used", () => {
	fc.assert(
		fc.property(
			fc.array(fc.array(costs, { minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 12 }),
			fc.nat({ max: 40 }),
			(others, turnsBefore) => {
				const queue = new FairQueue<Item>();
				others.forEach((items, other) => {
					items.forEach((costMs, index) => {
						queue.push(`${other}`, { group: `${other}`, index, costMs });
					});
				});
				for (let turn = 0; turn < turnsBefore; turn++) {
					const next = queue.shift();
					next?.settle(next.item.costMs);
				}
				queue.push("new", { group: "new", index: 0, costMs: 1 });
				const before: string[] = [];
				for (let next = queue.shift(); next && next.group !== "new"; next = queue.shift()) {
					before.push(next.group);
					next.settle(next.item.costMs);
				}
				expect(new Set(before).size).toBe(before.length);
			},
		),
	);
});

test("a group that was expected to take long and did not has saved nothing up", () => {
	const queue = new FairQueue<Item>();
	const push = (group: string, count: number) => {
		for (let index = 0; index < count; index++) queue.push(group, { group, index, costMs: 1 });
	};
	push("other", 500);
	push("slow", 60);
	// Its first items take a second each, so that much is expected of the next one.
	for (let slow = 0; slow < 5; ) {
		const next = queue.shift();
		next?.settle(next.group === "slow" ? 1000 : 50);
		if (next?.group === "slow") slow += 1;
	}
	let held = queue.shift();
	for (; held?.group !== "slow"; held = queue.shift()) held?.settle(50);
	// Meanwhile a second server works for the others, until the slow group's turn would come again.
	for (let turn = 0; turn < 15; turn++) queue.shift()?.settle(50);
	held.settle(1);
	push("new", 1);
	const before: string[] = [];
	for (let next = queue.shift(); next && next.group !== "new"; next = queue.shift()) {
		before.push(next.group);
		next.settle(1);
	}
	expect(before.filter((group) => group === "slow").length).toBeLessThanOrEqual(1);
});

test("a group is not paid for the time it was idle", () => {
	const queue = new FairQueue<Item>();
	const push = (group: string, count: number) => {
		for (let index = 0; index < count; index++) queue.push(group, { group, index, costMs: 100 });
	};
	push("busy", 60);
	push("idle", 1);
	const serve10 = () =>
		Array.from({ length: 10 }, () => {
			const next = queue.shift();
			next?.settle(next.group === "idle" ? 150 : 100);
			return next?.group;
		});
	serve10();
	serve10();
	push("idle", 30);
	expect(serve10().filter((group) => group === "idle").length).toBeLessThanOrEqual(6);
});

test("what waits can be taken out, and once only", () => {
	const queue = new FairQueue<Item>();
	const item = { group: "a", index: 0, costMs: 1 };
	queue.push("a", item);
	expect(queue.remove("b", item)).toBe(false);
	expect(queue.remove("a", item)).toBe(true);
	expect(queue.remove("a", item)).toBe(false);
	expect(queue.shift()).toBeUndefined();
	expect(queue.length).toBe(0);
});
