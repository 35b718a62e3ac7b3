import { describe, expect, it } from "vitest";
import {
	consistentCells,
	deviationOf,
	levelStart,
	nodeAbove,
	treeLength,
} from "../../../src/queries/quantileTree.ts";

const LEVELS = 2;
const CELLS = 16;

/** Which cells a node covers, as a matrix with a row a node. */
function coverage(): number[][] {
	return Array.from({ length: treeLength(LEVELS) }, (_, node) =>
		Array.from({ length: CELLS }, (_, cell) =>
			nodeAbove(cell, 1, LEVELS) === node || nodeAbove(cell, 2, LEVELS) === node ? 1 : 0,
		),
	);
}

/** (H^T H)^-1 by Gauss-Jordan elimination. */
function inverseOfNormalMatrix(): number[][] {
	const h = coverage();
	const rows = Array.from({ length: CELLS }, (_, i) => [
		...Array.from({ length: CELLS }, (_, j) => h.reduce((sum, row) => sum + row[i]! * row[j]!, 0)),
		...Array.from({ length: CELLS }, (_, j) => (i === j ? 1 : 0)),
	]);
	for (let pivot = 0; pivot < CELLS; pivot++) {
		const scale = rows[pivot]![pivot]!;
		rows[pivot] = rows[pivot]!.map((value) => value / scale);
		for (let row = 0; row < CELLS; row++) {
			const factor = rows[row]![pivot]!;
			if (row !== pivot) rows[row] = rows[row]!.map((value, i) => value - factor * rows[pivot]![i]!);
		}
	}
	return rows.map((row) => row.slice(CELLS));
}

describe("the quantile tree", () => {
	it("has its levels one after the other", () => {
		expect(treeLength(1)).toBe(4);
		expect(treeLength(3)).toBe(84);
		expect(levelStart(1)).toBe(0);
		expect(levelStart(3)).toBe(20);
		expect(nodeAbove(63, 1, 3)).toBe(3);
		expect(nodeAbove(63, 3, 3)).toBe(83);
	});

	it("solves least squares: against the normal equations", () => {
		const noisy = Float64Array.from({ length: treeLength(LEVELS) }, (_, i) => ((i * 7919) % 31) - 11);
		const inverse = inverseOfNormalMatrix();
		const projected = Array.from({ length: CELLS }, (_, cell) =>
			coverage().reduce((sum, row, node) => sum + row[cell]! * noisy[node]!, 0),
		);
		const expected = inverse.map((row) => row.reduce((sum, value, i) => sum + value * projected[i]!, 0));
		const found = consistentCells(noisy, LEVELS);
		for (const [cell, value] of expected.entries()) expect(found[cell]).toBeCloseTo(value, 9);
	});

	it("returns counts without noise as they are, on several levels", () => {
		const cells = Float64Array.from({ length: 64 }, (_, i) => i % 5);
		const nodes = new Float64Array(treeLength(3));
		for (const [cell, count] of cells.entries()) {
			for (let level = 1; level <= 3; level++) nodes[nodeAbove(cell, level, 3)]! += count;
		}
		const found = consistentCells(nodes, 3);
		for (const [cell, count] of cells.entries()) expect(found[cell]).toBeCloseTo(count, 9);
	});

	it("knows the deviation of any combination of cells: against the inverse normal matrix", () => {
		const inverse = inverseOfNormalMatrix();
		for (const edge of [1, 5, 8, 16]) {
			const weights = Float64Array.from({ length: CELLS }, (_, cell) => (cell < edge ? 1 : 0) - 0.3);
			let variance = 0;
			for (const [i, row] of inverse.entries()) {
				for (const [j, value] of row.entries()) variance += weights[i]! * value * weights[j]!;
			}
			expect(deviationOf(weights, LEVELS)).toBeCloseTo(Math.sqrt(variance), 9);
		}
	});
});
