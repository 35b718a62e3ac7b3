/**
 * Which coordinates of an update all sites send in a round: drawn from public randomness, so that the
 * positions need not be sent, are the same at every site and tell nothing (random-k with a shared
 * mask; a choice of each site's own would neither add up under masks nor keep its data secret).
 */
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { forEachChunk } from "../../crypto/maskStream.ts";

/** Of a word, so that the products below are exact for fewer than 2^27 coordinates. */
const WORD_SHIFT = 6;
const WORD_RANGE = 2 ** (32 - WORD_SHIFT);
export const MOST_COORDINATES = 2 ** 27;

/**
 * `count` of the coordinates below `length`, in order: all of `always`, and of the others each set
 * equally likely, but for 2^-26 in each decision (selection sampling: Knuth, The Art of Computer
 * Programming, 3.4.2, algorithm S).
 * @param always ascending, at most `count`
 * @throws AlthingError `compression.bad_selection`
 */
export function sharedCoordinates(selection: {
	readonly seed32: Uint8Array;
	readonly length: number;
	readonly count: number;
	readonly always?: Uint32Array | undefined;
}): Uint32Array {
	const { seed32, length, count, always = new Uint32Array() } = selection;
	const sound = Number.isInteger(length) && Number.isInteger(count) && always.length <= count;
	if (!sound || count < 1 || count > length || length >= MOST_COORDINATES) {
		throw new AlthingError(
			"compression.bad_selection",
			`Cannot choose ${count} of ${length} coordinates, ${always.length} of them fixed: there are 1 to ${MOST_COORDINATES - 1} coordinates, and no more are chosen than there are.`,
			{ length, count },
		);
	}
	const chosen = new Uint32Array(count);
	let at = 0;
	let nextFixed = 0;
	/** Of those drawn by lot: still to come, and still to choose. */
	let coming = length - always.length;
	let wanted = count - always.length;
	forEachChunk(length, hashFields("althing/shared-coordinates/1", seed32), (offset, words) => {
		for (let j = 0; j < words.length; j++) {
			const i = offset + j;
			if (always[nextFixed] === i) {
				chosen[at++] = i;
				nextFixed++;
			} else {
				if ((words[j]! >>> WORD_SHIFT) * coming < wanted * WORD_RANGE) {
					chosen[at++] = i;
					wanted--;
				}
				coming--;
			}
		}
	});
	return chosen;
}

/** The values at some coordinates. */
export function gatherCoordinates(values: Float64Array, coordinates: Uint32Array): Float64Array {
	const gathered = new Float64Array(coordinates.length);
	for (let i = 0; i < gathered.length; i++) gathered[i] = values[coordinates[i]!]!;
	return gathered;
}

/** The `count` coordinates of largest absolute value, ascending; of equal ones the first. */
export function largestCoordinates(values: Float64Array, count: number): Uint32Array {
	if (count === 0) return new Uint32Array();
	const sizes = values.map(Math.abs).sort();
	const least = sizes[sizes.length - count]!;
	let ties = count;
	for (let i = sizes.length - 1; i >= 0 && sizes[i]! > least; i--) ties--;
	const chosen = new Uint32Array(count);
	let at = 0;
	for (let i = 0; i < values.length && at < count; i++) {
		const size = Math.abs(values[i]!);
		if (size > least) chosen[at++] = i;
		else if (size === least && ties > 0) {
			chosen[at++] = i;
			ties--;
		}
	}
	return chosen;
}
