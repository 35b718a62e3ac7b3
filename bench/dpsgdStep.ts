/** One training step with and without privacy, as local training runs it: what the `dpsgd` benchmark measures. */
import { randomBytes } from "../crypto/random.ts";
import { convolutionalNetwork } from "../src/learning/architectures.ts";
import { type Batch, takeRows } from "../src/learning/batch.ts";
import {
	initialParameters,
	type Model,
	multilayerPerceptron,
	parameterCount,
} from "../src/learning/model.ts";
import { type BackendName, createTrainer } from "../src/learning/trainer.ts";
import { type EncodingPlan, planEncoding } from "../src/privacy/fixedPoint.ts";
import { sigmaFor } from "../src/privacy/integerNoise.ts";
import { addNoiseOnGrid } from "../src/privacy/samplers/bulkEncoding.ts";
import { type GaussianSampler, tableGaussian } from "../src/privacy/samplers/tableGaussian.ts";

export const MODELS = {
	dense: (): Model => multilayerPerceptron(784, [256], 10, "relu"),
	convolutional: (): Model => convolutionalNetwork([28, 28, 1], 10),
} as const;
export type ModelName = keyof typeof MODELS;
export type StepKind = "plain" | "private";

export const CLIPPING_NORM = 1;
export const NOISE_MULTIPLIER = 1.1;
const LEARNING_RATE = 0.01;
const CLASSES = 10;

export interface Steps {
	readonly parameterCount: number;
	/** Which runtime computes. */
	readonly runtime: string;
	/** Takes the batch, sums its gradients, clips and noises the sum if private, moves the parameters. */
	step(kind: StepKind): Promise<void>;
	/** The noise of one step alone, on a sum of zeros. */
	noise(): void;
	dispose(): Promise<void>;
}

/** @param batch rows of a step, all of a data set of random rows */
export async function prepareSteps(name: ModelName, backend: BackendName, batch: number): Promise<Steps> {
	const model = MODELS[name]();
	const trainer = await createTrainer({ model, backend });
	const length = parameterCount(model);
	const parameters = initialParameters(model, randomBytes(32));
	const data = randomBatch(model.inputs, batch);
	const rows = Uint32Array.from({ length: batch }, (_, row) => row);
	const { grid, sampler } = siteNoise(length, batch);
	const zeros = new Float64Array(length);
	return {
		parameterCount: length,
		runtime: trainer.backend,
		async step(kind) {
			const sample = takeRows(data, rows);
			const { sum } =
				kind === "plain"
					? await trainer.gradientSum(parameters, sample)
					: await trainer.clippedGradientSum(parameters, sample, { mode: "flat", norm: CLIPPING_NORM });
			if (kind === "private") addNoiseOnGrid(sum, grid, sampler);
			for (let i = 0; i < length; i++) parameters[i]! -= (LEARNING_RATE / batch) * sum[i]!;
		},
		noise() {
			zeros.fill(0);
			addNoiseOnGrid(zeros, grid, sampler);
		},
		dispose: () => trainer.dispose(),
	};
}

function siteNoise(length: number, batch: number): { grid: EncodingPlan; sampler: GaussianSampler } {
	const grid = planEncoding({
		length,
		clippingNorm: CLIPPING_NORM,
		maximumContributors: 1,
		perSiteBound: batch,
		largestNoiseMultiplier: 2 * NOISE_MULTIPLIER,
		modulusBits: 32,
	});
	const { sensitivity } = grid;
	return { grid, sampler: tableGaussian(sigmaFor({ noiseMultiplier: NOISE_MULTIPLIER, sensitivity })) };
}

function randomBatch(inputs: number, rows: number): Batch {
	return {
		features: Float32Array.from(randomBytes(inputs * rows), (byte) => byte / 255),
		labels: Float32Array.from(randomBytes(rows), (byte) => byte % CLASSES),
		rows,
	};
}
