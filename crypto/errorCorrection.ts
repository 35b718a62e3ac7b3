/**
 * Reed-Solomon decoding of opened shares (Berlekamp and Welch, US patent 4633470, expired): the polynomial
 * that all but a few of the values lie on. Values are public; nothing here is constant in time.
 */
import { add, evaluate, invertPublic, multiply, type Prime, subtract } from "./primeField.ts";

/**
 * The polynomial of degree at most `degree` that all but at most `errors` of the values lie on; it is the
 * only one when there are at least `degree + 1 + 2 errors` points, which is required.
 * @param points distinct, not zero
 * @param suspects positions that are likely wrong: when they are all that is, nothing has to be searched for
 * @returns its `degree + 1` coefficients, lowest first, and the positions of the wrong values; undefined
 *   when there is none
 */
export function correctErrors(
	points: readonly number[],
	values: ArrayLike<number>,
	degree: number,
	errors: number,
	prime: Prime,
	suspects: ReadonlySet<number> = new Set(),
): { readonly coefficients: Uint32Array; readonly wrong: readonly number[] } | undefined {
	if (points.length < degree + 1 + 2 * errors) return undefined;
	const guess = guessed(points, values, degree, prime, suspects);
	if (guess.wrong.length <= errors) return guess;
	// Q(x_j) = y_j E(x_j), E monic of degree `errors`, Q of degree `degree + errors`: linear in their coefficients.
	const qTerms = degree + errors + 1;
	const unknowns = qTerms + errors;
	const rows = points.map((x, j) => {
		const row = new Uint32Array(unknowns + 1);
		let power = 1;
		for (let k = 0; k < qTerms; k++) {
			row[k] = power;
			if (k < errors) row[qTerms + k] = subtract(0, multiply(values[j] as number, power, prime), prime);
			if (k === errors) row[unknowns] = multiply(values[j] as number, power, prime);
			power = multiply(power, x, prime);
		}
		return row;
	});
	const solution = solve(rows, unknowns, prime);
	if (solution === undefined) return undefined;
	const locator = Uint32Array.of(...solution.subarray(qTerms), 1);
	const coefficients = divide(solution.subarray(0, qTerms), locator, prime);
	if (coefficients === undefined) return undefined;
	const wrong = wrongOf(coefficients, points, values, prime);
	return wrong.length <= errors ? { coefficients, wrong } : undefined;
}

/** Positions whose values a polynomial does not have. */
function wrongOf(
	coefficients: Uint32Array,
	points: readonly number[],
	values: ArrayLike<number>,
	prime: Prime,
): number[] {
	return points.flatMap((x, j) => (evaluate(coefficients, 1, x, prime)[0] === values[j] ? [] : [j]));
}

/** The polynomial through the first values, those not suspected before the others, and who is off it. */
function guessed(
	points: readonly number[],
	values: ArrayLike<number>,
	degree: number,
	prime: Prime,
	suspects: ReadonlySet<number>,
): { readonly coefficients: Uint32Array; readonly wrong: readonly number[] } {
	// The suspected come last: where they are too many, it still takes degree + 1.
	const isSuspect = (position: number) => Number(suspects.has(position));
	const trusted = [...points.keys()].sort((a, b) => isSuspect(a) - isSuspect(b)).slice(0, degree + 1);
	const coefficients = interpolate(
		trusted.map((position) => points[position] as number),
		trusted.map((position) => values[position] as number),
		prime,
	);
	return { coefficients, wrong: wrongOf(coefficients, points, values, prime) };
}

/** The polynomial of least degree through all points, by Newton's divided differences; lowest first. */
function interpolate(points: readonly number[], values: readonly number[], prime: Prime): Uint32Array {
	const differences = Uint32Array.from(values);
	for (let order = 1; order < points.length; order++)
		for (let j = points.length - 1; j >= order; j--) {
			const span = subtract(points[j] as number, points[j - order] as number, prime);
			const rise = subtract(differences[j] as number, differences[j - 1] as number, prime);
			differences[j] = multiply(rise, invertPublic(span, prime), prime);
		}
	const coefficients = new Uint32Array(points.length);
	for (let j = points.length - 1; j >= 0; j--) {
		// Times (x - x_j), plus the next difference.
		for (let k = points.length - 1; k > 0; k--)
			coefficients[k] = subtract(
				coefficients[k - 1] as number,
				multiply(coefficients[k] as number, points[j] as number, prime),
				prime,
			);
		const constant = subtract(0, multiply(coefficients[0] as number, points[j] as number, prime), prime);
		coefficients[0] = add(constant, differences[j] as number, prime);
	}
	return coefficients;
}

/** One solution of a consistent linear system (free unknowns zero), or undefined. */
function solve(rows: Uint32Array[], unknowns: number, prime: Prime): Uint32Array | undefined {
	const pivots: number[] = [];
	let rank = 0;
	for (let column = 0; column < unknowns && rank < rows.length; column++) {
		const found = rows.findIndex((row, i) => i >= rank && row[column] !== 0);
		if (found < 0) continue;
		const pivot = rows[found] as Uint32Array;
		rows[found] = rows[rank] as Uint32Array;
		rows[rank] = pivot;
		const inverse = invertPublic(pivot[column] as number, prime);
		for (let k = column; k <= unknowns; k++) pivot[k] = multiply(pivot[k] as number, inverse, prime);
		for (const [i, row] of rows.entries()) {
			const factor = row[column] as number;
			if (i === rank || factor === 0) continue;
			for (let k = column; k <= unknowns; k++)
				row[k] = subtract(row[k] as number, multiply(factor, pivot[k] as number, prime), prime);
		}
		pivots.push(column);
		rank++;
	}
	if (rows.slice(rank).some((row) => row[unknowns] !== 0)) return undefined;
	const solution = new Uint32Array(unknowns);
	for (const [i, column] of pivots.entries()) solution[column] = (rows[i] as Uint32Array)[unknowns] as number;
	return solution;
}

/** The quotient by a monic polynomial, or undefined when there is a rest. */
function divide(dividend: Uint32Array, divisor: Uint32Array, prime: Prime): Uint32Array | undefined {
	const rest = dividend.slice();
	const degree = divisor.length - 1;
	const quotient = new Uint32Array(rest.length - degree);
	for (let k = quotient.length - 1; k >= 0; k--) {
		const factor = rest[k + degree] as number;
		quotient[k] = factor;
		for (let i = 0; i <= degree; i++)
			rest[k + i] = add(
				rest[k + i] as number,
				subtract(0, multiply(factor, divisor[i] as number, prime), prime),
				prime,
			);
	}
	return rest.some((value) => value !== 0) ? undefined : quotient;
}
