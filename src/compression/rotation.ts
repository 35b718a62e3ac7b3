/**
 * A randomised Hadamard rotation: spreads a vector evenly over its coordinates, so that none of them
 * needs more range than the others (Suresh et al. 2017, arXiv:1611.00429, section 3).
 *
 * Two passes, each a random sign for every coordinate and then the Walsh-Hadamard transform, divided
 * by the root of its size, of consecutive blocks: of 2^14 coordinates, or of the largest power of two
 * that fits into a shorter vector. The first pass leaves the remainder at the end as it is, the second
 * that at the beginning, so no coordinate is added to make the length fit. Between the passes
 * coordinates are dealt from each block to all others. Signs, deal and transform are orthonormal, so
 * lengths and distances stay what they are.
 *
 * Whoever has the seed computes the same bits: additions, subtractions and one multiplication, in a
 * fixed order.
 */

import { hashFields } from "../../crypto/hash.ts";
import { forEachChunk } from "../../crypto/maskStream.ts";

const LARGEST_BLOCK = 2 ** 14;

/**
 * Relative L2 distance, at most, of what {@link rotate} or {@link rotateBack} computes to the exact
 * rotation: in each pass 14 stages, whose every value is off by 2^-53 of itself, and a multiplication
 * by a rounded constant make 16 times 2^-53; the margin covers products of such terms.
 */
export const ROTATION_ERROR = 2 ** -47;

/**
 * How far from even the rotation may leave a vector on average over its signs: the mean square of each
 * coordinate is at most this times |x|^2 / d. (In a vector shorter than two blocks all of it may lie in
 * the block that only the second pass transforms.)
 */
export const UNEVENNESS = 2;

/** Rotates in place. @param seed32 32 public bytes */
export function rotate(values: Float64Array, seed32: Uint8Array): void {
	const { size, count } = blocksOf(values.length);
	applySigns(values, seed32, 0);
	for (let block = 0; block < count; block++) transform(values, block * size, size);
	deal(values, count);
	applySigns(values, seed32, 1);
	const rest = values.length - count * size;
	for (let block = 0; block < count; block++) transform(values, rest + block * size, size);
}

/** Undoes {@link rotate}, in place. */
export function rotateBack(values: Float64Array, seed32: Uint8Array): void {
	const { size, count } = blocksOf(values.length);
	const rest = values.length - count * size;
	for (let block = 0; block < count; block++) transform(values, rest + block * size, size);
	applySigns(values, seed32, 1);
	collect(values, count);
	for (let block = 0; block < count; block++) transform(values, block * size, size);
	applySigns(values, seed32, 0);
}

function blocksOf(length: number): { readonly size: number; readonly count: number } {
	let size = 1;
	while (size < LARGEST_BLOCK && 2 * size <= length) size *= 2;
	return { size, count: Math.floor(length / size) };
}

/** The transform of one block over the root of its size: its own inverse. */
function transform(values: Float64Array, start: number, size: number): void {
	let stages = 0;
	for (let half = 1; half < size; half *= 2) {
		stages++;
		for (let group = start; group < start + size; group += 2 * half) {
			for (let i = group; i < group + half; i++) {
				const a = values[i]!;
				const b = values[i + half]!;
				values[i] = a + b;
				values[i + half] = a - b;
			}
		}
	}
	const root = (stages % 2 === 0 ? 1 : Math.SQRT1_2) / (1 << (stages >> 1));
	for (let i = start; i < start + size; i++) values[i] = values[i]! * root;
}

function applySigns(values: Float64Array, seed32: Uint8Array, pass: number): void {
	const key = hashFields("althing/rotation-signs/1", seed32, pass);
	forEachChunk(Math.ceil(values.length / 32), key, (offset, words) => {
		const end = Math.min(values.length, (offset + words.length) * 32);
		for (let i = offset * 32; i < end; i++) {
			if (((words[(i >> 5) - offset]! >>> (i & 31)) & 1) === 1) values[i] = -values[i]!;
		}
	});
}

/** Reads every `step`-th coordinate, then every `step`-th from the second on, and so forth. */
function deal(values: Float64Array, step: number): void {
	if (step < 2) return;
	const before = values.slice();
	let at = 0;
	for (let first = 0; first < step; first++)
		for (let i = first; i < before.length; i += step) values[at++] = before[i]!;
}

function collect(values: Float64Array, step: number): void {
	if (step < 2) return;
	const before = values.slice();
	let at = 0;
	for (let first = 0; first < step; first++)
		for (let i = first; i < before.length; i += step) values[i] = before[at++]!;
}
