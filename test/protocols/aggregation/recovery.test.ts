import { describe, expect, test } from "vitest";
import type { SigningKey } from "../../../crypto/identity.ts";
import type { AggregationMessage, AggregationSession } from "../../../protocols/aggregation/index.ts";
import type { MessageOf, ProposalHeader } from "../../../protocols/aggregation/messages.ts";
import { proposalHash } from "../../../protocols/aggregation/proposal.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";
import { CohortSimulation } from "./cohortSimulation.ts";

/** Kills the coordinator when it first sends a message of this kind, to nobody or to one other member. */
function killCoordinatorAt(
	cohort: CohortSimulation,
	kind: AggregationMessage["kind"],
	reaching: number,
): void {
	const { simulation } = cohort;
	let sent = 0;
	simulation.intercept(({ from, message }) => {
		if (from !== cohort.peer(0) || message.kind !== kind) return undefined;
		if (sent === 0)
			simulation.at(simulation.nowMs, () => simulation.isRunning(from) && simulation.crash(from));
		return sent++ < reaching ? undefined : [];
	});
}

const OTHERS = [1, 2, 3, 4];

describe("the coordinator dies", () => {
	const kinds = [
		"open",
		"roster",
		"shares",
		"shareSet",
		"receipt",
		"propose",
		"vote",
		"certified",
		"shareRequest",
		"opening",
	] as const satisfies AggregationMessage["kind"][];
	for (const kind of kinds) {
		for (const reaching of [0, 1, 4]) {
			test(`at ${kind}, having reached ${reaching}: the same survivors complete, or attempt 1 does`, () => {
				const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 3 });
				killCoordinatorAt(cohort, kind, reaching);
				cohort.simulation.run({ untilMs: 20_000 });
				cohort.changeCoordinator(2, 1);
				cohort.runUntilEnded(OTHERS, 200_000);
				const outcomes = OTHERS.map(
					(i) => cohort.released(i)?.survivors.join() ?? cohort.output(i, "dead")?.kind,
				);
				expect(new Set(outcomes).size).toBe(1);
				expect(outcomes[0]).toBeDefined();
				const survivors = cohort.released(1)?.survivors;
				if (survivors !== undefined) {
					for (const i of OTHERS) expect(cohort.released(i)?.sum).toEqual(cohort.expectedSum(survivors));
					return;
				}
				const certificate = cohort.output(1, "dead")?.certificate;
				const next = new CohortSimulation({
					members: 5,
					minimumSurvivors: 3,
					attempt: 1,
					precedingDead: certificate ? [certificate] : [],
					configure: (config) => ({
						...config,
						coordinator: config.electorate.members[1] as string,
						term: 2,
					}),
				});
				next.simulation.crash(next.peer(0));
				next.runUntilEnded(OTHERS);
				for (const i of OTHERS) expect(next.released(i)?.sum).toEqual(next.expectedSum(next.peers.slice(1)));
			});
		}
	}
});

test("a member that reports proposals without end keeps a new coordinator from none that others voted for", () => {
	const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 3 });
	const { simulation } = cohort;
	const [, successor, , , liar] = cohort.peers as [string, string, string, string, string];
	let real: MessageOf<"propose"> | undefined;
	simulation.intercept(({ from, to, message }) => {
		if (message.kind === "propose" && from === cohort.peer(0)) {
			real = message;
			simulation.at(simulation.nowMs + 1000, () => simulation.isRunning(from) && simulation.crash(from));
			// Its successor was not shown it.
			return to === successor || to === liar ? [] : undefined;
		}
		if (message.kind === "recover" && to === liar) {
			const session = cohort.sessions.get(successor) as AggregationSession;
			for (let i = 0; i < 20; i++) {
				const report = bogusReport(cohort, real as MessageOf<"propose">, i);
				simulation.perform(successor, session.receive(liar, report, simulation.nowMs));
			}
			return [];
		}
		return from === liar && real !== undefined ? [] : undefined;
	});
	simulation.run({ untilMs: 4000 });
	cohort.changeCoordinator(2, 1);
	cohort.runUntilEnded([1, 2, 3]);
	const survivors = cohort.released(1)?.survivors ?? [];
	expect(survivors.length).toBeGreaterThanOrEqual(4);
	for (const i of [1, 2, 3]) expect(cohort.released(i)?.sum).toEqual(cohort.expectedSum(survivors));
});

/** A report of the last member's own, of a proposal that nobody else has heard of. */
function bogusReport(cohort: CohortSimulation, real: MessageOf<"propose">, nonce: number) {
	const key = cohort.keys[4] as SigningKey;
	const { sidPre, term } = real.header;
	const sumHash = new Uint8Array(32).fill(nonce + 1);
	const proposal = { ...real.proposed.proposal, proposer: key.peer, sumHash };
	const origin = signStatement<ProposalHeader>(key, {
		kind: "proposal",
		sidPre,
		term: term + nonce,
		proposalHash: proposalHash(sidPre, proposal),
	});
	return {
		kind: "report" as const,
		term: 2,
		proposed: { proposal, origin },
		evidence: real.evidence,
		hasSum: false,
		projections: [],
		headers: [],
	};
}

describe("a partition of 3 against 2", () => {
	test("with the coordinator in the minority: nobody decides until it heals, then all agree", () => {
		const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 3 });
		let cut = false;
		cohort.simulation.intercept(({ message }) => {
			if (message.kind === "propose" && !cut) {
				cut = true;
				cohort.simulation.partition([
					[cohort.peer(0), cohort.peer(1)],
					[cohort.peer(2), cohort.peer(3), cohort.peer(4)],
				]);
			}
			return undefined;
		});
		cohort.simulation.run({ untilMs: 60_000 });
		// q = 4 of 5: neither side may certify alone.
		for (const i of cohort.peers.keys()) expect(cohort.output(i, "certified")).toBeUndefined();
		cohort.simulation.heal();
		cohort.runUntilEnded();
		for (const i of cohort.peers.keys()) {
			expect(cohort.released(i)?.sum).toEqual(cohort.expectedSum(cohort.peers));
		}
	});

	test("a minority that cannot complete ends dead with the majority once healed", () => {
		const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 4 });
		cohort.simulation.at(1, () =>
			cohort.simulation.partition([
				[cohort.peer(0), cohort.peer(1)],
				[cohort.peer(2), cohort.peer(3), cohort.peer(4)],
			]),
		);
		cohort.simulation.run({ untilMs: 30_000 });
		for (const i of cohort.peers.keys()) expect(cohort.sessions.get(cohort.peer(i))?.ended).toBe(false);
		cohort.simulation.heal();
		cohort.runUntilEnded();
		for (const i of cohort.peers.keys()) expect(cohort.output(i, "dead")?.reason).toMatch(/roster has 2/);
	});
});

describe("a restarted node", () => {
	test("that had shared takes no part again but lets the attempt finish", () => {
		const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 3 });
		let restarted = false;
		cohort.simulation.intercept(({ from, message }) => {
			if (from === cohort.peer(3) && message.kind === "bundle" && !restarted) {
				restarted = true;
				cohort.simulation.at(cohort.simulation.nowMs, () => {
					cohort.simulation.crash(cohort.peer(3));
					cohort.restart(3);
				});
			}
			return undefined;
		});
		cohort.runUntilEnded([0, 1, 2, 4]);
		const survivors = [0, 1, 2, 4].map((i) => cohort.peer(i));
		expect(cohort.released(0)?.sum).toEqual(cohort.expectedSum(survivors));
		expect(cohort.released(3)).toBeUndefined();
	});

	test("never contradicts the vote it cast before", () => {
		const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 3 });
		const ballots: string[] = [];
		let crashed = false;
		cohort.simulation.intercept(({ from, message }) => {
			if (from !== cohort.peer(2)) return undefined;
			if (message.kind === "vote" || message.kind === "report")
				ballots.push(Buffer.from(message.ballot?.value ?? []).toString("hex"));
			if (message.kind === "vote" && !crashed) {
				crashed = true;
				cohort.simulation.at(cohort.simulation.nowMs, () => {
					for (const i of [0, 2]) cohort.simulation.crash(cohort.peer(i));
					cohort.restart(2);
				});
			}
			// Its first vote reaches nobody.
			return cohort.simulation.nowMs < 5000 && message.kind === "vote" ? [] : undefined;
		});
		cohort.simulation.run({ untilMs: 10_000 });
		cohort.changeCoordinator(2, 1);
		cohort.runUntilEnded([1, 3, 4], 200_000);
		expect(ballots.length).toBeGreaterThan(1);
		expect(new Set(ballots).size).toBe(1);
		expect(
			cohort.simulation.faults(cohort.peer(1)).filter(({ code }) => code === "aggregation.double_vote"),
		).toEqual([]);
	});

	test("coordinator recovers its own attempt instead of opening it anew", () => {
		const cohort = new CohortSimulation({ members: 5, minimumSurvivors: 3 });
		let crashed = false;
		cohort.simulation.intercept(({ from, message }) => {
			if (from === cohort.peer(0) && message.kind === "shareSet" && !crashed) {
				crashed = true;
				cohort.simulation.at(cohort.simulation.nowMs, () => {
					cohort.simulation.crash(cohort.peer(0));
					cohort.restart(0);
				});
			}
			return undefined;
		});
		cohort.runUntilEnded();
		for (const i of cohort.peers.keys()) expect(cohort.output(i, "dead")).toBeDefined();
	});
});
