/**
 * The names everything in a session is bound to: hashes and derived keys.
 *
 * | symbol | here |
 * |-|-|
 * | sidPre | {@link preliminarySessionId}: job, round, attempt, model, config, parameters |
 * | sid | {@link sessionId}: sidPre and the roster |
 * | s_uv, K_uv | {@link pairSeed}, {@link channelKeys} |
 * | cb | {@link seedCommitment} |
 */
import { agree, deriveKey } from "../../crypto/agreement.ts";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { hashFields, sha256 } from "../../crypto/hash.ts";
import type { ModulusBits } from "../../crypto/ringPacking.ts";
import type { Electorate, Slot } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import type { BucketRules } from "./bucketGraph.ts";
import type { CohortParameters } from "./cohortParameters.ts";

/** Version of the wire format and of every derivation below. */
export const DOMAIN = "althing/aggregation/3";

export interface SessionParameters {
	readonly federationId: string;
	readonly jobId: string;
	readonly round: number;
	readonly attempt: number;
	readonly modelHash: Uint8Array;
	readonly configHash: Uint8Array;
	readonly electorate: Electorate;
	/** Who may contribute; the whole electorate where absent. */
	readonly selected?: readonly PeerId[] | undefined;
	readonly minimumSurvivors: number;
	/** Who holds shares of whom and is masked against whom; follows from the numbers of members. */
	readonly cohort: CohortParameters;
	/** 32 bytes that order the members of a sparse cohort. */
	readonly graphSeed: Uint8Array;
	readonly length: number;
	readonly modulusBits: ModulusBits;
	readonly publicBytes?: number | undefined;
	readonly buckets?: BucketRules | undefined;
}

/** The one question a session decides: who survives, and with which masked sum. */
export function survivorsSlot(of: {
	readonly federationId: string;
	readonly jobId: string;
	readonly round: number;
	readonly attempt: number;
}): Slot {
	return {
		scope: of.federationId,
		subject: "survivors",
		instance: `${of.jobId}/${of.round}`,
		attempt: of.attempt,
	};
}

/** sidPre: 32 bytes. Peers that were given another model or other parameters get another one. */
export function preliminarySessionId(p: SessionParameters): Uint8Array {
	return hashFields(
		`${DOMAIN}/pre`,
		p.federationId,
		p.jobId,
		p.round,
		p.attempt,
		p.modelHash,
		p.configHash,
		encodeCanonical([...p.electorate.members]),
		p.electorate.corruption,
		encodeCanonical([...(p.selected ?? p.electorate.members)]),
		p.minimumSurvivors,
		encodeCanonical({ ...p.cohort }),
		p.cohort.graph === "ring" || p.buckets !== undefined ? p.graphSeed : "",
		encodeCanonical(p.buckets === undefined ? null : { ...p.buckets }),
		p.length,
		p.modulusBits,
		p.publicBytes ?? 0,
	);
}

/** sid: 32 bytes. */
export function sessionId(sidPre: Uint8Array, rosterRoot: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/sid`, sidPre, rosterRoot);
}

/** What a dealer's shares are bound to. */
export function sharingContext(sid: Uint8Array, dealer: PeerId): Uint8Array {
	return hashFields(`${DOMAIN}/sharing`, sid, dealer);
}

/** cb: commits a dealer to its self seed b_u. */
export function seedCommitment(sid: Uint8Array, dealer: PeerId, seed: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/b`, sid, dealer, seed);
}

/** s_uv: 32 bytes, the same for both ends; the AES-256 key of their mask and of nothing else. @throws AlthingError `crypto.low_order` */
export function pairSeed(
	sid: Uint8Array,
	maskSecret: Uint8Array,
	own: PeerId,
	otherMaskKey: Uint8Array,
	other: PeerId,
): Uint8Array {
	const [low, high] = own < other ? [own, other] : [other, own];
	return deriveKey(agree(maskSecret, otherMaskKey), sid, `${DOMAIN} mask ${low} ${high}`);
}

/** Keys of 32 bytes that seal exactly one share each. */
export interface ChannelKeys {
	/** K_uv: from the own end to the other. */
	readonly sealing: Uint8Array;
	/** K_vu: from the other end to the own. */
	readonly opening: Uint8Array;
}

/** One derivation serves both directions. @param sharedSecret of their channel keys ({@link agree}) */
export function channelKeys(
	sid: Uint8Array,
	sharedSecret: Uint8Array,
	own: PeerId,
	other: PeerId,
): ChannelKeys {
	const [low, high] = own < other ? [own, other] : [other, own];
	const both = deriveKey(sharedSecret, sid, `${DOMAIN} share ${low} ${high}`, 64);
	const [fromLow, fromHigh] = [both.subarray(0, 32), both.subarray(32)];
	return own === low ? { sealing: fromLow, opening: fromHigh } : { sealing: fromHigh, opening: fromLow };
}

/** Seals exactly one share of a sketch, from the dealer to the holder. @param sharedSecret as for {@link channelKeys} */
export function sketchKey(
	sid: Uint8Array,
	sharedSecret: Uint8Array,
	dealer: PeerId,
	holder: PeerId,
): Uint8Array {
	return deriveKey(sharedSecret, sid, `${DOMAIN} sketch ${dealer} ${holder}`);
}

/** 16 public bytes by which both ends of an edge show that they hold the same seed. */
export function edgeTag(sid: Uint8Array, seed: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/edge`, sid, seed).subarray(0, 16);
}

/** AES-256 key of the mask expanded from a self seed, which is committed to and feeds the beacon besides. */
export function selfMaskKey(sid: Uint8Array, seed: Uint8Array): Uint8Array {
	return deriveKey(seed, sid, `${DOMAIN} self mask`);
}

/** Seed of the projections: known only once every masked input is committed in the proposal. */
export function projectionSeed(proposalHash: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/projection`, proposalHash);
}

/** Hash of a packed vector as it travels. */
export function vectorHash(packed: Uint8Array): Uint8Array {
	return sha256(packed);
}

/** 32 bytes from all opened self seeds, in survivor order: no single survivor could choose it. */
export function beaconOf(sid: Uint8Array, seeds: readonly Uint8Array[]): Uint8Array {
	return hashFields(`${DOMAIN}/beacon`, sid, ...seeds);
}
