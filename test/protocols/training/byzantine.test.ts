import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import type { SigningKey } from "../../../crypto/identity.ts";
import { cohortTree, metaLeaf } from "../../../protocols/aggregation/cohort.ts";
import { cohortGraph } from "../../../protocols/aggregation/cohortGraph.ts";
import {
	type AggregationMessage,
	decodeMessage,
	encodeMessage,
	preliminarySessionId,
} from "../../../protocols/aggregation/index.ts";
import { encodeMembers } from "../../../protocols/aggregation/memberSet.ts";
import type { ProposalHeader, RosterHeader } from "../../../protocols/aggregation/messages.ts";
import { proposalHash } from "../../../protocols/aggregation/proposal.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";
import { signBallot } from "../../../protocols/certificate/index.ts";
import { termSlot, termValue } from "../../../protocols/election/index.ts";
import {
	decodeTrainingMessage,
	type RoundResult,
	resultHash,
	type TrainingMessage,
} from "../../../protocols/training/index.ts";
import { decodePromise } from "../../../protocols/training/promises.ts";
import { resultSlot } from "../../../protocols/training/result.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";
import { JobSimulation } from "./jobSimulation.ts";

/** Replaces aggregation messages of one kind that one member sends; null drops them. */
function corrupt<K extends AggregationMessage["kind"]>(
	job: JobSimulation,
	index: number,
	kind: K,
	change: (message: Extract<AggregationMessage, { kind: K }>, to: number) => AggregationMessage | null,
): void {
	job.simulation.intercept((envelope) => {
		if (envelope.from !== job.peer(index) || envelope.message.kind !== "session") return undefined;
		const body = decodeMessage(envelope.message.body);
		if (body.kind !== kind) return undefined;
		const changed = change(body as Extract<AggregationMessage, { kind: K }>, job.peers.indexOf(envelope.to));
		return changed === null
			? []
			: [{ ...envelope, message: { ...envelope.message, body: encodeMessage(changed) } }];
	});
}

describe("a Byzantine coordinator", () => {
	test("that signs two rosters is noticed, and the round completes without trusting it", () => {
		const job = new JobSimulation({ members: 5, rounds: 2 });
		const liar = job.coordinator;
		const key = job.keys[liar] as SigningKey;
		let other: AggregationMessage | undefined;
		corrupt(job, liar, "roster", (message, to) => {
			if (to % 2 === 0) return message;
			const { header } = message;
			other ??= {
				...message,
				header: signStatement<RosterHeader>(key, {
					kind: "roster",
					sidPre: header.sidPre,
					term: header.term,
					rosterRoot: new Uint8Array(32).fill(9),
				}),
			};
			return other;
		});
		job.run();
		job.check();
		const codes = [...job.peers.keys()].flatMap((index) => job.faultCodes(index));
		expect(new Set(codes)).toContain("aggregation.bad_roster");
	});

	for (const members of [5, 7]) {
		test(`that proposes two survivor sets to ${members} cannot get two results, nor stop the job`, () => {
			const job = new JobSimulation({ members, corruption: 1, rounds: 2, minimumSurvivors: 3 });
			const liar = job.coordinator;
			const key = job.keys[liar] as SigningKey;
			const honest = [...job.peers.keys()].filter((index) => index !== liar);
			const left = job.peer(honest[0] as number);
			const fooled = honest.slice(honest.length / 2);
			const options = job.options[liar] as (typeof job.options)[number];
			corrupt(job, liar, "propose", (message, to) => {
				const { proposal, origin } = message.proposed;
				if (!fooled.includes(to) || origin.author !== job.peer(liar)) return message;
				const metas = message.evidence.metas.filter(({ author }) => author !== left);
				const byAuthor = new Map(metas.map((meta) => [meta.author, meta]));
				const graph = cohortGraph([...job.peers], { graph: "complete" }, new Uint8Array(32));
				const changed = {
					...proposal,
					survivors: encodeMembers(graph.members, byAuthor.keys()),
					metaTree: cohortTree(graph, byAuthor, metaLeaf).root,
				};
				const header = signStatement<ProposalHeader>(key, {
					kind: "proposal",
					sidPre: message.header.sidPre,
					term: message.header.term,
					proposalHash: proposalHash(message.header.sidPre, changed),
				});
				const evidence = { metas, proof: [] };
				return { ...message, header, proposed: { proposal: changed, origin: header }, evidence };
			});
			job.run();
			const results = job.check();
			expect(results).toHaveLength(options.rounds);
			const proven = honest.some((index) =>
				job.simulation
					.faults(job.peer(index))
					.some(
						({ peer, code, proof }) =>
							peer === job.peer(liar) && code === "aggregation.equivocation" && proof,
					),
			);
			expect(proven).toBe(true);
		});
	}

	test("with another model gets nobody's input, is blamed and replaced, and follows in the end", () => {
		const probe = new JobSimulation({ members: 5 });
		const liar = probe.coordinator;
		const job = new JobSimulation({
			members: 5,
			rounds: 2,
			configure: (options, index) =>
				index === liar ? { ...options, initialState: new Uint8Array(80).fill(1) } : options,
		});
		job.run();
		const results = job.check();
		expect(results[0]?.survivors).not.toContain(job.peer(liar));
		const { peer, code } = job.simulation.faults(job.peer((liar + 1) % 5))[0] as {
			peer: string;
			code: string;
		};
		expect([peer, code]).toEqual([job.peer(liar), "aggregation.session_mismatch"]);
		// The session id itself names the model: masks under different models never cancel.
		const id = (index: number) => {
			const options = job.options[index] as (typeof job.options)[number];
			const cohort = { graph: "complete" } as const;
			const session = { ...options, round: 0, attempt: 0, modelHash: options.initialState };
			return preliminarySessionId({ ...session, cohort, graphSeed: options.seed });
		};
		expect(id(liar)).not.toEqual(id((liar + 1) % 5));
	});

	test("that replays the session messages of an earlier round changes nothing", () => {
		const job = new JobSimulation({ members: 5, rounds: 3 });
		const liar = job.coordinator;
		const old: {
			to: string;
			message: Extract<TrainingMessage, { kind: "session" }>;
			blob: Uint8Array | undefined;
		}[] = [];
		job.simulation.intercept(({ from, to, message, blob }) => {
			if (from !== job.peer(liar) || message.kind !== "session") return undefined;
			if (message.round === 0) old.push({ to, message, blob });
			return undefined;
		});
		let replayed = 0;
		job.onSend(
			"propose",
			() => {
				for (const { to, message, blob } of old) {
					replayed++;
					job.simulation.inject({ from: job.peer(liar), to, message, blob });
					job.simulation.inject({ from: job.peer(liar), to, message: { ...message, round: 1 }, blob });
				}
			},
			{ round: 1, from: liar },
		);
		job.run();
		for (const { outcome, attempt, survivors } of job.check()) {
			expect([outcome, attempt, survivors]).toEqual(["released", 0, job.peers]);
		}
		expect(replayed).toBeGreaterThan(20);
	});

	test("that equivocates about results is proven guilty, and changes none", () => {
		const job = new JobSimulation({ members: 5, rounds: 2 });
		const liar = job.coordinator;
		job.simulation.intercept((envelope) => {
			const { from, message } = envelope;
			if (from !== job.peer(liar) || message.kind !== "result_ballot") return undefined;
			const ballot = signBallot(
				job.keys[liar] as SigningKey,
				message.ballot.slot,
				new Uint8Array(32).fill(6),
			);
			return [envelope, { ...envelope, message: { ...message, ballot } }];
		});
		job.run();
		job.check();
		const proofs = job.simulation
			.faults(job.peer((liar + 1) % 5))
			.filter(({ code, proof }) => code === "training.equivocation" && proof);
		expect(proofs[0]?.peer).toBe(job.peer(liar));
		expect(proofs[0]?.evidence).toHaveLength(2);
	});
});

/** A running job, stopped in its second round, and one member to send lies to. */
function underWay(): { job: JobSimulation; liar: number; victim: number } {
	const job = new JobSimulation({ members: 5, rounds: 3 });
	job.run(
		60_000,
		() => job.results().length === 1 && job.running.every((index) => job.job(index).round === 1),
	);
	const liar = job.coordinator;
	return { job, liar, victim: (liar + 1) % 5 };
}

describe("forgeries", () => {
	test("a term without a quorum, for another slot, or with borrowed signatures is refused", () => {
		const { job, liar, victim } = underWay();
		const { federationId, jobId } = job.options[0] as (typeof job.options)[number];
		const coordinator = job.peer(liar);
		const before = job.job(victim).term;
		const votesIn = (slot: ReturnType<typeof termSlot>, signers: readonly SigningKey[]) => ({
			slot,
			value: termValue(coordinator),
			votes: signers.map((key) => {
				const { voter, signature } = signBallot(key, slot, termValue(coordinator));
				return { voter, signature };
			}),
		});
		const slot = termSlot(federationId, jobId, before + 1);
		const honest = votesIn(slot, job.keys);
		const forged = [
			votesIn(slot, job.keys.slice(0, 3)),
			votesIn(termSlot(federationId, "another job", before + 1), job.keys),
			votesIn(termSlot(federationId, jobId, before + 2), job.keys),
			{ ...honest, votes: honest.votes.map((vote) => ({ ...vote, voter: coordinator })) },
			votesIn(slot, keysForTests(5, 99)),
		];
		for (const certificate of forged) {
			job.simulation.inject({
				from: job.peer(liar),
				to: job.peer(victim),
				message: { kind: "term", term: before + 1, coordinator, certificate },
			});
		}
		job.simulation.run({ untilMs: job.simulation.nowMs + 200 });
		expect(job.job(victim).term).toBe(before);
		job.simulation.inject({
			from: job.peer(liar),
			to: job.peer(victim),
			message: { kind: "term", term: before + 1, coordinator, certificate: honest },
		});
		job.simulation.run({ untilMs: job.simulation.nowMs + 200 });
		expect(job.job(victim).term).toBe(before + 1);
	});

	test("results, ballots, votes and states that do not verify are blamed and ignored", () => {
		const { job, liar, victim } = underWay();
		const { federationId, jobId } = job.options[0] as (typeof job.options)[number];
		const real = job.results()[0] as RoundResult;
		const fake: RoundResult = { ...real, round: 1, stateHash: new Uint8Array(32).fill(1) };
		const slot = resultSlot(federationId, jobId, 1);
		const votes = job.keys.slice(0, 3).map((key) => {
			const { voter, signature } = signBallot(key, slot, resultHash(fake));
			return { voter, signature };
		});
		const ballot = signBallot(job.keys[liar] as SigningKey, slot, resultHash(fake));
		const stolen = { ...ballot, voter: job.peer((liar + 2) % 5) };
		const lies: TrainingMessage[] = [
			{ kind: "result", content: fake, certificate: { slot, value: resultHash(fake), votes } },
			{ kind: "result_ballot", round: 1, ballot: stolen },
			{ kind: "state", content: fake },
			{
				kind: "term_vote",
				term: job.job(victim).term + 1,
				coordinator: job.peer(liar),
				ballot: stolen,
				alive: [],
				signature: new Uint8Array(64),
			},
			{ kind: "session", round: 1, attempt: 0, body: new Uint8Array([1, 2, 3]) },
		];
		for (const message of lies)
			job.simulation.inject({ from: job.peer(liar), to: job.peer(victim), message });
		job.simulation.run({ untilMs: job.simulation.nowMs + 100 });
		expect(new Set(job.faultCodes(victim))).toEqual(
			new Set([
				"training.bad_certificate",
				"training.bad_ballot",
				"training.wrong_state",
				"training.forged_term_vote",
				"training.malformed",
			]),
		);
		job.run();
		job.check();
	});

	test("a later attempt without proof that the earlier is dead is not joined", () => {
		const { job, liar } = underWay();
		let forged = 0;
		job.simulation.intercept((envelope) => {
			const { from, message } = envelope;
			if (from !== job.peer(liar) || message.kind !== "session" || message.round !== 2) return undefined;
			const body = decodeMessage(message.body);
			if (body.kind !== "open") return undefined;
			const slot = { scope: "ab".repeat(32), subject: "survivors", instance: "job/2", attempt: 0 };
			forged++;
			// One abstention, its own, is no proof.
			const ballots = [signBallot(job.keys[liar] as SigningKey, slot, null)];
			const precedingDead = [{ slot, ballots }];
			return [
				{ ...envelope, message: { ...message, attempt: 1, body: encodeMessage({ ...body, precedingDead }) } },
			];
		});
		job.run();
		expect(forged).toBeGreaterThan(0);
		job.check();
		for (const index of job.peers.keys()) {
			if (index === liar) continue;
			const before = job.simulation.durable(job.peer(index)).map(decodePromise);
			for (const promise of before)
				if (promise.kind === "dead") expect(promise.certificate.ballots.length).toBeGreaterThan(1);
		}
	});

	test("one that always claims the sum is lost voids nothing", () => {
		const { job, liar } = underWay();
		for (let k = 0; k < 100; k++) {
			job.simulation.at(job.simulation.nowMs + 20 * k, () => {
				for (const to of job.peers)
					if (to !== job.peer(liar))
						job.simulation.inject({
							from: job.peer(liar),
							to,
							message: { kind: "lost", round: 1 + (k % 2) },
						});
			});
		}
		job.run();
		for (const { outcome } of job.check()) expect(outcome).toBe("released");
	});

	test("a stranger is blamed for whatever it sends, and changes nothing", () => {
		const { job, victim } = underWay();
		const stranger = keysForTests(1, 77)[0] as SigningKey;
		const before = job.job(victim).term;
		for (const message of [
			{ kind: "heartbeat", term: 9, round: 2, attempt: 0 },
			{ kind: "lost", round: 1 },
			{ kind: "state_request", round: 0 },
		] as const) {
			job.simulation.inject({ from: stranger.peer, to: job.peer(victim), message });
		}
		job.simulation.run({ untilMs: job.simulation.nowMs + 100 });
		expect(job.faultCodes(victim)).toEqual(["training.stranger", "training.stranger", "training.stranger"]);
		expect(job.job(victim).term).toBe(before);
		job.run();
		job.check();
	});
});

describe("malformed messages", () => {
	test("are refused at the boundary with one error, whatever the bytes", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
				try {
					decodeTrainingMessage(bytes);
				} catch (error) {
					return error instanceof AlthingError && error.code === "training.malformed";
				}
				return true;
			}),
			{ numRuns: 500 },
		);
	});

	test("a well-formed encoding of something else is named", () => {
		// {"kind":"lost","round":-1}
		const bytes = Uint8Array.from([
			0xa2, 0x64, 0x6b, 0x69, 0x6e, 0x64, 0x64, 0x6c, 0x6f, 0x73, 0x74, 0x65, 0x72, 0x6f, 0x75, 0x6e, 0x64,
			0x20,
		]);
		expect(() => decodeTrainingMessage(bytes)).toThrow(/malformed at round/);
	});
});

describe("several jobs side by side", () => {
	test("messages of one job delivered to another of the same participants touch nothing", () => {
		const first = new JobSimulation({ members: 5, rounds: 2, jobId: "first" });
		const seen: { from: string; to: string; message: TrainingMessage; blob?: Uint8Array | undefined }[] = [];
		first.simulation.intercept((envelope) => {
			seen.push(envelope);
			return undefined;
		});
		first.run();
		const results = first.check();
		const second = new JobSimulation({ members: 5, rounds: 2, jobId: "second" });
		for (const [k, envelope] of seen.entries())
			second.simulation.at(Math.floor(k / 2), () => second.simulation.inject(envelope));
		second.run();
		const others = second.check();
		for (const { outcome, jobId } of others) expect([outcome, jobId]).toEqual(["released", "second"]);
		expect(resultHash(others[0] as RoundResult)).not.toEqual(resultHash(results[0] as RoundResult));
	});
});
