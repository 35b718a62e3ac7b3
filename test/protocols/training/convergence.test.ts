/** Logistic regression over sites of which the slowest takes ten times as long as the fastest. */
import { expect, test } from "vitest";
import type { TrainingTask, TrainingTaskResult } from "../../../protocols/training/index.ts";
import { fromRing, toRing } from "../../../src/privacy/fixedPoint.ts";
import { stalenessWeight } from "../../../src/training/bufferedRounds.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";
import { JobSimulation } from "./jobSimulation.ts";

const SITES = 5;
const BUFFER = 3;
const FEATURES = 20;
const RECORDS = 40;
const LOCAL_STEPS = 2;
const STEP = 1;
const SCALE = 2 ** 12;
const BITS = 24;
/** One to ten seconds. */
const trainingMs = (index: number) => 1_000 * 10 ** (index / (SITES - 1));

interface Site {
	readonly features: readonly Float64Array[];
	readonly labels: readonly number[];
}

const random = seededRandomForTests(11);
const gaussian = () => Array.from({ length: 12 }, random).reduce((sum, value) => sum + value, -6);
/** Features of very different scale, and as much said by the small ones: it takes many steps to learn them. */
const scales = Float64Array.from({ length: FEATURES }, (_, feature) => 10 ** (-feature / (FEATURES - 1)));
const truth = scales.map((scale) => gaussian() / scale);
const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
	Array.from(a).reduce((sum, value, i) => sum + value * b[i]!, 0);
/** Sites differ: the mean of each one's records lies elsewhere. */
const sites: Site[] = Array.from({ length: SITES }, () => {
	const mean = Float64Array.from({ length: FEATURES }, () => gaussian() / 4);
	const features = Array.from({ length: RECORDS }, () =>
		mean.map((value, f) => (value + gaussian()) * scales[f]!),
	);
	return { features, labels: features.map((record) => (dot(record, truth) + gaussian() / 2 > 0 ? 1 : 0)) };
});
const everything: Site = {
	features: sites.flatMap(({ features }) => features),
	labels: sites.flatMap(({ labels }) => labels),
};

function accuracyOf(model: ArrayLike<number>): number {
	const correct = everything.features.filter(
		(record, i) => dot(record, model) > 0 === (everything.labels[i] === 1),
	);
	return correct.length / everything.features.length;
}

/** The difference that some steps of gradient descent make. */
function trained({ features, labels }: Site, start: Float32Array): Float64Array {
	const model = Float64Array.from(start);
	for (let step = 0; step < LOCAL_STEPS; step++) {
		const gradient = new Float64Array(FEATURES);
		for (const [i, record] of features.entries()) {
			const error = 1 / (1 + Math.exp(-dot(record, model))) - labels[i]!;
			for (let f = 0; f < FEATURES; f++) gradient[f]! += (error * record[f]!) / features.length;
		}
		for (let f = 0; f < FEATURES; f++) model[f]! -= STEP * gradient[f]!;
	}
	return model.map((value, f) => value - start[f]!);
}

const parametersOf = (state: Uint8Array) => new Float32Array(state.slice().buffer);
const encoded = (delta: Float64Array, weight: number) =>
	toRing(
		Int32Array.from(delta, (value) => Math.round(value * weight * SCALE)),
		BITS,
	);

/** @returns accuracy after each round, with the virtual time */
function course(mode: "synchronous" | "buffered", rounds: number): { atMs: number; accuracy: number }[] {
	const accuracies: { atMs: number; accuracy: number }[] = [];
	const prepared = new Map<number, Float64Array>();
	const keyRandom = seededRandomForTests(5);
	const execute = (index: number, task: TrainingTask): TrainingTaskResult | undefined => {
		switch (task.kind) {
			case "contribute":
				return { kind: "contribution", vector: encoded(trained(sites[index]!, parametersOf(task.state)), 1) };
			case "prepare":
				prepared.set(index, trained(sites[index]!, parametersOf(task.state)));
				return { kind: "prepared" };
			case "finish":
				return {
					kind: "contribution",
					vector: encoded(prepared.get(index)!, stalenessWeight(task.round - task.version)),
				};
			case "apply": {
				const sum = fromRing(task.sum, BITS);
				const next = parametersOf(task.state).map((value, f) => value + sum[f]! / SCALE / task.survivors);
				return { kind: "applied", state: new Uint8Array(next.buffer), metrics: {} };
			}
			default:
				return undefined;
		}
	};
	const job = new JobSimulation({
		members: SITES,
		corruption: 0,
		minimumSurvivors: 3,
		rounds,
		roundsPerEpoch: mode === "buffered" ? 1 : 10,
		execute,
		taskMs: (index, { kind }) =>
			kind === "prepare" || kind === "contribute" ? trainingMs(index) : undefined,
		configure: (options) => ({
			...options,
			// Keys from a seed: the course is the same in every run.
			random: (length) => Uint8Array.from({ length }, () => Math.floor(keyRandom() * 256)),
			initialState: new Uint8Array(new Float32Array(FEATURES).buffer),
			// A synchronous round waits for everybody: that is what it is compared for.
			phaseTimeoutMs: 15_000,
			...(mode === "buffered" ? { buffer: { capacity: BUFFER, maximumStaleness: 10 } } : {}),
		}),
	});
	job.simulation.onOutput((peer, output, atMs) => {
		if (output.kind === "round" && peer === job.peer(0))
			accuracies.push({ atMs, accuracy: accuracyOf(parametersOf(job.job(0).state)) });
	});
	job.run(600_000);
	expect(job.results()).toHaveLength(rounds);
	return accuracies;
}

test("buffered rounds reach the same accuracy in less than half the time of synchronous ones", () => {
	const synchronous = course("synchronous", 9);
	const buffered = course("buffered", 12);
	const goal = 0.84;
	const reached = (rounds: typeof buffered) => rounds.find(({ accuracy }) => accuracy >= goal)?.atMs;
	const [slow, fast] = [reached(synchronous), reached(buffered)];
	expect(synchronous[0]!.accuracy).toBeLessThan(0.8);
	expect(slow).toBeDefined();
	expect(fast).toBeDefined();
	expect(fast!).toBeLessThan(slow! / 2);
	// For the record: what a reader of the test's output wants to know.
	console.info(
		`accuracy ${goal}: synchronous after ${(slow! / 1000).toFixed(1)} s, buffered after ${(fast! / 1000).toFixed(1)} s of virtual time`,
	);
});
