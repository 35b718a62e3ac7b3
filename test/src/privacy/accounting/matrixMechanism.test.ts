import { describe, expect, it } from "vitest";
import {
	inverseCoefficients,
	prefixError,
	squareRootCoefficients,
	toeplitzSensitivitySquared,
	treeLevels,
} from "../../../../src/privacy/accounting/matrixMechanism.ts";
import { vectors } from "../vectors.ts";

/** Rows of the lower triangular Toeplitz matrix. */
function matrix(coefficients: Float64Array, size: number): number[][] {
	return Array.from({ length: size }, (_, row) =>
		Array.from({ length: size }, (_, column) => (column <= row ? (coefficients[row - column] ?? 0) : 0)),
	);
}

describe("Toeplitz strategies", () => {
	it("match the reference in every figure", () => {
		for (const { id, params, expected } of vectors<
			{ n: number; bands: number; min_sep: number; max_participations: number },
			{
				strategy_coefs_first8: number[];
				noising_coefs_first8: number[];
				sensitivity_squared: number;
				max_query_error_unit_noise: number;
				mean_query_error_unit_noise: number;
			}
		>("toeplitz_mf")) {
			const coefficients = squareRootCoefficients(params.bands);
			const close = (ours: number, theirs: number): void =>
				expect(Math.abs(ours - theirs), id).toBeLessThanOrEqual(1e-12 * Math.max(1, Math.abs(theirs)));
			for (const [i, value] of expected.strategy_coefs_first8.entries()) close(coefficients[i]!, value);
			const inverse = inverseCoefficients(coefficients, 8);
			for (const [i, value] of expected.noising_coefs_first8.entries()) close(inverse[i]!, value);
			close(
				toeplitzSensitivitySquared(coefficients, {
					steps: params.n,
					minSeparation: params.min_sep,
					maxParticipations: params.max_participations,
				}),
				expected.sensitivity_squared,
			);
			const { max, mean } = prefixError(coefficients, params.n);
			close(max, expected.max_query_error_unit_noise);
			close(mean, expected.mean_query_error_unit_noise);
		}
	});

	it("square to the prefix sums, and the inverse undoes them", () => {
		const size = 40;
		const c = matrix(squareRootCoefficients(size), size);
		const inverse = matrix(inverseCoefficients(squareRootCoefficients(size), size), size);
		for (let i = 0; i < size; i++) {
			for (let j = 0; j < size; j++) {
				const square = c[i]!.reduce((sum, value, k) => sum + value * c[k]![j]!, 0);
				const product = c[i]!.reduce((sum, value, k) => sum + value * inverse[k]![j]!, 0);
				expect(square).toBeCloseTo(j <= i ? 1 : 0, 12);
				expect(product).toBeCloseTo(i === j ? 1 : 0, 12);
			}
		}
	});

	it("have the sensitivity that trying every allowed participation finds", () => {
		const steps = 9;
		for (const bands of [1, 3, 9]) {
			for (const minSeparation of [1, 2, 4]) {
				for (const maxParticipations of [1, 2, 3]) {
					const coefficients = squareRootCoefficients(bands);
					const rows = matrix(coefficients, steps);
					let worst = 0;
					for (let mask = 1; mask < 2 ** steps; mask++) {
						const when = Array.from({ length: steps }, (_, i) => i).filter((i) => mask & (1 << i));
						if (when.length > maxParticipations) continue;
						if (when.some((step, i) => i > 0 && step - when[i - 1]! < minSeparation)) continue;
						const change = rows.map((row) => when.reduce((sum, column) => sum + row[column]!, 0));
						worst = Math.max(
							worst,
							change.reduce((sum, value) => sum + value * value, 0),
						);
					}
					expect(
						toeplitzSensitivitySquared(coefficients, { steps, minSeparation, maxParticipations }),
					).toBeCloseTo(worst, 12);
				}
			}
		}
	});

	it("refuse coefficients and patterns the theorem does not cover", () => {
		const pattern = { steps: 4, minSeparation: 1, maxParticipations: 1 };
		for (const coefficients of [
			[1, -0.5],
			[0.5, 1],
			[1, Number.NaN],
		]) {
			expect(() => toeplitzSensitivitySquared(Float64Array.from(coefficients), pattern)).toThrow(
				expect.objectContaining({ code: "privacy.bad_matrix" }),
			);
		}
		for (const bad of [{ steps: 0 }, { minSeparation: 0 }, { maxParticipations: 1.5 }]) {
			expect(() => toeplitzSensitivitySquared(squareRootCoefficients(2), { ...pattern, ...bad })).toThrow(
				expect.objectContaining({ code: "privacy.bad_matrix" }),
			);
		}
		expect(() => squareRootCoefficients(0)).toThrow(expect.objectContaining({ code: "privacy.bad_matrix" }));
		expect(() => inverseCoefficients(new Float64Array(3), 3)).toThrow(
			expect.objectContaining({ code: "privacy.bad_matrix" }),
		);
	});
});

describe("tree aggregation", () => {
	it("has as many levels as a leaf has nodes above it, itself included", () => {
		expect([1, 2, 3, 4, 7, 8, 1000, 1023, 1024, 1600].map(treeLevels)).toEqual([
			1, 2, 2, 3, 3, 4, 10, 10, 11, 11,
		]);
		expect(() => treeLevels(0)).toThrow(expect.objectContaining({ code: "privacy.bad_matrix" }));
	});
});
