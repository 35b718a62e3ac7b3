import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { sha256 } from "../../../crypto/hash.ts";
import { type FinishedRound, Models } from "../../../node/models/models.ts";
import { openStore, type Store } from "../../../node/store/index.ts";
import { prepare } from "../../../src/data/description.ts";
import { importLayersModel } from "../../../src/learning/formats/layersModelImport.ts";
import { importOnnx } from "../../../src/learning/formats/onnx.ts";
import { importSafetensors } from "../../../src/learning/formats/safetensors.ts";
import { initialParameters, parameterCount, parametersHash } from "../../../src/learning/model.ts";
import { initialOptimizerState } from "../../../src/learning/optimizer.ts";
import { createTrainer } from "../../../src/learning/trainer.ts";
import { encodeCommonState } from "../../../src/training/commonState.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";
import { modelOf } from "../../../src/training/plan.ts";
import { encodeSiteState } from "../../../src/training/siteState.ts";

const key = new Uint8Array(32).fill(5);
const jobId = "5b".repeat(32);
const otherJobId = `5b5b5b${"0c".repeat(29)}`;
const resultHash = "ab".repeat(32);

const classes = specOf({
	model: { kind: "softmax_regression" },
	description: {
		name: "beans",
		label: { kind: "class", column: "kind", classes: ["black", "white", "red"] },
		features: {
			count: 2,
			bounds: [
				[0, 10],
				[-5, 5],
			],
			scale: "symmetric",
		},
	},
	privacy: { mechanism: "distributed_gaussian", epsilon: 2, delta: 1e-5, clippingNorm: 1, samplingRate: 0.1 },
});
const binary = specOf({
	model: { kind: "logistic_regression" },
	description: {
		name: "two",
		label: { kind: "class", column: "kind", classes: ["no", "yes"] },
		features: { count: 1, bounds: [0, 1], scale: "unit" },
	},
});
const values = specOf({
	model: { kind: "linear_regression" },
	description: {
		name: "prices",
		label: { kind: "number", column: "price", bounds: [100, 300] },
		features: { count: 1, bounds: [0, 4], scale: "symmetric" },
	},
});

function specOf(parts: { model: unknown; description: unknown; privacy?: unknown }): ResolvedJobSpec {
	return resolveJobSpec(
		checkJobSpec({
			name: "count-beans",
			technique: "federated_learning",
			data: { set: "beans", description: parts.description },
			model: parts.model,
			training: { algorithm: "fedsgd", rounds: 20, expectedBatch: 30 },
			privacy: parts.privacy ?? { mechanism: "none" },
		}),
	);
}

function parametersOf(spec: ResolvedJobSpec, fill: number): Float32Array {
	return initialParameters(modelOf(spec), new Uint8Array(32).fill(fill));
}

function stateOf(spec: ResolvedJobSpec, fill: number): Uint8Array {
	const parameters = parametersOf(spec, fill);
	const optimizer = initialOptimizerState({ learningRate: 1, momentum: 0 }, parameters.length);
	return encodeCommonState({ parameters, optimizer });
}

/** What the worker pool does in the node. */
async function predict(
	spec: ResolvedJobSpec,
	parameters: Float32Array,
	features: Float32Array,
): Promise<Float32Array> {
	const model = modelOf(spec);
	const trainer = await createTrainer({ model });
	const outputs = await trainer.predict(parameters, features);
	await trainer.dispose();
	return outputs;
}

let directory: string;
let store: Store;
let models: Models;
let clock = 0;
/** What the organization keeps for itself. */
let kept: Uint8Array | undefined;
const own = async () => kept;

beforeEach(async () => {
	kept = undefined;
	directory = await mkdtemp(join(tmpdir(), "althing-models-"));
	store = await openStore({ directory, key });
	clock = Date.UTC(2026, 0, 1);
	models = new Models({ store, predict, own, nowMs: () => clock++ });
});
afterEach(async () => {
	await store.close();
	await rm(directory, { recursive: true });
});

async function finish(round: number, over: Partial<FinishedRound> = {}, fill = round): Promise<string> {
	const spec = over.spec ?? classes;
	const stateHash = await store.blobs.put(stateOf(spec, fill));
	await models.record({
		jobId,
		name: "count-beans",
		spec,
		round,
		stateHash,
		resultHash,
		metrics: { loss: 0.5, accuracy: 0.75 },
		federation: "growers",
		participants: 5,
		backend: "onnxruntime-node (CPU)",
		epsilonSpent: 0.1 * (round + 1),
		delta: 1e-5,
		...over,
	});
	return stateHash;
}

async function refusal(
	promise: Promise<unknown>,
): Promise<{ code: string; message: string; facts: unknown }> {
	return await promise.then(
		() => expect.fail("was not refused"),
		(error) => error,
	);
}

describe("recording", () => {
	test("a job has one current model; its state and the one before are kept, older ones go", async () => {
		const hashes = [];
		for (const round of [0, 1, 2, 3]) hashes.push(await finish(round));
		const [summary, ...others] = await models.list();
		expect(others).toEqual([]);
		const model = modelOf(classes);
		expect(summary).toEqual({
			id: `${jobId.slice(0, 12)}-r4`,
			job: jobId,
			name: "count-beans",
			round: 4,
			parameterCount: 9,
			hash: toHex(parametersHash(model, initialParameters(model, new Uint8Array(32).fill(3)))),
			createdAt: "2026-01-01T00:00:00.003Z",
			evaluationLoss: 0.5,
			accuracy: 0.75,
			epsilon: 0.4,
			delta: 1e-5,
		});
		expect(await Promise.all(hashes.map((hash) => store.blobs.has(hash)))).toEqual([
			false,
			false,
			true,
			true,
		]);
	});

	test("a state that returns unchanged is not deleted as an old one", async () => {
		await finish(0, {}, 7);
		await finish(1, {}, 8);
		const current = await finish(2, {}, 7);
		expect(await store.blobs.has(current)).toBe(true);
		expect((await models.show({ job: jobId })).round).toBe(3);
	});

	test("the model outlives a restart; rounds reported again change nothing", async () => {
		await finish(0);
		await finish(1);
		const before = await models.show({ job: jobId });
		await store.close();
		store = await openStore({ directory, key });
		models = new Models({ store, predict, own, nowMs: () => clock++ });
		await finish(0);
		await finish(1);
		expect(await models.show({ job: jobId })).toEqual(before);
	});

	test("two states of one round are refused aloud, and the first stays", async () => {
		const first = await finish(0, {}, 1);
		const refused = await refusal(finish(0, {}, 2));
		expect(refused).toMatchObject({ code: "model.conflicting_round", facts: { job: jobId, round: 0 } });
		expect((await store.models.get(jobId))?.parametersHash).toBe(first);
	});

	test("a state that is not there, or of another model, is refused and leaves nothing behind", async () => {
		const missing = "00".repeat(32);
		expect((await refusal(finish(0, { stateHash: missing }))).code).toBe("model.missing_state");
		const foreign = await store.blobs.put(stateOf(binary, 1));
		expect((await refusal(finish(0, { stateHash: foreign }))).code).toBe("training.bad_state");
		expect(await models.list()).toEqual([]);
	});

	test("a round without an evaluation keeps the latest one, and the card says which model it measured", async () => {
		await finish(0);
		await finish(4, { metrics: { loss: 0.3 } });
		await finish(5, { metrics: {} });
		const { evaluationLoss, accuracy, card } = await models.show({ job: jobId });
		expect({ evaluationLoss, accuracy }).toEqual({ evaluationLoss: 0.3, accuracy: undefined });
		expect(card).toContain("after 4 rounds");
	});
});

describe("finding", () => {
	beforeEach(async () => {
		await finish(0);
		await finish(0, { jobId: otherJobId });
	});

	test.each([
		["the job's id", jobId],
		["an unambiguous prefix", jobId.slice(0, 8)],
		["the model's id", `${jobId.slice(0, 12)}-r1`],
	])("by %s", async (_, name) => {
		expect((await models.show({ job: name })).job).toBe(jobId);
		expect((await models.artifacts({ model: name, format: "onnx" }))[0]?.name).toBe("model.onnx");
	});

	test.each([
		["an unknown job", "ffff"],
		["a prefix of two jobs", "5b5b5b"],
		["too short a prefix", "5b"],
		["a model that a newer one replaced", `${jobId.slice(0, 12)}-r0`],
		["nothing", ""],
	])("%s is not found", async (_, name) => {
		for (const ask of [
			() => models.show({ job: name }),
			() => models.artifacts({ model: name, format: "tfjs" }),
			() => models.predict({ job: name, rows: [[1, 1]] }),
		]) {
			expect((await refusal(ask())).code).toBe("model.not_found");
		}
	});

	test("the newest model is listed first", async () => {
		await finish(1);
		expect((await models.list()).map(({ job }) => job)).toEqual([jobId, otherJobId]);
	});
});

describe("files", () => {
	test("each format reads back as the model, with a card that names its hashes", async () => {
		await finish(0);
		const model = modelOf(classes);
		const trained = { model, parameters: initialParameters(model, new Uint8Array(32).fill(0)) };
		const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);
		const readers = {
			onnx: (files: Uint8Array[]) => importOnnx(files[0] as Uint8Array),
			safetensors: (files: Uint8Array[]) => importSafetensors(files[0] as Uint8Array),
			tfjs: (files: Uint8Array[]) =>
				importLayersModel({ modelJson: text(files[0]), weights: files[1] as Uint8Array }),
		};
		for (const format of ["onnx", "safetensors", "tfjs"] as const) {
			const artifacts = await models.artifacts({ model: jobId, format });
			expect(readers[format](artifacts.map(({ bytes }) => bytes))).toEqual(trained);
			const cards = artifacts.filter(({ name }) => name.startsWith("model-card."));
			expect(cards.map(({ name }) => name)).toEqual(["model-card.md", "model-card.json"]);
			const { files, hashes } = JSON.parse(text(cards[1]?.bytes));
			const expected = artifacts.slice(0, -2).map(({ name, bytes }) => [name, toHex(sha256(bytes))]);
			expect(files).toEqual(Object.fromEntries(expected));
			expect(hashes.parameters).toBe(toHex(parametersHash(model, trained.parameters)));
		}
	});

	test("files already named stay to be fetched while the job goes on", async () => {
		await finish(0);
		const { id } = await models.show({ job: jobId });
		const named = await models.artifacts({ model: id, format: "tfjs" });
		await finish(1);
		expect(await models.artifacts({ model: id, format: "tfjs" })).toBe(named);
		expect((await refusal(models.artifacts({ model: id, format: "onnx" }))).code).toBe("model.not_found");
	});

	test("a state that is lost or not finite is an error, not a file", async () => {
		const stateHash = await finish(0);
		const model = modelOf(classes);
		const parameters = new Float32Array(parameterCount(model)).fill(Number.NaN);
		const optimizer = initialOptimizerState({ learningRate: 1, momentum: 0 }, parameters.length);
		const broken = await store.blobs.put(encodeCommonState({ parameters, optimizer }));
		await finish(1, { stateHash: broken });
		expect((await refusal(models.artifacts({ model: jobId, format: "onnx" }))).code).toBe(
			"learning.not_finite",
		);
		await store.blobs.delete(broken);
		expect((await refusal(models.artifacts({ model: jobId, format: "onnx" }))).code).toBe(
			"model.missing_state",
		);
		expect(await store.blobs.has(stateHash)).toBe(true);
	});
});

describe("the card", () => {
	test("with privacy: what was spent, whose noise it rests on, how inputs are scaled", async () => {
		await finish(1);
		const { card, architecture, formats } = await models.show({ job: jobId });
		expect(architecture).toEqual({ kind: "softmax_regression" });
		expect(formats).toEqual(["onnx", "tfjs", "safetensors"]);
		for (const part of [
			"| Rounds | 2 of 20 |",
			"growers (5 members)",
			"| one record added or removed | 0.2000 | 1.00e-5 |",
			"noise in shares",
			"a person with several records",
			"column 2 clamped to \\[-5, 5\\], scaled to \\[-1, 1\\]",
			"black, white, red",
		]) {
			expect(card).toContain(part);
		}
	});

	test("without privacy it says so and claims none", async () => {
		await finish(0, { spec: values, metrics: {} });
		const { card } = await models.show({ job: jobId });
		expect(card).toContain("## Privacy spent\n\nNone.");
		expect(card).toContain("may reveal records");
		expect(card).toContain("carry no noise");
		expect(card).not.toContain("stated epsilon");
	});
});

describe("the organization's own model", () => {
	const ditto: ResolvedJobSpec = {
		...classes,
		personalization: { method: "ditto", weight: 0.1, epochs: 1 },
	};
	const evaluation = {
		rounds: 1,
		records: 40,
		personal: { loss: 0.25, accuracy: 0.9 },
		common: { loss: 0.5, accuracy: 0.75 },
	};

	test("is exported and predicts by itself, and its card says that epsilon does not cover it", async () => {
		const parameters = parametersOf(classes, 9);
		kept = encodeSiteState({ parameters, evaluation });
		await finish(0, { spec: ditto });
		const { id, personal, card } = await models.show({ job: jobId });
		expect(personal).toEqual({ id: `${id}-personal`, ...evaluation });
		expect(card).not.toContain("own model");
		const [file, text] = await models.artifacts({ model: `${id}-personal`, format: "safetensors" });
		expect(importSafetensors(file!.bytes).parameters).toEqual(parameters);
		expect(new TextDecoder().decode(text!.bytes)).toContain("epsilon does not cover it");
		const [common] = await models.artifacts({ model: id, format: "safetensors" });
		expect(importSafetensors(common!.bytes).parameters).toEqual(parametersOf(classes, 0));
		const rows = [[5, 0]];
		const { outputs } = await models.predict({ job: jobId, rows, personal: true });
		expect(outputs.flat()).toEqual([...(await predict(classes, parameters, new Float32Array(2)))]);
	});

	test("is the common one with own layers, or the one of the cluster that was chosen here", async () => {
		const hidden: ResolvedJobSpec = {
			...classes,
			model: { kind: "multilayer_perceptron", hidden: [2], activation: "tanh" },
			training: { ...classes.training, algorithm: "fedavg" },
			privacy: { mechanism: "none" },
		};
		const spec: ResolvedJobSpec = { ...hidden, personalization: { method: "fedper", ownLayers: 1 } };
		const own = parametersOf(hidden, 9);
		kept = encodeSiteState({ parameters: own });
		await finish(0, { spec });
		const [file] = await models.artifacts({ model: `${jobId}-personal`, format: "safetensors" });
		const merged = importSafetensors(file!.bytes).parameters;
		expect(merged.subarray(0, 6)).toEqual(parametersOf(hidden, 0).subarray(0, 6));
		expect(merged.subarray(6)).toEqual(own.subarray(6));

		const clustered: ResolvedJobSpec = {
			...classes,
			privacy: { mechanism: "none" },
			personalization: { method: "clustered", clusters: 2 },
		};
		const both = Float32Array.of(...parametersOf(classes, 1), ...parametersOf(classes, 2));
		const optimizer = initialOptimizerState({ learningRate: 1, momentum: 0 }, both.length);
		const stateHash = await store.blobs.put(encodeCommonState({ parameters: both, optimizer }));
		kept = encodeSiteState({ cluster: 1 });
		await finish(0, { spec: clustered, jobId: otherJobId, stateHash });
		const [second] = await models.artifacts({ model: `${otherJobId}-personal`, format: "safetensors" });
		expect(importSafetensors(second!.bytes).parameters).toEqual(parametersOf(classes, 2));
		const refused = await refusal(models.artifacts({ model: otherJobId, format: "onnx" }));
		expect(refused).toMatchObject({ code: "model.clustered" });
	});

	test("is refused where there is none", async () => {
		await finish(0);
		expect(await refusal(models.artifacts({ model: `${jobId}-personal`, format: "onnx" }))).toMatchObject({
			code: "model.no_personal",
			message: expect.stringContaining("asks for none"),
		});
		await finish(1, { spec: ditto });
		expect(await refusal(models.predict({ job: jobId, rows: [[1, 1]], personal: true }))).toMatchObject({
			code: "model.no_personal",
		});
	});
});

describe("predictions", () => {
	test("raw rows are clamped and scaled as the training records were", async () => {
		await finish(0);
		const rows = [
			[2.5, 5],
			[99, -99],
		];
		const { outputs, classes: named } = await models.predict({ job: jobId, rows });
		const { features } = prepare(
			{
				features: Float32Array.from(rows.flat()),
				labels: new Float32Array(2),
				rows: 2,
				columns: ["a", "b"],
				labelNames: ["red"],
			},
			classes.data.description,
		);
		expect([...features]).toEqual([-0.5, 1, 1, -1]);
		const expected = await predict(classes, parametersOf(classes, 0), features);
		expect(outputs.flat()).toEqual([...expected]);
		for (const [row, probabilities] of outputs.entries()) {
			expect(probabilities.reduce((sum, value) => sum + value)).toBeCloseTo(1, 5);
			const likeliest = probabilities.indexOf(Math.max(...probabilities));
			expect(named?.[row]).toBe(["black", "white", "red"][likeliest]);
		}
	});

	test("a model of two classes tells the probability of both", async () => {
		models = new Models({ store, own, predict: async () => Float32Array.of(0.25, 0.75) });
		await finish(0, { spec: binary });
		expect(await models.predict({ job: jobId, rows: [[0], [1]] })).toEqual({
			outputs: [
				[0.75, 0.25],
				[0.25, 0.75],
			],
			classes: ["no", "yes"],
		});
	});

	test("a regression's values are in the label's own unit", async () => {
		const price = (label: number) =>
			prepare(
				{
					features: new Float32Array(1),
					labels: Float32Array.of(label),
					rows: 1,
					columns: ["a"],
					labelNames: [],
				},
				values.data.description,
			).labels;
		let scaled = new Float32Array();
		models = new Models({ store, own, predict: async () => scaled });
		await finish(0, { spec: values });
		await fc.assert(
			fc.asyncProperty(fc.integer({ min: 100, max: 300 }), async (label) => {
				scaled = Float32Array.from(price(label));
				const answer = await models.predict({ job: jobId, rows: [[1]] });
				expect(answer.outputs[0]?.[0]).toBeCloseTo(label, 3);
				expect(answer.classes).toBeUndefined();
			}),
			{ numRuns: 20 },
		);
	});

	test.each([
		["too few numbers", [[1, 2], [1]], { row: 2, column: 2 }],
		["too many numbers", [[1, 2, 3]], { row: 1, column: 3 }],
		[
			"not a number",
			[
				[1, 2],
				[3, Number.NaN],
			],
			{ row: 2, column: 2 },
		],
		["beyond float32", [[1e39, 0]], { row: 1, column: 1 }],
		["no rows", [], { rows: 0 }],
	])("%s are refused, naming row and column", async (_, rows, facts) => {
		models = new Models({ store, own, predict: () => expect.fail("must not be computed") });
		await finish(0);
		const refused = await refusal(models.predict({ job: jobId, rows }));
		expect(refused).toMatchObject({ code: "model.bad_input", facts });
	});

	test("an error of the worker reaches the caller", async () => {
		models = new Models({ store, own, predict: () => Promise.reject(new Error("worker gone")) });
		await finish(0);
		expect((await refusal(models.predict({ job: jobId, rows: [[1, 1]] }))).message).toBe("worker gone");
	});
});
