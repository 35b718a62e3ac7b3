import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import type { SigningKey } from "../../../crypto/identity.ts";
import { decodeAgreementMessage, startBeacon, startHash } from "../../../protocols/agreement/index.ts";
import {
	commitmentTo,
	type JobStart,
	signAbort,
	signResponse,
	signReveal,
} from "../../../protocols/agreement/messages.ts";
import { decodePromise } from "../../../protocols/agreement/promises.ts";
import { startSlot } from "../../../protocols/agreement/validity.ts";
import { signBallot } from "../../../protocols/certificate/index.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";
import { AgreementSimulation } from "./agreementSimulation.ts";

/** Every running member started the same job with the same participants; nobody voted twice. */
function expectOneStart(job: AgreementSimulation, participants?: readonly number[]): void {
	const hashes = job.running.map((index) => {
		const started = job.started(index);
		return started && toHex(startHash(started.start));
	});
	expect(hashes[0]).toBeDefined();
	expect(new Set(hashes).size).toBe(1);
	if (participants !== undefined) expect(job.participants(job.running[0] as number)).toEqual(participants);
	for (const peer of job.peers) {
		const ballots = job.simulation
			.durable(peer)
			.map(decodePromise)
			.filter((promise) => promise.kind === "ballot");
		expect(new Set(ballots.map(({ ballot }) => ballot.slot.attempt)).size).toBe(ballots.length);
	}
}

describe("a proposed job", () => {
	for (const members of [3, 5, 7, 12]) {
		test(`starts with all ${members} members when all accept, under a beacon of all their nonces`, () => {
			const job = new AgreementSimulation({ members });
			job.run();
			expectOneStart(job, [...job.peers.keys()]);
			const { start } = job.started(0) as { start: JobStart };
			const changed = structuredClone(start);
			(changed.participants[1] as JobStart["participants"][number]).reveal.nonce[0]! ^= 1;
			expect(startBeacon(changed)).not.toEqual(startBeacon(start));
		});
	}

	test("starts without those who refuse, and tells why they did", () => {
		const job = new AgreementSimulation({ answers: ["accept", "refuse"] });
		job.run();
		expectOneStart(job, [0, 2, 3, 4]);
		expect(job.agreement(0).responses.find(({ accept }) => !accept)?.reason).toBe("by policy: refuse");
	});

	test("does not start when too many refuse", () => {
		const job = new AgreementSimulation({ answers: ["accept", "refuse", "refuse"] });
		job.run(20_000);
		for (const index of job.running) {
			expect(job.started(index)).toBeUndefined();
			expect(job.outputs(index, "refused")).toMatchObject([
				{ reason: expect.stringContaining("2 members refused") },
			]);
		}
	});

	test("does not start below the charter's smallest cohort", () => {
		const job = new AgreementSimulation({ minimumCohort: 5, answers: ["accept", "refuse"] });
		job.run(20_000);
		for (const index of job.running) expect(job.outputs(index, "refused")).toHaveLength(1);
	});

	test("waits for a person's answer as long as it takes, and then starts at once", () => {
		const job = new AgreementSimulation({ answers: ["silent", "silent"] });
		job.run(600_000);
		for (const index of job.running) expect(job.started(index)).toBeUndefined();
		for (const index of [0, 1]) {
			const { simulation } = job;
			simulation.perform(job.peer(index), job.agreement(index).respond(true, "by Ada", simulation.nowMs));
		}
		job.run(610_000);
		expectOneStart(job, [0, 1, 2, 3, 4]);
		expect(job.started(0)?.certificate.slot.attempt).toBe(0);
	});
});

describe("failures", () => {
	test("a silent leader is passed over by a Dead certificate", () => {
		const job = new AgreementSimulation({ absent: (leader) => [leader] });
		job.run();
		expectOneStart(job);
		expect(job.started(job.running[0] as number)?.certificate.slot.attempt).toBe(1);
		expect(job.participants(job.running[0] as number)).not.toContain(job.leader);
	});

	test("a leader whose proposal reaches two only: they pass it on", () => {
		const job = new AgreementSimulation();
		let reached = 0;
		job.simulation.intercept(({ from, message }) => {
			if (from !== job.peer(job.leader) || message.kind !== "start_proposal") return undefined;
			if (reached === 0) job.simulation.at(job.simulation.nowMs, () => job.simulation.crash(from));
			return reached++ < 2 ? undefined : [];
		});
		job.run();
		expectOneStart(job);
		expect(job.started(job.running[0] as number)?.certificate.slot.attempt).toBe(0);
	});

	test("a member offline at the start learns the outcome when it comes back, and takes no part", () => {
		const job = new AgreementSimulation({ absent: (leader) => [(leader + 1) % 5] });
		const absent = (job.leader + 1) % 5;
		job.run();
		job.restart(absent);
		job.run(job.simulation.nowMs + 10_000);
		expectOneStart(job);
		expect(job.participants(absent)).not.toContain(absent);
	});

	test("one withheld reveal excludes the withholder and nobody else", () => {
		const job = new AgreementSimulation();
		const withholder = (job.leader + 1) % 5;
		job.simulation.intercept(({ from, message }) =>
			message.kind === "reveal" && from === job.peer(withholder) ? [] : undefined,
		);
		job.run();
		expectOneStart(job);
		expect(job.participants(0)).toHaveLength(4);
		expect(job.participants(0)).not.toContain(withholder);
	});

	test("a partition: no side of three or two starts; after it, one start", () => {
		const job = new AgreementSimulation();
		job.simulation.partition([job.peers.slice(0, 3), job.peers.slice(3)]);
		job.run(60_000);
		for (const index of job.running) expect(job.started(index)).toBeUndefined();
		job.simulation.heal();
		job.run(job.simulation.nowMs + 60_000);
		expectOneStart(job);
	});

	for (const kind of ["response", "reveal", "start_proposal", "ballot", "start"] as const) {
		test(`everybody killed and restarted at the first ${kind}`, () => {
			const job = new AgreementSimulation();
			let killed = false;
			job.simulation.intercept(({ message }) => {
				if (message.kind === kind && !killed) {
					killed = true;
					job.simulation.at(job.simulation.nowMs, () => {
						for (const peer of job.peers) job.simulation.crash(peer);
						for (const index of job.peers.keys()) job.restart(index);
					});
				}
				return undefined;
			});
			job.run();
			expect(killed).toBe(true);
			expectOneStart(job);
		});
	}

	for (const seed of [1, 2, 3]) {
		test(`a tenth of all messages lost (seed ${seed})`, () => {
			const job = new AgreementSimulation({ seed, lossProbability: 0.1 });
			job.run(300_000);
			expectOneStart(job);
		});
	}
});

describe("the submitter's abort", () => {
	test("ends the job for everybody, and for who comes later; a restart remembers it", () => {
		const job = new AgreementSimulation({ answers: ["silent", "silent"], absent: () => [4] });
		job.run(5000);
		job.simulation.perform(job.peer(0), job.agreement(0).abort("wrong data set"));
		job.run(6000, () => false);
		job.restart(4);
		job.simulation.crash(job.peer(2));
		job.restart(2);
		job.run(12_000, () => false);
		for (const index of job.peers.keys()) {
			expect(job.agreement(index).aborted?.reason).toBe("wrong data set");
			expect(job.outputs(index, "aborted")[0]).toMatchObject({ by: job.peer(0) });
		}
	});

	test("is nobody else's: not by call, not forged in the submitter's name, not for another job", () => {
		const job = new AgreementSimulation({ answers: ["silent", "silent"] });
		job.run(1000);
		expect(job.agreement(1).abort("mine")).toEqual({});
		const { jobId } = job.agreement(0);
		const [submitter, other] = job.keys as [SigningKey, SigningKey];
		const own = signAbort(job.proposal, other, { jobId, reason: "no" });
		const forged = [
			own,
			{ ...own, by: submitter.peer },
			signAbort(job.proposal, submitter, { jobId: "0".repeat(32), reason: "no" }),
		];
		for (const abort of forged)
			job.simulation.inject({ from: other.peer, to: job.peer(2), message: { kind: "abort", abort } });
		job.run(2000, () => false);
		expect(job.agreement(2).aborted).toBeUndefined();
		expect(job.simulation.faults(job.peer(2)).map(({ peer, code }) => [peer, code])).toEqual(
			forged.map(() => [other.peer, "agreement.forged"]),
		);
	});
});

describe("forgeries", () => {
	test("responses, reveals, ballots and strangers are blamed and ignored", () => {
		const job = new AgreementSimulation({ answers: ["accept", "silent", "silent", "silent", "silent"] });
		job.run(1000, () => false);
		const { jobId } = job.agreement(0);
		const [, liar, victim] = job.keys as [SigningKey, SigningKey, SigningKey];
		const response = signResponse(job.proposal, liar, {
			jobId,
			accept: true,
			commitment: commitmentTo(jobId, liar.peer, new Uint8Array(32)),
			reason: "",
		});
		const stranger = keysForTests(1, 50)[0] as SigningKey;
		const send = (message: Parameters<typeof job.simulation.inject>[0]["message"], from = liar.peer) =>
			job.simulation.inject({ from, to: victim.peer, message });
		send({ kind: "response", response: { ...response, peer: job.peer(3) } });
		send({ kind: "response", response });
		send({
			kind: "reveal",
			reveal: signReveal(job.proposal, liar, { jobId, nonce: new Uint8Array(32).fill(1) }),
		});
		send({
			kind: "ballot",
			ballot: { ...signBallot(liar, startSlot(job.proposal, 0), null), voter: job.peer(3) },
		});
		send({ kind: "proposal", proposal: job.proposal }, stranger.peer);
		job.run(job.simulation.nowMs + 200, () => false);
		expect(
			job.simulation
				.faults(victim.peer)
				.map(({ code }) => code)
				.sort(),
		).toEqual(["agreement.forged", "agreement.forged", "agreement.forged", "agreement.stranger"]);
		expect(
			job
				.agreement(2)
				.responses.map(({ peer }) => peer)
				.sort(),
		).toEqual([job.peer(0), job.peer(1)].sort());
	});

	test("a start that leaves out acceptances, or without its leader's ballot, gets no vote", () => {
		const job = new AgreementSimulation();
		job.run();
		const real = job.started(0) as { start: JobStart };
		const again = new AgreementSimulation({ answers: ["silent", "silent"] });
		again.run(1000, () => false);
		const leader = again.keys[again.leader] as SigningKey;
		const usurper = again.keys[(again.leader + 1) % 5] as SigningKey;
		const victim = again.peer((again.leader + 2) % 5);
		const slot = startSlot(again.proposal, 0);
		const short = { ...real.start, participants: real.start.participants.slice(0, 3) };
		for (const [signer, start] of [
			[leader, short],
			[usurper, real.start],
		] as const) {
			const ballot = signBallot(signer, slot, startHash(start));
			again.simulation.inject({
				from: signer.peer,
				to: victim,
				message: { kind: "start_proposal", start, attempt: 0, dead: [], ballot },
			});
		}
		again.run(1200, () => false);
		const votes = again.simulation
			.durable(victim)
			.map(decodePromise)
			.filter(({ kind }) => kind === "ballot");
		expect(votes).toEqual([]);
		expect(again.simulation.faults(victim).map(({ code }) => code)).toEqual([
			"agreement.bad_start",
			"agreement.bad_start",
		]);
	});

	test("a leader that proposes two starts gets at most one, and is proven guilty", () => {
		const job = new AgreementSimulation({ members: 7 });
		const { leader } = job;
		const fooled = job.peers.filter((_, index) => index !== leader).slice(0, 1);
		job.simulation.intercept((envelope) => {
			const { from, to, message } = envelope;
			if (from !== job.peer(leader) || message.kind !== "start_proposal" || !fooled.includes(to))
				return undefined;
			const start = { ...message.start, participants: message.start.participants.slice(0, 6) };
			const ballot = signBallot(job.keys[leader] as SigningKey, message.ballot.slot, startHash(start));
			return [{ ...envelope, message: { ...message, start, ballot } }];
		});
		job.run();
		expectOneStart(job, [0, 1, 2, 3, 4, 5, 6]);
		const proofs = job.peers.flatMap((peer) => job.simulation.faults(peer).filter(({ proof }) => proof));
		expect(proofs.length).toBeGreaterThan(0);
		for (const { peer, code } of proofs)
			expect([peer, code]).toEqual([job.peer(leader), "agreement.equivocation"]);
	});

	test("a proposal that its submitter did not sign is not even asked about", () => {
		const job = new AgreementSimulation();
		const { proposal } = job;
		(proposal.signature as Uint8Array)[0]! ^= 1;
		job.run(1000);
		expect(job.outputs(0, "proposed")).toEqual([]);
		expect(job.simulation.faults(job.peer(0))[0]?.code).toBe("agreement.forged_proposal");
	});

	test("bytes that are no message raise one error, whatever they are", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
				try {
					decodeAgreementMessage(bytes);
				} catch (error) {
					return error instanceof AlthingError && error.code === "agreement.malformed";
				}
				return true;
			}),
			{ numRuns: 500 },
		);
	});
});
