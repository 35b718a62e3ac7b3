/** Brings the index in line with the journal, which also rebuilds it when it is new. */
import { z } from "zod";
import { decodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { Journal } from "./journal.ts";
import { MAX_BODY_BYTES } from "./journalFormat.ts";
import type { SealedIndex } from "./sealedIndex.ts";

/** Journal kind of a change in a journal-backed collection. */
export const CHANGE_KIND = "collection";

const changeSchema = z.strictObject({
	collection: z.string(),
	key: z.string(),
	value: z.unknown().optional(),
});

/**
 * Writes into the index every journaled change it lacks, and returns how many entries that
 * took. Throws `store.corrupt` when the index has seen records the journal no longer has:
 * the journal was cut or replaced by an older copy, and promises are missing.
 */
export async function reconcileIndex(journal: Journal, index: SealedIndex): Promise<number> {
	const head = index.journalHead;
	if (head > journal.lastSequence) {
		throw new AlthingError(
			"store.corrupt",
			`${journal.path} ends at record ${journal.lastSequence}, but record ${head} was written before: it was cut or replaced by an older copy. Restore the whole data directory from one backup.`,
			{ file: journal.path, sequence: journal.lastSequence, expected: head },
		);
	}
	const latest = await latestChanges(journal);
	const stale = new Set<number>();
	for (const { collection, key, sequence, deleted } of latest.values()) {
		const indexed = await sequenceOf(index, collection, key);
		if (deleted ? indexed !== undefined : indexed !== sequence) stale.add(sequence);
	}
	if (stale.size === 0) return 0;
	for await (const record of journal.replay(CHANGE_KIND)) {
		if (!stale.has(record.sequence)) continue;
		const { collection, key, value } = decodeChange(record.body);
		if (value === undefined) await index.delete(collection, key, record.sequence);
		else await index.put(collection, key, { sequence: record.sequence, value });
	}
	return stale.size;
}

interface Change {
	readonly collection: string;
	readonly key: string;
	readonly sequence: number;
	readonly deleted: boolean;
}

/** Holds names and sequences only: the values stay on the disk until they are needed. */
async function latestChanges(journal: Journal): Promise<Map<string, Change>> {
	const latest = new Map<string, Change>();
	for await (const record of journal.replay(CHANGE_KIND)) {
		const { collection, key, value } = decodeChange(record.body);
		latest.set(`${collection}\u0000${key}`, {
			collection,
			key,
			sequence: record.sequence,
			deleted: value === undefined,
		});
	}
	return latest;
}

function decodeChange(body: Uint8Array): z.infer<typeof changeSchema> {
	return changeSchema.parse(decodeCanonical(body, MAX_BODY_BYTES));
}

/** A damaged entry counts as missing: the journal has its value. */
async function sequenceOf(index: SealedIndex, collection: string, key: string): Promise<number | undefined> {
	try {
		return (await index.get(collection, key))?.sequence;
	} catch (error) {
		if (error instanceof AlthingError && error.code === "store.corrupt_record") return -1;
		throw error;
	}
}
