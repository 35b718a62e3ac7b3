/**
 * The reference library's RDP of the Poisson-subsampled Gaussian between the integer orders.
 *
 * dp_accounting sums a series of Mironov, Talwar and Zhang (2019, sec. 3.3) there whose binomial
 * coefficients alternate in sign beyond the order, and adds their absolute values: what it
 * reports is above the divergence (by 57 % at q = 0.1, sigma = 2, order 1.1), or nothing where
 * the sum does not settle. Reference figures made at such orders can therefore be larger than the
 * exact ones. This evaluates the same sum, so that the check can tell such a figure from a
 * disagreement; nothing is ever charged with it.
 */

import { logNormalTail } from "../../src/privacy/accounting/pld/normal.ts";
import { logAdd } from "../../src/privacy/accounting/rdp/mechanisms.ts";

const LARGEST_TERM_COUNT = 1000;

/** The library's figure at one order that is no integer; Infinity where its sum does not settle. */
export function libraryFractionalRdp(q: number, sigma: number, order: number): number {
	const boundary = sigma * sigma * Math.log(1 / q - 1) + 0.5;
	const variance = 2 * sigma * sigma;
	let total = Number.NEGATIVE_INFINITY;
	let last: readonly [number, number] = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
	let logChoose = 0;
	for (let i = 0; i < LARGEST_TERM_COUNT; i++) {
		if (i > 0) logChoose += Math.log(Math.abs(order - i + 1) / i);
		const j = order - i;
		const below =
			logChoose +
			i * Math.log(q) +
			j * Math.log1p(-q) +
			(i * i - i) / variance +
			logNormalTail((i - boundary) / sigma);
		const above =
			logChoose +
			j * Math.log(q) +
			i * Math.log1p(-q) +
			(j * j - j) / variance +
			logNormalTail((boundary - j) / sigma);
		total = logAdd(total, logAdd(below, above));
		if (below < last[0] && above < last[1] && Math.max(below, above) < total - 30) return total / (order - 1);
		last = [below, above];
	}
	return Number.POSITIVE_INFINITY;
}
