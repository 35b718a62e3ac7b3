/** Slots, ballots and the two kinds of certificate: their shapes, signatures and verification. */
import { z } from "zod";
import { encodeCanonical, equalBytes, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { type PeerId, type SigningKey, verifySignature } from "../../crypto/identity.ts";
import { hashBytes, peerId, signatureBytes } from "../wire.ts";

/** The largest electorate whose certificates are plain signature lists (1.4 kB at 21 signatures). */
export const MAX_ELECTORATE = 1024;

/** One question that is decided once. `attempt` rises only after a Dead certificate of the one before. */
export interface Slot {
	/** Federation id (hex). */
	readonly scope: string;
	/** What kind of thing is decided: `charter`, `term`, `survivors`, `result`. */
	readonly subject: string;
	/** Which one: a version number, `job/round`, ... */
	readonly instance: string;
	readonly attempt: number;
}

/** Who votes, and how many of them the charter assumes corrupt (f). */
export interface Electorate {
	/** Sorted, without duplicates. */
	readonly members: readonly PeerId[];
	/** f, with 0 <= f and quorum <= n. */
	readonly corruption: number;
}

/** A member's only ballot in a slot; `value` null means it abstains for good. */
export interface Ballot {
	readonly slot: Slot;
	readonly value: Uint8Array | null;
	readonly voter: PeerId;
	readonly signature: Uint8Array;
}

export interface QuorumCertificate {
	readonly slot: Slot;
	readonly value: Uint8Array;
	readonly votes: readonly { readonly voter: PeerId; readonly signature: Uint8Array }[];
}

export interface DeadCertificate {
	readonly slot: Slot;
	readonly ballots: readonly Ballot[];
}

const VALUE_BYTES = 32;

export const slotSchema: z.ZodType<Slot> = z.strictObject({
	scope: z.string().max(128),
	subject: z.string().max(32),
	instance: z.string().max(256),
	attempt: z.int().min(0).max(1_000_000),
});

export const ballotSchema: z.ZodType<Ballot> = z.strictObject({
	slot: slotSchema,
	value: hashBytes.nullable(),
	voter: peerId,
	signature: signatureBytes,
});

export const quorumCertificateSchema: z.ZodType<QuorumCertificate> = z.strictObject({
	slot: slotSchema,
	value: hashBytes,
	votes: z.array(z.strictObject({ voter: peerId, signature: signatureBytes })).max(MAX_ELECTORATE),
});

export const deadCertificateSchema: z.ZodType<DeadCertificate> = z.strictObject({
	slot: slotSchema,
	ballots: z.array(ballotSchema).max(2 * MAX_ELECTORATE),
});

/**
 * q = floor((n+f)/2)+1: two quorums share at least f+1 members, so at least one honest one.
 * @throws AlthingError `certificate.electorate` when no quorum of that size exists.
 */
export function quorum(electorate: Electorate): number {
	const n = electorate.members.length;
	const q = Math.floor((n + electorate.corruption) / 2) + 1;
	if (electorate.corruption < 0 || q > n) {
		throw new AlthingError(
			"certificate.electorate",
			`an electorate of ${n} cannot tolerate ${electorate.corruption} corrupt members: a quorum would need ${q}`,
			{ members: n, corruption: electorate.corruption },
		);
	}
	return q;
}

/** A string that names the slot uniquely; usable as a map key. */
export function slotId(slot: Slot): string {
	return JSON.stringify([slot.scope, slot.subject, slot.instance, slot.attempt]);
}

function ballotBytes(slot: Slot, value: Uint8Array | null): Uint8Array {
	return encodeCanonical(["althing/ballot/1", slot.scope, slot.subject, slot.instance, slot.attempt, value]);
}

/**
 * Signs a ballot. Only {@link VoteLock} may call this outside tests: it alone knows whether
 * this member has voted in the slot before.
 */
export function signBallot(key: SigningKey, slot: Slot, value: Uint8Array | null): Ballot {
	if (value !== null && value.length !== VALUE_BYTES) {
		throw new AlthingError(
			"certificate.value",
			`a ballot's value is a ${VALUE_BYTES}-byte hash, not ${value.length} bytes`,
		);
	}
	return { slot, value, voter: key.peer, signature: key.sign(ballotBytes(slot, value)) };
}

/** True when the ballot's voter belongs to the electorate and its signature is valid. */
export function verifyBallot(electorate: Electorate, ballot: Ballot): boolean {
	return (
		electorate.members.includes(ballot.voter) &&
		verifySignature(ballot.voter, ballotBytes(ballot.slot, ballot.value), ballot.signature)
	);
}

/** True when at least q distinct members of the electorate signed this value in this slot. */
export function verifyQuorumCertificate(electorate: Electorate, certificate: QuorumCertificate): boolean {
	const voters = new Set<PeerId>();
	for (const { voter, signature } of certificate.votes) {
		if (voters.has(voter)) return false;
		if (!verifyBallot(electorate, { slot: certificate.slot, value: certificate.value, voter, signature }))
			return false;
		voters.add(voter);
	}
	return voters.size >= quorum(electorate);
}

/**
 * True when the ballots prove that no value can reach q in this slot, now or ever: for every
 * value, at least n - q + f' + 1 members not proven to equivocate signed something else,
 * where f' = f minus the equivocators proven here.
 */
export function verifyDeadCertificate(electorate: Electorate, certificate: DeadCertificate): boolean {
	const id = slotId(certificate.slot);
	for (const ballot of certificate.ballots) {
		if (slotId(ballot.slot) !== id || !verifyBallot(electorate, ballot)) return false;
	}
	return isDead(electorate, certificate.ballots);
}

/** Key of a ballot's value for counting; abstentions share one. */
export function valueKey(value: Uint8Array | null): string {
	return value === null ? "" : toHex(value);
}

/**
 * Counts ballots (already verified, of one slot). `canWin(key)` tells whether a value may
 * still reach q; the key of a value nobody voted for stands for every unseen value.
 */
export function tally(electorate: Electorate, ballots: Iterable<Ballot>) {
	const byVoter = new Map<PeerId, Set<string>>();
	for (const ballot of ballots) {
		const values = byVoter.get(ballot.voter) ?? new Set<string>();
		values.add(valueKey(ballot.value));
		byVoter.set(ballot.voter, values);
	}
	const votes = new Map<string, number>();
	const single: string[] = [];
	let equivocators = 0;
	for (const values of byVoter.values()) {
		for (const key of values) if (key !== "") votes.set(key, (votes.get(key) ?? 0) + 1);
		if (values.size > 1) equivocators++;
		else single.push(...values);
	}
	const n = electorate.members.length;
	const remainingCorrupt = Math.max(0, electorate.corruption - equivocators);
	const needed = n - quorum(electorate) + remainingCorrupt + 1;
	const canWin = (key: string) => single.length - single.filter((other) => other === key).length < needed;
	return { votes, canWin };
}

/** True when no value, seen or unseen, can win any more. The ballots must have been verified. */
export function isDead(electorate: Electorate, ballots: Iterable<Ballot>): boolean {
	const { votes, canWin } = tally(electorate, ballots);
	return !canWin("unseen") && [...votes.keys()].every((key) => !canWin(key));
}

/** True when both ballots are of the same voter and slot and say different things: portable evidence. */
export function contradicts(a: Ballot, b: Ballot): boolean {
	if (a.voter !== b.voter || slotId(a.slot) !== slotId(b.slot)) return false;
	if (a.value === null || b.value === null) return a.value !== b.value;
	return !equalBytes(a.value, b.value);
}
