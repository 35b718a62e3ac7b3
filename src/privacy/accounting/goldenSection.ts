const RATIO = (Math.sqrt(5) - 1) / 2;

/**
 * The lowest point of a function with one valley between `low` and `high`, to a width of `width`
 * (Kiefer 1953): the better of the last two points looked at.
 */
export function lowestPoint(
	f: (x: number) => number,
	low: number,
	high: number,
	width: number,
): { readonly x: number; readonly value: number } {
	let left = high - RATIO * (high - low);
	let right = low + RATIO * (high - low);
	let atLeft = f(left);
	let atRight = f(right);
	while (high - low > width) {
		if (atLeft <= atRight) {
			high = right;
			right = left;
			atRight = atLeft;
			left = high - RATIO * (high - low);
			atLeft = f(left);
		} else {
			low = left;
			left = right;
			atLeft = atRight;
			right = low + RATIO * (high - low);
			atRight = f(right);
		}
	}
	return atLeft <= atRight ? { x: left, value: atLeft } : { x: right, value: atRight };
}
