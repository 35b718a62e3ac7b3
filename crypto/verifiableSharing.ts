/**
 * Hash-verified Shamir sharing over GF(2^8) of two 32-byte secrets at once (the self
 * seed and the mask-key secret of one aggregation session).
 *
 * | symbol | here |
 * |-|-|
 * | f_b, b = 1..64 | byte polynomials of degree < t, f_b(0) = byte b of the secret |
 * | r_i, i = 1..16 | blinding polynomials of degree < t |
 * | share_j | f_1(j) .. f_64(j), r_1(j) .. r_16(j): 80 bytes for holder x = j |
 * | h_j | leaf hash of holder j; `root` is the Merkle root over all h_j |
 * | E | 16 x 64 challenge bytes, AES-256-CTR under H(context, root, seedCommitment) |
 * | z_i | r_i + sum_b E_ib f_b, published coefficient by coefficient: 16 t bytes |
 *
 * A holder checks h_j against the root and z_i(j) = r_i(j) + sum_b E_ib f_b(j) for all i.
 * The challenge depends on every committed share, so shares of honest holders that do not
 * lie on one polynomial of degree < t pass with probability 256^-16 = 2^-128 a try
 * (batched low-degree test as in Ligero, CCS 2017; hash-based VSS: Atapoor, Baghery,
 * Cozzo, Pedersen, PKC 2023). z reveals nothing, since r_i blinds it.
 *
 * h_j hashes the share in three separately salted parts, so that a holder can later open
 * one part provably ({@link openPart}) while the others stay hidden.
 *
 * Secret bytes never index memory nor steer a branch (see gf256.ts).
 */
import { createCipheriv, createSecretKey } from "node:crypto";
import { equalBytes } from "./encoding.ts";
import { AlthingError } from "./error.ts";
import { double, evaluate, multiplyByPublic, weightsAtZero } from "./gf256.ts";
import { hashFields } from "./hash.ts";
import { merkleTree, verifyMerkleProof } from "./merkle.ts";

export const SHARED_SECRET_BYTES = 64;
export const SHARE_BYTES = 80;
export const SHARE_SALT_BYTES = 16;
export const MAX_HOLDERS = 255;

const CHECKS = 16;
const PART_BYTES = 32;
const SECRET_WORDS = SHARED_SECRET_BYTES / 4;
const SHARE_WORDS = SHARE_BYTES / 4;
const CHECK_WORDS = CHECKS / 4;

/** Which secret: bytes 0-31 (self seed) or 32-63 (mask-key secret). */
export type SharedPart = "seed" | "maskKey";

export interface DealtShare {
	/** The holder's x coordinate, 1 to holders; holder `index` is leaf `index - 1`. */
	readonly index: number;
	/** 80 secret bytes. */
	readonly share: Uint8Array;
	/** 16 secret bytes. */
	readonly salt: Uint8Array;
	readonly proof: readonly Uint8Array[];
}

export interface DealtSharing {
	readonly root: Uint8Array;
	/** z: 16 x threshold bytes, public. */
	readonly response: Uint8Array;
	readonly shares: readonly DealtShare[];
}

/**
 * Shares a secret so that any `threshold` of `holders` reconstruct it and fewer learn nothing.
 * @param secret 64 bytes: 32 self seed, 32 mask-key secret
 * @param holders 1 to 255
 * @param threshold 1 to holders
 * @param context binds session and dealer
 * @param seedCommitment the dealer's public commitment to its seed
 * @throws AlthingError `sharing.bad_parameters`
 */
export function dealShares(request: {
	readonly secret: Uint8Array;
	readonly holders: number;
	readonly threshold: number;
	readonly context: Uint8Array;
	readonly seedCommitment: Uint8Array;
	readonly random: (length: number) => Uint8Array;
}): DealtSharing {
	const { secret, holders, threshold, context, seedCommitment, random } = request;
	checkParameters(holders, threshold);
	if (secret.length !== SHARED_SECRET_BYTES) {
		throw badParameters(`the secret must have ${SHARED_SECRET_BYTES} bytes, not ${secret.length}`);
	}
	const coefficientBytes = Uint8Array.from(random(threshold * SHARE_BYTES));
	coefficientBytes.set(secret);
	const coefficients = toWords(coefficientBytes);
	const dealt = Array.from({ length: holders }, (_, position) => ({
		index: position + 1,
		share: toBytes(evaluate(coefficients, SHARE_WORDS, position + 1)),
		salt: random(SHARE_SALT_BYTES),
	}));
	const tree = merkleTree(dealt.map(({ index, share, salt }) => leafOf(context, index, share, salt)));
	const challenge = challengeOf(context, tree.root, seedCommitment);
	const response = new Uint8Array(threshold * CHECKS);
	for (let row = 0; row < threshold; row++) {
		const values = coefficientBytes.subarray(row * SHARE_BYTES, (row + 1) * SHARE_BYTES);
		response.set(toBytes(combine(challenge, values)), row * CHECKS);
	}
	coefficientBytes.fill(0);
	coefficients.fill(0);
	return {
		root: tree.root,
		response,
		shares: dealt.map((share) => ({ ...share, proof: tree.proof(share.index - 1) })),
	};
}

/**
 * True when the share is the committed one of holder `index` and, but for a chance of
 * 2^-128, lies on the same polynomials of degree < threshold as everybody else's.
 * False for anything malformed; never throws.
 */
export function checkShare(claim: {
	readonly context: Uint8Array;
	readonly root: Uint8Array;
	readonly response: Uint8Array;
	readonly seedCommitment: Uint8Array;
	readonly threshold: number;
	readonly holders: number;
	readonly index: number;
	readonly share: Uint8Array;
	readonly salt: Uint8Array;
	readonly proof: readonly Uint8Array[];
}): boolean {
	const { context, root, response, threshold, holders, index, share, salt, proof } = claim;
	if (!soundParameters(holders, threshold) || !isHolder(index, holders)) return false;
	if (share.length !== SHARE_BYTES || salt.length !== SHARE_SALT_BYTES || root.length !== 32) return false;
	// A longer response would be a polynomial of a higher degree: the very thing to refuse.
	if (response.length !== threshold * CHECKS) return false;
	if (!verifyMerkleProof(root, leafOf(context, index, share, salt), index - 1, holders, proof)) return false;
	const expected = toBytes(evaluate(toWords(response), CHECK_WORDS, index));
	return equalBytes(expected, toBytes(combine(challengeOf(context, root, claim.seedCommitment), share)));
}

/** One part of a share, opened so that others can check it against the dealer's root. */
export interface OpenedPart {
	readonly index: number;
	/** 32 bytes. */
	readonly value: Uint8Array;
	/** Opens the commitment of this part only. */
	readonly partSalt: Uint8Array;
	/** Commitments to the other two parts, in share order. */
	readonly others: readonly [Uint8Array, Uint8Array];
	readonly proof: readonly Uint8Array[];
}

/** What a holder publishes to open the seed or the mask-key part of a share, and nothing of the other. */
export function openPart(context: Uint8Array, held: DealtShare, part: SharedPart): OpenedPart {
	const commitments = PARTS.map((name) => partCommitment(context, held.index, name, held.share, held.salt));
	const others = commitments.filter((_, position) => PARTS[position] !== part);
	return {
		index: held.index,
		value: partOf(held.share, part),
		partSalt: partSaltOf(held.salt, part),
		others: [others[0] as Uint8Array, others[1] as Uint8Array],
		proof: held.proof,
	};
}

/** True when an opened part is the one committed under `root` for its holder. Never throws. */
export function checkPart(claim: {
	readonly context: Uint8Array;
	readonly root: Uint8Array;
	readonly holders: number;
	readonly part: SharedPart;
	readonly opened: OpenedPart;
}): boolean {
	const { context, root, holders, part, opened } = claim;
	const { index, value, partSalt, others, proof } = opened;
	if (!isHolder(index, holders) || value.length !== PART_BYTES || partSalt.length !== 32) return false;
	if (root.length !== 32 || others.some((other) => other.length !== 32)) return false;
	const own = commitPart(context, index, part, value, partSalt);
	const commitments = part === "seed" ? [own, ...others] : [others[0], own, others[1]];
	return verifyMerkleProof(root, hashFields(LEAF_DOMAIN, ...commitments), index - 1, holders, proof);
}

/**
 * The secret part from the shares of at least `threshold` distinct holders. Shares are
 * taken whole (80 bytes) or as opened parts (32 bytes) and must have been checked before.
 * @throws AlthingError `sharing.too_few_shares` | `sharing.bad_parameters`
 */
export function reconstruct(
	shares: readonly { readonly index: number; readonly share: Uint8Array }[],
	threshold: number,
	part: SharedPart,
): Uint8Array {
	checkParameters(MAX_HOLDERS, threshold);
	const distinct = new Map<number, Uint8Array>();
	for (const { index, share } of shares) {
		if (!isHolder(index, MAX_HOLDERS)) throw badParameters(`share index ${index} is outside 1 to 255`);
		if (share.length === PART_BYTES) distinct.set(index, share);
		else if (share.length === SHARE_BYTES) distinct.set(index, partOf(share, part));
		else throw badParameters(`the share of holder ${index} has ${share.length} bytes`);
	}
	if (distinct.size < threshold) {
		throw new AlthingError(
			"sharing.too_few_shares",
			`${threshold} shares of different holders are needed to reconstruct, ${distinct.size} are here.`,
			{ threshold, available: distinct.size },
		);
	}
	const used = [...distinct].slice(0, threshold);
	const weights = weightsAtZero(used.map(([index]) => index));
	const secret = new Uint32Array(PART_BYTES / 4);
	used.forEach(([, share], position) => {
		const words = toWords(share);
		for (let w = 0; w < secret.length; w++) {
			secret[w] = (secret[w] as number) ^ multiplyByPublic(words[w] as number, weights[position] as number);
		}
	});
	return toBytes(secret);
}

const PARTS = ["seed", "maskKey", "blinding"] as const;
const LEAF_DOMAIN = "althing/sharing/leaf/v1";

function partOf(share: Uint8Array, part: (typeof PARTS)[number]): Uint8Array {
	const start = PARTS.indexOf(part) * PART_BYTES;
	return share.slice(start, start + PART_BYTES);
}

function leafOf(context: Uint8Array, index: number, share: Uint8Array, salt: Uint8Array): Uint8Array {
	return hashFields(LEAF_DOMAIN, ...PARTS.map((part) => partCommitment(context, index, part, share, salt)));
}

function partCommitment(
	context: Uint8Array,
	index: number,
	part: (typeof PARTS)[number],
	share: Uint8Array,
	salt: Uint8Array,
): Uint8Array {
	return commitPart(context, index, part, partOf(share, part), partSaltOf(salt, part));
}

function commitPart(
	context: Uint8Array,
	index: number,
	part: (typeof PARTS)[number],
	value: Uint8Array,
	partSalt: Uint8Array,
): Uint8Array {
	return hashFields("althing/sharing/part/v1", context, index, part, value, partSalt);
}

function partSaltOf(salt: Uint8Array, part: (typeof PARTS)[number]): Uint8Array {
	return hashFields("althing/sharing/salt/v1", salt, part);
}

/** E as 64 columns of 16 bytes (4 words): column b multiplies secret byte b in all 16 checks. */
function challengeOf(context: Uint8Array, root: Uint8Array, seedCommitment: Uint8Array): Uint32Array {
	const key = hashFields("althing/sharing/challenge/v1", context, root, seedCommitment);
	const cipher = createCipheriv("aes-256-ctr", createSecretKey(key), new Uint8Array(16));
	return toWords(cipher.update(new Uint8Array(SHARED_SECRET_BYTES * CHECKS)));
}

/**
 * `blinding + E * secret`: the public columns are scaled by secret bytes, so each doubling
 * of a column is taken or not by a mask made of the secret bit, never by a branch.
 */
function combine(challenge: Uint32Array, values: Uint8Array): Uint32Array {
	const result = toWords(values).slice(SECRET_WORDS, SHARE_WORDS);
	const column = new Uint32Array(CHECK_WORDS);
	for (let b = 0; b < SHARED_SECRET_BYTES; b++) {
		const secret = values[b] as number;
		column.set(challenge.subarray(b * CHECK_WORDS, (b + 1) * CHECK_WORDS));
		for (let bit = 0; bit < 8; bit++) {
			const take = -((secret >>> bit) & 1);
			for (let w = 0; w < CHECK_WORDS; w++) {
				const word = column[w] as number;
				result[w] = (result[w] as number) ^ (word & take);
				column[w] = double(word);
			}
		}
	}
	return result;
}

function toWords(bytes: Uint8Array): Uint32Array {
	return new Uint32Array(Uint8Array.from(bytes).buffer);
}

function toBytes(words: Uint32Array): Uint8Array {
	return new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
}

function isHolder(index: number, holders: number): boolean {
	return Number.isInteger(index) && index >= 1 && index <= holders && holders <= MAX_HOLDERS;
}

function soundParameters(holders: number, threshold: number): boolean {
	return isHolder(threshold, holders) && Number.isInteger(holders);
}

function checkParameters(holders: number, threshold: number): void {
	if (!soundParameters(holders, threshold)) {
		throw badParameters(`threshold ${threshold} of ${holders} holders; 1 <= threshold <= holders <= 255`);
	}
}

function badParameters(why: string): AlthingError {
	return new AlthingError("sharing.bad_parameters", `Secret sharing is not possible: ${why}.`);
}
