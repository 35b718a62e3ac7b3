import type { z } from "zod";
import type { Encodable } from "../../crypto/encoding.ts";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { SealedIndex } from "./sealedIndex.ts";
import { parseValue } from "./sealedValue.ts";

/**
 * Where the truth of a collection lies: `journal` values are on the disk in the journal
 * before `put` resolves and outlive the loss of the index; `index` values may be lost with
 * it and are for what can be observed or computed again.
 */
export type Durability = "journal" | "index";

/** A typed set of records by key. Keys are not sealed: never put a secret in one. */
export interface Collection<T> {
	readonly name: string;
	/** The value, or undefined. Throws `store.corrupt_record`. */
	get(key: string): Promise<T | undefined>;
	/** Checks against the schema (`store.bad_record`) and stores; replaces an earlier value. */
	put(key: string, value: T): Promise<void>;
	delete(key: string): Promise<void>;
	/** All values in key order. */
	list(): Promise<T[]>;
	/** Keys and values in key order. */
	entries(): AsyncGenerator<[key: string, value: T], void>;
}

/** Appends a change of a journal-backed collection and returns its sequence. */
export type RecordChange = (body: Uint8Array) => Promise<number>;

export class StoredCollection<T extends Encodable | object> implements Collection<T> {
	readonly name: string;
	readonly #schema: z.ZodType<T>;
	readonly #index: SealedIndex;
	readonly #record: RecordChange | undefined;
	/** Changes go one at a time, so that journal and index see one order. */
	#last: Promise<unknown> = Promise.resolve();

	constructor(name: string, schema: z.ZodType<T>, index: SealedIndex, record: RecordChange | undefined) {
		this.name = name;
		this.#schema = schema;
		this.#index = index;
		this.#record = record;
	}

	async get(key: string): Promise<T | undefined> {
		const stored = await this.#index.get(this.name, key);
		return stored && parseValue(this.#schema, this.name, key, stored.value);
	}

	async put(key: string, value: T): Promise<void> {
		const parsed = this.#schema.safeParse(value);
		if (!parsed.success) {
			const issue = parsed.error.issues[0];
			throw new AlthingError(
				"store.bad_record",
				`The record ${key} does not fit ${this.name} at ${issue?.path.join(".") || "its root"}: ${issue?.message}.`,
				{ collection: this.name, record: key },
			);
		}
		await this.#change(key, parsed.data);
	}

	async delete(key: string): Promise<void> {
		await this.#change(key, undefined);
	}

	async list(): Promise<T[]> {
		const values: T[] = [];
		for await (const [, value] of this.entries()) values.push(value);
		return values;
	}

	async *entries(): AsyncGenerator<[string, T], void> {
		for await (const [key, stored] of this.#index.entries(this.name)) {
			yield [key, parseValue(this.#schema, this.name, key, stored.value)];
		}
	}

	#change(key: string, value: T | undefined): Promise<void> {
		const change = this.#last.then(async () => {
			const sequence = this.#record ? await this.#record(encodeChange(this.name, key, value)) : 0;
			if (value === undefined) await this.#index.delete(this.name, key, sequence);
			else await this.#index.put(this.name, key, { sequence, value });
		});
		this.#last = change.catch(() => undefined);
		return change;
	}
}

/** A change as the journal keeps it; a missing value is a deletion. */
function encodeChange(collection: string, key: string, value: unknown): Uint8Array {
	return encodeCanonical({ collection, key, value: value as Encodable | undefined });
}
