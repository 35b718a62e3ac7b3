/** What a node writes durably: where it stands, and each model before it is released. */
import { z } from "zod";
import { decodeCanonical, encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { sha256 } from "../../crypto/hash.ts";
import { hashBytes } from "../wire.ts";

const promiseSchema = z.discriminatedUnion("kind", [
	/** The state that a round starts from. */
	z.strictObject({ kind: z.literal("at"), round: z.int().min(0), state: hashBytes }),
	/** The one model that this node releases in a round: charged, and signed at most once. */
	z.strictObject({ kind: z.literal("released"), round: z.int().min(0), model: hashBytes }),
]);

export type GossipPromise = z.infer<typeof promiseSchema>;

/** A record for the journal; `state` must be stored under its hash before the record is written. */
export interface PersistedStep {
	readonly record: Uint8Array;
	readonly state?: Uint8Array | undefined;
}

export function standsAt(round: number, state: Uint8Array): PersistedStep {
	return { record: encodeCanonical({ kind: "at", round, state: sha256(state) }), state };
}

export function releases(round: number, model: Uint8Array): PersistedStep {
	return { record: encodeCanonical({ kind: "released", round, model: sha256(model) }), state: model };
}

/** @throws AlthingError `gossip.bad_record` when a journal record is not one of this protocol's. */
export function decodePromise(record: Uint8Array): GossipPromise {
	const parsed = promiseSchema.safeParse(decodeCanonical(record));
	if (parsed.success) return parsed.data;
	throw new AlthingError("gossip.bad_record", "a journal record of a gossip job cannot be read", {
		issue: parsed.error.issues[0]?.message,
	});
}

/** Where the records leave a node: hashes of its state and of the model it has released in that round. */
export interface Standing {
	readonly round: number;
	/** Absent at the very start. */
	readonly state?: Uint8Array;
	readonly model?: Uint8Array;
}

export function standingIn(records: readonly Uint8Array[]): Standing {
	let standing: Standing = { round: 0 };
	for (const promise of records.map(decodePromise)) {
		if (promise.kind === "at") standing = { round: promise.round, state: promise.state };
		else if (promise.round === standing.round) standing = { ...standing, model: promise.model };
	}
	return standing;
}

/** Hashes, in hex, of the bytes that a restart needs beside the records. */
export function bytesNeeded(records: readonly Uint8Array[]): string[] {
	const { state, model } = standingIn(records);
	return [state, model].flatMap((hash) => (hash === undefined ? [] : [toHex(hash)]));
}

/** Rounds in which this node has promised a model, in order. */
export function roundsReleased(records: readonly Uint8Array[]): number[] {
	return records.map(decodePromise).flatMap(({ kind, round }) => (kind === "released" ? [round] : []));
}
