/** Who may be on a roster: everybody or a selection; in buffered rounds whoever is ready, with what it declares. */
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId } from "../contract.ts";
import type { Advert } from "./messages.ts";
import { DOMAIN } from "./sessionId.ts";

/**
 * A buffered round sums the contributions of the first `capacity` members that have one ready. Each declares in
 * its signed advert which version of the model it trained from: the number of rounds before it.
 */
export interface BufferRules {
	/** Largest roster, at least 3. */
	readonly capacity: number;
	/** The oldest version that a member may declare: not too stale, and none that it has contributed from before. */
	readonly oldestVersion: (member: PeerId) => number;
}

export interface Admission {
	/** Who may contribute at all. */
	readonly selected: readonly PeerId[];
	/** The newest version there is. */
	readonly round: number;
	readonly buffer?: BufferRules | undefined;
}

/** What is wrong with an author or with the version it declares; undefined where nothing is. */
export function admissionFlaw(
	{ author, version }: Pick<Advert, "author" | "version">,
	{ selected, round, buffer }: Admission,
): string | undefined {
	if (!selected.includes(author)) return "it is none of those selected to contribute";
	if (buffer === undefined)
		return version === undefined ? undefined : "it declares a version in a round without a buffer";
	if (version === undefined) return "it does not declare which version it trained from";
	if (version > round) return `it declares version ${version}, which does not exist yet`;
	const oldest = buffer.oldestVersion(author);
	return version < oldest ? `it declares version ${version}; it may use none before ${oldest}` : undefined;
}

/**
 * The adverts that a roster takes when there are more than the buffer holds: the oldest versions first, so that
 * nothing goes stale in the queue, then in an order that nobody chose.
 */
export function fillBuffer(adverts: readonly Advert[], sidPre: Uint8Array, capacity: number): Advert[] {
	const ticket = ({ author }: Advert) =>
		Buffer.from(hashFields(`${DOMAIN}/buffer`, sidPre, author)).toString("hex");
	return [...adverts]
		.sort((a, b) => (a.version ?? 0) - (b.version ?? 0) || (ticket(a) < ticket(b) ? -1 : 1))
		.slice(0, capacity);
}
