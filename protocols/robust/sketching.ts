/**
 * Selection on shared sketches. Every dealer shares the sketch of its input among those who sent one; each
 * holder opens its share of all inner products, and of 16 random combinations of each sketch; everybody
 * decodes them and runs the same selection on the inner products.
 *
 * A product of two shares lies on a polynomial of degree 2 f with the inner product at zero; sharings of
 * zero by either dealer hide all else of it. With 4 f + 1 holders that answer, f of them may send anything:
 * a value counts that at least `degree + 1 + f` holders' shares agree on, f + 1 of whom are honest more than
 * the polynomial needs, so it is the honest ones' own.
 */
import { createCipheriv, createSecretKey } from "node:crypto";
import { correctErrors } from "../../crypto/errorCorrection.ts";
import { hashFields } from "../../crypto/hash.ts";
import { add, integerOf, multiply, PRIMES, type Prime, weightsAt } from "../../crypto/primeField.ts";
import { COMBINATIONS, combinationsOf, SKETCH_ROWS } from "../../crypto/signSketch.ts";
import { type HeldVector, innerProduct, type SharingShape } from "../../crypto/vectorSharing.ts";

const DOMAIN = "althing/sketching/1";

/** How a sketch is shared among `holders`. */
export function sketchShape(holders: number, attackers: number): SharingShape {
	return { length: SKETCH_ROWS, zeros: holders, degree: attackers, holders };
}

/** Holders whose shares decode whatever f of them send, at least. */
export function leastHolders(attackers: number): number {
	return 4 * attackers + 1;
}

/** Seed of the sketch's rows. @param commitment to every masked input */
export function sketchSeed(commitment: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/rows`, commitment);
}

/** Seed of the combinations. @param sketches hash of everybody's committed sharing */
export function combinationSeed(sketches: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/combinations`, sketches);
}

/** A dealer's place among the holders, from 0, and what this holder holds of it; undefined for a bad share. */
export interface HeldSketch {
	readonly place: number;
	readonly held: readonly HeldVector[] | undefined;
}

/** Pairs i <= k of n, in order. */
export function pairCount(n: number): number {
	return (n * (n + 1)) / 2;
}

/** Residues that a holder opens of so many sketches. */
export function openedLength(dealers: number): number {
	return PRIMES.length * (pairCount(dealers) + COMBINATIONS * dealers);
}

/** Bytes of what a holder opens of so many sketches. */
export function openedBytes(dealers: number): number {
	return 4 * openedLength(dealers);
}

/**
 * A holder's shares of all inner products, pair after pair, then of the combinations, dealer after dealer;
 * zeros where it holds no sound share. Three residues for each value.
 */
export function openShares(sketches: readonly HeldSketch[], combinationSeed32: Uint8Array): Uint32Array {
	const opened = new Uint32Array(openedLength(sketches.length));
	const products = opened.subarray(0, 3 * pairCount(sketches.length));
	const combinations = opened.subarray(products.length);
	const rows = Uint32Array.from(combinationsOf(combinationSeed32));
	for (const [k, prime] of PRIMES.entries()) {
		let at = 0;
		for (const [i, one] of sketches.entries()) {
			const mine = one.held?.[k];
			for (const other of sketches.slice(i)) {
				const theirs = other.held?.[k];
				if (mine !== undefined && theirs !== undefined) {
					let product = add(
						innerProduct(mine.vector, theirs.vector, prime),
						mine.zeros[other.place] as number,
						prime,
					);
					if (other !== one) product = add(product, theirs.zeros[one.place] as number, prime);
					products[3 * at + k] = product;
				}
				at++;
			}
			if (mine === undefined) continue;
			for (let j = 0; j < COMBINATIONS; j++) {
				const row = rows.subarray(j * SKETCH_ROWS, (j + 1) * SKETCH_ROWS);
				combinations[3 * (COMBINATIONS * i + j) + k] = innerProduct(row, mine.vector, prime);
			}
		}
	}
	return opened;
}

/** What one holder opened. */
export interface OpenedShares {
	/** Its x coordinate. */
	readonly point: number;
	/** By dealer: whether its share was sound. */
	readonly accepted: readonly boolean[];
	/** Its shares of inner products and combinations, as {@link openShares} puts them. */
	readonly values: Uint32Array;
}

export interface OpenedSketches {
	/** Inner product of two dealers' sketches, where it could be decoded. */
	product(i: number, k: number): bigint | undefined;
	/** The 16 combinations of a dealer's sketch, where they could be decoded. */
	combinations(i: number): readonly bigint[] | undefined;
}

/**
 * Decodes what the holders opened.
 * @param challenge 32 public bytes over everything they opened, for the batch of decodings
 */
export function decodeSketches(
	dealers: number,
	opened: readonly OpenedShares[],
	attackers: number,
	challenge: Uint8Array,
): OpenedSketches {
	const decoded = new Map<number, bigint>();
	const decode = (name: string, groups: Iterable<Group>, degree: number) => {
		for (const { codewords, holders } of groups) {
			const key = holders.map(({ point }) => point).join();
			const values = decodeBatch(codewords, holders, degree, attackers, [challenge, `${name} ${key}`]);
			for (const [c, value] of values?.entries() ?? []) decoded.set(codewords[c] as number, value);
		}
	};
	const pairs = new Map<string, Group>();
	const singles = new Map<string, Group>();
	const pairsBefore = (i: number) => i * dealers - (i * (i - 1)) / 2;
	for (let i = 0; i < dealers; i++) {
		for (let k = i; k < dealers; k++) groupOf(pairs, opened, [i, k]).codewords.push(pairsBefore(i) + k - i);
		const first = pairCount(dealers) + COMBINATIONS * i;
		const { codewords } = groupOf(singles, opened, [i]);
		for (let j = 0; j < COMBINATIONS; j++) codewords.push(first + j);
	}
	decode("products", pairs.values(), 2 * attackers);
	decode("combinations", singles.values(), attackers);
	return {
		product: (i, k) => decoded.get(pairsBefore(Math.min(i, k)) + Math.abs(i - k)),
		combinations(i) {
			const first = pairCount(dealers) + COMBINATIONS * i;
			const values = Array.from({ length: COMBINATIONS }, (_, j) => decoded.get(first + j));
			return values.every((value) => value !== undefined) ? values : undefined;
		},
	};
}

/** Codewords whose shares the same holders have. */
interface Group {
	readonly codewords: number[];
	readonly holders: readonly OpenedShares[];
}

function groupOf(
	groups: Map<string, Group>,
	opened: readonly OpenedShares[],
	dealers: readonly number[],
): Group {
	const holders = opened.filter(({ accepted }) => dealers.every((dealer) => accepted[dealer] === true));
	const key = holders.map(({ point }) => point).join();
	const group = groups.get(key) ?? { codewords: [], holders };
	groups.set(key, group);
	return group;
}

/** Random combinations of codewords that find a wrong holder but for 2^-78. */
const BATCHES = 3;

/**
 * Values at zero of many codewords with the same holders. Who sent a wrong share of any is found by
 * decoding random combinations of them; the rest is interpolation.
 */
function decodeBatch(
	codewords: readonly number[],
	holders: readonly OpenedShares[],
	degree: number,
	attackers: number,
	label: readonly [Uint8Array, string],
): bigint[] | undefined {
	const errors = Math.min(attackers, holders.length - degree - 1 - attackers);
	if (errors < 0) return undefined;
	const points = holders.map(({ point }) => point);
	const wrong = new Set<number>();
	for (const [k, prime] of PRIMES.entries()) {
		const shares = holders.map(({ values }) =>
			Uint32Array.from(codewords, (codeword) => values[3 * codeword + k] as number),
		);
		const weights = challengeWords(BATCHES * codewords.length, label, k).map((word) => word % prime.p);
		for (let batch = 0; batch < BATCHES; batch++) {
			const of = weights.subarray(batch * codewords.length, (batch + 1) * codewords.length);
			const combined = shares.map((values) => innerProduct(values, of, prime));
			const decoded = correctErrors(points, combined, degree, errors, prime, wrong);
			if (decoded === undefined) return undefined;
			for (const position of decoded.wrong) wrong.add(position);
		}
	}
	const sound = holders.filter((_, position) => !wrong.has(position));
	if (sound.length < degree + 1 + attackers) return undefined;
	const used = sound.slice(0, degree + 1);
	const usedPoints = used.map(({ point }) => point);
	const lagrange = PRIMES.map((prime) => weightsAt(0, usedPoints, prime));
	return codewords.map((codeword) =>
		integerOf(
			PRIMES.map((prime: Prime, k) =>
				used.reduce((sum, holder, j) => {
					const value = holder.values[3 * codeword + k] as number;
					return add(sum, multiply(value, (lagrange[k] as number[])[j] as number, prime), prime);
				}, 0),
			),
		),
	);
}

function challengeWords(
	count: number,
	[challenge, name]: readonly [Uint8Array, string],
	prime: number,
): Uint32Array {
	const key = hashFields(`${DOMAIN}/batch`, challenge, name, prime);
	const cipher = createCipheriv("aes-256-ctr", createSecretKey(key), new Uint8Array(16));
	const stream = Uint8Array.from(cipher.update(new Uint8Array(4 * count)));
	const view = new DataView(stream.buffer);
	return Uint32Array.from({ length: count }, (_, i) => view.getUint32(4 * i, true));
}
