/**
 * The root of a decreasing function between `low` (value > 0) and `high` (value <= 0), by the Illinois
 * variant of the false position (superlinear, never leaves the bracket). Ends on the side where the
 * value is <= 0, to a relative width of `tolerance`.
 */
export function decreasingRoot(
	valueAt: (x: number) => number,
	low: number,
	high: number,
	{ relative = 1e-14, absolute = 0 }: { readonly relative?: number; readonly absolute?: number } = {},
): number {
	let left = low;
	let right = high;
	let leftValue = valueAt(left);
	let rightValue = valueAt(right);
	if (leftValue <= 0) return left;
	let lastSide = 0;
	for (
		let i = 0;
		i < 200 && right - left > absolute + relative * Math.max(Math.abs(left), Math.abs(right));
		i++
	) {
		let middle = (left * rightValue - right * leftValue) / (rightValue - leftValue);
		// Every third step halves: an unbounded value at an end would make the secant crawl.
		if (i % 3 === 2 || !(middle > left && middle < right)) middle = 0.5 * (left + right);
		if (middle === left || middle === right) break;
		const value = valueAt(middle);
		if (value > 0) {
			left = middle;
			leftValue = value;
			if (lastSide === 1) rightValue *= 0.5;
			lastSide = 1;
		} else {
			right = middle;
			rightValue = value;
			if (lastSide === -1) leftValue *= 0.5;
			lastSide = -1;
		}
	}
	return right;
}
