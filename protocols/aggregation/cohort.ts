/** The public facts of a session that every node checks for itself: roster, sharings, mask graph. */
import { agree } from "../../crypto/agreement.ts";
import { type Encodable, encodeCanonical, equalBytes } from "../../crypto/encoding.ts";
import { AlthingError, hasCode } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { merkleRoot } from "../../crypto/merkle.ts";
import type { PeerId } from "../contract.ts";
import { type Admission, admissionFlaw } from "./admission.ts";
import { type Advert, type Bundle, isAuthentic } from "./messages.ts";
import { DOMAIN, sessionId, shareThreshold } from "./sessionId.ts";

/** With two, each other's only share holder would hold a share that is the secret. */
const SMALLEST_ROSTER = 3;

export interface Roster {
	readonly sidPre: Uint8Array;
	readonly sid: Uint8Array;
	readonly rosterRoot: Uint8Array;
	/** Sorted. */
	readonly members: readonly PeerId[];
	readonly adverts: ReadonlyMap<PeerId, Advert>;
	/** t */
	readonly threshold: number;
}

/** A roster whose share phase has ended. */
export interface Sharing {
	readonly roster: Roster;
	/** U2, sorted: who is masked against whom. */
	readonly cohort: readonly PeerId[];
	readonly bundles: ReadonlyMap<PeerId, Bundle>;
	readonly shareSetHash: Uint8Array;
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
	try {
		// A low-order key gives every mate the same all-zero secret, whatever its own key.
		agree(PROBE_SECRET, advert.maskKey);
		agree(PROBE_SECRET, advert.channelKey);
	} catch (error) {
		if (hasCode(error, "crypto.low_order")) return "it sent a key of low order";
		throw error;
	}
	return undefined;
}

/** Any X25519 secret finds a low-order point; this one protects nothing. */
const PROBE_SECRET = new Uint8Array(32).fill(0x55);

/**
 * The roster made of these adverts.
 * @throws AlthingError `aggregation.bad_roster` naming the member at fault in `facts.peer`
 */
export function rosterOf(
	adverts: readonly Advert[],
	sidPre: Uint8Array,
	admission: Admission,
	minimumSurvivors: number,
): Roster {
	const members = adverts.map(({ author }) => author);
	if (members.some((member, i) => i > 0 && (members[i - 1] as PeerId) >= member)) {
		throw new AlthingError("aggregation.bad_roster", "The roster is not sorted or names a member twice.");
	}
	const { capacity = Number.POSITIVE_INFINITY } = admission.buffer ?? {};
	if (members.length > capacity) {
		throw new AlthingError(
			"aggregation.bad_roster",
			`The roster has ${members.length} members; the buffer holds ${capacity}.`,
		);
	}
	const needed = smallestRoster(minimumSurvivors);
	if (members.length < needed) {
		throw new AlthingError(
			"aggregation.bad_roster",
			`The roster has ${members.length} members; at least ${needed} are required.`,
		);
	}
	for (const advert of adverts) {
		const flaw = advertFlaw(advert, sidPre, admission);
		if (flaw !== undefined) {
			throw new AlthingError(
				"aggregation.bad_roster",
				`The roster's entry of ${advert.author} is bad: ${flaw}.`,
				{
					peer: advert.author,
				},
			);
		}
	}
	const rosterRoot = merkleRoot(adverts.map(canonical));
	return {
		sidPre,
		sid: sessionId(sidPre, rosterRoot),
		rosterRoot,
		members,
		adverts: new Map(adverts.map((advert) => [advert.author, advert])),
		threshold: shareThreshold(members.length),
	};
}

/** Everybody but `member`, in roster order: its share holders, and the order of its edge tags. */
export function matesOf(roster: Roster, member: PeerId): PeerId[] {
	return roster.members.filter((other) => other !== member);
}

/** Checks a dealer's public part by itself; returns what is wrong, or undefined. */
export function bundleFlaw(bundle: Bundle, roster: Roster): string | undefined {
	if (!roster.adverts.has(bundle.author)) return "its author is not in the roster";
	if (!equalBytes(bundle.sid, roster.sid)) return "it belongs to another session";
	if (bundle.edgeTags.length !== roster.members.length - 1) return "it has a wrong number of edge tags";
	if (bundle.response.length !== 16 * roster.threshold) return "its sharing has a wrong degree";
	if (!isAuthentic(bundle)) return "its signature is wrong";
	return undefined;
}

/** H(ShareSet): binds U2 and every public part of its sharings, hence the mask graph. */
export function shareSetHashOf(
	sid: Uint8Array,
	cohort: readonly PeerId[],
	bundles: ReadonlyMap<PeerId, Bundle>,
): Uint8Array {
	return hashFields(
		`${DOMAIN}/shareSet`,
		sid,
		...cohort.map((dealer) => canonical(bundles.get(dealer) as Bundle)),
	);
}

/**
 * True when both ends published the same tag, i.e. hold the same seed. An edge with
 * differing tags has a malicious end and is left out of the masks by both.
 */
export function hasEdge(sharing: Sharing, u: PeerId, v: PeerId): boolean {
	const a = edgeTagOf(sharing, u, v);
	const b = edgeTagOf(sharing, v, u);
	return a !== undefined && b !== undefined && equalBytes(a, b);
}

/** The tag `of` published for its edge to `mate`. */
export function edgeTagOf(sharing: Sharing, of: PeerId, mate: PeerId): Uint8Array | undefined {
	const position = matesOf(sharing.roster, of).indexOf(mate);
	return sharing.bundles.get(of)?.edgeTags[position];
}

/** Members of U2 whose masks with `member` are in its vector. */
export function maskMates(sharing: Sharing, member: PeerId): PeerId[] {
	return sharing.cohort.filter((other) => other !== member && hasEdge(sharing, member, other));
}

/** Canonical bytes of a signed statement. */
export function canonical(statement: object): Uint8Array {
	return encodeCanonical(statement as { [key: string]: Encodable });
}
