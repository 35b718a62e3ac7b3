/**
 * Verifiable Shamir sharing of a vector of integers, for inner products among the vectors of many dealers.
 *
 * | symbol | here |
 * |-|-|
 * | p | each of the three primes of primeField.ts; all below holds modulo each |
 * | f | fewer than f + 1 holders learn nothing |
 * | s_b(x), b < L | polynomials of degree <= f, s_b(0) the vector's coordinate b |
 * | o_k(x), k < K | polynomials of degree <= 2 f with o_k(0) = 0, that hide products of shares |
 * | r_c(x), q_c(x), c < 5 | blinding polynomials, of degree <= f, and of degree <= 2 f with q_c(0) = 0 |
 * | share_j | all of their values at x = j, with a salt; `root` is the Merkle root over their hashes |
 * | z_c, w_c | r_c + sum_b E_cb s_b and q_c + sum_k F_ck o_k, published; E, F from the root |
 *
 * A holder checks its leaf and both equations at its point. Shares of honest holders that are not on such
 * polynomials pass with a chance of about p^-5 = 2^-130 a try: the challenges depend on every share
 * committed (the batched low-degree test of verifiableSharing.ts).
 */
import { createCipheriv, createSecretKey } from "node:crypto";
import { AlthingError } from "./error.ts";
import { hashFields } from "./hash.ts";
import { merkleTree, verifyMerkleProof } from "./merkle.ts";
import { add, evaluate, PRIMES, type Prime, RESIDUE_BITS, randomResidues, residue } from "./primeField.ts";

const CHECKS = 5;
const SALT_BYTES = 16;
/** Bits of a residue's lower half. */
const HALF = RESIDUE_BITS / 2;
const DOMAIN = "althing/vector-sharing/1";

export interface SharingShape {
	/** L: coordinates of the vector. */
	readonly length: number;
	/** K: sharings of zero. */
	readonly zeros: number;
	/** f, from 1. */
	readonly degree: number;
	readonly holders: number;
}

export interface VectorShare {
	/** The holder's x coordinate, 1 to holders; holder `index` is leaf `index - 1`. */
	readonly index: number;
	/** {@link shareLength} secret residues. */
	readonly values: Uint32Array;
	/** 16 secret bytes. */
	readonly salt: Uint8Array;
	readonly proof: Uint8Array;
}

export interface VectorSharing {
	readonly root: Uint8Array;
	/** z and w: {@link responseLength} public residues. */
	readonly response: Uint32Array;
	readonly shares: readonly VectorShare[];
}

/** Residues in one holder's share: for each prime the vector, its checks, the zeros, their checks. */
export function shareLength({ length, zeros }: SharingShape): number {
	return PRIMES.length * (length + zeros + 2 * CHECKS);
}

/** Residues of a response: for each prime z, then w without its zero constants. */
export function responseLength({ degree }: SharingShape): number {
	return PRIMES.length * CHECKS * (degree + 1 + 2 * degree);
}

/**
 * Shares a vector.
 * @param vector integers below 2^51 in absolute value
 * @param context binds session and dealer
 * @throws AlthingError `sharing.bad_parameters`
 */
export function shareVector(request: {
	readonly vector: Float64Array;
	readonly shape: SharingShape;
	readonly context: Uint8Array;
	readonly random: (length: number) => Uint8Array;
}): VectorSharing {
	const { vector, shape, context, random } = request;
	const { length, zeros, degree, holders } = shape;
	if (
		vector.length !== length ||
		degree < 1 ||
		holders < 2 * degree + 1 ||
		vector.some((value) => !(Math.abs(value) < 2 ** 51))
	)
		throw new AlthingError(
			"sharing.bad_parameters",
			`A vector of ${vector.length} integers cannot be shared with degree ${degree} among ${holders} holders.`,
		);
	const shares = Array.from({ length: holders }, () => new Uint32Array(shareLength(shape)));
	const secrets = PRIMES.map((prime) => {
		const width = length + CHECKS;
		const linear = randomResidues((degree + 1) * width, prime, random);
		for (let b = 0; b < length; b++) linear[b] = residue(vector[b] as number, prime);
		const zeroWidth = zeros + CHECKS;
		const quadratic = randomResidues((2 * degree + 1) * zeroWidth, prime, random);
		quadratic.fill(0, 0, zeroWidth);
		return { prime, width, linear, zeroWidth, quadratic };
	});
	for (const [position, share] of shares.entries()) {
		let at = 0;
		for (const { prime, width, linear, zeroWidth, quadratic } of secrets) {
			share.set(evaluate(linear, width, position + 1, prime), at);
			share.set(evaluate(quadratic, zeroWidth, position + 1, prime), at + width);
			at += width + zeroWidth;
		}
	}
	const salts = shares.map(() => random(SALT_BYTES));
	const tree = merkleTree(shares.map((values, i) => leafOf(context, i + 1, values, salts[i] as Uint8Array)));
	const response = new Uint32Array(responseLength(shape));
	let at = 0;
	for (const { prime, width, linear, zeroWidth, quadratic } of secrets) {
		const challenge = challengeOf(context, tree.root, shape, prime);
		for (let row = 0; row <= degree; row++) {
			response.set(combine(challenge.vector, linear.subarray(row * width, (row + 1) * width), prime), at);
			at += CHECKS;
		}
		for (let row = 1; row <= 2 * degree; row++) {
			response.set(
				combine(challenge.zeros, quadratic.subarray(row * zeroWidth, (row + 1) * zeroWidth), prime),
				at,
			);
			at += CHECKS;
		}
		linear.fill(0);
		quadratic.fill(0);
	}
	return {
		root: tree.root,
		response,
		shares: shares.map((values, i) => ({
			index: i + 1,
			values,
			salt: salts[i] as Uint8Array,
			proof: tree.proof(i),
		})),
	};
}

/**
 * True when the share is the committed one of its holder and, but for a chance of 2^-130, lies on the same
 * polynomials as everybody else's, the zeros through zero. False for anything malformed; never throws.
 */
export function checkVectorShare(claim: {
	readonly shape: SharingShape;
	readonly context: Uint8Array;
	readonly root: Uint8Array;
	readonly response: Uint32Array;
	readonly share: VectorShare;
}): boolean {
	const { shape, context, root, response, share } = claim;
	const { length, zeros, degree, holders } = shape;
	const { index, values, salt, proof } = share;
	if (!Number.isInteger(index) || index < 1 || index > holders || root.length !== 32) return false;
	if (values.length !== shareLength(shape) || response.length !== responseLength(shape)) return false;
	if (salt.length !== SALT_BYTES) return false;
	if (!verifyMerkleProof(root, leafOf(context, index, values, salt), index - 1, holders, proof)) return false;
	let at = 0;
	let from = 0;
	for (const prime of PRIMES) {
		const linear = values.subarray(at, at + length + CHECKS);
		const quadratic = values.subarray(at + length + CHECKS, at + length + zeros + 2 * CHECKS);
		at += length + zeros + 2 * CHECKS;
		const z = response.subarray(from, from + CHECKS * (degree + 1));
		// The constant terms of w are zero: they are not sent, so they cannot be anything else.
		const w = new Uint32Array(CHECKS * (2 * degree + 1));
		w.set(response.subarray(from + z.length, from + z.length + CHECKS * 2 * degree), CHECKS);
		from += z.length + CHECKS * 2 * degree;
		if ([...linear, ...quadratic, ...z, ...w].some((value) => value >= prime.p)) return false;
		const challenge = challengeOf(context, root, shape, prime);
		const sound =
			same(evaluate(z, CHECKS, index, prime), combine(challenge.vector, linear, prime)) &&
			same(evaluate(w, CHECKS, index, prime), combine(challenge.zeros, quadratic, prime));
		if (!sound) return false;
	}
	return true;
}

/** A holder's residues of one dealer's vector and zeros, by prime. */
export interface HeldVector {
	readonly vector: Uint32Array;
	readonly zeros: Uint32Array;
}

/** The parts of a share, in the order of the primes. */
export function heldVectors(
	{ length, zeros }: SharingShape,
	{ values }: Pick<VectorShare, "values">,
): HeldVector[] {
	return PRIMES.map((_, i) => {
		const at = i * (length + zeros + 2 * CHECKS);
		const zerosAt = at + length + CHECKS;
		return { vector: values.subarray(at, at + length), zeros: values.subarray(zerosAt, zerosAt + zeros) };
	});
}

/** sum_b a_b b_b mod p, for at most 8,000 residues each: both halves of it are exact before they are reduced. */
export function innerProduct(a: Uint32Array, b: Uint32Array, prime: Prime): number {
	let high = 0;
	let low = 0;
	for (let i = 0; i < a.length; i++) {
		const factor = b[i] as number;
		high += (a[i] as number) * (factor >>> HALF);
		low += (a[i] as number) * (factor & (2 ** HALF - 1));
	}
	return residue(residue(high, prime) * 2 ** HALF + low, prime);
}

function leafOf(context: Uint8Array, index: number, values: Uint32Array, salt: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/leaf`, context, index, bytesOf(values), salt);
}

/** Little-endian bytes of residues. */
function bytesOf(values: Uint32Array): Uint8Array {
	const bytes = new Uint8Array(4 * values.length);
	const view = new DataView(bytes.buffer);
	for (let i = 0; i < values.length; i++) view.setUint32(4 * i, values[i] as number, true);
	return bytes;
}

interface Challenge {
	/** CHECKS rows of L, and of K, residues. */
	readonly vector: Uint32Array;
	readonly zeros: Uint32Array;
}

function challengeOf(
	context: Uint8Array,
	root: Uint8Array,
	{ length, zeros }: SharingShape,
	{ p }: Prime,
): Challenge {
	const key = hashFields(`${DOMAIN}/challenge`, context, root, p);
	const cipher = createCipheriv("aes-256-ctr", createSecretKey(key), new Uint8Array(16));
	const stream = Uint8Array.from(cipher.update(new Uint8Array(4 * CHECKS * (length + zeros))));
	const view = new DataView(stream.buffer);
	// 2^32 is 64 p and a little: no residue is likelier than another by more than one part in 64.
	const words = new Uint32Array(CHECKS * (length + zeros));
	for (let i = 0; i < words.length; i++) words[i] = view.getUint32(4 * i, true) % p;
	return { vector: words.subarray(0, CHECKS * length), zeros: words.subarray(CHECKS * length) };
}

/** For each check its blinding value plus the combination of the secret ones. */
function combine(challenge: Uint32Array, values: Uint32Array, prime: Prime): Uint32Array {
	const secrets = values.length - CHECKS;
	return Uint32Array.from({ length: CHECKS }, (_, c) =>
		add(
			values[secrets + c] as number,
			innerProduct(challenge.subarray(c * secrets, (c + 1) * secrets), values.subarray(0, secrets), prime),
			prime,
		),
	);
}

function same(a: Uint32Array, b: Uint32Array): boolean {
	let difference = 0;
	for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
	return a.length === b.length && difference === 0;
}
