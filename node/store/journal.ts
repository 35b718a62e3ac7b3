/**
 * The append-only journal: the truth for promises (budget charges, votes, reveals,
 * certificates). What `append` resolved for is on the disk; what the journal cannot prove
 * whole it refuses to open.
 *
 *     const journal = await openJournal({ path, key });
 *     const sequence = await journal.append("vote", body);
 *     for await (const record of journal.replay("vote")) ...
 *
 * One process writes a journal at a time (node/lifecycle/instanceLock.ts sees to that).
 */
import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import { syncDirectory } from "./directorySync.ts";
import {
	decodeFileHeader,
	encodeFileHeader,
	encodeRecord,
	FILE_HEADER_BYTES,
	MAX_BODY_BYTES,
} from "./journalFormat.ts";
import { type JournalKeys, keysOf } from "./journalKeys.ts";
import { readRecords } from "./journalReader.ts";

export interface JournalRecord {
	/** 1 for the first record; consecutive. */
	readonly sequence: number;
	readonly kind: string;
	readonly body: Uint8Array;
}

/** What opening found and did. */
export interface JournalRecovery {
	readonly records: number;
	/** Bytes of a torn, never acknowledged last write that were cut off; 0 normally. */
	readonly truncatedBytes: number;
}

export interface Journal {
	readonly path: string;
	readonly recovery: JournalRecovery;
	/** Resolves with `store.journal_failed` at the first write error, for whoever must end the process; else never. */
	readonly failed: Promise<AlthingError>;
	/** Sequence of the last acknowledged record, 0 when empty. */
	readonly lastSequence: number;
	/**
	 * Adds a record and resolves with its sequence once it is on the disk (fsync). Records
	 * appended while an fsync runs share the next one. Rejects with `store.journal_failed`
	 * after any write error: the journal is then unusable, the process must end and reopen it.
	 * @param kind 1 to 255 bytes of UTF-8
	 * @param body at most 16 MiB
	 */
	append(kind: string, body: Uint8Array): Promise<number>;
	/** The acknowledged records in order, optionally of one kind; every link is checked again. */
	replay(kind?: string): AsyncGenerator<JournalRecord, void>;
	/** Waits for pending appends and closes the file. */
	close(): Promise<void>;
}

interface Pending {
	readonly kind: Uint8Array;
	readonly kindText: string;
	readonly body: Uint8Array;
	readonly resolve: (sequence: number) => void;
	readonly reject: (error: Error) => void;
}

/** Most bytes joined into one write, so that a burst does not double its memory. */
const MAX_BATCH_BYTES = 8 * 1024 * 1024;

/**
 * Opens or creates the journal at `path` and verifies all of it.
 * With `key` (32 bytes) bodies are sealed by AES-256-GCM, bound to file, sequence and kind,
 * and the chain is keyed, so that nobody without the key can rewrite a record unnoticed.
 * A torn last write is cut off and reported in `recovery`.
 * Throws `store.corrupt`, `store.wrong_key`, `store.unreadable`.
 */
export async function openJournal(options: { path: string; key?: Uint8Array }): Promise<Journal> {
	const { path } = options;
	let file: FileHandle;
	try {
		file = await open(path, constants.O_RDWR | constants.O_CREAT, 0o600);
	} catch (cause) {
		throw new AlthingError(
			"store.unreadable",
			`Cannot open the journal ${path}: ${reason(cause)}.`,
			{ file: path },
			{ cause },
		);
	}
	try {
		return await FileJournal.load(file, path, options.key);
	} catch (error) {
		await file.close();
		throw error;
	}
}

class FileJournal implements Journal {
	readonly path: string;
	readonly recovery: JournalRecovery;
	readonly failed: Promise<AlthingError>;
	readonly #reportFailure: (failure: AlthingError) => void;
	readonly #file: FileHandle;
	readonly #keys: JournalKeys;
	readonly #firstLink: Uint8Array;
	#link: Uint8Array;
	#sequence: number;
	#endOffset: number;
	#pending: Pending[] = [];
	#writing: Promise<void> | undefined;
	#failure: AlthingError | undefined;
	#closed = false;

	private constructor(
		file: FileHandle,
		path: string,
		keys: JournalKeys,
		state: {
			firstLink: Uint8Array;
			link: Uint8Array;
			sequence: number;
			endOffset: number;
			truncatedBytes: number;
		},
	) {
		this.path = path;
		this.recovery = { records: state.sequence, truncatedBytes: state.truncatedBytes };
		const { promise, resolve } = Promise.withResolvers<AlthingError>();
		this.failed = promise;
		this.#reportFailure = resolve;
		this.#file = file;
		this.#keys = keys;
		this.#firstLink = state.firstLink;
		this.#link = state.link;
		this.#sequence = state.sequence;
		this.#endOffset = state.endOffset;
	}

	static async load(file: FileHandle, path: string, key: Uint8Array | undefined): Promise<FileJournal> {
		const sizeBytes = (await file.stat()).size;
		if (sizeBytes < FILE_HEADER_BYTES) return FileJournal.#create(file, path, key, sizeBytes);

		const header = new Uint8Array(FILE_HEADER_BYTES);
		await file.read(header, 0, FILE_HEADER_BYTES, 0);
		const { fileId, firstLink } = decodeFileHeader(header, (id) => keysOf(key, id).chain, path);
		const keys = keysOf(key, fileId);
		const reader = readRecords(file, path, keys.chain, firstLink, sizeBytes);
		let link = firstLink;
		let sequence = 0;
		let step = await reader.next();
		for (; !step.done; step = await reader.next()) {
			link = step.value.checksum;
			sequence = step.value.sequence;
		}
		const endOffset = step.value;
		if (endOffset < sizeBytes) {
			await file.truncate(endOffset);
			await file.sync();
		}
		return new FileJournal(file, path, keys, {
			firstLink,
			link,
			sequence,
			endOffset,
			truncatedBytes: sizeBytes - endOffset,
		});
	}

	/** A file shorter than its header was torn while it was created: it never held a record. */
	static async #create(
		file: FileHandle,
		path: string,
		key: Uint8Array | undefined,
		sizeBytes: number,
	): Promise<FileJournal> {
		const fileId = randomBytes(16);
		const keys = keysOf(key, fileId);
		const header = encodeFileHeader(keys.chain, fileId);
		try {
			await writeFully(file, header, 0);
			await file.sync();
			await syncDirectory(dirname(path));
		} catch (cause) {
			throw writeFailure(path, cause);
		}
		const firstLink = header.slice(24, 40);
		return new FileJournal(file, path, keys, {
			firstLink,
			link: firstLink,
			sequence: 0,
			endOffset: FILE_HEADER_BYTES,
			truncatedBytes: sizeBytes,
		});
	}

	get lastSequence(): number {
		return this.#sequence;
	}

	append(kind: string, body: Uint8Array): Promise<number> {
		const kindBytes = new TextEncoder().encode(kind);
		if (kindBytes.length === 0 || kindBytes.length > 255) {
			return Promise.reject(
				new AlthingError("store.bad_record", `A journal kind has 1 to 255 bytes, not ${kindBytes.length}.`, {
					kind,
				}),
			);
		}
		if (body.length > MAX_BODY_BYTES) {
			return Promise.reject(
				new AlthingError(
					"store.bad_record",
					`A journal record of kind ${kind} has ${body.length} bytes, more than ${MAX_BODY_BYTES}. Keep large bytes as a blob and journal its hash.`,
					{ kind, sizeBytes: body.length, maximumBytes: MAX_BODY_BYTES },
				),
			);
		}
		if (this.#failure) return Promise.reject(this.#failure);
		if (this.#closed) {
			return Promise.reject(
				new AlthingError("store.closed", `The journal ${this.path} is closed.`, { file: this.path }),
			);
		}
		return new Promise((resolve, reject) => {
			// Copied: the caller may reuse its buffer before the write happens.
			this.#pending.push({ kind: kindBytes, kindText: kind, body: body.slice(), resolve, reject });
			this.#writing ??= this.#writeAll();
		});
	}

	async #writeAll(): Promise<void> {
		// One turn of the event loop lets appends of the same tick join the batch.
		await new Promise(setImmediate);
		while (this.#pending.length > 0) {
			const batch = this.#takeBatch();
			try {
				await this.#writeBatch(batch);
			} catch (cause) {
				this.#failure = writeFailure(this.path, cause);
				this.#reportFailure(this.#failure);
				for (const pending of [...batch, ...this.#pending]) pending.reject(this.#failure);
				this.#pending = [];
			}
		}
		this.#writing = undefined;
	}

	#takeBatch(): Pending[] {
		let bytes = 0;
		let count = 0;
		for (const pending of this.#pending) {
			bytes += pending.body.length;
			if (count > 0 && bytes > MAX_BATCH_BYTES) break;
			count += 1;
		}
		return this.#pending.splice(0, count);
	}

	async #writeBatch(batch: readonly Pending[]): Promise<void> {
		let link = this.#link;
		let sequence = this.#sequence;
		const encoded: Uint8Array[] = [];
		for (const pending of batch) {
			sequence += 1;
			const body = this.#keys.sealBody(sequence, pending.kindText, pending.body);
			const record = encodeRecord(this.#keys.chain, link, sequence, pending.kind, body);
			link = record.checksum;
			encoded.push(record.bytes);
		}
		const bytes = Buffer.concat(encoded);
		await writeFully(this.#file, bytes, this.#endOffset);
		await this.#file.datasync();
		const first = this.#sequence + 1;
		this.#link = link;
		this.#sequence = sequence;
		this.#endOffset += bytes.length;
		batch.forEach((pending, i) => {
			pending.resolve(first + i);
		});
	}

	async *replay(kind?: string): AsyncGenerator<JournalRecord, void> {
		const end = this.#endOffset;
		for await (const record of readRecords(this.#file, this.path, this.#keys.chain, this.#firstLink, end)) {
			if (kind !== undefined && record.kind !== kind) continue;
			yield {
				sequence: record.sequence,
				kind: record.kind,
				body: this.#keys.openBody(record.sequence, record.kind, record.storedBody, this.path),
			};
		}
	}

	async close(): Promise<void> {
		if (this.#closed) return;
		this.#closed = true;
		await this.#writing;
		await this.#file.close();
	}
}

async function writeFully(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
	for (let written = 0; written < bytes.length; ) {
		const { bytesWritten } = await file.write(bytes, written, bytes.length - written, offset + written);
		written += bytesWritten;
	}
}

function writeFailure(path: string, cause: unknown): AlthingError {
	return new AlthingError(
		"store.journal_failed",
		`Writing the journal ${path} failed: ${reason(cause)}. The node must stop, because it could no longer keep its promises. ` +
			"Free disk space or repair the disk, then start it again.",
		{ file: path },
		{ cause },
	);
}

function reason(cause: unknown): string {
	return cause instanceof Error ? cause.message : String(cause);
}
