import { describe, expect, it } from "vitest";
import { packRing, unpackRing } from "../../../crypto/ringPacking.ts";
import { InputSum } from "../../../protocols/aggregation/inputSum.ts";
import { type AggregationTask, runAggregationTask } from "../../../protocols/aggregation/masking.ts";
import { Outbox } from "../../../protocols/aggregation/outbox.ts";

const RING = { length: 5, modulusBits: 13 };

function input(number: number): Uint8Array {
	return packRing(
		Uint32Array.from({ length: RING.length }, (_, i) => (number * 97 + i) % 2 ** 13),
		13,
	);
}

/** Hands inputs on while one addition takes its time; answers the additions that were asked for. */
function sumOf(count: number, together: boolean) {
	const sum = new InputSum(RING, "sum");
	const taken: number[] = [];
	const inputs = Array.from({ length: count }, (_, number) => input(number));
	const pending: AggregationTask[] = [];
	const step = (act: (out: Outbox) => void) => {
		const out = new Outbox();
		act(out);
		pending.push(...(out.effects().work ?? []).map(({ task }) => task));
	};
	if (together) step((out) => sum.addAll(inputs, out));
	else for (const one of inputs) step((out) => sum.add(one, out));
	for (let task = pending.shift(); task !== undefined; task = pending.shift()) {
		if (task.kind !== "sum") throw new Error(task.kind);
		taken.push(task.inputs.length);
		const result = runAggregationTask(task);
		if (result.kind !== "sum") throw new Error(result.kind);
		step((out) => sum.completed(result.packed, result.hash, out));
	}
	return { taken, total: unpackRing(sum.settled()!.packed, 13, RING.length) };
}

describe("inputs added up as they arrive", () => {
	const expected = (count: number) =>
		Uint32Array.from({ length: RING.length }, (_, i) => {
			let total = 0;
			for (let number = 0; number < count; number++) total += (number * 97 + i) % 2 ** 13;
			return total % 2 ** 13;
		});

	it("never keep more than a few, however late the worker is", () => {
		const { taken, total } = sumOf(200, false);
		expect(total).toEqual(expected(200));
		expect(taken).toHaveLength(2);
		expect(taken[1]).toBeLessThanOrEqual(17);
	});

	it("go to the worker at once where they were kept all along", () => {
		const { taken, total } = sumOf(200, true);
		expect(total).toEqual(expected(200));
		expect(taken).toEqual([200]);
	});
});
