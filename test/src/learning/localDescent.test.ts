import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { accumulatedSteps, Descent, type DescentRule } from "../../../src/learning/localDescent.ts";

/** Steps with the same gradient again and again. */
function stepped(steps: number, rule: DescentRule, start: Float32Array, gradient: number): Float32Array {
	const parameters = start.slice();
	const descent = new Descent(rule, parameters);
	for (let step = 0; step < steps; step++)
		descent.step(new Float64Array(parameters.length).fill(2 * gradient), 2);
	return parameters;
}

describe("a local step", () => {
	test("goes against the mean gradient", () => {
		expect(stepped(1, { learningRate: 0.5 }, Float32Array.of(1), 3)).toEqual(Float32Array.of(-0.5));
	});

	test("is pulled towards the anchor, as FedProx writes it", () => {
		const anchor = Float32Array.of(2);
		const rule = { learningRate: 0.5, proximal: { weight: 4, anchor } };
		expect(stepped(1, rule, Float32Array.of(1), 3)).toEqual(Float32Array.of(1 - 0.5 * (3 + 4 * (1 - 2))));
	});

	test("is corrected by a control variate, and its momentum remembers the whole", () => {
		const rule = { learningRate: 1, momentum: 0.5, correction: Float64Array.of(-1) };
		const [first, second] = [3 - 1, 0.5 * (3 - 1) + (3 - 1)];
		expect(stepped(2, rule, Float32Array.of(0), 3)).toEqual(Float32Array.of(-first - second));
	});

	test("leaves parameters that do not move as they are", () => {
		const rule = { learningRate: 1, momentum: 0.5, moving: Uint8Array.of(1, 0) };
		expect(stepped(3, rule, Float32Array.of(1, 1), 1)[1]).toBe(1);
	});

	test.each<[string, DescentRule]>([
		["a learning rate of zero", { learningRate: 0 }],
		["a momentum of one", { learningRate: 1, momentum: 1 }],
		["a pull away", { learningRate: 1, proximal: { weight: -1, anchor: new Float32Array(2) } }],
		["an anchor of another model", { learningRate: 1, proximal: { weight: 1, anchor: new Float32Array(3) } }],
		["a correction of another model", { learningRate: 1, correction: new Float64Array(1) }],
	])("is refused for %s", (_, rule) => {
		expect(() => new Descent(rule, new Float32Array(2))).toThrow(
			expect.objectContaining({ code: "learning.invalid_argument" }),
		);
	});
});

describe("accumulated steps", () => {
	test("are the steps themselves without momentum or pull", () => {
		expect(accumulatedSteps(7, { learningRate: 0.1 })).toBe(7);
		expect(accumulatedSteps(0, { learningRate: 0.1 })).toBe(0);
	});

	test("are how far a constant gradient of one leads, in learning rates", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 1, max: 30 }),
				fc.double({ min: 0, max: 0.95, noNaN: true }),
				fc.double({ min: 0, max: 2, noNaN: true }),
				(steps, momentum, weight) => {
					const rule = { learningRate: 0.125, momentum, proximal: { weight, anchor: new Float32Array(1) } };
					const [end] = stepped(steps, rule, new Float32Array(1), 1);
					expect(-end! / 0.125).toBeCloseTo(accumulatedSteps(steps, rule), 3);
				},
			),
			{ seed: 8, numRuns: 100 },
		);
	});
});
