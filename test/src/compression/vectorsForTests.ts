import fc from "fast-check";

export const seed = fc.uint8Array({ minLength: 32, maxLength: 32 });

/** Vectors of any length up to `maxLength`, spiky ones among them. */
export const vector = (maxLength: number): fc.Arbitrary<Float64Array> =>
	fc
		.array(fc.oneof(fc.double({ min: -10, max: 10, noNaN: true }), fc.constantFrom(0, 0, 1e3)), {
			minLength: 1,
			maxLength,
		})
		.map((values) => Float64Array.from(values));

export function normOf(values: Float64Array | Int32Array): number {
	let squares = 0;
	for (const value of values) squares += value * value;
	return Math.sqrt(squares);
}

export function difference(a: Float64Array, b: Float64Array): Float64Array {
	return a.map((value, i) => value - b[i]!);
}
