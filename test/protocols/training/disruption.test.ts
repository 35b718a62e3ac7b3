import { describe, expect, test } from "vitest";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";
import { JobSimulation } from "./jobSimulation.ts";

describe("a partition of 3 against 2", () => {
	for (const stage of ["open", "shareSet", "propose", "vote", "certified", "opening", "result_ballot"]) {
		test(`at ${stage} with q = 4: nobody certifies, both sides wait, and go on when it heals`, () => {
			const job = new JobSimulation({ members: 5, corruption: 1, rounds: 2 });
			let certifiedAtCut = 0;
			job.onSend(stage, () =>
				job.partition([
					[0, 1, 2],
					[3, 4],
				]),
			);
			job.run(40_000, () => false);
			certifiedAtCut = job.results().length;
			expect(certifiedAtCut).toBeLessThan(2);
			job.heal();
			job.run();
			job.check();
		});
	}

	test("with f = 0: the majority proceeds, the minority waits and catches up", () => {
		const job = new JobSimulation({ members: 5, corruption: 0, minimumSurvivors: 3, rounds: 3 });
		job.onSend("propose", () =>
			job.partition([
				[0, 1, 2],
				[3, 4],
			]),
		);
		job.run(200_000, () => [0, 1, 2].every((index) => job.job(index).done));
		for (const index of [0, 1, 2]) expect(job.job(index).done).toBe(true);
		for (const index of [3, 4]) expect(job.job(index).done).toBe(false);
		job.heal();
		job.run(400_000);
		job.check();
	});
});

describe("all nodes are killed and restarted", () => {
	for (let seed = 1; seed <= 8; seed++) {
		test(`at random points (seed ${seed}): training resumes from the last certified round`, () => {
			const job = new JobSimulation({ members: 5, rounds: 3, seed });
			const random = seededRandomForTests(seed);
			for (let kill = 1; kill <= 2; kill++) {
				job.simulation.at(kill * 400 + Math.floor(random() * 800), () => {
					for (const index of job.peers.keys()) job.crash(index);
					for (const index of job.peers.keys()) job.restart(index);
				});
			}
			job.run();
			job.check();
		});
	}

	for (const stage of [
		"bundle",
		"shareSet",
		"input",
		"propose",
		"vote",
		"certified",
		"opening",
		"result_ballot",
		"result",
	]) {
		test(`at ${stage}`, () => {
			const job = new JobSimulation({ members: 5, rounds: 2 });
			job.onSend(stage, () => {
				for (const index of job.peers.keys()) job.crash(index);
				for (const index of job.peers.keys()) job.restart(index);
			});
			job.run();
			const results = job.check();
			// Shares live in memory only: certified survivors without them make a void round.
			if (stage === "opening" || stage === "result_ballot") expect(results[0]?.outcome).toBeDefined();
			if (stage === "bundle" || stage === "input") expect(results[0]?.outcome).toBe("released");
		});
	}
});

describe("everybody voted for the result", () => {
	test("but nobody heard it: restarted, they repeat their votes and lose nothing", () => {
		const job = new JobSimulation({ members: 5, rounds: 2 });
		let deaf = true;
		job.onSend("result_ballot", () => {
			job.simulation.at(job.simulation.nowMs + 300, () => {
				for (const index of job.peers.keys()) job.crash(index);
				deaf = false;
				for (const index of job.peers.keys()) job.restart(index);
			});
		});
		job.simulation.intercept(({ message }) => (deaf && message.kind === "result_ballot" ? [] : undefined));
		job.run();
		expect(job.check()[0]).toMatchObject({ outcome: "released", attempt: 0, survivors: job.peers });
		// Nobody had to wait until the sum counted as lost.
		expect(job.simulation.nowMs).toBeLessThan(10_000);
	});
});

describe("a restarted voter", () => {
	test("keeps its word about a term, though its first candidate is gone", () => {
		const job = new JobSimulation({ members: 5, rounds: 1 });
		const first = job.coordinator;
		// Two of five are gone: the vote for term 1 finds no quorum.
		job.onSend("propose", () => {
			job.crash(first);
			job.crash((first + 1) % 5);
		});
		const votes = new Map<string, Set<string>>();
		let candidate: number | undefined;
		job.simulation.intercept(({ from, message }) => {
			if (message.kind !== "term_vote") return undefined;
			const key = `${from}/${message.term}`;
			votes.set(key, (votes.get(key) ?? new Set()).add(message.coordinator));
			candidate ??= job.peers.indexOf(message.coordinator);
			return undefined;
		});
		job.run(10_000, () => candidate !== undefined);
		const voters = job.running.filter((index) => index !== candidate);
		job.run(job.simulation.nowMs + 500, () => false);
		job.crash(candidate as number);
		for (const index of voters) {
			job.crash(index);
			job.restart(index);
		}
		job.run(40_000, () => false);
		for (const candidates of votes.values()) expect(candidates.size).toBe(1);
		expect([...votes.keys()].some((key) => key.endsWith("/2"))).toBe(true);
		job.check({ done: false });
		for (const index of job.peers.keys()) job.restart(index);
		job.run();
		job.check();
	});
});

describe("message loss", () => {
	for (const [lossProbability, seed] of [
		[0.05, 1],
		[0.05, 2],
		[0.1, 3],
		[0.1, 4],
	] as const) {
		test(`of ${lossProbability * 100}% (seed ${seed}) delays but does not stop`, () => {
			const job = new JobSimulation({ members: 5, rounds: 3, lossProbability, seed });
			job.run(600_000);
			job.check();
		});
	}
});
