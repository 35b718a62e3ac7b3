import { describe, expect, test } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { sha256 } from "../../../crypto/hash.ts";
import { float32ToBytes } from "../../../src/learning/littleEndian.ts";
import {
	applyGradient,
	decodeOptimizerState,
	encodeOptimizerState,
	initialOptimizerState,
	type OptimizerSettings,
} from "../../../src/learning/optimizer.ts";
import { randomParameters } from "./reference.ts";

const gradientDescent: OptimizerSettings = { learningRate: 0.1, momentum: 0 };
const heavyBall: OptimizerSettings = { learningRate: 0.1, momentum: 0.9 };
const adam: OptimizerSettings = {
	learningRate: 0.1,
	momentum: 0.9,
	adaptive: { rule: "adam", secondMomentDecay: 0.99, epsilon: 1e-8 },
};

describe("steps", () => {
	test("gradient descent subtracts the scaled gradient and leaves its arguments alone", () => {
		const parameters = Float32Array.of(1, 2);
		const gradient = Float64Array.of(10, -20);
		const result = applyGradient(
			gradientDescent,
			initialOptimizerState(gradientDescent, 2),
			parameters,
			gradient,
		);
		expect(result.parameters).toEqual(Float32Array.of(0, 4));
		expect(result.state).toEqual({ step: 1, velocity: new Float32Array(0) });
		expect(parameters).toEqual(Float32Array.of(1, 2));
		expect(gradient).toEqual(Float64Array.of(10, -20));
	});

	test("momentum accumulates velocity", () => {
		let state = initialOptimizerState(heavyBall, 1);
		let parameters: Float32Array = Float32Array.of(0);
		for (let step = 0; step < 3; step++) {
			({ parameters, state } = applyGradient(heavyBall, state, parameters, Float64Array.of(1)));
		}
		expect(state.step).toBe(3);
		expect(state.velocity[0]).toBeCloseTo(1 + 0.9 + 0.81, 6);
		expect(parameters[0]).toBeCloseTo(-0.1 * (1 + 1.9 + 2.71), 6);
	});

	test("Adam follows the paper's algorithm, written out for one coordinate", () => {
		let state = initialOptimizerState(adam, 1);
		let parameters: Float32Array = Float32Array.of(1);
		let [first, second, expected] = [0, 0, 1];
		for (const [step, gradient] of [0.5, -2, 0.25, 1e-3].entries()) {
			({ parameters, state } = applyGradient(adam, state, parameters, Float64Array.of(gradient)));
			first = 0.9 * first + 0.1 * gradient;
			second = 0.99 * second + 0.01 * gradient ** 2;
			const corrected = first / (1 - 0.9 ** (step + 1));
			expected -= (0.1 * corrected) / (Math.sqrt(second / (1 - 0.99 ** (step + 1))) + 1e-8);
		}
		expect(parameters[0]).toBeCloseTo(expected, 6);
		expect(state.step).toBe(4);
	});

	test("Adam without momentum keeps no mean gradient, and moves each coordinate by the rate at first", () => {
		const settings = { ...adam, momentum: 0 };
		const state = initialOptimizerState(settings, 2);
		const result = applyGradient(settings, state, new Float32Array(2), Float64Array.of(1e-3, -40));
		expect(result.state.velocity.length).toBe(0);
		expect(result.parameters[0]).toBeCloseTo(-0.1, 5);
		expect(result.parameters[1]).toBeCloseTo(0.1, 5);
		expect(decodeOptimizerState(encodeOptimizerState(result.state))).toEqual(result.state);
	});

	test("Yogi and Adagrad follow their papers' updates of the squares, written out for one coordinate", () => {
		const gradients = [0.5, -2, 0.25, 1e-3];
		for (const rule of ["yogi", "adagrad"] as const) {
			const settings: OptimizerSettings = { ...adam, adaptive: { ...adam.adaptive!, rule } };
			let state = initialOptimizerState(settings, 1);
			let parameters: Float32Array = Float32Array.of(1);
			let [first, second, expected] = [0, 0, 1];
			for (const [step, gradient] of gradients.entries()) {
				({ parameters, state } = applyGradient(settings, state, parameters, Float64Array.of(gradient)));
				first = 0.9 * first + 0.1 * gradient;
				const square = gradient ** 2;
				second += rule === "adagrad" ? square : 0.01 * Math.sign(square - second) * square;
				const weight = rule === "adagrad" ? 1 : 1 - 0.99 ** (step + 1);
				expected -= (0.1 * first) / (1 - 0.9 ** (step + 1)) / (Math.sqrt(second / weight) + 1e-8);
			}
			expect(parameters[0]).toBeCloseTo(expected, 6);
			expect(state.squares![0]).toBeCloseTo(second, 7);
		}
	});

	test("a coordinate whose gradient is always zero stays where it is, with every rule", () => {
		for (const rule of ["adam", "yogi", "adagrad"] as const) {
			const settings: OptimizerSettings = { ...adam, adaptive: { ...adam.adaptive!, rule } };
			let state = initialOptimizerState(settings, 2);
			let parameters: Float32Array = Float32Array.of(1, 1);
			for (let step = 0; step < 5; step++)
				({ parameters, state } = applyGradient(settings, state, parameters, Float64Array.of(0, 1)));
			expect(parameters[0]).toBe(1);
			expect(parameters[1]).toBeLessThan(1);
		}
	});

	test("twenty steps end in the same bits on every machine, also when resumed from bytes", () => {
		let parameters: Float32Array = randomParameters(1000, 1);
		let state = initialOptimizerState(heavyBall, 1000);
		for (let step = 0; step < 20; step++) {
			const gradient = Float64Array.from(randomParameters(1000, 100 + step));
			if (step === 10) state = decodeOptimizerState(encodeOptimizerState(state));
			({ parameters, state } = applyGradient(heavyBall, state, parameters, gradient));
		}
		expect(toHex(sha256(float32ToBytes(parameters), encodeOptimizerState(state)))).toBe(TWENTY_STEPS_HASH);
	});
});

describe("refusals", () => {
	test.each([
		{ learningRate: 0, momentum: 0 },
		{ learningRate: Number.NaN, momentum: 0 },
		{ learningRate: 1, momentum: 1 },
		{ learningRate: 1, momentum: -0.1 },
		{ learningRate: 1, momentum: 0, adaptive: { rule: "adam", secondMomentDecay: 1, epsilon: 1e-8 } },
		{ learningRate: 1, momentum: 0, adaptive: { rule: "yogi", secondMomentDecay: 0.9, epsilon: 0 } },
	] as const)("settings $learningRate, $momentum", (settings) => {
		expect(() => initialOptimizerState(settings, 1)).toThrow(
			expect.objectContaining({ code: "learning.invalid_optimizer" }),
		);
	});

	test.each<[string, OptimizerSettings, Float64Array]>([
		["a gradient of another length", gradientDescent, new Float64Array(3)],
		["a state without velocity", heavyBall, new Float64Array(2)],
		["a state without mean squares", { ...adam, momentum: 0 }, new Float64Array(2)],
	])("%s", (_, settings, gradient) => {
		const state = initialOptimizerState(gradientDescent, 2);
		expect(() => applyGradient(settings, state, new Float32Array(2), gradient)).toThrow(
			expect.objectContaining({ code: "learning.parameter_count" }),
		);
	});

	test.each([Number.NaN, Number.POSITIVE_INFINITY, 1e40])("a gradient of %d", (value) => {
		const state = initialOptimizerState(gradientDescent, 1);
		expect(() => applyGradient(gradientDescent, state, new Float32Array(1), Float64Array.of(value))).toThrow(
			expect.objectContaining({ code: "learning.not_finite" }),
		);
	});

	test("a gradient whose square overflows", () => {
		const state = initialOptimizerState(adam, 1);
		expect(() => applyGradient(adam, state, new Float32Array(1), Float64Array.of(1e200))).toThrow(
			expect.objectContaining({ code: "learning.not_finite" }),
		);
	});

	test("a damaged state", () => {
		const bytes = encodeOptimizerState({ step: 1, velocity: Float32Array.of(Number.NaN) });
		expect(() => decodeOptimizerState(bytes)).toThrow(
			expect.objectContaining({ code: "learning.invalid_optimizer_state" }),
		);
		const whole = encodeOptimizerState({ step: 1, velocity: Float32Array.of(1) });
		expect(() => decodeOptimizerState(whole.subarray(0, whole.length - 1))).toThrow(
			expect.objectContaining({ code: expect.stringMatching(/^encoding\./) }),
		);
	});
});

const TWENTY_STEPS_HASH = "6ff2b148588cede5b197416c965666e501f28de1a549ae004814e06801b84bc3";
