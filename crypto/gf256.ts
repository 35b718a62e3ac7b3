/**
 * GF(2^8) with the AES polynomial x^8 + x^4 + x^3 + x + 1, four elements in a 32-bit word.
 *
 * Secret elements never index memory and never steer a branch: doubling is shifts, masks
 * and one multiplication by a constant, and no logarithm tables exist. What does branch is
 * a *public* multiplier (a holder's x coordinate), and where many polynomials are evaluated
 * their bytes choose among sixteen bytes of a register (gf256Evaluation.wat). The sequence of operations is therefore
 * a function of public values alone (the tests compare traces); what a just-in-time
 * compiler makes of it in time is not promised.
 */
import { gf256Evaluation, MAX_ROWS, MAX_WIDTH_BYTES } from "./gf256Evaluation.ts";

/** Doubles the four elements of a word. */
export function double(word: number): number {
	return ((word & 0x7f7f7f7f) << 1) ^ Math.imul((word >>> 7) & 0x01010101, 0x1b);
}

/** Multiplies the four (secret) elements of a word by one public element, 0 to 255. */
export function multiplyByPublic(word: number, publicElement: number): number {
	let product = 0;
	let power = word;
	for (let bits = publicElement; bits !== 0; bits >>>= 1) {
		if ((bits & 1) === 1) product ^= power;
		power = double(power);
	}
	return product;
}

/**
 * Evaluates polynomials side by side at a public point, by Horner's rule.
 * @param coefficients `degree + 1` rows of `width` words, lowest degree first; at most 255 rows
 * @param width words of a row: a multiple of 4, at most 32
 * @param x public point, 1 to 255
 * @returns `width` words: the values of 4 x width polynomials
 */
export function evaluate(coefficients: Uint32Array, width: number, x: number): Uint32Array {
	const rows = coefficients.length / width;
	if (
		width % 4 !== 0 ||
		4 * width > MAX_WIDTH_BYTES ||
		!Number.isInteger(rows) ||
		rows < 1 ||
		rows > MAX_ROWS
	)
		throw new RangeError(`${coefficients.length} words are no rows of ${width}`);
	const kernel = gf256Evaluation();
	const bytes = new Uint8Array(coefficients.buffer, coefficients.byteOffset, coefficients.byteLength);
	kernel.products.set(productsOf(x));
	kernel.coefficients.set(bytes);
	kernel.evaluate(rows, 4 * width);
	const value = kernel.value.slice(0, width);
	// Neither secrets nor shares may be found in memory later.
	kernel.coefficients.fill(0, 0, bytes.length);
	kernel.value.fill(0);
	return value;
}

const products: Uint8Array[] = [];

/** Products of a public element with 0 to 15, then with 0, 16, .. 240. */
function productsOf(x: number): Uint8Array {
	products[x] ??= Uint8Array.from({ length: 32 }, (_, i) => multiplyByPublic(i < 16 ? i : (i - 16) << 4, x));
	return products[x];
}

/**
 * Lagrange weights at zero: `sum_j weight_j f(x_j) = f(0)` for every f of degree < points.
 * @param points distinct public elements, 1 to 255
 */
export function weightsAtZero(points: readonly number[]): number[] {
	return points.map((xj) => {
		let numerator = 1;
		let denominator = 1;
		for (const xm of points) {
			if (xm === xj) continue;
			numerator = multiplyByPublic(numerator, xm);
			denominator = multiplyByPublic(denominator, xm ^ xj);
		}
		return multiplyByPublic(numerator, invertPublic(denominator));
	});
}

/** a^254 = a^-1 of a public non-zero element. */
function invertPublic(element: number): number {
	let result = 1;
	for (let i = 0; i < 254; i++) result = multiplyByPublic(result, element);
	return result;
}
