/** Buffered rounds: sites of very different speed, none of which waits for another. */
import { describe, expect, test } from "vitest";
import type { RoundResult, TrainingTask } from "../../../protocols/training/index.ts";
import { JobSimulation, type JobSimulationOptions } from "./jobSimulation.ts";

const CAPACITY = 3;

function buffered(
	settings: JobSimulationOptions = {},
	maximumStaleness = 6,
	trainingMs: (index: number) => number = (index) => 2_000 * (index + 1),
	capacity = CAPACITY,
): JobSimulation {
	return new JobSimulation({
		members: 7,
		corruption: 1,
		minimumSurvivors: 3,
		rounds: 6,
		roundsPerEpoch: 1,
		...settings,
		taskMs: (index, task) => (task.kind === "prepare" ? trainingMs(index) : undefined),
		configure: (options) => ({ ...options, buffer: { capacity, maximumStaleness } }),
	});
}

/** Versions that the sites trained from, as their tasks tell. */
function watchVersions(): {
	readonly used: { readonly index: number; readonly round: number; readonly version: number }[];
	readonly execute: (index: number, task: TrainingTask) => undefined;
} {
	const used: { index: number; round: number; version: number }[] = [];
	return {
		used,
		execute: (index, task) => {
			if (task.kind === "finish") used.push({ index, round: task.round, version: task.version });
		},
	};
}

const timesOf = (results: readonly RoundResult[], peer: string) =>
	results.filter(({ survivors }) => survivors.includes(peer)).length;

describe("buffered rounds", () => {
	test("leave out what is too long, by certificate and for good, and go on", () => {
		const LENGTH = 20;
		const OFFENDER = 1;
		const job = new JobSimulation({
			members: 7,
			corruption: 1,
			minimumSurvivors: 3,
			rounds: 5,
			roundsPerEpoch: 1,
			taskMs: (index, task) => (task.kind === "prepare" ? 2_000 + 300 * index : undefined),
			execute: (index, task) =>
				index === OFFENDER && task.kind === "finish"
					? { kind: "contribution", vector: new Uint32Array(LENGTH).fill(40_000_000) }
					: undefined,
			configure: (options) => ({
				...options,
				modulusBits: 32,
				buffer: { capacity: 4, maximumStaleness: 6 },
				screening: () => ({ coordinates: LENGTH, normBound: 255_000 * Math.sqrt(LENGTH) }),
			}),
		});
		job.run(300_000);
		const results = job.check();
		expect(results).toHaveLength(5);
		for (const { survivors, outcome } of results) {
			expect(outcome).toBe("released");
			expect(survivors).not.toContain(job.peer(OFFENDER));
		}
		expect(results.at(-1)?.excluded).toEqual([job.peer(OFFENDER)]);
	});

	test("sum the first that are ready; the slow are in fewer of them, and the fast wait for nobody", () => {
		const { used, execute } = watchVersions();
		const job = buffered({ execute });
		job.run(300_000);
		const results = job.check();
		for (const { survivors, attempt } of results) {
			expect(survivors).toHaveLength(CAPACITY);
			expect(attempt).toBe(0);
		}
		const times = job.peers.map((peer) => timesOf(results, peer));
		expect(times[0]).toBeGreaterThan(times[6]!);
		for (const index of job.peers.keys()) expect(job.faultCodes(index)).toEqual([]);
		// Contributions of older versions took part, none too old, and none from before one's last.
		expect(used.some(({ round, version }) => version < round)).toBe(true);
		for (const { index, round, version } of used) {
			expect(round - version).toBeLessThanOrEqual(6);
			const before = results.filter(
				(other) => other.round < round && other.survivors.includes(job.peer(index)),
			);
			expect(version).toBeGreaterThan(before.at(-1)?.round ?? -1);
		}
		// The history that everybody certifies says the same.
		expect(results.at(-1)?.history?.map(({ survived }) => survived)).toEqual(times);
	});

	test("leave out what is too stale: its site trains again from a newer version", () => {
		const { used, execute } = watchVersions();
		// The last site needs as long as several rounds of the others take.
		const job = buffered({ execute }, 1, (index) => (index === 6 ? 9_000 : 2_000 + 50 * index));
		job.run(300_000);
		job.check();
		for (const { round, version } of used) expect(round - version).toBeLessThanOrEqual(1);
		expect(job.faultCodes(0)).toEqual([]);
	});

	test("go on over a coordinator's crash in mid-round, restarts and lost messages", () => {
		const job = buffered({ seed: 3, lossProbability: 0.02, rounds: 5 });
		job.onSend("shareSet", (from) => job.crash(from), { round: 1 });
		job.onSend("propose", (from) => job.crash(from), { round: 3 });
		for (const at of [20_000, 40_000, 60_000])
			job.simulation.at(at, () => {
				for (const index of job.peers.keys()) job.restart(index);
			});
		job.run(600_000);
		job.check();
	});

	test("goes on with those who are there when the buffer can no longer be filled", () => {
		const job = buffered({ rounds: 2, members: 6, corruption: 1 }, 6, () => 500, 5);
		job.simulation.at(0, () => {
			for (const index of [4, 5]) job.crash(index);
		});
		job.run(200_000);
		for (const { survivors } of job.check()) expect(survivors).toHaveLength(4);
	});
});
