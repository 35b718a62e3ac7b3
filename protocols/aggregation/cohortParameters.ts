/**
 * How many share holders and masked neighbours a member needs, computed from the size of the cohort,
 * the corrupt members and the dropouts to withstand (README.md, "Sparse graphs").
 *
 * | condition | for a random order of the cohort |
 * |-|-|
 * | S1 privacy | n P[Hyp(n, f, ks) >= t] <= 2^-(sigma + 1): nobody has t corrupt holders |
 * | S2 privacy | n^2/2 P[Hyp(n, f, km) >= w] <= 2^-(sigma + 1): no two windows of km/2 positions hold w corrupt members |
 * | C lost sums | n P[Hyp(n, n - dropped, ks) < t] <= 2^-40: everybody keeps t holders |
 * | D refused survivor sets | n^2/2 P[Hyp(n, n - dropped, km) < w] <= 2^-20: any two windows keep w survivors |
 *
 * S1 and C are those of Bell et al. 2020 and Google's graph_parameter_finder; S2 and D replace their
 * bound on random dropouts, since here the coordinator sees the graph and may choose who drops out.
 * All comparisons are of integers: every processor finds the same numbers, which go into session ids.
 */
import { AlthingError } from "../../crypto/error.ts";
import { MAX_HOLDERS } from "../../crypto/verifiableSharing.ts";
import { LARGEST_COMPLETE_COHORT, MAX_NEIGHBOURS } from "./limits.ts";

/** Everybody holds a share of everybody and is masked against everybody; t is a majority of the roster. */
export interface CompleteCohort {
	readonly graph: "complete";
}

/** A ring in random order: shares and masks go to the nearest on both sides. */
export interface RingCohort {
	readonly graph: "ring";
	/** ks, even: share holders of a member. */
	readonly holders: number;
	/** t: shares that reconstruct. */
	readonly threshold: number;
	/** km, even: members that one is masked against. */
	readonly mates: number;
	/** w: survivors that any two disjoint windows of km/2 positions must have together. */
	readonly windowSurvivors: number;
}

export type CohortParameters = CompleteCohort | RingCohort;

export const SECURITY_BITS = 40;
const CORRECTNESS_BITS = 40;
/** A survivor set that leaves a thin spot costs an attempt, not the round's inputs. */
const RETRY_BITS = 20;
/** Orders that an adversary may have tried before the beacon was fixed, as a power of two (decision 022). */
export const BIAS_BITS = 32;

export interface CohortAssumptions {
	/** n */
	readonly members: number;
	/** f: corrupt members, the coordinator perhaps among them. */
	readonly corruption: number;
	/** Members that may be missing from a survivor set: n - minimumSurvivors. */
	readonly dropped: number;
}

/**
 * The smallest graph that holds under the assumptions.
 * @throws AlthingError `aggregation.no_parameters` saying which condition cannot be met
 */
export function cohortParameters(assumed: CohortAssumptions): CohortParameters {
	const { members, corruption, dropped } = assumed;
	if (![members, corruption, dropped].every((count) => Number.isInteger(count) && count >= 0)) {
		throw unmet(assumed, "the numbers of members must be non-negative integers");
	}
	if (members <= LARGEST_COMPLETE_COHORT) return { graph: "complete" };
	const key = `${members}/${corruption}/${dropped}`;
	const known = found.get(key);
	if (known !== undefined) return known;
	const privacyBits = SECURITY_BITS + 1 + BIAS_BITS;
	const custody = custodyParameters(assumed, privacyBits);
	if (custody === undefined || custody.holders > MAX_HOLDERS) {
		throw unmet(
			assumed,
			custody === undefined
				? "no number of share holders leaves fewer corrupt ones than remain when others drop out"
				: `each member would need ${custody.holders} share holders, and sharing reaches ${MAX_HOLDERS}`,
		);
	}
	const masks = maskParameters(assumed, privacyBits);
	if (masks === undefined || masks.mates > MAX_NEIGHBOURS)
		throw unmet(assumed, "no sparse graph stays connected among the honest members");
	const parameters: RingCohort = {
		graph: "ring",
		holders: custody.holders,
		threshold: custody.threshold,
		mates: masks.mates,
		windowSurvivors: masks.windowSurvivors,
	};
	if (found.size >= REMEMBERED) found.clear();
	found.set(key, parameters);
	return parameters;
}

const found = new Map<string, RingCohort>();
const REMEMBERED = 64;

/**
 * Corrupt members that a part of an electorate drawn by a beacon has at most, but for a chance of 2^-(sigma + 1).
 * @param parts how many such parts the bound has to hold for at once
 */
export function corruptionAmong(
	electorate: { readonly members: readonly unknown[]; readonly corruption: number },
	selected: number,
	parts = 1,
): number {
	const { members, corruption } = electorate;
	if (selected >= members.length) return corruption;
	return rareFrom(members.length, corruption, selected, [parts, 1], SECURITY_BITS + 1 + BIAS_BITS) - 1;
}

/** The smallest even ks with a t that satisfies S1 (at `privacyBits`) and C. */
export function custodyParameters(
	{ members, corruption, dropped }: CohortAssumptions,
	privacyBits: number,
): { readonly holders: number; readonly threshold: number } | undefined {
	for (let holders = 2; holders < members - 1; holders += 2) {
		const least = Math.max(2, rareFrom(members, corruption, holders, [members, 1], privacyBits));
		const most = assuredUpTo(members, members - dropped, holders, [members, 1], CORRECTNESS_BITS);
		if (least <= most) return { holders, threshold: least };
	}
	return undefined;
}

/** The smallest even km with a w that satisfies S2 (at `privacyBits`) and D. */
function maskParameters(
	{ members, corruption, dropped }: CohortAssumptions,
	privacyBits: number,
): { readonly mates: number; readonly windowSurvivors: number } | undefined {
	const pairs: Ratio = [members * members, 2];
	for (let mates = 2; mates < members - 1; mates += 2) {
		const least = rareFrom(members, corruption, mates, pairs, privacyBits);
		const most = assuredUpTo(members, members - dropped, mates, pairs, RETRY_BITS);
		if (least <= most) return { mates, windowSurvivors: least };
	}
	return undefined;
}

/**
 * The mask degree that would do if dropouts did not depend on the graph (S2 of Bell et al., at 2^-41):
 * for comparison only, since a corrupt coordinator chooses them.
 */
export function mateCountAgainstChance({ members, corruption, dropped }: CohortAssumptions): number {
	const bad = corruption + dropped;
	for (let mates = 2; mates < members - 1; mates += 2) {
		const cuts = BigInt(members) * BigInt(Math.max(members - mates - 1, 1));
		if ((cuts * binomial(bad, mates)) << BigInt(SECURITY_BITS + 1) < 2n * binomial(members, mates))
			return mates;
	}
	return members - 1;
}

type Ratio = readonly [numerator: number, denominator: number];

/** Smallest x with weight P[X >= x] <= 2^-bits, X hypergeometric: `drawn` of `total`, of which `marked` count. */
function rareFrom(total: number, marked: number, drawn: number, weight: Ratio, bits: number): number {
	const all = binomial(total, drawn) * BigInt(weight[1]);
	const factor = BigInt(weight[0]) << BigInt(bits);
	const largest = Math.min(marked, drawn);
	const least = Math.max(0, drawn - (total - marked));
	let ways = binomial(marked, largest) * binomial(total - marked, drawn - largest);
	let tail = 0n;
	for (let x = largest; x >= least; x--) {
		tail += ways;
		if (tail * factor > all) return x + 1;
		// ways(x - 1) from ways(x); the division is exact.
		ways =
			(ways * BigInt(x) * BigInt(total - marked - drawn + x)) /
			(BigInt(marked - x + 1) * BigInt(drawn - x + 1));
	}
	return least;
}

/** Largest x with weight P[X < x] <= 2^-bits: fewer than x are marked when more than drawn - x are not. */
function assuredUpTo(total: number, marked: number, drawn: number, weight: Ratio, bits: number): number {
	return drawn + 1 - rareFrom(total, total - marked, drawn, weight, bits);
}

function binomial(n: number, k: number): bigint {
	if (k < 0 || k > n) return 0n;
	let result = 1n;
	for (let i = 1; i <= Math.min(k, n - k); i++) result = (result * BigInt(n - i + 1)) / BigInt(i);
	return result;
}

function unmet({ members, corruption, dropped }: CohortAssumptions, why: string): AlthingError {
	return new AlthingError(
		"aggregation.no_parameters",
		`A cohort of ${members} with ${corruption} corrupt members and ${dropped} dropouts cannot be secured at ${SECURITY_BITS} bits: ${why}. Raise aggregation.minimumSurvivors, lower the charter's assumed corruption, or split the cohort.`,
		{ members, corruption, dropped },
	);
}
