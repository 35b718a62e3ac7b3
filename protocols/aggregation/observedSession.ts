/**
 * What a member needs of a session that it has no part in, to judge how its inputs were screened: everybody's
 * adverts and sharings. A selection or a buffer may be smaller than a quorum, so others must be able to vote.
 */
import { equalBytes } from "../../crypto/encoding.ts";
import {
	advertFlaw,
	bundleFlaw,
	bundleLeaf,
	cohortTree,
	rosterOf,
	type Sharing,
	shareSetHashOf,
} from "./cohort.ts";
import type { Context } from "./context.ts";
import { decodeMembers } from "./memberSet.ts";
import type { MessageOf, Proposal } from "./messages.ts";

/** As it travels with a proposal. */
export type ShownSession = NonNullable<MessageOf<"propose">["session"]>;

/** What a member outside the roster is shown beside a proposal; undefined for one that is in it. */
export function sessionFor({ roster, bundles }: Sharing, member: string): ShownSession | undefined {
	if (roster.members.includes(member)) return undefined;
	return { adverts: [...roster.adverts.values()], bundles: [...bundles.values()] };
}

/** The session that a proposal follows from; undefined where it is another one than was shown, or a bad one. */
export function observedSharing(
	{ config, sidPre, graph, admission }: Context,
	{ rosterRoot, cohort: members, shareTree }: Proposal,
	shown: ShownSession,
): Sharing | undefined {
	const adverts = new Map(shown.adverts.map((advert) => [advert.author, advert]));
	const cohort = decodeMembers(graph.members, members);
	const { minimumSurvivors } = config;
	if (cohort === undefined || adverts.size < Math.max(3, minimumSurvivors)) return undefined;
	if (shown.adverts.some((advert) => advertFlaw(advert, sidPre, admission) !== undefined)) return undefined;
	const { roster } = rosterOf(adverts, graph, sidPre, minimumSurvivors);
	if (!equalBytes(roster.rosterRoot, rosterRoot)) return undefined;
	const bundles = new Map(shown.bundles.map((bundle) => [bundle.author, bundle]));
	if (bundles.size !== cohort.length || cohort.some((member) => !bundles.has(member))) return undefined;
	if (shown.bundles.some((bundle) => bundleFlaw(bundle, roster) !== undefined)) return undefined;
	if (!equalBytes(cohortTree(graph, bundles, bundleLeaf).root, shareTree)) return undefined;
	return { roster, cohort, bundles, shareSetHash: shareSetHashOf(roster.sid, members, shareTree) };
}
