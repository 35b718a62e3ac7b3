/**
 * What the members of a hierarchy sign for in one round, and in which slots: their cohort's sum, that a root
 * holds it truly, and the one root that the round goes by.
 */
import { encodeCanonical, equalBytes, toHex } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import { decodeMembers, type PublicComputations, unpackCertificate } from "../aggregation/index.ts";
import { type Slot, slotId, verifyQuorumCertificate } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import type { SumName } from "./combination.ts";
import type { DealtCohort } from "./dealing.ts";

const DOMAIN = "althing/hierarchy/2";

/** What a cohort says of its sum beside the vector. */
export interface CohortStatement {
	readonly cohort: number;
	/** Whose inputs are in the sum: one bit a member, in the cohort's order. */
	readonly survivors: Uint8Array;
	/** The session's 32 public random bytes. */
	readonly beacon: Uint8Array;
}

/** A certificate as it travels: value, who signed (one bit a member), signatures one after the other. */
export interface PackedCertificate {
	readonly value: Uint8Array;
	readonly voters: Uint8Array;
	readonly signatures: Uint8Array;
}

export interface CertificateOfCohort {
	readonly cohort: number;
	readonly certificate: PackedCertificate;
}

/** Which round of which job. */
export interface RoundName {
	readonly federationId: string;
	readonly jobId: string;
	readonly round: number;
}

/** What a cohort's members certify when they have verified its sum. */
export function cohortValue(
	dealing: Uint8Array,
	{ cohort, survivors, beacon }: CohortStatement,
	sumHash: Uint8Array,
): Uint8Array {
	return hashFields(`${DOMAIN}/cohort`, dealing, cohort, survivors, beacon, sumHash);
}

/** What the members of each included cohort certify of a root, and decide on. */
export function rootValue(
	dealing: Uint8Array,
	root: SumName,
	included: readonly CohortStatement[],
): Uint8Array {
	const statements = included.map(({ cohort, survivors, beacon }) => [cohort, survivors, beacon]);
	return hashFields(`${DOMAIN}/root`, dealing, root.sumHash, root.survivors, encodeCanonical(statements));
}

/** One sum of a cohort in a round, ever. */
export function cohortSlot(name: RoundName, cohort: number): Slot {
	return slotOf(name, "cohort", `${cohort}`);
}

/**
 * That a root holds the cohort's sum truly. The value is part of the slot: true statements about several roots
 * do not contradict each other.
 */
export function rootSlot(name: RoundName, cohort: number, value: Uint8Array): Slot {
	return slotOf(name, "root", `${cohort}/${toHex(value)}`);
}

/** The root that the round goes by: one vote a member, ever. */
export function decisionSlot(name: RoundName, cohort: number): Slot {
	return slotOf(name, "decision", `${cohort}`);
}

function slotOf({ federationId, jobId, round }: RoundName, subject: string, which: string): Slot {
	return { scope: federationId, subject, instance: `${jobId}/${round}/${which}`, attempt: 0 };
}

/** Survivors that a statement names; undefined where it is none of its cohort, or of too few. */
export function survivorsOf(
	cohorts: readonly DealtCohort[],
	{ cohort, survivors }: CohortStatement,
): PeerId[] | undefined {
	const dealt = cohorts[cohort];
	if (dealt === undefined) return undefined;
	const named = decodeMembers(dealt.electorate.members, survivors);
	return named === undefined || named.length < dealt.minimumSurvivors ? undefined : named;
}

/** A root may leave out fewer than half of the cohorts: any two that are decided on share one. */
export function isMajority(included: number, cohorts: number): boolean {
	return 2 * included > cohorts;
}

/**
 * The cohorts among those given that a quorum of certified this value in the slot.
 * @param computations what a simulation of many members shares among them; a node shares nothing
 */
export function certifiedBy(
	cohorts: readonly DealtCohort[],
	certificates: readonly CertificateOfCohort[],
	slotOfCohort: (cohort: number) => Slot,
	value: Uint8Array,
	computations: PublicComputations,
): Set<number> {
	const certified = new Set<number>();
	for (const { cohort, certificate: packed } of certificates) {
		const dealt = cohorts[cohort];
		if (dealt === undefined || !equalBytes(packed.value, value)) continue;
		const slot = slotOfCohort(cohort);
		const { electorate, graphSeed } = dealt;
		const { voters, signatures } = packed;
		// The seed of the cohort's ring stands for who its members are.
		const inputs = () => [graphSeed, Buffer.from(slotId(slot)), value, voters, signatures];
		const sound = computations.once("certificate", inputs, () => {
			const certificate = unpackCertificate(electorate.members, slot, packed);
			return certificate !== undefined && verifyQuorumCertificate(electorate, certificate);
		});
		if (sound) certified.add(cohort);
	}
	return certified;
}
