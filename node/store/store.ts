/**
 * The node's store: a journal that is the truth, a level database that indexes it, and
 * blobs by hash; everything sealed under keys derived from one master key.
 *
 *     const store = await openStore({ directory, key });
 *     await store.jobs.put(job.id, job);
 *     await store.journal.append("vote", bytes);
 *     const hash = await store.blobs.put(parameters);
 *
 * A single flipped bit in level's write-ahead log can silently lose records it had synced,
 * so at every start the journal-backed collections are compared with the journal and
 * repaired from it.
 */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { z } from "zod";
import { deriveKey } from "../../crypto/agreement.ts";
import type { Encodable } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { type Blobs, openBlobs } from "./blobs.ts";
import { type Collection, type Durability, StoredCollection } from "./collection.ts";
import { type Journal, openJournal } from "./journal.ts";
import { CHANGE_KIND, reconcileIndex } from "./reconcile.ts";
import {
	type MechanismExecution,
	type Model,
	mechanismExecutionSchema,
	modelSchema,
	type Participant,
	type PrivacyBudget,
	participantSchema,
	privacyBudgetSchema,
	type SecureSession,
	secureSessionSchema,
	type TrainingJob,
	trainingJobSchema,
} from "./records.ts";
import { MIGRATIONS, migrate, STORE_VERSION } from "./schemaVersion.ts";
import { SealedIndex } from "./sealedIndex.ts";

/** What opening found and mended, for the log. */
export interface StoreRecovery {
	/** Records in the journal. */
	readonly journalRecords: number;
	/** Bytes of a torn, never acknowledged last journal write that were cut off. */
	readonly truncatedBytes: number;
	/** Index entries restored from the journal. */
	readonly repairedRecords: number;
	/** Where a damaged index was moved, when it had to be rebuilt. */
	readonly damagedIndex?: string | undefined;
}

export interface Store {
	readonly directory: string;
	readonly recovery: StoreRecovery;
	readonly journal: Journal;
	readonly blobs: Blobs;
	readonly jobs: Collection<TrainingJob>;
	readonly budgets: Collection<PrivacyBudget>;
	readonly mechanismExecutions: Collection<MechanismExecution>;
	readonly models: Collection<Model>;
	readonly participants: Collection<Participant>;
	readonly sessions: Collection<SecureSession>;
	/**
	 * A further collection; the same name always gives the same one, and asking again with
	 * another schema or durability throws `store.collection_exists`.
	 * @param name lower-case letters, digits, `-`
	 * @param durability default `journal`
	 */
	collection<T extends Encodable | object>(
		name: string,
		schema: z.ZodType<T>,
		durability?: Durability,
	): Collection<T>;
	close(): Promise<void>;
}

/**
 * Opens or creates the store under `directory` (created with mode 0700).
 * @param options.key 32-byte master key from the keystore
 * Throws `store.corrupt`, `store.wrong_key`, `store.newer_version`, `store.locked`, `store.unreadable`.
 */
export async function openStore(options: { directory: string; key: Uint8Array }): Promise<Store> {
	const { directory, key } = options;
	await mkdir(directory, { recursive: true, mode: 0o700 });
	await migrate(directory, join(directory, "version.json"), STORE_VERSION, MIGRATIONS);
	const journal = await openJournal({ path: join(directory, "journal"), key: subkey(key, "journal") });
	try {
		const { index, movedTo } = await SealedIndex.open(join(directory, "index"), subkey(key, "index"));
		try {
			const repairedRecords = await reconcileIndex(journal, index);
			const blobs = await openBlobs(join(directory, "blobs"), subkey(key, "blobs"));
			return new JournaledStore(directory, journal, index, blobs, {
				journalRecords: journal.recovery.records,
				truncatedBytes: journal.recovery.truncatedBytes,
				repairedRecords,
				damagedIndex: movedTo,
			});
		} catch (error) {
			await index.close();
			throw error;
		}
	} catch (error) {
		await journal.close();
		throw error;
	}
}

class JournaledStore implements Store {
	readonly directory: string;
	readonly recovery: StoreRecovery;
	readonly journal: Journal;
	readonly blobs: Blobs;
	readonly jobs: Collection<TrainingJob>;
	readonly budgets: Collection<PrivacyBudget>;
	readonly mechanismExecutions: Collection<MechanismExecution>;
	readonly models: Collection<Model>;
	readonly participants: Collection<Participant>;
	readonly sessions: Collection<SecureSession>;
	readonly #index: SealedIndex;
	readonly #collections = new Map<string, { schema: unknown; durability: Durability; collection: unknown }>();

	constructor(
		directory: string,
		journal: Journal,
		index: SealedIndex,
		blobs: Blobs,
		recovery: StoreRecovery,
	) {
		this.directory = directory;
		this.journal = journal;
		this.blobs = blobs;
		this.recovery = recovery;
		this.#index = index;
		this.jobs = this.collection("jobs", trainingJobSchema);
		this.budgets = this.collection("budgets", privacyBudgetSchema);
		this.mechanismExecutions = this.collection("mechanism-executions", mechanismExecutionSchema);
		this.models = this.collection("models", modelSchema);
		// Seen again at the next contact; journaling every heartbeat would grow the journal for nothing.
		this.participants = this.collection("participants", participantSchema, "index");
		this.sessions = this.collection("sessions", secureSessionSchema, "index");
	}

	collection<T extends Encodable | object>(
		name: string,
		schema: z.ZodType<T>,
		durability: Durability = "journal",
	): Collection<T> {
		if (!/^[a-z0-9-]{1,64}$/.test(name)) {
			throw new AlthingError(
				"store.bad_collection",
				"A collection's name has 1 to 64 lower-case letters, digits or dashes.",
				{ collection: name },
			);
		}
		const known = this.#collections.get(name);
		if (known) {
			if (known.schema !== schema || known.durability !== durability) {
				throw new AlthingError(
					"store.collection_exists",
					`The collection ${name} is defined already, differently.`,
					{
						collection: name,
					},
				);
			}
			return known.collection as Collection<T>;
		}
		const record =
			durability === "journal" ? (body: Uint8Array) => this.journal.append(CHANGE_KIND, body) : undefined;
		const collection = new StoredCollection(name, schema, this.#index, record);
		this.#collections.set(name, { schema, durability, collection });
		return collection;
	}

	async close(): Promise<void> {
		await this.journal.close();
		await this.#index.close();
	}
}

function subkey(key: Uint8Array, purpose: string): Uint8Array {
	return deriveKey(key, new Uint8Array(0), `althing/store/${purpose}/v1`, 32);
}
