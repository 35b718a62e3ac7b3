/** The public facts of a session, as far as a node knows them and checked by itself: roster and sharings. */
import { isLowOrder } from "../../crypto/agreement.ts";
import { equalBytes } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { leafHash, type MerkleTree, merkleTree } from "../../crypto/merkle.ts";
import { subsetProof, verifySubset } from "../../crypto/merkleSubset.ts";
import type { PeerId } from "../contract.ts";
import { type Admission, admissionFlaw } from "./admission.ts";
import type { CohortGraph } from "./cohortGraph.ts";
import { decodeMembers, encodeMembers } from "./memberSet.ts";
import type { Advert, Bundle, InputMeta } from "./messages.ts";
import { DOMAIN, sessionId } from "./sessionId.ts";
import { canonical, isAuthentic, statementHash } from "./statements.ts";

/** With two, each other's only share holder would hold a share that is the secret. */
const SMALLEST_ROSTER = 3;

/** What a node knows of a session when its roster is fixed. */
export interface Roster {
	readonly graph: CohortGraph;
	readonly sidPre: Uint8Array;
	readonly sid: Uint8Array;
	readonly rosterRoot: Uint8Array;
	/** Sorted. */
	readonly members: readonly PeerId[];
	/** Of this node's neighbours and itself; the coordinator has all. */
	readonly adverts: ReadonlyMap<PeerId, Advert>;
	/** t */
	readonly threshold: number;
}

/** A roster whose share phase has ended. */
export interface Sharing {
	readonly roster: Roster;
	/** U2, sorted: who is masked against whom. */
	readonly cohort: readonly PeerId[];
	/** Of this node's neighbours in U2 and its own; the coordinator has all. */
	readonly bundles: ReadonlyMap<PeerId, Bundle>;
	readonly shareSetHash: Uint8Array;
}

/** The members of a Merkle tree in the graph's order that a message leaves out, and its root. */
export interface TreePart {
	readonly root: Uint8Array;
	readonly proof: readonly Uint8Array[];
}

/** Fewest members of a roster whose sum may become one of so many survivors. */
export function smallestRoster(minimumSurvivors: number): number {
	return Math.max(SMALLEST_ROSTER, minimumSurvivors);
}

/**
 * Checks an advert by itself.
 * @returns what is wrong, or undefined
 */
export function advertFlaw(advert: Advert, sidPre: Uint8Array, admission: Admission): string | undefined {
	const refused = admissionFlaw(advert, admission);
	if (refused !== undefined) return refused;
	if (!equalBytes(advert.sidPre, sidPre)) return "its keys are for another session, model or configuration";
	if (!isAuthentic(advert)) return "its signature is wrong";
	// A low-order key gives every mate the same all-zero secret, whatever its own key.
	return [advert.maskKey, advert.channelKey].some(isLowOrder) ? "it sent a key of low order" : undefined;
}

/**
 * The roster of these adverts, and the tree over them: for the coordinator, which has checked them.
 * @throws AlthingError `aggregation.bad_roster` when they are too few
 */
export function rosterOf(
	adverts: ReadonlyMap<PeerId, Advert>,
	graph: CohortGraph,
	sidPre: Uint8Array,
	minimumSurvivors: number,
): { readonly roster: Roster; readonly tree: MerkleTree } {
	const tree = cohortTree(graph, adverts, advertLeaf);
	const members = [...adverts.keys()].sort();
	return { roster: newRoster(graph, sidPre, members, tree.root, adverts, minimumSurvivors), tree };
}

/**
 * The roster a message shows of `self`'s neighbourhood.
 * @throws AlthingError `aggregation.bad_roster`
 */
export function shownRoster(
	shown: {
		readonly members: Uint8Array;
		readonly adverts: readonly Advert[];
		readonly root: Uint8Array;
		readonly proof: readonly Uint8Array[];
	},
	self: PeerId,
	graph: CohortGraph,
	sidPre: Uint8Array,
	admission: Admission,
	minimumSurvivors: number,
): Roster {
	const members = decodeMembers(graph.members, shown.members);
	if (members === undefined) throw badRoster("The roster's members cannot be read.");
	for (const advert of shown.adverts) {
		const flaw = advertFlaw(advert, sidPre, admission);
		if (flaw !== undefined)
			throw badRoster(`The roster's entry of ${advert.author} is bad: ${flaw}.`, advert.author);
	}
	const { capacity = Number.POSITIVE_INFINITY } = admission.buffer ?? {};
	if (members.length > capacity)
		throw badRoster(`The roster has ${members.length} members; the buffer holds ${capacity}.`);
	const present = new Set(members);
	const expected = neighbourhoodOf(graph, self).filter((peer) => present.has(peer));
	const adverts = new Map(shown.adverts.map((advert) => [advert.author, advert]));
	if (adverts.size !== expected.length || expected.some((peer) => !adverts.has(peer)))
		throw badRoster("The roster does not show the keys of exactly this node's neighbours.");
	if (!provesPart(graph, neighbourhoodOf(graph, self), adverts, advertLeaf, shown))
		throw badRoster("The roster's entries are not in its tree.");
	return newRoster(graph, sidPre, members, shown.root, adverts, minimumSurvivors);
}

function newRoster(
	graph: CohortGraph,
	sidPre: Uint8Array,
	members: readonly PeerId[],
	treeRoot: Uint8Array,
	adverts: ReadonlyMap<PeerId, Advert>,
	minimumSurvivors: number,
): Roster {
	const needed = smallestRoster(minimumSurvivors);
	if (members.length < needed) {
		throw badRoster(`The roster has ${members.length} members; at least ${needed} are required.`);
	}
	const rosterRoot = rosterRootOf(encodeMembers(graph.members, members), treeRoot);
	return {
		graph,
		sidPre,
		sid: sessionId(sidPre, rosterRoot),
		rosterRoot,
		members,
		adverts,
		threshold: graph.threshold(members.length),
	};
}

/** What a session's roster is known by. */
export function rosterRootOf(members: Uint8Array, treeRoot: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/roster`, members, treeRoot);
}

function badRoster(message: string, peer?: PeerId): AlthingError {
	return new AlthingError("aggregation.bad_roster", message, peer === undefined ? {} : { peer });
}

/** A member and its neighbours, by position: what it is shown of the cohort's trees. */
export function neighbourhoodOf(graph: CohortGraph, member: PeerId): PeerId[] {
	return [...graph.neighboursOf(member), member];
}

/** Whom `member` can be masked against in a roster. */
export function rosterMates(roster: Roster, member: PeerId): PeerId[] {
	return roster.graph.matesOf(member).filter((mate) => roster.adverts.has(mate));
}

/** Checks a dealer's public part by itself; returns what is wrong, or undefined. */
export function bundleFlaw(bundle: Bundle, roster: Roster): string | undefined {
	if (!roster.adverts.has(bundle.author)) return "its author is not in the roster";
	if (!equalBytes(bundle.sid, roster.sid)) return "it belongs to another session";
	if (bundle.edgeTags.length !== TAG_BYTES * roster.graph.matesOf(bundle.author).length)
		return "it has a wrong number of edge tags";
	if (bundle.response.length !== 16 * roster.threshold) return "its sharing has a wrong degree";
	if (!isAuthentic(bundle)) return "its signature is wrong";
	return undefined;
}

/** H(ShareSet): binds U2 and every public part of its sharings. */
export function shareSetHashOf(sid: Uint8Array, cohort: Uint8Array, treeRoot: Uint8Array): Uint8Array {
	return hashFields(`${DOMAIN}/shareSet`, sid, cohort, treeRoot);
}

export const TAG_BYTES = 16;

/** The tag in a dealer's bundle for its edge to `mate`. */
export function edgeTagIn(
	graph: CohortGraph,
	bundle: Bundle | undefined,
	mate: PeerId,
): Uint8Array | undefined {
	if (bundle === undefined) return undefined;
	const position = graph.matesOf(bundle.author).indexOf(mate);
	return position < 0
		? undefined
		: bundle.edgeTags.subarray(position * TAG_BYTES, (position + 1) * TAG_BYTES);
}

/**
 * True when both ends published the same tag, i.e. hold the same seed. An edge with
 * differing tags has a malicious end and is left out of the masks by both.
 */
export function hasEdge({ roster: { graph }, bundles }: Sharing, u: PeerId, v: PeerId): boolean {
	const a = edgeTagIn(graph, bundles.get(u), v);
	const b = edgeTagIn(graph, bundles.get(v), u);
	return a !== undefined && b !== undefined && equalBytes(a, b);
}

/** Members of U2 whose masks with `member` are in its vector. */
export function maskMates(sharing: Sharing, member: PeerId): PeerId[] {
	return sharing.roster.graph.matesOf(member).filter((mate) => hasEdge(sharing, member, mate));
}

// Trees over the cohort, in the graph's order; a member that is missing has an empty leaf.

const ABSENT = leafHash(new Uint8Array());

/** Leaf of an advert: mask key and the rest of it, so that an opening can show the key alone. */
export function advertLeaf(advert: Advert): Uint8Array {
	return keyedLeaf(advert.maskKey, statementHash(advert));
}

/** Leaf of a sharing: commitment to the self seed and the rest of it. */
export function bundleLeaf(bundle: Bundle): Uint8Array {
	return keyedLeaf(bundle.seedCommitment, statementHash(bundle));
}

export function metaLeaf(meta: InputMeta): Uint8Array {
	return leafHash(canonical(meta));
}

/** Hash of the leaf whose 64 bytes are what an opening shows and what it only binds. */
export function keyedLeaf(shown: Uint8Array, rest: Uint8Array): Uint8Array {
	const leaf = new Uint8Array(64);
	leaf.set(shown);
	leaf.set(rest, 32);
	return leafHash(leaf);
}

/** The tree over a cohort from what each member contributed. */
export function cohortTree<T>(
	graph: CohortGraph,
	parts: ReadonlyMap<PeerId, T>,
	leafOf: (part: T) => Uint8Array,
): MerkleTree {
	return merkleTree(
		graph.order.map((member) => {
			const part = parts.get(member);
			return part === undefined ? ABSENT : leafOf(part);
		}),
		"hashed",
	);
}

/** What somebody who is shown the parts of `members` needs besides. */
export function partOfTree(graph: CohortGraph, tree: MerkleTree, members: readonly PeerId[]): TreePart {
	const positions = members.map((member) => graph.positionOf(member));
	return { root: tree.root, proof: subsetProof(tree, graph.order.length, positions) };
}

/** True when the tree holds exactly these parts, or nothing, for each of `members`. */
export function provesPart<T>(
	graph: CohortGraph,
	members: readonly PeerId[],
	parts: ReadonlyMap<PeerId, T>,
	leafOf: (part: T) => Uint8Array,
	{ root, proof }: TreePart,
): boolean {
	const leaves = new Map(
		members.map((member) => {
			const part = parts.get(member);
			return [graph.positionOf(member), part === undefined ? ABSENT : leafOf(part)] as const;
		}),
	);
	return verifySubset(root, graph.order.length, leaves, proof);
}
