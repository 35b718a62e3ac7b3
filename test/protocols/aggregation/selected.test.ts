import { describe, expect, test } from "vitest";
import { generateAgreementKey } from "../../../crypto/agreement.ts";
import type { SigningKey } from "../../../crypto/identity.ts";
import { merkleRoot } from "../../../crypto/merkle.ts";
import { randomBytes } from "../../../crypto/random.ts";
import type { Advert, RosterHeader } from "../../../protocols/aggregation/messages.ts";
import { preliminarySessionId } from "../../../protocols/aggregation/sessionId.ts";
import { canonical, signStatement } from "../../../protocols/aggregation/statements.ts";
import { CohortSimulation } from "./cohortSimulation.ts";

/** Seven voters, of whom some may contribute. */
function cohortOf(selected: readonly number[], enoughInputs?: number): CohortSimulation {
	return new CohortSimulation({
		members: 7,
		minimumSurvivors: 3,
		configure: (config) => ({
			...config,
			selected: selected.map((index) => config.electorate.members[index]!),
			enoughInputs,
		}),
	});
}

describe("a selection of the participants", () => {
	test("contributes alone; the others vote, and no sum is for them to verify", () => {
		const cohort = cohortOf([1, 2, 4, 6]);
		let voters = new Set<string>();
		cohort.simulation.intercept(({ from, message }) => {
			if (message.kind === "vote") voters = voters.add(from);
			return undefined;
		});
		// The coordinator, member 0, is not among them.
		cohort.runUntilEnded([1, 2, 4, 6]);
		const survivors = [1, 2, 4, 6].map((index) => cohort.peer(index));
		for (const index of [1, 2, 4, 6]) {
			expect(cohort.released(index)?.survivors).toEqual(survivors);
			expect(cohort.released(index)?.sum).toEqual(cohort.expectedSum(survivors));
		}
		for (const index of [0, 3, 5]) {
			expect(cohort.output(index, "input_wanted")).toBeUndefined();
			expect(cohort.released(index)).toBeUndefined();
		}
		expect(voters.size).toBeGreaterThan(4);
		for (const peer of cohort.peers) expect(cohort.simulation.faults(peer)).toEqual([]);
	});

	test("goes on with enough inputs: who is slow is left out and holds nobody up", () => {
		const cohort = cohortOf([0, 1, 2, 3, 4, 5], 4);
		const slow = [cohort.peer(2), cohort.peer(5)];
		cohort.simulation.intercept((envelope) => {
			const { from, message } = envelope;
			return message.kind === "input" && slow.includes(from) ? [] : undefined;
		});
		cohort.runUntilEnded([0, 1, 3, 4], 4_000);
		const survivors = [0, 1, 3, 4].map((index) => cohort.peer(index));
		expect(cohort.released(0)?.survivors).toEqual(survivors);
		expect(cohort.released(0)?.sum).toEqual(cohort.expectedSum(survivors));
		// Before any phase's time was over.
		expect(cohort.simulation.nowMs).toBeLessThan(4_000);
	});

	test("that a coordinator adds a favourite to is refused by everybody, and it is named", () => {
		const cohort = cohortOf([0, 1, 2, 4]);
		const favourite = cohort.keys[5] as SigningKey;
		const coordinator = cohort.keys[0] as SigningKey;
		const sidPre = preliminarySessionId(cohort.configs[0]!);
		const added = signStatement<Advert>(favourite, {
			kind: "advert",
			sidPre,
			maskKey: generateAgreementKey(randomBytes).publicKey,
			channelKey: generateAgreementKey(randomBytes).publicKey,
		});
		cohort.simulation.intercept((envelope) => {
			const { from, message } = envelope;
			if (from !== coordinator.peer || message.kind !== "roster") return undefined;
			const adverts = [...message.adverts, added].sort((a, b) => (a.author < b.author ? -1 : 1));
			const { term } = message.header;
			const rosterRoot = merkleRoot(adverts.map(canonical));
			const header = signStatement<RosterHeader>(coordinator, { kind: "roster", sidPre, term, rosterRoot });
			return [{ ...envelope, message: { ...message, header, adverts } }];
		});
		cohort.simulation.run({ untilMs: 10_000 });
		for (const index of [1, 2, 4]) {
			const [fault] = cohort.simulation.faults(cohort.peer(index));
			expect(fault).toMatchObject({ peer: coordinator.peer, code: "aggregation.bad_roster" });
			expect(fault?.message).toContain("none of those selected");
			expect(cohort.output(index, "input_wanted")).toBeUndefined();
		}
	});

	test("that differs between nodes gives them different sessions: nothing can be summed", () => {
		const cohort = new CohortSimulation({
			members: 5,
			minimumSurvivors: 3,
			configure: (config, index) => ({
				...config,
				selected: config.electorate.members.filter((_, at) => (index === 3 ? at !== 0 : at !== 4)),
			}),
		});
		cohort.runUntilEnded([0, 1, 2]);
		expect(cohort.released(0)?.survivors).toEqual([0, 1, 2].map((index) => cohort.peer(index)));
		expect(cohort.simulation.faults(cohort.peer(3)).map(({ code }) => code)).toContain(
			"aggregation.session_mismatch",
		);
	});

	test("that is no sorted set of participants is refused", () => {
		const unsorted = () => cohortOf([2, 1, 4]);
		expect(unsorted).toThrow(expect.objectContaining({ code: "aggregation.bad_configuration" }));
	});
});
