/**
 * The opening of a certified sum: every secret that removes the masks, and what binds each to the trees
 * the certificate is about. Anybody can check it with the certificate alone. It travels as payload, a few
 * long byte strings, so that a thousand members' seeds are read at once.
 */
import { z } from "zod";
import { agreementPublicKey } from "../../crypto/agreement.ts";
import { decodeCanonical, encodeCanonical, equalBytes } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { isPacked, packedSize } from "../../crypto/ringPacking.ts";
import { PROJECTIONS } from "../../crypto/ringProjection.ts";
import type { PeerId } from "../contract.ts";
import { bytesUpTo, hashBytes, peerId } from "../wire.ts";
import {
	bundleLeaf,
	cohortTree,
	edgeTagIn,
	hasEdge,
	keyedLeaf,
	rosterRootOf,
	type Sharing,
} from "./cohort.ts";
import type { CohortGraph } from "./cohortGraph.ts";
import { MAX_COHORT, MAX_NEIGHBOURS } from "./limits.ts";
import type { MaskRemoval } from "./masking.ts";
import { decodeMembers, encodeMembers } from "./memberSet.ts";
import { type Bundle, bundleSchema, type Certified, type Projection, type Proposal } from "./messages.ts";
import { droppedOf, survivorsOf } from "./proposal.ts";
import { edgeTag, seedCommitment, sessionId } from "./sessionId.ts";
import { isAuthentic } from "./statements.ts";

/** The masks of a dropped member: its mask secret, or the seeds of its edges to survivors. */
export type DroppedOpening =
	| { readonly maskSecret: Uint8Array }
	| { readonly edges: readonly { readonly peer: PeerId; readonly seed: Uint8Array }[] };

export interface Opening {
	/** Self seeds of the survivors, sorted. */
	readonly seeds: readonly Uint8Array[];
	/** For each of U2, sorted, the rest of its leaf in the tree of sharings. */
	readonly rests: readonly Uint8Array[];
	/** For each dropped member, sorted: its seed commitment, whose seed stays closed, and its masks. */
	readonly dropped: readonly { readonly commitment: Uint8Array; readonly masks: DroppedOpening }[];
	/** The roster and its leaves; empty where no mask secret is opened. */
	readonly roster: readonly {
		readonly peer: PeerId;
		readonly maskKey: Uint8Array;
		readonly rest: Uint8Array;
	}[];
	/** Sharings whose tags matter: of dropped members whose edges are opened, and of the ends of edges that are none. */
	readonly bundles: readonly Bundle[];
	/** Sorted by author; not every survivor's need be here. */
	readonly projections: readonly Pick<Projection, "author" | "packed" | "signature">[];
	/** Masked inputs of survivors whose projection was false. */
	readonly inputs: readonly { readonly survivor: PeerId; readonly packed: Uint8Array }[];
}

/** Ring of the vectors, for sizes. */
export interface VectorShape {
	readonly length: number;
	readonly modulusBits: number;
}

const set = bytesUpTo(MAX_COHORT / 8);
const hashes = bytesUpTo(32 * MAX_COHORT);
const maskOpening = z.union([
	z.strictObject({ maskSecret: hashBytes }),
	z.strictObject({
		edges: z.array(z.strictObject({ peer: peerId, seed: hashBytes })).max(MAX_NEIGHBOURS),
	}),
]);
const openingSchema = z.strictObject({
	seeds: hashes,
	rests: hashes,
	commitments: hashes,
	masks: z.array(maskOpening).max(MAX_COHORT),
	roster: set,
	maskKeys: hashes,
	advertRests: hashes,
	bundles: z.array(bundleSchema).max(MAX_COHORT),
	projected: set,
	projections: bytesUpTo(MAX_COHORT * (4 * PROJECTIONS + 64)),
	shown: set,
	inputs: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
});

/** Masked inputs that an opening may show: more are treated as missing. */
export const SHOWN_INPUTS = 4;

export function encodeOpening(graph: CohortGraph, opening: Opening): Uint8Array {
	const { members } = graph;
	const { roster, projections, inputs, dropped } = opening;
	return encodeCanonical({
		seeds: Buffer.concat(opening.seeds),
		rests: Buffer.concat(opening.rests),
		commitments: Buffer.concat(dropped.map(({ commitment }) => commitment)),
		masks: dropped.map(({ masks }) =>
			"maskSecret" in masks ? masks : { edges: masks.edges.map((edge) => ({ ...edge })) },
		),
		roster: encodeMembers(
			members,
			roster.map(({ peer }) => peer),
		),
		maskKeys: Buffer.concat(roster.map(({ maskKey }) => maskKey)),
		advertRests: Buffer.concat(roster.map(({ rest }) => rest)),
		bundles: opening.bundles.map((bundle) => ({ ...bundle })),
		projected: encodeMembers(
			members,
			projections.map(({ author }) => author),
		),
		projections: Buffer.concat(projections.flatMap(({ packed, signature }) => [packed, signature])),
		shown: encodeMembers(
			members,
			inputs.map(({ survivor }) => survivor),
		),
		inputs: Buffer.concat(inputs.map(({ packed }) => packed)),
	});
}

/** @throws AlthingError `aggregation.malformed` when the bytes are no opening of vectors of this shape */
export function decodeOpening(graph: CohortGraph, shape: VectorShape, encoded: Uint8Array): Opening {
	const { members } = graph;
	const malformed = (why: string): AlthingError =>
		new AlthingError("aggregation.malformed", `The opening is malformed: ${why}.`);
	const vectorBytes = packedSize(shape.length, shape.modulusBits);
	const most = 2 ** 20 + 4 * MAX_COHORT * (4 * PROJECTIONS + 128) + SHOWN_INPUTS * vectorBytes;
	const parsed = openingSchema.safeParse(decodeCanonical(encoded, most));
	if (!parsed.success) throw malformed(parsed.error.issues[0]?.message ?? "unknown");
	const raw = parsed.data;
	const read = (bits: Uint8Array): PeerId[] => {
		const decoded = decodeMembers(members, bits);
		if (decoded === undefined) throw malformed("a set of members is unreadable");
		return decoded;
	};
	const pieces = (joined: Uint8Array, size: number, count = joined.length / size): Uint8Array[] => {
		if (joined.length !== size * count || !Number.isInteger(count))
			throw malformed("a list has a wrong length");
		return Array.from({ length: count }, (_, i) => joined.subarray(i * size, (i + 1) * size));
	};
	const roster = read(raw.roster);
	const maskKeys = pieces(raw.maskKeys, 32, roster.length);
	const advertRests = pieces(raw.advertRests, 32, roster.length);
	const commitments = pieces(raw.commitments, 32, raw.masks.length);
	const authors = read(raw.projected);
	const shown = read(raw.shown);
	if (shown.length > SHOWN_INPUTS) throw malformed("it shows too many inputs");
	const projectionBytes = packedSize(PROJECTIONS, shape.modulusBits);
	const inputs = pieces(raw.inputs, vectorBytes, shown.length);
	return {
		seeds: pieces(raw.seeds, 32),
		rests: pieces(raw.rests, 32),
		dropped: raw.masks.map((masks, i) => ({
			commitment: commitments[i] as Uint8Array,
			masks,
		})),
		bundles: raw.bundles,
		roster: roster.map((peer, i) => ({
			peer,
			maskKey: maskKeys[i] as Uint8Array,
			rest: advertRests[i] as Uint8Array,
		})),
		projections: pieces(raw.projections, projectionBytes + 64, authors.length).map((piece, i) => ({
			author: authors[i] as PeerId,
			packed: piece.slice(0, projectionBytes),
			signature: piece.slice(projectionBytes),
		})),
		inputs: shown.map((survivor, i) => ({ survivor, packed: inputs[i] as Uint8Array })),
	};
}

/** An opening that was found right, and the masks it removes. */
export interface CheckedOpening {
	readonly opening: Opening;
	readonly masks: MaskRemoval;
}

/**
 * Checks all that an opening and its certificate say by themselves: the secrets against the trees, the
 * projections' signatures.
 * @returns what is wrong, where it is
 * @throws AlthingError `aggregation.malformed`
 */
export function checkedOpening(
	graph: CohortGraph,
	shape: VectorShape,
	sidPre: Uint8Array,
	certified: Certified,
	encoded: Uint8Array,
): CheckedOpening | string {
	const opening = decodeOpening(graph, shape, encoded);
	const masks = masksIn(graph, sidPre, certified, opening);
	if (typeof masks === "string") return masks;
	const proposalHash = certified.certificate.value;
	const survivors = new Set(survivorsOf(graph, certified.proposed.proposal));
	for (const { author, packed, signature } of opening.projections) {
		const projection = { kind: "projection" as const, author, proposalHash, packed, signature };
		if (!isProjectionOf(projection, proposalHash, survivors, shape.modulusBits))
			return `the projection of ${author} is not its own`;
	}
	return { opening, masks };
}

/** True when a projection is its survivor's own statement about exactly this proposal. */
export function isProjectionOf(
	projection: Projection,
	hash: Uint8Array,
	survivors: ReadonlySet<PeerId>,
	modulusBits: number,
): boolean {
	return (
		survivors.has(projection.author) &&
		equalBytes(projection.proposalHash, hash) &&
		isPacked(projection.packed, modulusBits, PROJECTIONS) &&
		isAuthentic(projection)
	);
}

/** True when the seed is the one the member committed to in its bundle. */
export function isSelfSeed(sharing: Sharing, member: PeerId, seed: Uint8Array): boolean {
	const bundle = sharing.bundles.get(member);
	return (
		bundle !== undefined &&
		equalBytes(bundle.seedCommitment, seedCommitment(sharing.roster.sid, member, seed))
	);
}

/** True when the seed is the one both ends of an edge tagged. */
export function isEdgeSeed(sharing: Sharing, u: PeerId, v: PeerId, seed: Uint8Array): boolean {
	const { roster, bundles } = sharing;
	const tag = edgeTagIn(roster.graph, bundles.get(u), v);
	return hasEdge(sharing, u, v) && tag !== undefined && equalBytes(tag, edgeTag(roster.sid, seed));
}

/** True when the secret belongs to the mask key the member advertised. */
export function isMaskSecret(sharing: Sharing, member: PeerId, secret: Uint8Array): boolean {
	const advert = sharing.roster.adverts.get(member);
	return advert !== undefined && equalBytes(advert.maskKey, agreementPublicKey(secret));
}

/**
 * The masks that are still in the certified sum, every secret checked against what its owner committed
 * to before the inputs: seeds and tags in the tree of sharings, mask keys in the roster's.
 * @returns the masks, or a sentence about what is missing or wrong
 */
export function masksIn(
	graph: CohortGraph,
	sidPre: Uint8Array,
	{ proposed: { proposal } }: Pick<Certified, "proposed">,
	opening: Opening,
): MaskRemoval | string {
	const sid = sessionId(sidPre, proposal.rosterRoot);
	const survivors = survivorsOf(graph, proposal);
	const gone = droppedOf(graph, proposal);
	if (opening.seeds.length !== survivors.length) return "it lacks self seeds";
	if (opening.dropped.length !== gone.length) return "it lacks masks of dropped members";
	const leaves = sharingLeaves(graph, sid, proposal, opening);
	if (typeof leaves === "string") return leaves;
	const bundles = new Map(opening.bundles.map((bundle) => [bundle.author, bundle]));
	for (const [author, bundle] of bundles) {
		const leaf = leaves.get(author);
		if (leaf === undefined || !equalBytes(leaf, bundleLeaf(bundle)))
			return `the sharing of ${author} is another`;
	}
	const flaw = rosterFlaw(graph, proposal, opening);
	if (flaw !== undefined) return flaw;
	const alive = new Set(survivors);
	const maskKeys = new Map(opening.roster.map(({ peer, maskKey }) => [peer, maskKey]));
	const edges: { survivor: PeerId; gone: PeerId; seed: Uint8Array }[] = [];
	const secrets: { peer: PeerId; secret: Uint8Array; mates: { peer: PeerId; maskKey: Uint8Array }[] }[] = [];
	for (const [i, peer] of gone.entries()) {
		const { masks } = opening.dropped[i] as Opening["dropped"][number];
		const mates = graph
			.matesOf(peer)
			.filter((mate) => alive.has(mate) && !isNoEdge(graph, bundles, peer, mate));
		if ("maskSecret" in masks) {
			const maskKey = maskKeys.get(peer);
			if (maskKey === undefined || !equalBytes(maskKey, agreementPublicKey(masks.maskSecret)))
				return `the mask key of ${peer} is not the advertised one`;
			secrets.push({
				peer,
				secret: masks.maskSecret,
				mates: mates.map((mate) => ({ peer: mate, maskKey: maskKeys.get(mate) as Uint8Array })),
			});
			continue;
		}
		for (const mate of mates) {
			const seed = masks.edges.find((edge) => edge.peer === mate)?.seed;
			const tag = edgeTagIn(graph, bundles.get(peer), mate);
			if (seed === undefined || tag === undefined || !equalBytes(tag, edgeTag(sid, seed)))
				return `the seed between ${mate} and ${peer} is missing or not the tagged one`;
			edges.push({ survivor: mate, gone: peer, seed });
		}
	}
	return { sid, selfSeeds: opening.seeds, edges, secrets };
}

/** True when both ends' sharings are shown and their tags differ: neither put the mask in. */
function isNoEdge(graph: CohortGraph, bundles: ReadonlyMap<PeerId, Bundle>, u: PeerId, v: PeerId): boolean {
	const a = edgeTagIn(graph, bundles.get(u), v);
	const b = edgeTagIn(graph, bundles.get(v), u);
	return a !== undefined && b !== undefined && !equalBytes(a, b);
}

/** Leaves of the tree of sharings by member, checked against its root. */
function sharingLeaves(
	graph: CohortGraph,
	sid: Uint8Array,
	proposal: Proposal,
	opening: Opening,
): ReadonlyMap<PeerId, Uint8Array> | string {
	const cohort = decodeMembers(graph.members, proposal.cohort) ?? [];
	if (opening.rests.length !== cohort.length) return "it lacks parts of sharings";
	const commitments = new Map<PeerId, Uint8Array>();
	for (const [i, survivor] of survivorsOf(graph, proposal).entries())
		commitments.set(survivor, seedCommitment(sid, survivor, opening.seeds[i] as Uint8Array));
	for (const [i, gone] of droppedOf(graph, proposal).entries())
		commitments.set(gone, opening.dropped[i]?.commitment as Uint8Array);
	const leaves = new Map(
		cohort.map((member, i) => [
			member,
			keyedLeaf(commitments.get(member) as Uint8Array, opening.rests[i] as Uint8Array),
		]),
	);
	return equalBytes(cohortTree(graph, leaves, (leaf) => leaf).root, proposal.shareTree)
		? leaves
		: "a self seed is not the committed one";
}

function rosterFlaw(
	graph: CohortGraph,
	proposal: Proposal,
	{ dropped, roster }: Opening,
): string | undefined {
	if (!dropped.some(({ masks }) => "maskSecret" in masks)) return undefined;
	const leaves = new Map(roster.map(({ peer, maskKey, rest }) => [peer, keyedLeaf(maskKey, rest)]));
	const root = cohortTree(graph, leaves, (leaf) => leaf).root;
	const members = encodeMembers(graph.members, leaves.keys());
	return equalBytes(rosterRootOf(members, root), proposal.rosterRoot)
		? undefined
		: "a mask key is not the advertised one";
}
