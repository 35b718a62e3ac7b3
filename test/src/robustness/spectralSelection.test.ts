import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seededRandomForTests } from "../../../src/data/testnetPartition.ts";
import { distancesFromGram, gramMatrix, squaredDistances } from "../../../src/robustness/gram.ts";
import {
	centred,
	droppedEachPass,
	leadingProjections,
	selectBySpectrum,
} from "../../../src/robustness/spectralSelection.ts";
import { rows, vectorsOf } from "./vectorsForTests.ts";

describe("spectral selection", () => {
	it("finds the squared projections on the direction of most variance", () => {
		// Deviations 3, 1, -1, -3 along one axis, and less along another.
		const projections = leadingProjections(gramMatrix(rows([3, 0.1], [1, -0.1], [-1, -0.1], [-3, 0.1])));
		const largest = projections[0]!;
		expect([...projections].map((value) => Math.round((9 * value) / largest))).toEqual([9, 1, 1, 9]);
	});

	it("drops attackers that pull together, and ceil(3 f / 4) vectors in each of two passes", () => {
		const random = seededRandomForTests(7);
		const honest = Array.from({ length: 20 }, () => Float64Array.from({ length: 30 }, () => random() - 0.5));
		const wrong = Array.from({ length: 5 }, () =>
			Float64Array.from({ length: 30 }, () => 2 + 0.1 * random()),
		);
		const selected = selectBySpectrum(gramMatrix([...wrong, ...honest]), 5);
		expect(selected).toHaveLength(25 - 2 * droppedEachPass(5));
		expect(selected.every((index) => index >= 5)).toBe(true);
		expect(selectBySpectrum(gramMatrix(honest), 0)).toHaveLength(20);
	});

	it("depends on differences alone: a common shift changes nothing", () => {
		fc.assert(
			fc.property(vectorsOf(9), (vectors) => {
				const shifted = vectors.map((vector) => vector.map((value) => value + 64));
				const before = centred(gramMatrix(vectors));
				const after = centred(gramMatrix(shifted));
				for (const [i, value] of before.entries()) expect(after[i]!).toBeCloseTo(value, 3);
			}),
		);
	});

	it("is not confused by vectors that are all alike", () => {
		const alike = Array.from({ length: 9 }, () => Float64Array.of(1, 2));
		expect(selectBySpectrum(gramMatrix(alike), 2)).toHaveLength(5);
	});

	it("refuses what is no matrix of inner products, and too many attackers", () => {
		expect(() => selectBySpectrum({ size: 2, values: Float64Array.of(1, 2, 3, 4) }, 0)).toThrow(/symmetric/);
		expect(() => selectBySpectrum({ size: 1, values: Float64Array.of(Number.NaN) }, 0)).toThrow(/finite/);
		expect(() => selectBySpectrum(gramMatrix(rows([1], [2], [3])), 1)).toThrow(
			/spectral stands 1 attackers among 5/,
		);
	});
});

it("distances follow from inner products", () => {
	const vectors = rows([1, 2], [4, 6], [0, 0]);
	expect([...distancesFromGram(gramMatrix(vectors)).values]).toEqual([...squaredDistances(vectors).values]);
});
