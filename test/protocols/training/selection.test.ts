/** Jobs whose rounds ask a selection of the participants: verifiable by all, without anybody's favourites. */
import { describe, expect, test } from "vitest";
import type { RoundResult, TrainingJobOptions } from "../../../protocols/training/index.ts";
import { emptyHistory, historyAfter } from "../../../src/selection/history.ts";
import { selectParticipants } from "../../../src/selection/select.ts";
import { type SelectionChoice, selectionSchema } from "../../../src/selection/selectionChoice.ts";
import { contributionOf, JobSimulation, type JobSimulationOptions } from "./jobSimulation.ts";

function selecting(
	choice: object,
	settings: JobSimulationOptions & { readonly publicBytes?: number } = {},
	enoughInputs?: number,
): JobSimulation {
	const minimumSurvivors = settings.minimumSurvivors ?? 3;
	return new JobSimulation({
		members: 8,
		corruption: 1,
		...settings,
		minimumSurvivors,
		configure: (options) => ({
			...options,
			enoughInputs,
			publicBytes: settings.publicBytes,
			selection: {
				choice: selectionSchema.parse(choice) as SelectionChoice,
				characteristics: new Map(
					options.electorate.members.map((peer, index) => [peer, { tier: index % 2 === 0 ? "even" : "odd" }]),
				),
				minimumSurvivors,
			},
		}),
	});
}

/** Repeats every selection from the certified results alone. */
function expectSelected(job: JobSimulation, results: readonly RoundResult[]): void {
	const { selection, seed, jobId } = job.options[0] as TrainingJobOptions;
	let beacon = seed;
	let history = emptyHistory(job.peers.length);
	for (const { round, attempt, outcome, survivors, beacon: next, history: certified } of results) {
		if (outcome === "released") {
			const at = { jobId, round, attempt, members: job.peers, beacon, history };
			const invited = selectParticipants(selection!, at);
			expect(invited).toEqual(expect.arrayContaining(survivors));
			history = historyAfter(history, job.peers, { number: round, invited, survivors });
		}
		expect(certified).toEqual(history);
		beacon = next;
	}
}

describe.each([
	{ strategy: "uniform", size: 4 },
	{ strategy: "poisson", probability: 0.5 },
	{ strategy: "weighted", size: 4, characteristic: "tier", weights: { even: 1, odd: 3 } },
	{ strategy: "stratified", characteristic: "tier", strata: { even: 2, odd: 2 } },
	{ strategy: "availability", size: 4 },
	{ strategy: "fair", size: 4 },
])("$strategy", (choice) => {
	test("every round sums the selected; all vote, and all have the same model", () => {
		const job = selecting(choice, { rounds: 2 });
		job.run(60_000);
		const results = job.check();
		expectSelected(job, results);
		for (const { survivors, attempt } of results) {
			expect(survivors.length).toBeLessThan(8);
			expect(attempt).toBe(0);
		}
		for (const index of job.peers.keys()) expect(job.faultCodes(index)).toEqual([]);
	});
});

describe("a job whose selection goes by reported losses", () => {
	test("certifies what the survivors reported, and asks those with the largest", () => {
		const loss = (index: number) => 20 * index;
		const job = selecting(
			{ strategy: "power_of_choice", size: 4, candidates: 8 },
			{
				rounds: 4,
				publicBytes: 1,
				execute: (index, task) =>
					task.kind === "contribute"
						? {
								kind: "contribution",
								vector: contributionOf(job.peer(index), task.round),
								publicPart: Uint8Array.of(loss(index)),
							}
						: undefined,
			},
		);
		job.run(60_000);
		const results = job.check();
		// Whoever has not reported comes first: after two rounds everybody has.
		expect([...results[0]!.survivors, ...results[1]!.survivors].sort()).toEqual(job.peers);
		expect(results[1]?.history?.map((record) => record.loss)).toEqual(
			job.peers.map((_, index) => loss(index)),
		);
		for (const { survivors } of results.slice(2)) expect(survivors).toEqual(job.peers.slice(4));
		for (const index of job.peers.keys()) expect(job.faultCodes(index)).toEqual([]);
	});
});

describe("a job with a selection", () => {
	test("charges and trains nobody who is not asked", () => {
		const job = selecting({ strategy: "fair", size: 4 }, { rounds: 2 });
		job.run(60_000);
		const [first, second] = job.check();
		// Four of eight each round, so that both rounds together ask everybody once.
		expect([...first!.survivors, ...second!.survivors].sort()).toEqual(job.peers);
		for (const index of job.peers.keys()) {
			const sent = [...job.sent].filter(([key]) => key === `${index}/input`).map(([, count]) => count);
			expect(sent.length).toBe(job.sent.has(`${index}/input`) ? 1 : 0);
			const [round] = job.outputs(index, "round");
			expect(round?.invited).toEqual(first!.survivors);
		}
	});

	test("whose selected are away asks more in the next attempt, and goes on", () => {
		const job = selecting({ strategy: "uniform", size: 4 }, { rounds: 3, seed: 3, corruption: 1 });
		const [first] = [job.options[0] as TrainingJobOptions].map(({ selection, seed, jobId }) =>
			selectParticipants(selection!, {
				jobId,
				round: 0,
				attempt: 0,
				members: job.peers,
				beacon: seed,
				history: emptyHistory(8),
			}),
		);
		// Two of the four that the first round asks: three have to survive.
		const away = first!.slice(0, 2).map((peer) => job.peers.indexOf(peer));
		for (const index of away) job.crash(index);
		job.run(120_000);
		const results = job.check();
		expectSelected(job, results);
		expect(results[0]?.attempt).toBe(1);
		expect(results[0]?.survivors).toHaveLength(6);
	});

	test("selects alike at a node that was away, and at one that restarted", () => {
		const job = selecting({ strategy: "availability", size: 5 }, { rounds: 6, seed: 4 });
		job.onSend("result_ballot", () => job.crash(7), { round: 1, from: 7 });
		job.onSend("result_ballot", () => job.restart(7), { round: 3 });
		job.onSend("result_ballot", () => job.crash(2), { round: 4, from: 2 });
		job.onSend("heartbeat", () => job.restart(2), { round: 5 });
		job.run(120_000);
		expectSelected(job, job.check());
	});

	test("with over-selection goes on without the slow ones, whose inputs stay masked", () => {
		const job = selecting({ strategy: "uniform", size: 4, overselection: 0.5 }, { rounds: 3 }, 4);
		// The coordinator hands its own input over without a message.
		const slow = job.peers.filter((_, index) => index !== job.coordinator).slice(0, 2);
		job.simulation.intercept((envelope) =>
			slow.includes(envelope.from) && job.kind(envelope.message) === "input" ? [] : undefined,
		);
		job.run(60_000);
		const results = job.check();
		expectSelected(job, results);
		for (const { survivors, attempt } of results) {
			expect(survivors).toHaveLength(4);
			expect(survivors.some((peer) => slow.includes(peer))).toBe(false);
			expect(attempt).toBe(0);
		}
		// No phase ran into its time limit of three seconds, three rounds together.
		expect(job.simulation.nowMs).toBeLessThan(3_000);
	});

	test("with over-selection does not wait for sites that train for minutes", () => {
		const slow = [2, 5];
		const job = selecting(
			{ strategy: "uniform", size: 4, overselection: 0.5 },
			{
				rounds: 3,
				taskMs: (index, { kind }) => (kind === "contribute" && slow.includes(index) ? 120_000 : undefined),
			},
			4,
		);
		job.run(60_000);
		const results = job.check();
		expectSelected(job, results);
		for (const { survivors } of results)
			expect(survivors.some((peer) => slow.includes(job.peers.indexOf(peer)))).toBe(false);
		expect(job.simulation.nowMs).toBeLessThan(3_000);
	});

	test("refuses a coordinator that opens a session among favourites of its own", () => {
		const job = selecting(
			{ strategy: "uniform", size: 4 },
			{
				rounds: 2,
				seed: 5,
			},
		);
		const coordinator = job.coordinator;
		const cheat = job.options[coordinator]!;
		// Its own machine selects by another rule than the certified one.
		const favourites = { ...cheat.selection!, choice: { ...cheat.selection!.choice, size: 5 } };
		const cheating = selecting(
			{ strategy: "uniform", size: 4 },
			{
				rounds: 2,
				seed: 5,
				members: 8,
			},
		);
		expect(cheating.coordinator).toBe(coordinator);
		Object.assign(cheating.options[coordinator] as object, { selection: favourites });
		cheating.crash(coordinator);
		cheating.restart(coordinator);
		cheating.run(200_000, () => cheating.results().length >= 1);
		const honest = cheating.running.filter((index) => index !== coordinator);
		const codes = honest.flatMap((index) => cheating.faultCodes(index));
		expect(codes).toContain("aggregation.session_mismatch");
		const [result] = cheating.results();
		const selected = selectParticipants(cheat.selection!, {
			jobId: cheat.jobId,
			round: 0,
			attempt: result?.attempt ?? 0,
			members: cheating.peers,
			beacon: cheat.seed,
			history: emptyHistory(8),
		});
		expect(selected).toEqual(expect.arrayContaining([...(result?.survivors ?? [])]));
	});
});
