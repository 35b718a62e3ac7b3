import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { JobStream } from "../../../node/data/streaming/jobStream.ts";
import { openLocation, type StreamedLocation, stampOf } from "../../../node/data/streaming/location.ts";
import { DataStreams } from "../../../node/data/streaming/streams.ts";
import { type LocalUpdate, trainLocally } from "../../../src/learning/localTraining.ts";
import { createTrainer } from "../../../src/learning/trainer.ts";
import type { RandomWords } from "../../../src/privacy/samplers/randomWords.ts";
import { type CommonState, encodeCommonState, initialState } from "../../../src/training/commonState.ts";
import type { ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import { planTraining } from "../../../src/training/plan.ts";
import { loadSiteData } from "../../../src/training/siteData.ts";
import { NEW_SITE } from "../../../src/training/siteState.ts";
import { epochsStart, plainSteps } from "../../../src/training/siteSteps.ts";
import { roundsAPass, shuffleRows, streamedWork } from "../../../src/training/streamedRound.ts";
import { seededWords } from "../../src/data/seededWords.ts";
import { relativeDistance } from "../../src/learning/reference.ts";
import { digitsJob, type Overrides, seededBytesForTests, WHO } from "../../src/training/federation.ts";

const splitKey = new Uint8Array(32).fill(9);
const settings = { batchMemoryMiB: 8, engineMemoryMiB: 256, engineThreads: 1 };
const { description } = digitsJob().data;

let folder: string;
let location: Extract<StreamedLocation, { readonly path: string }>;
beforeAll(async () => {
	folder = mkdtempSync(join(tmpdir(), "althing-stream-"));
	const path = join(folder, "digits.csv");
	writeFileSync(path, gunzipSync(readFileSync("data/digits-8x8.csv.gz")));
	location = { kind: "csv", path, ...(await stampOf(path)) };
});
afterAll(() => rmSync(folder, { recursive: true }));

function inMemory() {
	return loadSiteData(location.path, description, splitKey);
}

function counts() {
	const { train, heldOut } = inMemory();
	return { trainingRows: train.rows, heldOutRows: heldOut.rows };
}

interface Opened {
	readonly stream: JobStream;
	readonly spec: ResolvedJobSpec;
	readonly state: CommonState;
	readonly lossBound: number;
	passes(): number;
}

const open: { close: () => Promise<void> }[] = [];
afterEach(async () => {
	for (const one of open.splice(0)) await one.close();
});

function opened(overrides: Overrides, memoryMiB = settings.batchMemoryMiB, words?: RandomWords): Opened {
	const spec = digitsJob(overrides);
	const plan = planTraining(spec, WHO);
	let passes = 0;
	const ending = new AbortController();
	const stream = new JobStream({
		open: () => {
			passes++;
			return openLocation(location, description, settings);
		},
		records: { description, splitKey, ...counts() },
		spec,
		plan,
		backend: "onnx",
		batchMemoryMiB: memoryMiB,
		signal: ending.signal,
		...(words === undefined ? {} : { words }),
	});
	open.push({
		close: async () => {
			ending.abort();
			await stream.close();
		},
	});
	const state = initialState(spec, plan, "job", new Uint8Array(32));
	return { stream, spec, state, lossBound: plan.lossBound, passes: () => passes };
}

/** A job of local epochs without noise. */
function epochs(training: object): Overrides {
	return {
		training: { algorithm: "fedavg", rounds: 4, expectedBatch: undefined, ...training },
		privacy: { mechanism: "none" },
		robustness: { mode: "none" },
	};
}

const PRIVACY = { mechanism: "distributed_gaussian", epsilon: 8, delta: 1e-6 };
const everyRecord = {
	training: { rounds: 6, expectedBatch: 2000, evaluateEveryRounds: 4 },
	privacy: { ...PRIVACY, samplingRate: 1 },
};

describe("a job's stream", () => {
	it("plans many rounds a pass, the next pass ahead of its need", async () => {
		// Three eighths of 4 MiB hold three rounds of all training records, and not four.
		const { stream, state, passes } = opened(
			{ ...everyRecord, training: { ...everyRecord.training, evaluateEveryRounds: 100_000 } },
			4,
		);
		const { train } = inMemory();
		expect(stream.roundsAPass).toBe(3);
		for (const round of [1, 2, 3, 4, 5]) {
			const { batches, trainingRows, evaluation } = await stream.round(round, state);
			expect(trainingRows).toBe(train.rows);
			expect(evaluation).toBeUndefined();
			expect(batches).toHaveLength(1);
			expect(batches[0]!.features).toEqual(train.features);
			expect(batches[0]!.labels).toEqual(train.labels);
		}
		expect(passes()).toBe(2);
	});

	it("draws afresh what is asked for again, and discards what was missed", async () => {
		const half = { ...everyRecord, privacy: { ...PRIVACY, samplingRate: 0.5 } };
		const { stream, state, passes } = opened({
			...half,
			training: { ...half.training, evaluateEveryRounds: 100_000 },
		});
		const first = await stream.round(1, state);
		const again = await stream.round(1, state);
		// Equal with probability below 2^-1000.
		expect(again.batches[0]!.features).not.toEqual(first.batches[0]!.features);
		expect(passes()).toBe(2);
		await stream.round(4, state);
		await stream.round(2, state);
		expect(passes()).toBe(2);
	});

	it("evaluates the held-out records as in memory, kept or in passes", async () => {
		const { heldOut } = inMemory();
		const job = {
			training: { rounds: 6, expectedBatch: 2000 },
			privacy: { ...PRIVACY, samplingRate: 0.01 },
		};
		for (const [memoryMiB, expectedPasses] of [
			[8, 2],
			[0.3, 3],
		] as const) {
			const { stream, state, spec, lossBound, passes } = opened(job, memoryMiB);
			const trainer = await createTrainer({ model: planTraining(spec, WHO).model });
			const expected = await trainer.evaluate(state.parameters, heldOut, lossBound);
			await trainer.dispose();
			for (const round of [0, 1]) {
				const { evaluation } = await stream.round(round, state);
				expect(evaluation?.correct).toBe(expected.correct);
				expect(evaluation?.examples).toBe(expected.examples);
				expect(evaluation?.lossSum).toBeCloseTo(expected.lossSum, 6);
			}
			expect(passes()).toBe(expectedPasses);
		}
	});

	it("sums the gradients of all records for jobs that take them all", async () => {
		const { stream, state, spec } = opened({
			training: { rounds: 4, expectedBatch: undefined },
			privacy: { mechanism: "none" },
		});
		const { train } = inMemory();
		const trainer = await createTrainer({ model: planTraining(spec, WHO).model });
		const { sum } = await trainer.gradientSum(state.parameters, train);
		await trainer.dispose();
		const { gradient, batches } = await stream.round(1, state);
		expect(batches).toEqual([]);
		expect(gradient?.examples).toBe(train.rows);
		for (const [i, value] of sum.entries()) expect(gradient?.sum[i]).toBeCloseTo(value, 3);
	});

	it("gives private local steps a batch each", async () => {
		const { stream, state, spec } = opened({
			training: { algorithm: "fedavg", rounds: 2, localEpochs: 1, localBatch: 400, expectedBatch: undefined },
			privacy: { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.2 },
		});
		const { localSteps } = planTraining(spec, WHO);
		const { batches } = await stream.round(0, state);
		expect(localSteps).toBeGreaterThan(1);
		expect(batches).toHaveLength(localSteps);
	});

	it("trains local epochs on every record, each a pass, as in memory", async () => {
		const { train } = inMemory();
		const variate = (parameters: number) =>
			Float64Array.from({ length: parameters }, (_, i) => (i % 7) / 100);
		for (const training of [
			{ algorithm: "fedavg", localMomentum: 0.5 },
			{ algorithm: "fedprox", proximalWeight: 0.5 },
			{ algorithm: "scaffold" },
			{ algorithm: "fednova" },
		]) {
			// One batch of all records an epoch: in whatever order they come, the steps are the same.
			const job = epochs({ ...training, localEpochs: 3, localBatch: 2048 });
			const { stream, state, spec, passes } = opened(job);
			const plan = planTraining(spec, WHO);
			const own =
				training.algorithm === "scaffold" ? { controlVariate: variate(plan.shared.count) } : NEW_SITE;
			const trainer = await createTrainer({ model: plan.model });
			const { start, rule } = epochsStart({ spec, plan }, 1, state, own);
			const expected = await trainLocally(trainer, start, train, rule);
			await trainer.dispose();
			const { trained: update, trainingRows, evaluation, batches } = await stream.round(1, state, own);
			const trained = update as LocalUpdate;
			expect(trained.steps).toBe(3);
			expect(trainingRows).toBe(train.rows);
			expect(batches).toEqual([]);
			expect(evaluation?.examples).toBe(counts().heldOutRows);
			expect(relativeDistance(trained.delta, expected.delta)).toBeLessThan(1e-5);
			// The held-out records are evaluated in the first of the passes.
			expect(passes()).toBe(3);
		}
	});

	it("learns from shuffled batches within little memory, the same for the same shuffles", async () => {
		const { train, heldOut } = inMemory();
		const job = epochs({ localEpochs: 2, localBatch: 32, localLearningRate: 0.5 });
		// Room for a fifth of the records.
		const trained = [];
		for (const seed of [1, 1, 2]) {
			const { stream, state } = opened(job, 0.1, seededWords(seed));
			trained.push((await stream.round(0, state)).trained as LocalUpdate);
		}
		expect(trained[1]).toEqual(trained[0]);
		expect(trained[2]!.delta).not.toEqual(trained[0]!.delta);
		const { state, spec, lossBound } = opened(job);
		const plan = planTraining(spec, WHO);
		const trainer = await createTrainer({ model: plan.model });
		const { start, rule } = epochsStart({ spec, plan }, 0, state, NEW_SITE);
		const reference = await trainLocally(trainer, start, train, rule, seededBytesForTests(1));
		const accuracy = async ({ delta }: LocalUpdate) => {
			const { correct, examples } = await trainer.evaluate(
				start.map((value, i) => value + delta[i]!),
				heldOut,
				lossBound,
			);
			return correct / examples;
		};
		expect(trained[0]!.steps).toBe(reference.steps);
		expect(await accuracy(reference)).toBeGreaterThan(0.9);
		for (const one of trained)
			expect(Math.abs((await accuracy(one)) - (await accuracy(reference)))).toBeLessThan(0.03);
		await trainer.dispose();
	});

	it("says of epochs that diverged that they did, and evaluates all the same", async () => {
		const job = epochs({ localEpochs: 2, localBatch: 100 });
		const { stream, spec, state, lossBound } = opened(job);
		const plan = planTraining(spec, WHO);
		const { train, heldOut } = inMemory();
		const wild = { ...state, parameters: state.parameters.map((_, i) => (i % 2 === 0 ? 1 : -1) * 3e38) };
		const { trained, evaluation } = await stream.round(0, wild);
		expect(trained).toBe("diverged");
		const trainer = await createTrainer({ model: plan.model });
		expect(evaluation?.examples).toBe((await trainer.evaluate(wild.parameters, heldOut, lossBound)).examples);
		const streamed = { trainingRows: train.rows, batches: [], trained: trained! };
		const steps = plainSteps({ spec, plan, train, trainer, streamed });
		await expect(steps(wild.parameters, { learningRate: 1 })).rejects.toMatchObject({
			code: "learning.not_finite",
		});
		await trainer.dispose();
	});

	it("refuses rounds that do not fit, and jobs that need all records at once", () => {
		const facts = { features: 64, trainingRows: 1_000_000, rounds: 10 };
		const poisson = streamedWork(digitsJob(everyRecord));
		if (typeof poisson === "string") throw new Error(poisson);
		expect(() => roundsAPass(poisson, { ...facts, memoryMiB: 16 })).toThrow(
			expect.objectContaining({ code: "data.streaming_memory" }),
		);
		expect(roundsAPass(poisson, { ...facts, memoryMiB: 4096 })).toBe(5);
		const own = digitsJob({
			training: { algorithm: "fedavg", expectedBatch: undefined },
			privacy: { mechanism: "none" },
			personalization: { method: "fine_tuning" },
		});
		expect(streamedWork(own)).toContain("personal models");
		const { training } = digitsJob(epochs({ algorithm: "fednova", localBatch: 64, localEpochs: 2 }));
		expect(() => shuffleRows(training, { ...facts, memoryMiB: 512 })).toThrow(
			expect.objectContaining({ code: "data.cannot_stream" }),
		);
		expect(() =>
			shuffleRows({ ...training, localEpochs: 1 }, { ...facts, trainingRows: 1e5, memoryMiB: 0.01 }),
		).toThrow(expect.objectContaining({ code: "data.streaming_memory" }));
		expect(
			shuffleRows({ ...training, localEpochs: 1 }, { ...facts, trainingRows: 1e5, memoryMiB: 512 }),
		).toBe(1e5);
	});
});

describe("streams of a node", () => {
	it("survey, answer and train in threads of their own, and give them back", async () => {
		const streams = new DataStreams();
		const set = { location, description, splitKey, settings };
		const surveyed = await streams.survey(set);
		expect(surveyed).toMatchObject(counts());
		expect(surveyed.columns).toEqual(inMemory().train.columns);
		const registered = { ...set, ...counts() };
		const sums = await streams.sums(registered, {
			kind: "count",
			where: [{ column: "digit", equals: "7" }],
			maximumRecordsPerSite: 1e6,
			privacy: { epsilon: 1 },
		} as never);
		const isSeven = (label: number) => label === 7;
		const { train, heldOut } = inMemory();
		const sevens = [...train.labels, ...heldOut.labels].filter(isSeven).length;
		expect(sums[0]! / 2 ** 22).toBe(sevens);
		const spec = digitsJob(everyRecord);
		const plan = planTraining(spec, WHO);
		const state = encodeCommonState(initialState(spec, plan, "job", new Uint8Array(32)));
		const task = { set: registered, spec, plan, backend: "onnx", round: 1, state } as const;
		const { batches } = await streams.round("job", task);
		expect(batches[0]!.features).toEqual(train.features);
		// Whatever is under way, also a pass ahead, is given up; the job may begin anew.
		await streams.forget("job");
		const late = streams.round("job", { ...task, round: 2 });
		const outcome = late.then(
			() => "answered",
			(error: { code: string }) => error.code,
		);
		await streams.stop();
		expect(["answered", "data.pass_ended", "workers.crashed"]).toContain(await outcome);
	});

	it("notice a file that has changed", async () => {
		const path = join(folder, "changing.csv");
		writeFileSync(path, readFileSync(location.path));
		const before: StreamedLocation = { kind: "csv", path, ...(await stampOf(path)) };
		utimesSync(path, new Date(), new Date(0));
		const streams = new DataStreams();
		const set = { location: before, description, splitKey, settings };
		await expect(streams.survey(set)).rejects.toMatchObject({ code: "data.changed" });
		await streams.stop();
	});
});
