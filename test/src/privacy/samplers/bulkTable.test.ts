import { describe, expect, it } from "vitest";
import {
	buildCellTable,
	CELLS,
	type CellTable,
	cellAt,
	survival,
	ZERO_CELL,
} from "../../../../src/privacy/samplers/bulkTable.ts";
import { fixedPointExp } from "../../../../src/privacy/samplers/fixedPointExp.ts";
import { exactSquare } from "../../../../src/privacy/samplers/rational.ts";

const BITS = 400n;
const ONE = 1n << BITS;
const FULL = 1n << 106n;

/** exp(-numerator / denominator) to 380 bits: the reciprocal of a series of positive terms, unlike the code's own. */
function reciprocalExp(numerator: bigint, denominator: bigint): bigint {
	// Below 2^-400.
	if (numerator > 300n * denominator) return 0n;
	const x = (numerator << BITS) / denominator;
	const halvings = BigInt(Math.max(0, x.toString(2).length - Number(BITS) + 4));
	const small = x >> halvings;
	let term = ONE;
	let sum = ONE;
	for (let i = 1n; term > 0n; i++) {
		term = (term * small) / (i << BITS);
		sum += term;
	}
	for (let i = 0n; i < halvings; i++) sum = (sum * sum) >> BITS;
	return (ONE * ONE) / sum;
}

/** exp(-x^2 / (2 sigma^2)), in units of 2^-400. */
function weightOf(sigma: number): (x: number) => bigint {
	const { numerator, denominator } = exactSquare(sigma);
	return (x) => reciprocalExp(BigInt(x) ** 2n * denominator, 2n * numerator);
}

/** exp(-(far^2 - peak^2) / (2 sigma^2)), in units of 2^-400. */
function leastSurvival(sigma: number, cell: number, lowBits: number): bigint {
	const { peak, far } = cellAt(cell, lowBits);
	const { numerator, denominator } = exactSquare(sigma);
	return reciprocalExp((BigInt(far) ** 2n - BigInt(peak) ** 2n) * denominator, 2n * numerator);
}

/** What the columns add up to for each cell, in units of 2^-106 of a column. */
function proposals({ thresholds, alias }: CellTable): bigint[] {
	const total = Array.from({ length: CELLS }, () => 0n);
	thresholds.forEach((threshold, column) => {
		total[column]! += threshold;
		total[alias[column]!]! += FULL - threshold;
	});
	return total;
}

const difference = (a: bigint, b: bigint): bigint => (a > b ? a - b : b - a);
const sum = (values: readonly bigint[]): bigint => values.reduce((total, value) => total + value, 0n);
/** A fraction below 1 of 2^-400 units as a double. */
const asNumber = (value: bigint): number => Number(value) / 2 ** 400;

const SIGMAS = [0.1, 167.1, 167.3, 8651.3, 2 ** 22];

describe("the table of the bulk sampler", () => {
	it("proposes cells by their exact weights up to less than 2^-104 in all", () => {
		for (const sigma of [0.7, 99.9, 8651.3, 2 ** 22]) {
			const table = buildCellTable(sigma);
			const weight = weightOf(sigma);
			const exact = Array.from({ length: CELLS }, (_, cell) => weight(cellAt(cell, table.lowBits).peak));
			const exactTotal = sum(exact);
			const proposed = proposals(table);
			expect(sum(proposed)).toBe(FULL * BigInt(CELLS));
			const off = sum(
				proposed.map((value, cell) =>
					difference((value << BITS) / (FULL * BigInt(CELLS)), (exact[cell]! << BITS) / exactTotal),
				),
			);
			expect(asNumber(off)).toBeLessThan(2 ** -104);
			expect(asNumber(off)).toBeLessThan(table.totalVariationDistance);
		}
	});

	it("makes samples whose law is within the stated distance, summed over every integer", () => {
		for (const sigma of [0.1, 0.7, 30, 200]) {
			const table = buildCellTable(sigma);
			const weight = weightOf(sigma);
			const size = 1 << table.lowBits;
			const reach = ZERO_CELL * size;
			const exact = new Map<number, bigint>();
			// Beyond 25 deviations the law has less than 2^-440: nothing at this precision.
			for (let x = -reach; x < reach; x++) exact.set(x, weight(x));
			const exactTotal = sum([...exact.values()]);
			const made = new Map<number, bigint>();
			proposals(table).forEach((proposed, cell) => {
				const { first, peak } = cellAt(cell, table.lowBits);
				// Of each place in it, what rejection leaves.
				for (let x = first; x < first + size; x++) {
					made.set(x, (proposed * exact.get(x)!) / (exact.get(peak)! || 1n));
				}
			});
			const madeTotal = sum([...made.values()]);
			let twice = 0n;
			for (const [x, value] of exact) {
				twice += difference((value << BITS) / exactTotal, (made.get(x)! << BITS) / madeTotal);
			}
			expect(asNumber(twice) / 2).toBeLessThan(table.totalVariationDistance);
			expect(table.totalVariationDistance).toBeLessThan(2 ** -100);
		}
	});

	it("states a distance below 2^-100 for every sigma", () => {
		for (const sigma of SIGMAS) {
			const { totalVariationDistance } = buildCellTable(sigma);
			expect(totalVariationDistance).toBeGreaterThan(2 ** -120);
			expect(totalVariationDistance).toBeLessThan(2 ** -100);
		}
	});

	it("calls sure only what is certain, and nearly all that is", () => {
		for (const sigma of SIGMAS) {
			const { lowBits, thresholds, alias, entries } = buildCellTable(sigma);
			const leading = 1n << BigInt(20 - lowBits);
			const survivals = Array.from({ length: CELLS }, (_, cell) => leastSurvival(sigma, cell, lowBits));
			let unsure = 0n;
			for (let column = 0; column < CELLS; column++) {
				const threshold = thresholds[column]!;
				const from = BigInt(entries[2 * column]! - column * 2 ** 20) >> BigInt(lowBits);
				const reach = entries[2 * column + 1]!;
				const to = from + (BigInt(Math.floor(reach / 4096)) >> BigInt(lowBits));
				expect(reach % 4096).toBe(alias[column]);
				// from / leading <= threshold survival: every u below it is accepted for the own cell.
				const own = threshold * survivals[column]!;
				expect((from * FULL) << BITS).toBeLessThanOrEqual(own * leading);
				// 1 - to / leading <= (1 - threshold) survival: every u from it on for the alias.
				const other = (FULL - threshold) * survivals[alias[column]!]!;
				expect(((leading - to) * FULL) << BITS).toBeLessThanOrEqual(other * leading);
				expect(to).toBeGreaterThanOrEqual(from);
				expect(to - from).toBeLessThan(leading);
				unsure += to - from;
			}
			// Up to 0.8 cells in 83 of probability, and a unit of the leading bits a column.
			const share = Number(unsure) / (CELLS * Number(leading));
			expect(share).toBeLessThan((lowBits === 0 ? 0 : 0.011) + 1.5 / Number(leading));
		}
	});
});

describe("exponentials", () => {
	it("take sigma as the fraction it is, and refuse what is none", () => {
		expect(exactSquare(1.5)).toEqual({ numerator: 9n, denominator: 4n });
		for (const sigma of [0, -1, Number.NaN, Number.POSITIVE_INFINITY]) {
			expect(() => exactSquare(sigma)).toThrow(expect.objectContaining({ code: "privacy.bad_sigma" }));
		}
	});

	it("in fixed point are within 2^-240", () => {
		for (const [numerator, denominator] of [
			[0n, 1n],
			[1n, 3n],
			[1n, 1n],
			[299n, 10n],
			[12345678901234567890n, 123456789012345678n],
		] as const) {
			const exact = reciprocalExp(numerator, denominator) >> (BITS - 256n);
			expect(difference(fixedPointExp(numerator, denominator), exact)).toBeLessThan(1n << 16n);
		}
	});

	it("of a place in a cell are within 2^-48 as doubles, a hundredth of what is allowed for", () => {
		for (const sigma of [168, 333.3, 8651.3, 2 ** 22]) {
			const { lowBits, variance } = buildCellTable(sigma);
			for (let cell = 0; cell < CELLS; cell += 61) {
				const { first, peak, far } = cellAt(cell, lowBits);
				for (const x of [peak, far, first + (1 << lowBits) / 2]) {
					const excess = (BigInt(x) ** 2n - BigInt(peak) ** 2n) * variance.denominator;
					const exact = asNumber(reciprocalExp(excess, 2n * variance.numerator));
					expect(Math.abs(survival(x, peak, sigma) - exact)).toBeLessThan(2 ** -48);
				}
			}
		}
	});
});
