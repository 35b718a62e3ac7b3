import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashFields } from "../../../crypto/hash.ts";
import { type RankingContext, rankMembers } from "../../../protocols/election/index.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";

const members = keysForTests(7).map(({ peer }) => peer);

function context(changes: Partial<RankingContext> = {}): RankingContext {
	return {
		federationId: "ab".repeat(32),
		jobId: "job",
		charterHash: new Uint8Array(32).fill(1),
		seed: new Uint8Array(32).fill(2),
		term: 0,
		...changes,
	};
}

describe("the ranking of coordinators", () => {
	test("is the same for everybody, whatever order the members and survivors are listed in", () => {
		const expected = rankMembers(context(), members, members.slice(2));
		fc.assert(
			fc.property(
				fc.shuffledSubarray(members, { minLength: 7 }),
				fc.shuffledSubarray(members.slice(2), { minLength: 5 }),
				(listed, survivors) => {
					expect(rankMembers(context(), listed, survivors)).toEqual(expected);
				},
			),
		);
		expect([...expected].sort()).toEqual([...members].sort());
	});

	test("changes with every part of its context", () => {
		const changed: RankingContext[] = [
			context({ federationId: "cd".repeat(32) }),
			context({ jobId: "other" }),
			context({ charterHash: new Uint8Array(32).fill(9) }),
			context({ seed: new Uint8Array(32).fill(9) }),
			context({ term: 1 }),
		];
		const rankings = [context(), ...changed].map((one) => rankMembers(one, members, []).join());
		expect(new Set(rankings).size).toBe(6);
	});

	test("puts the last certified survivors first, and leaves nobody out", () => {
		fc.assert(
			fc.property(fc.subarray(members), fc.nat(1000), (survivors, term) => {
				const ranked = rankMembers(context({ term }), members, survivors);
				expect(new Set(ranked.slice(0, survivors.length))).toEqual(new Set(survivors));
				expect(ranked).toHaveLength(members.length);
				// Within each part the order is the one without survivors.
				const plain = rankMembers(context({ term }), members, []);
				const live = new Set(survivors);
				expect(ranked).toEqual([...plain.filter((p) => live.has(p)), ...plain.filter((p) => !live.has(p))]);
			}),
		);
	});

	test("a survivor that is no member is not ranked", () => {
		const stranger = keysForTests(1, 9)[0]?.peer as string;
		expect(rankMembers(context(), members, [stranger])).not.toContain(stranger);
	});

	/**
	 * Chi-square with 6 degrees of freedom over 2100 fixed beacons: a uniform choice exceeds
	 * 22.46 with probability 0.001. The beacons are fixed, so the outcome is too.
	 */
	test("makes every member first equally often", () => {
		const runs = 2100;
		const counts = new Map(members.map((peer) => [peer, 0]));
		for (let run = 0; run < runs; run++) {
			const [first] = rankMembers(context({ seed: hashFields("test/beacon", run) }), members, []);
			counts.set(first as string, (counts.get(first as string) ?? 0) + 1);
		}
		const expected = runs / members.length;
		const statistic = [...counts.values()].reduce(
			(sum, count) => sum + (count - expected) ** 2 / expected,
			0,
		);
		expect(statistic).toBeLessThan(22.46);
		// The same statistic sees a member that is favoured by one run in ten.
		const favoured = [...counts.values()].map((count, k) =>
			k === 0 ? count + runs / 10 : count - runs / 60,
		);
		expect(favoured.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0)).toBeGreaterThan(
			22.46,
		);
	});
});
