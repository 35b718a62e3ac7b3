import { describe, expect, test } from "vitest";
import { VoteLock } from "../../../protocols/certificate/index.ts";
import type { PeerId } from "../../../protocols/contract.ts";
import { EffectCollector } from "../../../protocols/effects.ts";
import { firstTerm } from "../../../protocols/election/index.ts";
import type { Collector } from "../../../protocols/training/contract.ts";
import { Coordination, DEFAULT_TIMING } from "../../../protocols/training/coordination.ts";
import type { TrainingMessage } from "../../../protocols/training/messages.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";

type TermVote = Extract<TrainingMessage, { kind: "term_vote" }>;

const keys = keysForTests(5);
const members = keys.map(({ peer }) => peer);
const alive: ReadonlySet<PeerId> = new Set(members);

function coordinationOf(index: number): Coordination {
	const self = keys[index]!;
	const coordination = new Coordination({
		self,
		federationId: "ab".repeat(32),
		jobId: "job",
		charterHash: new Uint8Array(32),
		electorate: { members, corruption: 1 },
		lock: new VoteLock(self),
		timing: DEFAULT_TIMING,
	});
	coordination.enterEpoch(1, { seed: new Uint8Array(32).fill(9), survivors: members }, 0);
	return coordination;
}

/** Votes for the terms to come, by order, as the coordinator of the epoch's first term signs them. */
function votesOfCoordinator(count: number): { readonly from: PeerId; readonly votes: TermVote[] } {
	const { coordinator } = coordinationOf(0);
	const resigning = coordinationOf(members.indexOf(coordinator));
	const votes: TermVote[] = [];
	for (let i = 0; i < count; i++) {
		const out: Collector = new EffectCollector();
		resigning.distrust();
		// Each time long after the last vote, which found no quorum.
		resigning.tick(out, alive, (i + 1) * 1_000_000);
		const [sent] = out.effects().send ?? [];
		if (sent?.message.kind === "term_vote") votes.push(sent.message);
	}
	return { from: coordinator, votes };
}

describe("a coordinator that votes for its successor", () => {
	const { from, votes } = votesOfCoordinator(3);
	const first = firstTerm(1);
	const observer = members.findIndex((peer) => peer !== from);

	test("is followed at once, in the next term", () => {
		expect(votes.map(({ term }) => term)).toEqual([first + 1, first + 2, first + 3]);
		const out: Collector = new EffectCollector();
		coordinationOf(observer).receiveVote(out, from, votes[0]!, alive, 10);
		expect(out.effects().send?.map(({ message }) => message.kind === "term_vote" && message.term)).toContain(
			first + 1,
		);
	});

	test("does not pick the term, and with it the successor", () => {
		const coordination = coordinationOf(observer);
		const out: Collector = new EffectCollector();
		coordination.receiveVote(out, from, votes[2]!, alive, 10);
		expect(out.effects().send ?? []).toEqual([]);
		// Nor by one vote more: the term after the one that this node has voted for is the next.
		coordination.receiveVote(out, from, votes[0]!, alive, 10);
		coordination.receiveVote(out, from, votes[2]!, alive, 10);
		const terms = (out.effects().send ?? []).map(
			({ message }) => message.kind === "term_vote" && message.term,
		);
		expect(new Set(terms)).toEqual(new Set([first + 1]));
	});
});
