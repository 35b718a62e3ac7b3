/**
 * Rounding at random to one of the two nearest integers, so that the mean is the value itself: coarse
 * grids then lose no small updates, and errors of many sites and rounds average out.
 *
 * Theorem (what one record moves a rounded vector by). Let u, v be real vectors with |u - v|_2 <= c,
 * rounded with the same random words. Then with probability at least 1 - beta over the words
 *
 *     |round(u) - round(v)|_2^2 <= c^2 + d/4 + sqrt(2 ln(1/beta)) (c + sqrt(d)/2) + 2^-31 (2 c sqrt(d) + d).
 *
 * Proof. A coordinate x becomes g(x) = floor(x) + [w < 2^32 (x - floor(x))] with a uniform 32-bit w. For
 * every w, g does not decrease and g(x + 1) = g(x) + 1, so with e = v_i - u_i the difference
 * Z_i = g(v_i) - g(u_i) is floor(e) or ceil(e); its mean is e but for what the 32 bits and the
 * computation of the fraction lose, less than 2^-31. With E_i = Z_i - e, Z_i^2 = e^2 + 2 e E_i + E_i^2
 * takes two values at most 2|e| + 1 apart, with a mean of at most e^2 + 1/4 + 2^-31 (2|e| + 1). The
 * coordinates are independent, so Hoeffding's inequality with sum (2|e_i| + 1)^2 <= (2c + sqrt(d))^2
 * gives the claim (Kairouz, Liu, Steinke 2021, arXiv:2102.06387, bound the norm of one
 * rounded vector so). Clamping afterwards moves no two vectors apart. QED.
 *
 * So a mechanism that adds noise for this sensitivity keeps its guarantee given the words, which are
 * independent of the data, except for words of probability beta: by joint convexity of the hockey-stick
 * divergence beta is charged to delta as it is. No rounding is repeated, and the words need no secrecy.
 */
import { type FillWords, systemWords } from "../privacy/samplers/randomWords.ts";

/** beta of the theorem: charged to delta for every rounded vector that is released. */
export const ROUNDING_TAIL = 1e-13;
/** sqrt(2 ln(1 / beta)), rounded up. */
const TAIL_FACTOR = 7.74;

const BLOCK = 2 ** 14;

/**
 * values[i] = an integer beside scale values[i], in place.
 * @param scale integer units per real unit, > 0
 */
export function roundAtRandom(values: Float64Array, scale: number, fill: FillWords = systemWords): void {
	const words = new Uint32Array(Math.min(BLOCK, values.length));
	for (let start = 0; start < values.length; start += BLOCK) {
		const end = Math.min(values.length, start + BLOCK);
		fill(words);
		for (let i = start; i < end; i++) {
			const scaled = values[i]! * scale;
			const below = Math.floor(scaled);
			values[i] = words[i - start]! < (scaled - below) * 2 ** 32 ? below + 1 : below;
		}
	}
}

/**
 * L2 bound of the theorem, in integer units, or that of any rounding, c + sqrt(d), where it is less.
 * @param reach c, in integer units
 * @param length d
 */
export function roundedReach(reach: number, length: number): number {
	const root = Math.sqrt(length);
	const square =
		reach * reach + length / 4 + TAIL_FACTOR * (reach + root / 2) + 2 ** -31 * (2 * reach * root + length);
	return Math.min(reach + root, Math.sqrt(square));
}
