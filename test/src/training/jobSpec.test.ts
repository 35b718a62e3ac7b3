import { describe, expect, it } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { checkJobSpec, jobSpecHash, parseJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";
import { modelChoiceSchema, modelFor } from "../../../src/training/modelChoice.ts";
import { optimizerOf } from "../../../src/training/trainingChoice.ts";

const GOOD = `name: digits
technique: federated_learning
data:
  set: digits-8x8
model:
  kind: softmax_regression
training:
  rounds: 10
  expectedBatch: 500
privacy:
  mechanism: distributed_gaussian
  epsilon: 4
  delta: 1e-6
  samplingRate: 0.3
`;

function refusal(text: string): AlthingError {
	try {
		parseJobSpec(text, "job.yaml");
	} catch (error) {
		if (error instanceof AlthingError) return error;
		throw error;
	}
	throw new Error("was accepted");
}

describe("job files", () => {
	it("are read with their defaults and resolved to a public data description", () => {
		const spec = resolveJobSpec(parseJobSpec(GOOD, "job.yaml"));
		expect(spec.training).toMatchObject({ algorithm: "fedsgd", momentum: 0, evaluateEveryRounds: 1 });
		expect(spec.privacy).toMatchObject({ clippingNorm: 1, unit: "record" });
		expect(spec.data.description.features.count).toBe(64);
		expect(jobSpecHash(spec)).toEqual(jobSpecHash(resolveJobSpec(parseJobSpec(GOOD, "other.yaml"))));
		expect(jobSpecHash(spec)).not.toEqual(
			jobSpecHash(resolveJobSpec(parseJobSpec(GOOD.replace("rounds: 10", "rounds: 11"), "job.yaml"))),
		);
	});

	it("with an unknown key are refused at its line and column", () => {
		const error = refusal(GOOD.replace("  rounds: 10", "  rounds: 10\n  rouns: 3"));
		expect(error.code).toBe("job.invalid_file");
		expect(error.message).toContain('job.yaml:9:10: training.rouns: unknown key "rouns"');
		expect(error.facts).toMatchObject({ line: 9, key: "training.rouns" });
	});

	it("with a wrong value, a syntax error or a later technique say so", () => {
		expect(refusal(GOOD.replace("rounds: 10", "rounds: many")).message).toMatch(
			/job\.yaml:8:11: training\.rounds/,
		);
		expect(refusal("name: [").message).toMatch(/^job\.yaml:1:/);
		expect(refusal(GOOD.replace("federated_learning", "secure_mpc")).message).toMatch(
			/"secure_mpc" is not offered/,
		);
		expect(refusal(GOOD.replace("federated_learning", "magic")).message).toMatch(/unknown technique "magic"/);
	});

	it("whose fields contradict each other are refused with the way out", () => {
		expect(() =>
			parseJobSpec(GOOD.replace("rounds: 10", "rounds: 10\n  algorithm: fedavg"), "job.yaml"),
		).toThrowError(/use site_gaussian/);
		expect(() => parseJobSpec(GOOD.replace("  expectedBatch: 500\n", ""), "job.yaml")).toThrowError(
			/expectedBatch is needed/,
		);
		expect(() =>
			parseJobSpec(GOOD.replace("distributed_gaussian", "site_gaussian"), "job.yaml"),
		).toThrowError(/needs training.algorithm fedavg/);
	});

	it("from elsewhere than a file are checked alike", () => {
		expect(() => checkJobSpec({ name: "x" })).toThrowError(/technique/);
		expect(() =>
			resolveJobSpec(checkJobSpec({ ...parseJobSpec(GOOD, "f"), data: { set: "unknown-set" } })),
		).toThrowError(/is not built in/);
	});

	const privacyOf = (lines: string) =>
		GOOD.replace(/ {2}mechanism: distributed_gaussian[\s\S]*/, lines.replace(/^/gm, "  "));
	const base = "mechanism: distributed_gaussian\nepsilon: 4\ndelta: 1e-6\n";

	it.each([
		["samplingRate: 0.3\nserver_side: true", undefined],
		["samplingRate: 0.3\nserver_side: false", /use site_gaussian/],
		["", /samplingRate is needed/],
		["samplingRate: 0.3\ntargetQuantile: 0.4", /belong to privacy.clipping adaptive/],
		["samplingRate: 0.3\nclipping: adaptive\ntargetQuantile: 0.4", undefined],
		["samplingRate: 0.3\nnoiseRatio: 0.5", /needs privacy.noiseSchedule/],
		["samplingRate: 0.3\nnoiseSchedule: linear", /needs privacy.noiseRatio/],
		["samplingRate: 0.3\nnoiseSchedule: linear\nnoiseRatio: 0.5", undefined],
		["samplingRate: 0.3\nminimumSeparation: 4", /correlation tree or banded/],
		["samplingRate: 0.3\ncorrelation: tree\nminimumSeparation: 4", /no sampling is claimed/],
		["correlation: tree", /needs privacy.minimumSeparation/],
		["correlation: tree\nminimumSeparation: 4", undefined],
		["correlation: tree\nminimumSeparation: 4\nbands: 2", /belongs to privacy.correlation banded/],
		["correlation: banded\nminimumSeparation: 4\nbands: 5", /overlap/],
		["correlation: banded\nminimumSeparation: 4\nbands: 3\nclipping: adaptive", undefined],
		[
			"correlation: banded\nminimumSeparation: 4\nnoiseSchedule: linear\nnoiseRatio: 2",
			/must be constant with correlated/,
		],
		["unit: client", /expectedBatch means nothing/],
		["unit: client\nsamplingRate: 0.3", /no amplification/],
	])("with privacy %j are told what does not go together", (lines, problem) => {
		const text = privacyOf(base + lines);
		if (problem === undefined) expect(parseJobSpec(text, "job.yaml").privacy).toBeDefined();
		else expect(() => parseJobSpec(text, "job.yaml")).toThrowError(problem);
	});

	it("protect organizations without a batch size, and clip their updates as a whole", () => {
		const clients = privacyOf(`${base}unit: client`).replace("  expectedBatch: 500\n", "");
		expect(parseJobSpec(clients, "job.yaml").privacy).toMatchObject({ unit: "client" });
		for (const [lines, problem] of [
			["clipping: per_layer", /use flat or adaptive/],
			["correlation: tree\n  minimumSeparation: 4", /takes part in every round/],
		] as const)
			expect(() => parseJobSpec(`${clients}\n  ${lines}`, "job.yaml")).toThrowError(problem);
	});

	it("have all noise at the sites only where that is said", () => {
		const site = (lines: string) =>
			privacyOf(`mechanism: site_gaussian\nepsilon: 4\ndelta: 1e-6\nsamplingRate: 0.3\n${lines}`).replace(
				"rounds: 10",
				"rounds: 10\n  algorithm: fedavg",
			);
		expect(parseJobSpec(site("server_side: false"), "f").privacy).toMatchObject({ clipping: "flat" });
		expect(() => parseJobSpec(site("server_side: true"), "f")).toThrowError(/contradicts site_gaussian/);
		expect(() => parseJobSpec(site("clipping: adaptive"), "f")).toThrowError(/clipping/);
	});

	it("name the settings of adaptive optimizers with them alone", () => {
		const adam = GOOD.replace("rounds: 10", "rounds: 10\n  optimizer: adam\n  momentum: 0.9");
		expect(optimizerOf(parseJobSpec(adam, "f"))).toEqual({
			learningRate: 1,
			momentum: 0.9,
			adaptive: { rule: "adam", secondMomentDecay: 0.999, epsilon: 1e-8 },
		});
		expect(optimizerOf(parseJobSpec(GOOD, "f"))).toEqual({ learningRate: 1, momentum: 0 });
		expect(() =>
			parseJobSpec(GOOD.replace("rounds: 10", "rounds: 10\n  optimizerEpsilon: 1e-6"), "f"),
		).toThrowError(/belong to training.optimizer adam/);
		expect(() =>
			parseJobSpec(
				GOOD.replace("rounds: 10", "rounds: 10\n  optimizer: adagrad\n  secondMomentDecay: 0.9"),
				"f",
			),
		).toThrowError(/adagrad forgets nothing/);
	});
});

describe("models of job files", () => {
	const { description } = resolveJobSpec(parseJobSpec(GOOD, "f")).data;
	const model = (choice: object) => modelFor(modelChoiceSchema.parse(choice), description, "digits-8x8");

	it("fit the data's features and classes", () => {
		const choices = [
			{ kind: "softmax_regression" },
			{ kind: "multilayer_perceptron", hidden: [8] },
			{ kind: "convolutional", inputShape: [8, 8, 1], filters: [4, 4] },
			{ kind: "recurrent", inputShape: [8, 8], cell: "gru", units: 5 },
			{ kind: "layers", layers: [{ kind: "dense", units: 7 }, { kind: "layerNorm" }] },
			{
				kind: "layers",
				inputShape: [8, 8, 1],
				layers: [{ kind: "conv2d", filters: 3, kernelSize: [3, 3] }, { kind: "globalAveragePool" }],
			},
		];
		for (const choice of choices) {
			const { inputs, task, layers } = model(choice);
			expect({ inputs, task }).toEqual({ inputs: 64, task: "multiclass" });
			expect(layers.at(-1)).toMatchObject({ kind: "dense", units: 10 });
		}
	});

	it("are refused by name where they do not", () => {
		expect(() => model({ kind: "convolutional", inputShape: [28, 28, 1] })).toThrowError(/784 values.*64/);
		expect(() => model({ kind: "compact_convolutional", inputShape: [8, 8, 1] })).toThrowError(
			/compact_convolutional does not fit/,
		);
		expect(() => model({ kind: "logistic_regression" })).toThrowError(/needs 2 classes, the data has 10/);
		expect(() =>
			model({ kind: "layers", layers: [{ kind: "conv2d", filters: 2, kernelSize: [3, 3] }] }),
		).toThrow(expect.objectContaining({ code: "job.model_mismatch" }));
	});
});
