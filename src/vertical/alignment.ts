/**
 * Which row of each organization's table is which record: the one seam for private alignment.
 *
 * Training asks for an {@link Alignment} and nothing else: row numbers in an order that is the same
 * everywhere. Today it comes from a key column that names the same records at every organization
 * ({@link alignByKey}), and a first round proves in sums that the sets of keys are equal. A private
 * set intersection replaces `alignByKey` without touching anything behind it.
 */
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";

export interface Alignment {
	/** rows[i] is the local row of the common record i. */
	readonly rows: Int32Array;
	/** Equal at organizations with the same records, different otherwise; 32 bytes. */
	readonly digest: Uint8Array;
}

/**
 * Orders rows by the hash of their key, which is as good as chance and alike everywhere.
 * @param context binds the digest to one job, so that it tells nothing in another
 * @throws AlthingError `vertical.no_key` without a key column, `vertical.record_count` when there are
 *   other than `records` rows; no key is ever named
 */
export function alignByKey(
	keys: readonly string[] | undefined,
	records: number,
	context: Uint8Array,
): Alignment {
	if (keys === undefined) {
		throw new AlthingError(
			"vertical.no_key",
			"The data set has no key column, by which records are matched with those of other organizations. Register it again under a description with `key`.",
		);
	}
	if (keys.length !== records) {
		throw new AlthingError(
			"vertical.record_count",
			`The data set has another number of records than the ${records} that the job says every organization has. Bring the file to the agreed records.`,
			{ expected: records },
		);
	}
	const ordered = keys
		.map((key, row) => ({ row, hash: Buffer.from(hashFields("althing/vertical-order/1", key)) }))
		.sort((a, b) => Buffer.compare(a.hash, b.hash));
	return {
		rows: Int32Array.from(ordered, ({ row }) => row),
		digest: hashFields("althing/vertical-records/1", context, ...ordered.map(({ hash }) => hash)),
	};
}

/** Words of a digest that are summed, and their bits: n squares of them fit a ring of 32 bits. */
const WORDS = 21;
const WORD_BITS = 12;

/** Coordinates of the round that compares digests. */
export const ALIGNMENT_LENGTH = 2 * WORDS;

/** Most organizations whose squares fit. */
export const LARGEST_FEDERATION = 127;

/** What an organization adds to the sum: words of its digest and their squares. */
export function alignmentVector(digest: Uint8Array): Uint32Array {
	const vector = new Uint32Array(ALIGNMENT_LENGTH);
	for (let word = 0; word < WORDS; word++) {
		const bit = word * WORD_BITS;
		const value = ((digest[bit >> 3]! << 8) | digest[(bit >> 3) + 1]!) >> (4 - (bit & 7));
		vector[word] = value & (2 ** WORD_BITS - 1);
		vector[WORDS + word] = vector[word]! ** 2;
	}
	return vector;
}

/**
 * Whether all digests that were summed are equal: n sum d^2 = (sum d)^2 holds for equal numbers
 * alone (Cauchy and Schwarz), so 252 bits are compared and none but their sums are seen.
 */
export function areAligned(sum: Uint32Array, survivors: number): boolean {
	for (let word = 0; word < WORDS; word++) {
		if (survivors * sum[WORDS + word]! !== sum[word]! ** 2) return false;
	}
	return true;
}
