import { expect, test } from "vitest";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";
import { JobSimulation } from "./jobSimulation.ts";

/** Crashes, pairs of crashes, partitions and restarts of all, at random times for random spans. */
function disturb(job: JobSimulation, seed: number, calmAtMs: number): void {
	const random = seededRandomForTests(seed * 7919);
	const { simulation } = job;
	const everybody = [...job.peers.keys()];
	const below = (n: number) => Math.floor(random() * n);
	const later = (spanMs: number, action: () => void) => simulation.at(simulation.nowMs + spanMs, action);
	let atMs = 0;
	for (let k = 0; k < 12; k++) {
		atMs += below(1500) + 20;
		const what = random();
		const who = below(everybody.length);
		const spanMs = below(random() < 0.3 ? 40_000 : 3000);
		const cut = 1 + below(everybody.length - 1);
		simulation.at(atMs, () => {
			if (what < 0.2) {
				job.partition([everybody.slice(0, cut), everybody.slice(cut)]);
				later(spanMs, () => job.heal());
			} else if (what < 0.3) {
				for (const index of everybody) job.crash(index);
				for (const index of everybody) job.restart(index);
			} else {
				const victims = what < 0.85 ? [who] : [who, (who + 1) % everybody.length];
				for (const index of victims) job.crash(index);
				later(spanMs, () => {
					for (const index of victims) job.restart(index);
				});
			}
		});
	}
	simulation.at(calmAtMs, () => {
		job.heal();
		for (const index of everybody) job.restart(index);
	});
}

for (let seed = 1; seed <= 10; seed++) {
	test(`random disturbances (seed ${seed}): one chain of results, and it is completed once all is calm`, () => {
		const members = [4, 5, 7][seed % 3] as number;
		const job = new JobSimulation({
			members,
			corruption: seed % 2 === 1 ? Math.floor(members / 5) : 0,
			seed,
			rounds: 4,
			roundsPerEpoch: 2,
			lossProbability: seed % 4 === 0 ? 0.05 : 0,
		});
		disturb(job, seed, 100_000);
		job.run(
			200_000,
			() => job.simulation.nowMs > 100_000 && job.running.every((index) => job.job(index).done),
		);
		job.check();
		expect(job.running).toHaveLength(members);
	});
}
