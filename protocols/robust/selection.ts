/** A screening's selection: the checks of what travels for it, and whom the opened inner products select. */
import { decodeCanonical, encodeCanonical, equalBytes } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import { PRIMES } from "../../crypto/primeField.ts";
import type { ModulusBits } from "../../crypto/ringPacking.ts";
import { SKETCH_LIMIT, SKETCH_ROWS } from "../../crypto/signSketch.ts";
import { responseLength, type VectorShare } from "../../crypto/vectorSharing.ts";
import { leastVectors } from "../../src/robustness/breakdown.ts";
import type { PairMatrix } from "../../src/robustness/gram.ts";
import { selectBySpectrum } from "../../src/robustness/spectralSelection.ts";
import type { Confirmation, Products, Screening, Sketch } from "../aggregation/messages.ts";
import type { PartClaim } from "../aggregation/publicParts.ts";
import { vectorHash } from "../aggregation/sessionId.ts";
import { canonical, isAuthentic } from "../aggregation/statements.ts";
import type { PeerId } from "../contract.ts";
import type { Offence } from "./outcome.ts";
import { decodeSketches, openedBytes, sketchShape } from "./sketching.ts";
import type { Basis, Bench } from "./verdict.ts";

const DOMAIN = "althing/selection/1";

/** What a dealer's sharing of its sketch is bound to. */
export function sketchContext(commitment: Uint8Array, dealer: PeerId): Uint8Array {
	return hashFields(`${DOMAIN}/sketch`, commitment, dealer);
}

/** What a sealed share of a sketch is bound to. */
export function sealedSketchData(commitment: Uint8Array, dealer: PeerId, holder: PeerId): Uint8Array {
	return hashFields(`${DOMAIN}/sealed`, commitment, dealer, holder);
}

/** A holder's share as it is sealed. */
export function encodeShare({ values, salt, proof }: VectorShare): Uint8Array {
	return encodeCanonical([residueBytes(values), salt, proof]);
}

/** @throws AlthingError `encoding.*`, or a TypeError, for what a dealer put together wrongly */
export function decodeShare(bytes: Uint8Array, index: number): VectorShare {
	const [values, salt, proof] = decodeCanonical(bytes) as [Uint8Array, Uint8Array, Uint8Array];
	return { index, values: residuesOf(values), salt, proof };
}

/** Four little-endian bytes a residue. */
export function residueBytes(values: Uint32Array): Uint8Array {
	const bytes = new Uint8Array(4 * values.length);
	const view = new DataView(bytes.buffer);
	for (let i = 0; i < values.length; i++) view.setUint32(4 * i, values[i] as number, true);
	return bytes;
}

export function residuesOf(bytes: Uint8Array): Uint32Array {
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const values = new Uint32Array(Math.floor(bytes.length / 4));
	for (let i = 0; i < values.length; i++) values[i] = view.getUint32(4 * i, true);
	return values;
}

/** Checks the public part of a sketch by itself; returns what is wrong, or undefined. */
export function sketchFlaw({ sharing }: Bench, commitment: Uint8Array, sketch: Sketch): string | undefined {
	if (!equalBytes(sketch.sid, sharing.roster.sid)) return "it belongs to another session";
	if (!equalBytes(sketch.commitment, commitment)) return "it is about other inputs";
	if (!isAuthentic(sketch)) return "it is not signed by its author";
	return undefined;
}

/** Checks a sharing's response, which holders check their shares by; returns what is wrong, or undefined. */
export function responseFlaw(
	{ rules }: Bench,
	holders: number,
	sketch: Sketch,
	response: Uint8Array,
): string | undefined {
	const shape = sketchShape(holders, rules.selection?.attackers ?? 0);
	if (response.length !== 4 * responseLength(shape)) return "its sharing has a wrong degree";
	return equalBytes(vectorHash(response), sketch.responseHash)
		? undefined
		: "its sharing is not the signed one";
}

/** Checks a member's word for a set of sketches by itself; returns what is wrong, or undefined. */
export function confirmationFlaw(
	{ sharing }: Pick<Bench, "sharing">,
	basis: Uint8Array,
	confirmation: Confirmation,
): string | undefined {
	if (!equalBytes(confirmation.sid, sharing.roster.sid)) return "it belongs to another session";
	if (!equalBytes(confirmation.basis, basis)) return "it is for other sketches";
	return isAuthentic(confirmation) ? undefined : "it is not signed by its author";
}

/** Checks what a holder says it opened by itself; returns what is wrong, or undefined. */
export function productsFlaw(
	{ sharing }: Bench,
	basis: Uint8Array,
	dealers: number,
	opened: Products,
): string | undefined {
	const { refused } = opened;
	if (!equalBytes(opened.sid, sharing.roster.sid)) return "it belongs to another session";
	if (!equalBytes(opened.basis, basis)) return "it is about other sketches";
	if (refused.some((place, i) => place >= dealers || (i > 0 && (refused[i - 1] as number) >= place)))
		return "what it refuses is not sorted";
	if (!isAuthentic(opened)) return "it is not signed by its author";
	return undefined;
}

/** Checks the shares that a holder opened; returns what is wrong, or undefined. */
export function sharesFlaw(dealers: number, bytes: Uint8Array): string | undefined {
	if (bytes.length !== openedBytes(dealers)) return "it has a wrong size";
	const residual = residuesOf(bytes).every((value, i) => value < (PRIMES[i % PRIMES.length]?.p ?? 0));
	return residual ? undefined : "it has a value that is no residue";
}

/** Finds the shares that a holder signed for. */
export type OpenedBy = (claim: PartClaim) => Uint8Array | undefined;

/** What a screening's holders opened, decoded. */
export interface Opened {
	/** What is proven against an author by its sketch and the projections that it stated. */
	offenceOf(
		author: PeerId,
		projections: Int32Array,
		normBound: number,
		modulusBits: ModulusBits,
	): Offence | undefined;
	/** Estimated L2 norm of an author's input; 0 where its sketch could not be opened. */
	normOf(author: PeerId): number;
	/**
	 * Those of `kept` (sorted) whose sketches are known and selected; none when they are too few.
	 * @param proven attackers that are not among them: so many fewer are left
	 */
	select(kept: readonly PeerId[], proven: number): PeerId[];
}

/** Decodes a screening's sketches; undefined without a selection. */
export function openedSketches(
	{ rules, openedBy }: Bench,
	{ metas, sketches, products }: Screening,
	basis: Basis,
): Opened | undefined {
	const { selection } = rules;
	if (selection === undefined || sketches === undefined || products === undefined) return undefined;
	const { attackers } = selection;
	const dealers = sketches.map(({ author }) => author);
	const holders = metas.map(({ author }) => author);
	const challenge = hashFields(`${DOMAIN}/opened`, basis.hash, ...products.map((one) => canonical(one)));
	const decoded = decodeSketches(
		dealers.length,
		products.flatMap(({ author, opened, refused }) => {
			const bytes = openedBy({ author, hash: opened });
			// Nothing that was signed for makes such shares sound: they count as missing, for everybody.
			if (bytes === undefined || sharesFlaw(dealers.length, bytes) !== undefined) return [];
			const accepted = dealers.map((_, place) => !refused.includes(place));
			return [{ point: holders.indexOf(author) + 1, accepted, values: residuesOf(bytes) }];
		}),
		attackers,
		challenge,
	);
	const productOf = (one: PeerId, other: PeerId): number | undefined => {
		const product = decoded.product(dealers.indexOf(one), dealers.indexOf(other));
		return product === undefined ? undefined : Number(product);
	};
	return {
		offenceOf(author, projections, normBound, modulusBits) {
			const place = dealers.indexOf(author);
			const combinations = decoded.combinations(place);
			const square = productOf(author, author);
			if (combinations === undefined || square === undefined) return undefined;
			const limit = SKETCH_LIMIT * normBound * normBound;
			// The combinations first: a sketch with values beyond the field's range has a square that means nothing.
			// A sum of some of a vector's 256 values is at most sqrt(256) times its length.
			const longest = combinations.reduce((most, value) => Math.max(most, Math.abs(Number(value))), 0);
			if (longest * longest > SKETCH_ROWS * limit || square > limit) return "too_long";
			const matches = combinations.every(
				(value, j) => Number(BigInt.asIntN(modulusBits, value)) === projections[j],
			);
			return matches ? undefined : "wrong_sketch";
		},
		normOf: (author) => Math.sqrt(Math.max(0, productOf(author, author) ?? 0) / (SKETCH_ROWS / 2)),
		select(kept, proven) {
			const left = Math.max(0, attackers - proven);
			const candidates = candidatesOf(
				kept.filter((peer) => decoded.combinations(dealers.indexOf(peer)) !== undefined),
				productOf,
			);
			if (candidates.length < leastVectors("spectral", left)) return [];
			const size = candidates.length;
			const values = Float64Array.from(
				{ length: size * size },
				(_, at) =>
					productOf(candidates[Math.floor(at / size)] as PeerId, candidates[at % size] as PeerId) as number,
			);
			const gram: PairMatrix = { size, values };
			return selectBySpectrum(gram, left).map((index) => candidates[index] as PeerId);
		},
	};
}

/** Leaves out, one by one, whoever has the most inner products that could not be opened. */
function candidatesOf(
	kept: readonly PeerId[],
	productOf: (one: PeerId, other: PeerId) => number | undefined,
): PeerId[] {
	const candidates = [...kept];
	for (;;) {
		const missing = candidates.map(
			(one) => candidates.filter((other) => productOf(one, other) === undefined).length,
		);
		const worst = Math.max(0, ...missing);
		if (worst === 0) return candidates;
		candidates.splice(missing.lastIndexOf(worst), 1);
	}
}
