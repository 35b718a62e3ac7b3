/** Whole jobs whose rounds are summed over a tree of cohorts: 12 participants in three cohorts of four. */
import { describe, expect, test } from "vitest";
import { graphSeedOf } from "../../../protocols/aggregation/index.ts";
import { dealCohorts } from "../../../protocols/hierarchy/index.ts";
import { contributionOf, JobSimulation, type JobSimulationOptions } from "./jobSimulation.ts";

const TREE = { cohortSize: 4, toleratedDropout: 0.25 };

function treeJob(settings: JobSimulationOptions = {}) {
	const job = new JobSimulation({
		members: 12,
		corruption: 1,
		minimumSurvivors: 3,
		configure: (options) => ({ ...options, tree: TREE }),
		...settings,
	});
	const cohorts = dealCohorts({
		...TREE,
		members: job.peers,
		corruption: 1,
		seed: graphSeedOf(new Uint8Array(32).fill(5)),
	}).map(({ electorate }) => electorate.members.map((peer) => job.peers.indexOf(peer)));
	const cohortOf = (index: number) => cohorts.find((cohort) => cohort.includes(index)) as number[];
	/** Participants of a cohort that does not have the job's coordinator. */
	const bystanders = () => cohorts.find((cohort) => !cohort.includes(job.coordinator)) as number[];
	return { job, cohorts, cohortOf, bystanders };
}

describe("a job over a tree of cohorts", () => {
	test("sums everybody in every round, and no member sees another cohort's inputs", () => {
		const { job, cohortOf } = treeJob();
		job.simulation.intercept(({ from, to, message }) => {
			const [sender, receiver] = [from, to].map((peer) => job.peers.indexOf(peer)) as [number, number];
			if (message.kind === "session") expect(cohortOf(sender)).toContain(receiver);
			return undefined;
		});
		job.run();
		const results = job.check();
		for (const { survivors, outcome } of results) {
			expect(outcome).toBe("released");
			expect(survivors).toHaveLength(12);
		}
		for (const index of job.peers.keys()) expect(job.faultCodes(index)).toEqual([]);
	});

	test("goes on without a participant that is killed, and takes it in again", () => {
		const { job, bystanders } = treeJob({ rounds: 8 });
		let victim = -1;
		job.onSend(
			"input",
			() => {
				const [first] = bystanders();
				victim = first as number;
				job.crash(victim);
				job.simulation.at(job.simulation.nowMs + 1000, () => job.restart(victim));
			},
			{ round: 1 },
		);
		job.run(600_000);
		const results = job.check();
		expect(results[0]?.survivors).toHaveLength(12);
		expect(results.some(({ survivors }) => survivors.length < 12)).toBe(true);
		expect(results.at(-1)?.survivors).toContain(job.peer(victim));
	});

	test.each([["input"], ["vote"], ["reveal"]])(
		"replaces a cohort's coordinator killed at the first %s, and the round has its cohort",
		(kind) => {
			const { job, bystanders } = treeJob({ rounds: 2 });
			let victim = -1;
			const coordinators = new Set<number>();
			job.simulation.intercept(({ from, message }) => {
				const sender = job.peers.indexOf(from);
				if (job.kind(message) === "roster") coordinators.add(sender);
				if (victim < 0 && job.kind(message) === kind && "round" in message && message.round === 1) {
					victim = [...coordinators].find((index) => bystanders().includes(index)) ?? -1;
					if (victim >= 0) job.simulation.at(job.simulation.nowMs, () => job.crash(victim));
				}
				return undefined;
			});
			job.run(600_000);
			const results = job.check();
			expect(victim).toBeGreaterThanOrEqual(0);
			for (const { survivors, outcome } of results) {
				expect(outcome).toBe("released");
				expect(survivors.length).toBeGreaterThanOrEqual(11);
			}
		},
	);

	test("has another combine when the job's coordinator is killed", () => {
		const { job } = treeJob({ rounds: 2 });
		let killed = -1;
		job.simulation.intercept(({ message }) => {
			if (killed >= 0 || message.kind !== "tree" || message.round !== 1) return undefined;
			killed = job.coordinator;
			job.simulation.at(job.simulation.nowMs, () => job.crash(killed));
			return undefined;
		});
		job.run(600_000);
		const results = job.check();
		expect(killed).toBeGreaterThanOrEqual(0);
		expect(results.every(({ outcome }) => outcome === "released")).toBe(true);
		expect(job.coordinator).not.toBe(killed);
	});

	test("leaves out a cohort that is down, whose members catch up when they are back", () => {
		const { job, bystanders } = treeJob({ rounds: 5 });
		let down: number[] = [];
		job.onSend(
			"input",
			() => {
				down = bystanders().slice(0, 2);
				for (const index of down) job.crash(index);
				job.simulation.at(job.simulation.nowMs + 9000, () => {
					for (const index of down) job.restart(index);
				});
			},
			{ round: 1 },
		);
		job.run(900_000);
		const results = job.check();
		expect(down).toHaveLength(2);
		expect(results.some(({ survivors }) => survivors.length === 8)).toBe(true);
		expect(results.at(-1)?.survivors).toHaveLength(12);
	});

	test("stands still while most cohorts are down, and sums again when they are back", () => {
		const { job, cohorts } = treeJob({ rounds: 2 });
		job.onSend(
			"input",
			() => {
				// Four of twelve: the electorate has its quorum of seven, two of three cohorts have none.
				const down = cohorts
					.filter((cohort) => !cohort.includes(job.coordinator))
					.flatMap((cohort) => cohort.slice(0, 2));
				for (const index of down) job.crash(index);
				job.simulation.at(job.simulation.nowMs + 60_000, () => {
					for (const index of down) job.restart(index);
				});
			},
			{ round: 0 },
		);
		job.run(900_000);
		for (const { outcome, survivors } of job.check())
			expect(outcome === "void" ? 12 : survivors.length).toBeGreaterThanOrEqual(8);
	});

	test("ends every round under crashes, restarts and losses with one chain of results", () => {
		const { job } = treeJob({ rounds: 4, seed: 1, lossProbability: 0.02 });
		for (let k = 0; k < 6; k++) {
			const victim = (7 + k * 5) % 12;
			job.simulation.at(2000 + k * 5000, () => job.crash(victim));
			job.simulation.at(2000 + k * 5000 + 4000, () => job.restart(victim));
		}
		job.run(900_000);
		job.check();
	});

	test("has the same sums as one session would have", () => {
		const { job } = treeJob({ rounds: 1 });
		job.run();
		job.check();
		const expected = new Uint32Array(20);
		for (const peer of job.peers)
			for (const [i, value] of contributionOf(peer, 0).entries())
				expected[i] = (expected[i] as number) + value;
		expect(new Uint32Array(job.job(0).state.slice().buffer)).toEqual(expected);
	});

	test.each([
		["of two", { cohortSize: 2, toleratedDropout: 0 }, /cohorts of 2/],
		["too small for its corrupt member", { cohortSize: 3, toleratedDropout: 0.34 }, /make cohorts larger/],
	])("into cohorts %s is refused", (_, tree, message) => {
		expect(() => treeJob({ configure: (options) => ({ ...options, tree }) })).toThrow(message);
	});
});
