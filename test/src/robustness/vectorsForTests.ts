import fc from "fast-check";

/** `count` vectors of one length, of moderate values on a grid, as decoded ones are. */
export function vectorsOf(count: number, length = 5): fc.Arbitrary<Float64Array[]> {
	const value = fc.integer({ min: -(2 ** 20), max: 2 ** 20 }).map((steps) => steps / 1024);
	return fc.array(
		fc.array(value, { minLength: length, maxLength: length }).map((values) => Float64Array.from(values)),
		{ minLength: count, maxLength: count },
	);
}

export function rows(...values: number[][]): Float64Array[] {
	return values.map((row) => Float64Array.from(row));
}

export function distance(one: ArrayLike<number>, other: ArrayLike<number>): number {
	let squares = 0;
	for (let i = 0; i < one.length; i++) squares += (one[i]! - other[i]!) ** 2;
	return Math.sqrt(squares);
}
