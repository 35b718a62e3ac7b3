import { describe, expect, test } from "vitest";
import { PRIMES, residue } from "../../../crypto/primeField.ts";
import { randomBytes } from "../../../crypto/random.ts";
import { COMBINATIONS, combinationsOf, SKETCH_ROWS } from "../../../crypto/signSketch.ts";
import { heldVectors, shareVector } from "../../../crypto/vectorSharing.ts";
import {
	decodeSketches,
	leastHolders,
	type OpenedShares,
	openShares,
	sketchShape,
} from "../../../protocols/robust/sketching.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";

const ATTACKERS = 2;
const SEED = new Uint8Array(32).fill(6);
const CHALLENGE = new Uint8Array(32).fill(7);

function vectorsFor(count: number): Float64Array[] {
	const random = seededRandomForTests(11);
	return Array.from({ length: count }, () =>
		Float64Array.from({ length: SKETCH_ROWS }, () => Math.floor((random() - 0.5) * 2 ** 30)),
	);
}

function exact(a: Float64Array, b: Float64Array): bigint {
	return a.reduce((sum, value, i) => sum + BigInt(value) * BigInt(b[i]!), 0n);
}

/** What `holders` open of sketches that as many dealers shared; `refuses(holder, dealer)` holds no sound share. */
function opened(
	vectors: readonly Float64Array[],
	refuses: (holder: number, dealer: number) => boolean = () => false,
): OpenedShares[] {
	const shape = sketchShape(vectors.length, ATTACKERS);
	const sharings = vectors.map((vector) =>
		shareVector({ vector, shape, context: new Uint8Array(32), random: randomBytes }),
	);
	return vectors.map((_, holder) => {
		const sketches = sharings.map(({ shares }, place) => ({
			place,
			held: refuses(holder, place) ? undefined : heldVectors(shape, shares[holder]!),
		}));
		const accepted = sketches.map(({ held }) => held !== undefined);
		return { point: holder + 1, accepted, values: openShares(sketches, SEED) };
	});
}

function spoiled(share: OpenedShares): OpenedShares {
	return { ...share, values: share.values.map((value) => value ^ 1) };
}

const n = leastHolders(ATTACKERS);
const vectors = vectorsFor(n);

function expectAll(shares: readonly OpenedShares[], dealers: readonly number[]): void {
	const decoded = decodeSketches(n, shares, ATTACKERS, CHALLENGE);
	const signs = combinationsOf(SEED);
	for (const i of dealers) {
		for (const k of dealers) expect(decoded.product(i, k)).toBe(exact(vectors[i]!, vectors[k]!));
		const rows = Array.from({ length: COMBINATIONS }, (_, j) =>
			Float64Array.from(signs.subarray(j * SKETCH_ROWS, (j + 1) * SKETCH_ROWS)),
		);
		expect(decoded.combinations(i)).toEqual(rows.map((row) => exact(row, vectors[i]!)));
	}
}

const ALL = [...vectors.keys()];

describe("inner products of shared sketches", () => {
	test("are decoded exactly", () => expectAll(opened(vectors), ALL));

	test("are decoded through f holders that send anything, or nothing", () => {
		const shares = opened(vectors);
		expectAll(
			shares.map((share, j) => (j === 2 || j === 5 ? spoiled(share) : share)),
			ALL,
		);
		expectAll(shares.slice(ATTACKERS), ALL);
		expectAll(
			shares.slice(1).map((share, j) => (j === 4 ? spoiled(share) : share)),
			ALL,
		);
	});

	test("are decoded where f holders refuse an honest dealer", () => {
		expectAll(
			opened(vectors, (holder, dealer) => holder < ATTACKERS && dealer === 7),
			ALL,
		);
	});

	test("of a dealer that too many hold no share of are not decoded; those of the others are", () => {
		const shares = opened(vectors, (holder, dealer) => holder < 3 && dealer === 7);
		const decoded = decodeSketches(n, shares, ATTACKERS, CHALLENGE);
		expect(decoded.product(7, 1)).toBeUndefined();
		expect(decoded.product(7, 7)).toBeUndefined();
		expectAll(
			shares,
			ALL.filter((i) => i !== 7),
		);
	});

	test("are not decoded wrongly when more than f holders lie: there is no result", () => {
		const shares = opened(vectors).map((share, j) => (j < 3 ? spoiled(share) : share));
		expect(decodeSketches(n, shares, ATTACKERS, CHALLENGE).product(0, 1)).toBeUndefined();
	});

	test("tell a holder nothing by themselves: opened shares of one product differ at every run", () => {
		const first = new Set(Array.from({ length: 4 }, () => opened(vectors)[0]!.values[0]));
		expect(first.size).toBe(4);
		expect(residue(-1, PRIMES[0]!)).toBe(PRIMES[0]!.p - 1);
	});
});
