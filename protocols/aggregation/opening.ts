/** What an opening must contain, and the mask keys that follow from it. */
import { agreementPublicKey } from "../../crypto/agreement.ts";
import { equalBytes } from "../../crypto/encoding.ts";
import { isPacked } from "../../crypto/ringPacking.ts";
import { PROJECTIONS } from "../../crypto/ringProjection.ts";
import type { PeerId } from "../contract.ts";
import { edgeTagOf, hasEdge, type Sharing } from "./cohort.ts";
import { type Advert, isAuthentic, type Opening, type Projection, type Proposal } from "./messages.ts";
import { droppedOf, survivorsOf } from "./proposal.ts";
import { edgeTag, maskKey, pairSeed, seedCommitment } from "./sessionId.ts";

/** Keys of the masks still in the masked sum: add the ones, subtract the others. */
export interface UnmaskKeys {
	readonly add: Uint8Array[];
	readonly subtract: Uint8Array[];
	/** Of the survivors' self masks, in their order; among those to subtract. */
	readonly self: Uint8Array[];
	/** Of each survivor's masks towards members that dropped out; among the others. */
	readonly dropped: { readonly survivor: PeerId; readonly gone: PeerId; readonly key: Uint8Array }[];
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
	const tag = edgeTagOf(sharing, u, v);
	return hasEdge(sharing, u, v) && tag !== undefined && equalBytes(tag, edgeTag(sharing.roster.sid, seed));
}

/** True when the secret belongs to the mask key the member advertised. */
export function isMaskSecret(sharing: Sharing, member: PeerId, secret: Uint8Array): boolean {
	const advert = sharing.roster.adverts.get(member);
	return advert !== undefined && equalBytes(advert.maskKey, agreementPublicKey(secret));
}

/** True when a projection is its survivor's own statement about exactly this proposal. */
export function isProjectionOf(
	projection: Projection,
	hash: Uint8Array,
	proposal: Proposal,
	modulusBits: number,
): boolean {
	return (
		proposal.metas.some(({ author }) => author === projection.author) &&
		equalBytes(projection.proposalHash, hash) &&
		isPacked(projection.packed, modulusBits, PROJECTIONS) &&
		isAuthentic(projection)
	);
}

/**
 * The keys that unmask the certified sum, every seed checked against what its owner
 * committed to before the inputs.
 * @returns the keys, or a sentence about what is missing or wrong
 */
export function unmaskKeys(sharing: Sharing, proposal: Proposal, opening: Opening): UnmaskKeys | string {
	const { sid } = sharing.roster;
	const survivors = survivorsOf(proposal);
	const add: Uint8Array[] = [];
	const subtract: Uint8Array[] = [];
	const self: Uint8Array[] = [];
	const dropped: UnmaskKeys["dropped"] = [];
	if (opening.seeds.length !== survivors.length) return "the opening lacks self seeds";
	for (const [i, survivor] of survivors.entries()) {
		const seed = opening.seeds[i] as Uint8Array;
		if (!isSelfSeed(sharing, survivor, seed)) return `the self seed of ${survivor} is not the committed one`;
		self.push(maskKey(sid, seed));
	}
	subtract.push(...self);
	for (const gone of droppedOf(proposal)) {
		const entry = opening.dropped.find(({ peer }) => peer === gone);
		if (entry === undefined) return `the opening lacks the masks towards ${gone}`;
		if (entry.maskSecret !== undefined && !isMaskSecret(sharing, gone, entry.maskSecret)) {
			return `the mask key of ${gone} is not the advertised one`;
		}
		for (const survivor of survivors) {
			if (!hasEdge(sharing, survivor, gone)) continue;
			const seed = seedOfEdge(sharing, entry, survivor, gone);
			if (seed === undefined || !isEdgeSeed(sharing, survivor, gone, seed)) {
				return `the seed between ${survivor} and ${gone} is missing or not the tagged one`;
			}
			// The survivor added PRG(s) when it sorts first, else subtracted it.
			const key = maskKey(sid, seed);
			(survivor < gone ? subtract : add).push(key);
			dropped.push({ survivor, gone, key });
		}
	}
	return { add, subtract, self, dropped };
}

function seedOfEdge(
	sharing: Sharing,
	entry: Opening["dropped"][number],
	survivor: PeerId,
	gone: PeerId,
): Uint8Array | undefined {
	const given = entry.edges?.find(({ peer }) => peer === survivor)?.seed;
	if (given !== undefined || entry.maskSecret === undefined) return given;
	const { sid, adverts } = sharing.roster;
	return pairSeed(sid, entry.maskSecret, gone, (adverts.get(survivor) as Advert).maskKey, survivor);
}
