import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OWN_COMPUTATIONS, packCertificate } from "../../../protocols/aggregation/index.ts";
import { signBallot } from "../../../protocols/certificate/certificates.ts";
import type { DealtCohort } from "../../../protocols/hierarchy/index.ts";
import {
	certifiedBy,
	decisionSlot,
	isMajority,
	rootSlot,
	survivorsOf,
} from "../../../protocols/hierarchy/statements.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";

const NAME = { federationId: "ab".repeat(32), jobId: "job", round: 3 };
const keys = keysForTests(8, 2);
const peers = keys.map(({ peer }) => peer);
const cohorts = [peers.slice(0, 4), peers.slice(4)].map((members, index) => ({
	index,
	electorate: { members, corruption: 1 },
	minimumSurvivors: 3,
	parameters: { graph: "complete" },
	graphSeed: new Uint8Array(32).fill(index),
	coordinator: members[0],
})) as unknown as readonly DealtCohort[];

function certificateOf(cohort: number, slot: ReturnType<typeof decisionSlot>, value: Uint8Array, voters = 3) {
	const { members } = (cohorts[cohort] as DealtCohort).electorate;
	const votes = keys
		.filter(({ peer }) => members.includes(peer))
		.slice(0, voters)
		.map((key) => ({ voter: key.peer, signature: signBallot(key, slot, value).signature }));
	return { cohort, certificate: packCertificate(members, { slot, value, votes }) };
}

describe("what the members of a hierarchy sign for", () => {
	const value = new Uint8Array(32).fill(7);
	const slot = (cohort: number) => decisionSlot(NAME, cohort);

	test("two sets of cohorts that may each decide share one", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 1, max: 64 }),
				fc.infiniteStream(fc.boolean()),
				fc.infiniteStream(fc.boolean()),
				(count, first, second) => {
					const [a, b] = [first, second].map((bits) => [...bits.take(count)]) as [boolean[], boolean[]];
					const size = (set: boolean[]) => set.filter(Boolean).length;
					if (!isMajority(size(a), count) || !isMajority(size(b), count)) return;
					expect(a.some((is, i) => is && b[i])).toBe(true);
				},
			),
			{ numRuns: 500, seed: 9 },
		);
		expect(isMajority(2, 4)).toBe(false);
	});

	test("is certified by a quorum of the cohort itself, in its own slot, for this value", () => {
		const by = (...certificates: ReturnType<typeof certificateOf>[]) => [
			...certifiedBy(cohorts, certificates, slot, value, OWN_COMPUTATIONS),
		];
		expect(by(certificateOf(0, slot(0), value), certificateOf(1, slot(1), value))).toEqual([0, 1]);
		expect(by(certificateOf(0, slot(0), value, 2))).toEqual([]);
		expect(by(certificateOf(0, slot(1), value))).toEqual([]);
		expect(by(certificateOf(0, rootSlot(NAME, 0, value), value))).toEqual([]);
		expect(by(certificateOf(0, slot(0), new Uint8Array(32)))).toEqual([]);
		expect(by({ ...certificateOf(0, slot(0), value), cohort: 1 })).toEqual([]);
		expect(by({ ...certificateOf(0, slot(0), value), cohort: 9 })).toEqual([]);
	});

	test("names survivors of its cohort, and no fewer than it may have", () => {
		const beacon = new Uint8Array(32);
		const named = (bits: number, cohort = 0) =>
			survivorsOf(cohorts, { cohort, survivors: Uint8Array.of(bits), beacon });
		expect(named(0b1011)).toEqual([peers[0], peers[1], peers[3]]);
		expect(named(0b0011)).toBeUndefined();
		expect(named(0b11111)).toBeUndefined();
		expect(named(0b1011, 2)).toBeUndefined();
	});
});
