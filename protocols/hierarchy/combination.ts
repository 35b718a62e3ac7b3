/**
 * Certified cohort sums are added up along a tree. Each addition is stated with the hashes of its parts and of
 * its total, and with 128 projections of all of them that follow from those hashes: whoever holds one part and
 * the total checks the whole addition by them.
 */
import { encodeCanonical, equalBytes } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { isPacked, packRing, unpackRing } from "../../crypto/ringPacking.ts";
import { PROJECTIONS, projectRing } from "../../crypto/ringProjection.ts";

const DOMAIN = "althing/hierarchy/1";

/** Sums that one addition takes. */
export const FAN_IN = 16;

/** A sum as the tree knows it. */
export interface SumName {
	/** Hash of the packed vector. */
	readonly sumHash: Uint8Array;
	/** Contributors of all cohorts below. */
	readonly survivors: number;
}

/** One addition. */
export interface Addition {
	readonly parts: readonly SumName[];
	readonly total: SumName;
	/** Packed projections of each part and of the total. */
	readonly partProjections: readonly Uint8Array[];
	readonly totalProjection: Uint8Array;
}

interface Shape {
	readonly length: number;
	readonly modulusBits: number;
}

/** Names a sum. @param packed see crypto/ringPacking.ts */
export function nameOf(packed: Uint8Array, survivors: number): SumName {
	return { sumHash: hashFields(`${DOMAIN}/sum`, packed), survivors };
}

/**
 * Adds certified sums.
 * @param parts 1 to {@link FAN_IN} of them, packed
 * @throws AlthingError `hierarchy.bad_parts` for too many or for bytes that are no vector
 */
export function add(
	parts: readonly { readonly packed: Uint8Array; readonly survivors: number }[],
	{ length, modulusBits }: Shape,
): { readonly addition: Addition; readonly packed: Uint8Array } {
	if (
		parts.length < 1 ||
		parts.length > FAN_IN ||
		!parts.every(({ packed }) => isPacked(packed, modulusBits, length))
	)
		throw new AlthingError(
			"hierarchy.bad_parts",
			`An addition takes 1 to ${FAN_IN} packed vectors of ${length} values.`,
		);
	const vectors = parts.map(({ packed }) => unpackRing(packed, modulusBits, length));
	const sum = new Uint32Array(length);
	for (const vector of vectors)
		for (let i = 0; i < length; i++) sum[i] = (sum[i] as number) + (vector[i] as number);
	const packed = packRing(sum, modulusBits);
	const names = parts.map((part) => nameOf(part.packed, part.survivors));
	const total = nameOf(
		packed,
		parts.reduce((all, { survivors }) => all + survivors, 0),
	);
	const seed = additionSeed(names, total);
	const project = (vector: Uint32Array) => packRing(projectRing(seed, vector, modulusBits), modulusBits);
	return {
		packed,
		addition: {
			parts: names,
			total,
			partProjections: vectors.map(project),
			totalProjection: project(sum),
		},
	};
}

/** Known only when every part and the total are fixed. */
function additionSeed(parts: readonly SumName[], total: SumName): Uint8Array {
	return hashFields(
		`${DOMAIN}/addition`,
		...[...parts, total].map(({ sumHash, survivors }) => encodeCanonical([sumHash, survivors])),
	);
}

/**
 * Checks an addition for somebody who holds one of its parts and the total.
 * @returns what is wrong, or undefined: then, but for a chance of 2^-128, the total is the part plus what
 *   the holders of the other parts find right in the same way
 */
export function additionFlaw(
	addition: Addition,
	own: { readonly packed: Uint8Array; readonly survivors: number },
	totalPacked: Uint8Array,
	{ length, modulusBits }: Shape,
): string | undefined {
	const { parts, total, partProjections, totalProjection } = addition;
	if (parts.length < 1 || parts.length > FAN_IN || partProjections.length !== parts.length)
		return "it has a wrong number of parts";
	if (![...partProjections, totalProjection].every((one) => isPacked(one, modulusBits, PROJECTIONS)))
		return "a projection is unreadable";
	if (![own.packed, totalPacked].every((one) => isPacked(one, modulusBits, length)))
		return "a vector is unreadable";
	const name = nameOf(own.packed, own.survivors);
	const position = parts.findIndex(
		({ sumHash, survivors }) => survivors === name.survivors && equalBytes(sumHash, name.sumHash),
	);
	if (position < 0) return "the own part is not in it";
	if (!equalBytes(total.sumHash, nameOf(totalPacked, total.survivors).sumHash))
		return "its total is another vector";
	if (total.survivors !== parts.reduce((all, { survivors }) => all + survivors, 0))
		return "it counts its contributors wrong";
	const seed = additionSeed(parts, total);
	const projected = (packed: Uint8Array) =>
		packRing(projectRing(seed, unpackRing(packed, modulusBits, length), modulusBits), modulusBits);
	if (!equalBytes(projected(own.packed), partProjections[position] as Uint8Array))
		return "the own part's projections are wrong";
	if (!equalBytes(projected(totalPacked), totalProjection)) return "the total's projections are wrong";
	const expected = new Uint32Array(PROJECTIONS);
	for (const one of partProjections) {
		const values = unpackRing(one, modulusBits, PROJECTIONS);
		for (let k = 0; k < PROJECTIONS; k++) expected[k] = (expected[k] as number) + (values[k] as number);
	}
	return equalBytes(packRing(expected, modulusBits), totalProjection) ? undefined : "its parts do not add up";
}

/** The additions from one cohort's sum up to the root, each with its total, lowest first. */
export type Path = readonly { readonly addition: Addition; readonly packed: Uint8Array }[];

/** Checks a cohort's way to the root; returns what is wrong, or undefined. */
export function pathFlaw(
	cohortSum: { readonly packed: Uint8Array; readonly survivors: number },
	path: Path,
	shape: Shape,
): string | undefined {
	let own = cohortSum;
	for (const [level, { addition, packed }] of path.entries()) {
		const flaw = additionFlaw(addition, own, packed, shape);
		if (flaw !== undefined) return `at level ${level + 1} of the tree: ${flaw}`;
		own = { packed, survivors: addition.total.survivors };
	}
	return path.length === 0 ? "there is no way to the root" : undefined;
}

/**
 * The whole tree over certified cohort sums, {@link FAN_IN} at a time.
 * @returns the root's vector and each cohort's path, in the order given
 */
export function combine(
	sums: readonly { readonly packed: Uint8Array; readonly survivors: number }[],
	shape: Shape,
): { readonly packed: Uint8Array; readonly survivors: number; readonly paths: readonly Path[] } {
	const paths: { addition: Addition; packed: Uint8Array }[][] = sums.map(() => []);
	let level = sums.map((sum, index) => ({ ...sum, below: [index] }));
	do {
		const next: typeof level = [];
		for (let first = 0; first < level.length; first += FAN_IN) {
			const parts = level.slice(first, first + FAN_IN);
			const { addition, packed } = add(parts, shape);
			const below = parts.flatMap((part) => part.below);
			for (const index of below) paths[index]?.push({ addition, packed });
			next.push({ packed, survivors: addition.total.survivors, below });
		}
		level = next;
	} while (level.length > 1);
	const [root] = level;
	if (root === undefined) throw new AlthingError("hierarchy.bad_parts", "No cohort has a certified sum.");
	return { packed: root.packed, survivors: root.survivors, paths };
}
