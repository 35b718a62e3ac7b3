/**
 * Tens of thousands of members, dealt by a beacon into cohorts that each run an aggregation session of their
 * own. Who is where is a public function of the beacon: nobody chooses its company.
 */
import { encodeCanonical, toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import {
	type CohortParameters,
	cohortParameters,
	corruptionAmong,
	LARGEST_COMPLETE_COHORT,
	smallestRoster,
} from "../aggregation/index.ts";
import type { Electorate } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";

const DOMAIN = "althing/hierarchy/1";

export interface DealtCohort {
	readonly index: number;
	/** Its members, sorted, who alone vote on what it does, and how many of them may be corrupt. */
	readonly electorate: Electorate;
	readonly minimumSurvivors: number;
	readonly parameters: CohortParameters;
	/** Orders the cohort's ring. */
	readonly graphSeed: Uint8Array;
	/** First by the beacon. */
	readonly coordinator: PeerId;
}

/** @throws AlthingError `hierarchy.not_dealt` when the peer is in none of them */
export function cohortIn(cohorts: readonly DealtCohort[], peer: PeerId): DealtCohort {
	const cohort = cohorts.find(({ electorate }) => electorate.members.includes(peer));
	if (cohort !== undefined) return cohort;
	throw new AlthingError("hierarchy.not_dealt", `This node (${peer}) is in no cohort of the hierarchy.`);
}

/** The cohorts' first coordinators in the order in which they combine the sums of a round, by the beacon. */
export function combinersOf(cohorts: readonly DealtCohort[], round: number): PeerId[] {
	return cohorts
		.map(
			({ graphSeed, coordinator }) =>
				[toHex(hashFields(`${DOMAIN}/combine`, graphSeed, round)), coordinator] as const,
		)
		.sort(([a], [b]) => (a < b ? -1 : 1))
		.map(([, coordinator]) => coordinator);
}

export interface HierarchyRules {
	/** Everybody, sorted. */
	readonly members: readonly PeerId[];
	/** f over all members. */
	readonly corruption: number;
	/** Largest cohort, 3 to 1024. */
	readonly cohortSize: number;
	/** Share of a cohort that may be missing from its sum. */
	readonly toleratedDropout: number;
	/** 32 bytes of a stretched beacon (`graphSeedOf`), fixed after the members. */
	readonly seed: Uint8Array;
}

/** What holds for every cohort of a size, whoever is dealt into it. */
export interface CohortShape {
	readonly members: number;
	/** Corrupt members that it has at most, but for a chance of 2^-41 over all cohorts (and 2^32 beacons). */
	readonly corruption: number;
	readonly minimumSurvivors: number;
	readonly parameters: CohortParameters;
}

export interface ShapeRules {
	/** Over all members. */
	readonly members: number;
	readonly corruption: number;
	readonly cohortSize: number;
	readonly toleratedDropout: number;
}

/**
 * The cohorts' shapes, in the order of the cohorts: of equal size, give or take one. Each assumes more corrupt
 * members than its share, which is what smaller cohorts cost.
 * @throws AlthingError `hierarchy.bad_size`, `aggregation.no_parameters`: these cohorts cannot be secured
 */
export function cohortShapes(rules: ShapeRules): CohortShape[] {
	const { members, corruption, cohortSize, toleratedDropout } = rules;
	if (!Number.isInteger(cohortSize) || cohortSize < 3 || members < 3)
		throw badSize(`cohorts of ${cohortSize} cannot be made of ${members} members`);
	const count = Math.ceil(members / cohortSize);
	const everybody = { members: new Array<undefined>(members).fill(undefined), corruption };
	const shapes = new Map<number, CohortShape>();
	return Array.from({ length: count }, (_, index) => {
		const size = Math.floor((members - index - 1) / count) + 1;
		const shape =
			shapes.get(size) ?? shapeOf(size, corruptionAmong(everybody, size, count), toleratedDropout);
		shapes.set(size, shape);
		return shape;
	});
}

function shapeOf(members: number, corruption: number, toleratedDropout: number): CohortShape {
	const minimumSurvivors = members - Math.floor(toleratedDropout * members + 1e-9);
	const votes = Math.floor((members + corruption) / 2) + 1;
	if (votes > minimumSurvivors)
		throw badSize(
			`of a cohort of ${members}, which may have ${corruption} corrupt members, ${votes} must vote, and only ${minimumSurvivors} are sure to be there; make cohorts larger or tolerate less dropout`,
		);
	// Of any roster, fewer than a majority may be corrupt.
	if (members <= LARGEST_COMPLETE_COHORT && 2 * corruption > minimumSurvivors)
		throw badSize(
			`a cohort of ${members} may have ${corruption} corrupt members, and its ${minimumSurvivors} least survivors must be at least twice as many; make cohorts larger or tolerate less dropout`,
		);
	if (minimumSurvivors < smallestRoster(minimumSurvivors))
		throw badSize(
			`a cohort of ${members} may shrink to ${minimumSurvivors}, and no session is made of so few; make cohorts larger or tolerate less dropout`,
		);
	if (minimumSurvivors < corruption + 2)
		throw badSize(
			`of the ${minimumSurvivors} least survivors of a cohort of ${members} all but one may be corrupt, and know that one's input; make cohorts larger or tolerate less dropout`,
		);
	const parameters = cohortParameters({ members, corruption, dropped: members - minimumSurvivors });
	return { members, corruption, minimumSurvivors, parameters };
}

/**
 * Deals the members into cohorts of {@link cohortShapes}.
 * @throws AlthingError as `cohortShapes`
 */
export function dealCohorts(rules: HierarchyRules): DealtCohort[] {
	const { members, seed } = rules;
	const shapes = cohortShapes({ ...rules, members: members.length });
	const order = inOrderOf(members, "deal", seed);
	return shapes.map(({ corruption, minimumSurvivors, parameters }, index) => {
		const dealt = order.filter((_, place) => place % shapes.length === index);
		const electorate = { members: dealt.toSorted(), corruption };
		const graphSeed = hashFields(`${DOMAIN}/ring`, seed, index);
		const coordinator = inOrderOf(electorate.members, "lead", graphSeed)[0] as PeerId;
		return { index, electorate, minimumSurvivors, parameters, graphSeed, coordinator };
	});
}

function inOrderOf(members: readonly PeerId[], purpose: string, seed: Uint8Array): PeerId[] {
	return members
		.map((member) => [toHex(hashFields(`${DOMAIN}/${purpose}`, seed, member)), member] as const)
		.sort(([a], [b]) => (a < b ? -1 : 1))
		.map(([, member]) => member);
}

/** 32 bytes over the whole dealing: part of every cohort's configuration, so that all agree on all of it. */
export function dealingHash(cohorts: readonly DealtCohort[]): Uint8Array {
	const known = hashes.get(cohorts);
	if (known !== undefined) return known;
	const hash = hashFields(
		`${DOMAIN}/dealing`,
		...cohorts.map(({ electorate, minimumSurvivors, parameters, graphSeed }) =>
			encodeCanonical([
				[...electorate.members],
				electorate.corruption,
				minimumSurvivors,
				{ ...parameters },
				graphSeed,
			]),
		),
	);
	hashes.set(cohorts, hash);
	return hash;
}

const hashes = new WeakMap<readonly DealtCohort[], Uint8Array>();

function badSize(why: string): AlthingError {
	return new AlthingError("hierarchy.bad_size", `The members cannot be dealt into cohorts: ${why}.`);
}
