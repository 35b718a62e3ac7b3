import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashFields } from "../../../crypto/hash.ts";
import {
	backward,
	clipRows,
	forward,
	initialPart,
	parameterCountOf,
} from "../../../src/vertical/denseNetwork.ts";

const WIDTHS = [3, 5, 4, 2];
const parameters = initialPart(WIDTHS, hashFields("seeded part"));

function inputsOf(rows: number, seed: number): Float64Array {
	return Float64Array.from({ length: rows * 3 }, (_, i) => Math.sin(seed + 1.7 * i));
}

/** sum of errors x outputs: its gradient is what `backward` sums up. */
function objective(values: Float64Array, inputs: Float64Array, errors: Float64Array, rows: number): number {
	const output = forward(WIDTHS, values, inputs, rows).activations.at(-1)!;
	return output.reduce((sum, value, i) => sum + value * errors[i]!, 0);
}

const norm = (vector: Float64Array) => Math.hypot(...vector);

describe("a part of a split network", () => {
	it("has the gradients of numerical differentiation, for its parameters and its inputs", () => {
		const rows = 4;
		const inputs = inputsOf(rows, 1);
		const errors = Float64Array.from({ length: rows * 2 }, (_, i) => Math.cos(i));
		const pass = forward(WIDTHS, parameters, inputs, rows);
		const { sum, inputErrors } = backward(WIDTHS, parameters, pass, errors, Number.POSITIVE_INFINITY);
		expect(sum).toHaveLength(parameterCountOf(WIDTHS));
		const h = 1e-6;
		for (let i = 0; i < sum.length; i++) {
			const moved = (by: number) => parameters.map((value, j) => (j === i ? value + by : value));
			const slope =
				(objective(moved(h), inputs, errors, rows) - objective(moved(-h), inputs, errors, rows)) / (2 * h);
			expect(sum[i]).toBeCloseTo(slope, 6);
		}
		for (let i = 0; i < inputs.length; i++) {
			const moved = (by: number) => inputs.map((value, j) => (j === i ? value + by : value));
			const slope =
				(objective(parameters, moved(h), errors, rows) - objective(parameters, moved(-h), errors, rows)) /
				(2 * h);
			expect(inputErrors[i]).toBeCloseTo(slope, 6);
		}
	});

	it("lets no record move the clipped sum by more than the norm", () => {
		fc.assert(
			fc.property(
				fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 2, maxLength: 2 }),
				fc.double({ min: 1e-3, max: 10, noNaN: true }),
				fc.nat(100),
				(error, bound, seed) => {
					const inputs = inputsOf(1, seed);
					const pass = forward(WIDTHS, parameters, inputs, 1);
					const { sum } = backward(WIDTHS, parameters, pass, Float64Array.from(error), bound);
					expect(norm(sum)).toBeLessThanOrEqual(bound);
				},
			),
		);
	});

	it("counts a record that is not finite as zero, and leaves the others alone", () => {
		const inputs = inputsOf(2, 3);
		const errors = Float64Array.of(1, 1, 1, 1);
		const alone = backward(
			WIDTHS,
			parameters,
			forward(WIDTHS, parameters, inputs.subarray(0, 3), 1),
			errors.subarray(0, 2),
			1,
		);
		inputs[4] = Number.NaN;
		const both = backward(WIDTHS, parameters, forward(WIDTHS, parameters, inputs, 2), errors, 1);
		expect(both.sum).toEqual(alone.sum);
		const rows = Float64Array.of(3, 4, Number.POSITIVE_INFINITY, 0, 0.1, 0);
		clipRows(rows, 2, 1);
		expect([...rows.subarray(2)]).toEqual([0, 0, 0.1, 0]);
		expect(norm(rows.subarray(0, 2))).toBeLessThanOrEqual(1);
		expect(rows[0]).toBeCloseTo(0.6, 9);
	});
});
