/**
 * Hash-verified Shamir sharing over GF(2^8) of two 32-byte secrets at once (the self
 * seed and the mask-key secret of one aggregation session).
 *
 * | symbol | here |
 * |-|-|
 * | f_b, b = 1..64 | byte polynomials of degree < t, f_b(0) = byte b of the secret |
 * | r_i, i = 1..16 | blinding polynomials of degree < t |
 * | share_j | f_1(j) .. f_64(j), r_1(j) .. r_16(j): 80 bytes for holder x = j |
 * | h_j | leaf hash of holder j |
 * | `root` | Merkle root over h_1, sealed share 1, h_2, sealed share 2, ...: what holders are sent is bound, too |
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
 * one part provably ({@link openPart}) while the others stay hidden. Whoever passes sealed
 * shares on proves with one path that they are the dealer's and which h_j is theirs.
 *
 * Secret bytes never index memory nor steer a branch (see gf256.ts).
 */
import { createCipheriv, createSecretKey } from "node:crypto";
import { AEAD_TAG_BYTES } from "./aead.ts";
import { equalBytes } from "./encoding.ts";
import { AlthingError } from "./error.ts";
import { double, evaluate, multiplyByPublic, weightsAtZero } from "./gf256.ts";
import { hashFields } from "./hash.ts";
import { leafHash, type MerkleTree, merkleTree, verifyLeafHash, verifyMerkleProof } from "./merkle.ts";

export const SHARED_SECRET_BYTES = 64;
export const SHARE_BYTES = 80;
/** Of one of a share's three parts. */
export const PART_SALT_BYTES = 16;
export const SHARE_SALT_BYTES = 3 * PART_SALT_BYTES;
export const SEALED_SHARE_BYTES = SHARE_BYTES + SHARE_SALT_BYTES + AEAD_TAG_BYTES;
/** A leaf's hash, which is all that is public of a share. */
export const SHARE_LEAF_BYTES = 32;
export const MAX_HOLDERS = 255;

const CHECKS = 16;
const PART_BYTES = 32;
const SHARE_WORDS = SHARE_BYTES / 4;
const CHECK_WORDS = CHECKS / 4;

/** Which secret: bytes 0-31 (self seed) or 32-63 (mask-key secret). */
export type SharedPart = "seed" | "maskKey";

export interface DealtShare {
	/** The holder's x coordinate, 1 to holders. */
	readonly index: number;
	/** 80 secret bytes. */
	readonly share: Uint8Array;
	/** 48 secret bytes. */
	readonly salt: Uint8Array;
	/** Of h_j, which is leaf `2 index - 2` of the tree. */
	readonly proof: Uint8Array;
}

export interface DealtSharing {
	readonly root: Uint8Array;
	/** z: 16 x threshold bytes, public. */
	readonly response: Uint8Array;
	/** h_j of all holders, 32 bytes each, public. */
	readonly leaves: Uint8Array;
	/** {@link SEALED_SHARE_BYTES} for each holder. */
	readonly sealed: Uint8Array;
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
	/** Encrypts a share and its salts for its holder; zeros for one that gets none. */
	readonly seal: (index: number, plain: Uint8Array) => Uint8Array;
}): DealtSharing {
	const { secret, holders, threshold, context, seedCommitment, random, seal } = request;
	checkParameters(holders, threshold);
	if (secret.length !== SHARED_SECRET_BYTES) {
		throw badParameters(`the secret must have ${SHARED_SECRET_BYTES} bytes, not ${secret.length}`);
	}
	const coefficientBytes = Uint8Array.from(random(threshold * SHARE_BYTES));
	coefficientBytes.set(secret);
	const coefficients = toWords(coefficientBytes);
	const salts = random(holders * SHARE_SALT_BYTES);
	const dealt = Array.from({ length: holders }, (_, position) => ({
		index: position + 1,
		share: toBytes(evaluate(coefficients, SHARE_WORDS, position + 1)),
		salt: salts.slice(position * SHARE_SALT_BYTES, (position + 1) * SHARE_SALT_BYTES),
	}));
	const leaves = new Uint8Array(holders * SHARE_LEAF_BYTES);
	const sealed = new Uint8Array(holders * SEALED_SHARE_BYTES);
	const plain = new Uint8Array(SHARE_BYTES + SHARE_SALT_BYTES);
	for (const [position, { index, share, salt }] of dealt.entries()) {
		leaves.set(leafOf(context, index, share, salt), position * SHARE_LEAF_BYTES);
		plain.set(share);
		plain.set(salt, SHARE_BYTES);
		sealed.set(seal(index, plain), position * SEALED_SHARE_BYTES);
	}
	plain.fill(0);
	const tree = sharingTree(leaves, sealed);
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
		leaves,
		sealed,
		shares: dealt.map((share) => ({ ...share, proof: tree.proof(2 * share.index - 2) })),
	};
}

/**
 * The tree that a dealer commits to: leaf and sealed share of one holder after the other.
 * @param leaves 32 bytes for each holder
 * @param sealed {@link SEALED_SHARE_BYTES} for each
 */
export function sharingTree(leaves: Uint8Array, sealed: Uint8Array): MerkleTree {
	const hashes: Uint8Array[] = [];
	for (let position = 0; position * SHARE_LEAF_BYTES < leaves.length; position++) {
		hashes.push(leafHash(leaves.subarray(position * SHARE_LEAF_BYTES, (position + 1) * SHARE_LEAF_BYTES)));
		hashes.push(
			leafHash(sealed.subarray(position * SEALED_SHARE_BYTES, (position + 1) * SEALED_SHARE_BYTES)),
		);
	}
	return merkleTree(hashes, "hashed");
}

/** What the path of a sealed share proves of the share inside. */
export interface CommittedShare {
	/** Hash of its leaf. */
	readonly leafHash: Uint8Array;
	/** The leaf's own proof, for whom the share is shown to. */
	readonly proof: Uint8Array;
}

/**
 * What a dealer committed to for a holder; undefined when the sealed share is not the one that it signed.
 * @param path proof of the sealed share in the {@link sharingTree}
 */
export function committedShare(
	root: Uint8Array,
	holders: number,
	index: number,
	sealed: Uint8Array,
	path: Uint8Array,
): CommittedShare | undefined {
	if (!isHolder(index, holders) || path.length < SHARE_LEAF_BYTES) return undefined;
	const hashOfSealed = leafHash(sealed);
	if (!verifyLeafHash(root, hashOfSealed, 2 * index - 1, 2 * holders, path)) return undefined;
	const proof = Uint8Array.from(path);
	proof.set(hashOfSealed);
	return { leafHash: path.slice(0, SHARE_LEAF_BYTES), proof };
}

interface SharingClaim {
	readonly context: Uint8Array;
	readonly root: Uint8Array;
	readonly response: Uint8Array;
	readonly seedCommitment: Uint8Array;
	readonly threshold: number;
	readonly holders: number;
	readonly index: number;
	readonly share: Uint8Array;
	readonly salt: Uint8Array;
}

/**
 * True when the share is the committed one of holder `index` and, but for a chance of
 * 2^-128, lies on the same polynomials of degree < threshold as everybody else's.
 * False for anything malformed; never throws.
 */
export function checkShare(claim: SharingClaim & { readonly proof: Uint8Array }): boolean {
	if (!isWellFormed(claim)) return false;
	const { context, root, holders, index, share, salt, proof } = claim;
	const leaf = leafOf(context, index, share, salt);
	return verifyMerkleProof(root, leaf, 2 * index - 2, 2 * holders, proof) && isOnPolynomials(claim);
}

/** {@link checkShare} for a share that came sealed, with what {@link committedShare} said of it. */
export function checkUnsealed(claim: SharingClaim & { readonly committed: CommittedShare }): boolean {
	if (!isWellFormed(claim)) return false;
	const { context, index, share, salt, committed } = claim;
	const hash = leafHash(leafOf(context, index, share, salt));
	return equalBytes(hash, committed.leafHash) && isOnPolynomials(claim);
}

function isWellFormed({ threshold, holders, index, share, salt, root, response }: SharingClaim): boolean {
	return (
		soundParameters(holders, threshold) &&
		isHolder(index, holders) &&
		share.length === SHARE_BYTES &&
		salt.length === SHARE_SALT_BYTES &&
		root.length === 32 &&
		// A longer response would be a polynomial of a higher degree: the very thing to refuse.
		response.length === threshold * CHECKS
	);
}

function isOnPolynomials({ context, root, response, seedCommitment, index, share }: SharingClaim): boolean {
	const expected = evaluate(toWords(response), CHECK_WORDS, index);
	const actual = combine(challengeOf(context, root, seedCommitment), share);
	let difference = 0;
	for (let w = 0; w < CHECK_WORDS; w++) difference |= (expected[w] as number) ^ (actual[w] as number);
	return difference === 0;
}

/** One part of a share, opened so that others can check it against the dealer's root. */
export interface OpenedPart {
	readonly index: number;
	/** 32 bytes. */
	readonly value: Uint8Array;
	/** 16 bytes that open the commitment of this part only. */
	readonly partSalt: Uint8Array;
	/** Commitments to the other two parts, in share order. */
	readonly others: readonly [Uint8Array, Uint8Array];
	readonly proof: Uint8Array;
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
	if (!isHolder(index, holders) || value.length !== PART_BYTES || partSalt.length !== PART_SALT_BYTES)
		return false;
	if (root.length !== 32 || others.some((other) => other.length !== 32)) return false;
	const own = commitPart(context, index, part, value, partSalt);
	const commitments = part === "seed" ? [own, ...others] : [others[0], own, others[1]];
	const leaf = hashFields(LEAF_DOMAIN, ...commitments);
	return verifyMerkleProof(root, leaf, 2 * index - 2, 2 * holders, proof);
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
const LEAF_DOMAIN = "althing/sharing/leaf/v2";

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
	return hashFields("althing/sharing/part/v2", context, index, part, value, partSalt);
}

function partSaltOf(salt: Uint8Array, part: (typeof PARTS)[number]): Uint8Array {
	const start = PARTS.indexOf(part) * PART_SALT_BYTES;
	return salt.slice(start, start + PART_SALT_BYTES);
}

const NO_CHALLENGE = new Uint8Array(SHARED_SECRET_BYTES * CHECKS);

/** E as 64 columns of 16 bytes (4 words): column b multiplies secret byte b in all 16 checks. */
function challengeOf(context: Uint8Array, root: Uint8Array, seedCommitment: Uint8Array): Uint32Array {
	const key = hashFields("althing/sharing/challenge/v2", context, root, seedCommitment);
	const cipher = createCipheriv("aes-256-ctr", createSecretKey(key), new Uint8Array(16));
	return toWords(cipher.update(NO_CHALLENGE));
}

/**
 * `blinding + E * secret`: the public columns are scaled by secret bytes, so each doubling
 * of a column is taken or not by a mask made of the secret bit, never by a branch.
 */
function combine(challenge: Uint32Array, values: Uint8Array): Uint32Array {
	const result = toWords(values.subarray(SHARED_SECRET_BYTES)).slice();
	for (let b = 0; b < SHARED_SECRET_BYTES; b++) {
		const secret = values[b] as number;
		for (let w = 0; w < CHECK_WORDS; w++) {
			let word = challenge[b * CHECK_WORDS + w] as number;
			let sum = result[w] as number;
			for (let bit = 0; bit < 8; bit++) {
				sum ^= word & -((secret >>> bit) & 1);
				word = double(word);
			}
			result[w] = sum;
		}
	}
	return result;
}

/** The same memory where it is aligned, else a copy: not to be written to. */
function toWords(bytes: Uint8Array): Uint32Array {
	const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
	return new Uint32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
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
