/** The level database: sealed values by collection and key, behind the journal. */
import { rename } from "node:fs/promises";
import { Level } from "level";
import { AlthingError } from "../../crypto/error.ts";
import { openValue, sealValue, type Versioned } from "./sealedValue.ts";

type Bytes = Uint8Array;
/** Separates collection and key; refused in both. */
const SEPARATOR = "\u0000";
/** Where the index notes the last journal record it has seen; no collection has this name. */
const HEAD = `${SEPARATOR}journal-head`;

export class SealedIndex {
	readonly #database: Level<string, Bytes>;
	readonly #key: Uint8Array;
	#head: number;

	private constructor(database: Level<string, Bytes>, key: Uint8Array, head: number) {
		this.#database = database;
		this.#key = key;
		this.#head = head;
	}

	/**
	 * Opens or creates the index. A database too damaged to open is moved aside, never
	 * deleted, and `movedTo` says where; the journal then fills a new one.
	 * Throws `store.locked` while another process has it open.
	 */
	static async open(directory: string, key: Uint8Array): Promise<{ index: SealedIndex; movedTo?: string }> {
		try {
			return { index: await SealedIndex.#over(directory, key) };
		} catch (cause) {
			const code = deepestCode(cause);
			if (code === "LEVEL_LOCKED") {
				throw new AlthingError(
					"store.locked",
					`Another process has the store ${directory} open. Stop it first.`,
					{ directory },
					{ cause },
				);
			}
			if (code !== "LEVEL_CORRUPTION" && !missesFile(cause)) {
				throw new AlthingError(
					"store.unreadable",
					`Cannot open the store index ${directory}: ${cause instanceof Error ? cause.message : cause}.`,
					{ directory },
					{ cause },
				);
			}
			const movedTo = `${directory}.damaged-${Date.now()}`;
			await rename(directory, movedTo);
			return { index: await SealedIndex.#over(directory, key), movedTo };
		}
	}

	static async #over(directory: string, key: Uint8Array): Promise<SealedIndex> {
		const database = new Level<string, Bytes>(directory, { keyEncoding: "utf8", valueEncoding: "view" });
		await database.open();
		const head = await database.get(HEAD);
		return new SealedIndex(database, key, head ? Number(new TextDecoder().decode(head)) : 0);
	}

	async get(collection: string, name: string): Promise<Versioned | undefined> {
		const sealed = await this.#database.get(levelKey(collection, name));
		return sealed && openValue(this.#key, collection, name, sealed);
	}

	async put(collection: string, name: string, stored: Versioned): Promise<void> {
		const value = sealValue(this.#key, collection, name, stored);
		await this.#write([{ type: "put", key: levelKey(collection, name), value }], stored.sequence);
	}

	async delete(collection: string, name: string, sequence: number): Promise<void> {
		await this.#write([{ type: "del", key: levelKey(collection, name) }], sequence);
	}

	async *entries(collection: string): AsyncGenerator<[string, Versioned], void> {
		const prefix = collection + SEPARATOR;
		for await (const [key, sealed] of this.#database.iterator({ gte: prefix, lt: `${collection}\u0001` })) {
			const name = key.slice(prefix.length);
			yield [name, openValue(this.#key, collection, name, sealed)];
		}
	}

	/** The highest journal sequence written into the index; 0 for a new one. */
	get journalHead(): number {
		return this.#head;
	}

	close(): Promise<void> {
		return this.#database.close();
	}

	async #write(
		operations: ({ type: "put"; key: string; value: Bytes } | { type: "del"; key: string })[],
		sequence: number,
	): Promise<void> {
		this.#head = Math.max(this.#head, sequence);
		const head = new TextEncoder().encode(String(this.#head));
		try {
			await this.#database.batch([...operations, { type: "put", key: HEAD, value: head }]);
		} catch (cause) {
			throw new AlthingError(
				"store.index_failed",
				`Writing the store's index failed: ${cause instanceof Error ? cause.message : cause}. The node must stop and start again; what was acknowledged is safe in the journal.`,
				{},
				{ cause },
			);
		}
	}
}

function levelKey(collection: string, name: string): string {
	if (name.length === 0 || name.length > 512 || name.includes(SEPARATOR)) {
		throw new AlthingError("store.bad_record", `A key in ${collection} has 1 to 512 characters and no NUL.`, {
			collection,
		});
	}
	return collection + SEPARATOR + name;
}

/** The database names a file that is gone: damage, unlike a disk that does not answer. */
function missesFile(error: unknown): boolean {
	const { cause } = error as { cause?: unknown };
	return cause instanceof Error && /No such file/.test(cause.message);
}

/** level wraps its native error: LEVEL_DATABASE_NOT_OPEN with the reason as cause. */
function deepestCode(error: unknown): string | undefined {
	const { cause, code } = error as { cause?: unknown; code?: string };
	return (cause === undefined ? undefined : deepestCode(cause)) ?? code;
}
