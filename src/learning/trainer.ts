/**
 * The trainer: gradients, evaluation and predictions of one model on batches of any number of rows.
 *
 * Batches are padded to a few fixed sizes, so that few graphs are compiled, and long ones run in
 * chunks of bounded memory whose sums are added in double precision.
 */
import { AlthingError } from "../../crypto/error.ts";
import { type Batch, requireBatch } from "./batch.ts";
import { type Clipping, clippingTargets } from "./clipping.ts";
import { drawDropoutMasks } from "./dropout.ts";
import { chunkSizes } from "./engine/chunkSizes.ts";
import type { Backend, ProgramKind, ProgramOutputs } from "./engine/operations.ts";
import { allFinite } from "./finite.ts";
import { exampleLoss, isCorrect, predictionsFromLogits } from "./loss.ts";
import { type Model, outputUnits, parameterLayout, parseModel, requireParameterCount } from "./model.ts";

export type { Batch } from "./batch.ts";

export interface GradientSum {
	/** In the order of the flat parameter vector. */
	readonly sum: Float64Array;
	/** Unclipped loss over the examples whose loss is finite; the site's own diagnostic, not private. */
	readonly lossSum: number;
	/** Rows of the batch, whether they contributed or not. */
	readonly examples: number;
}

export interface ClippedGradientSum extends GradientSum {
	/** Examples whose gradient was no longer than the clipping norm (in every layer, if clipped per layer). Not private. */
	readonly withinNorm: number;
}

export interface Evaluation {
	/** Each example's loss counts at most the bound given; a loss that is not a number counts as the bound. */
	readonly lossSum: number;
	/** Examples classified correctly; 0 for regression. */
	readonly correct: number;
	readonly examples: number;
}

/** Arrays passed in are read until the promise settles: do not write to them before. */
export interface Trainer {
	readonly parameterCount: number;
	/** Which runtime computes. */
	readonly backend: string;
	/**
	 * Sum over the examples of their clipped gradients. An example whose gradient is not finite counts
	 * as zero, so one bad record moves the sum by at most the clipping norm like any other.
	 * @throws AlthingError `learning.invalid_argument` for a clipping that does not fit the model,
	 *   `learning.invalid_batch`, `learning.not_finite` when the parameters are not.
	 */
	clippedGradientSum(parameters: Float32Array, batch: Batch, clipping: Clipping): Promise<ClippedGradientSum>;
	/** Sum over the examples of the gradient. @throws AlthingError `learning.not_finite` when it is not finite. */
	gradientSum(parameters: Float32Array, batch: Batch): Promise<GradientSum>;
	/** Loss, each example's bounded by `lossBound` (> 0), and correct answers. */
	evaluate(parameters: Float32Array, batch: Batch, lossBound: number): Promise<Evaluation>;
	/** Predictions for rows x inputs features: values, probabilities of class 1, or of each class. */
	predict(parameters: Float32Array, features: Float32Array): Promise<Float32Array>;
	/** Frees native memory; the trainer is not used afterwards. */
	dispose(): Promise<void>;
}

export type BackendName = "onnx" | "tfjs";

export interface TrainerOptions {
	readonly model: Model;
	/** Default `onnx`. */
	readonly backend?: BackendName;
	/** CPU threads within one graph of the onnx backend. Default 1. */
	readonly threads?: number;
}

/**
 * A trainer of `model`.
 * @throws AlthingError `learning.invalid_model`, `learning.backend_unavailable`.
 */
export async function createTrainer(options: TrainerOptions): Promise<Trainer> {
	const model = parseModel(options.model);
	return new BatchedTrainer(model, await createBackend(model, options));
}

/** Loads a runtime only when it is asked for: neither costs start-up time, or stops the node, unless used. */
async function createBackend(model: Model, { backend = "onnx", threads }: TrainerOptions): Promise<Backend> {
	try {
		if (backend === "tfjs") return await (await import("./engine/tfjsBackend.ts")).createTfjsBackend(model);
		return (await import("./engine/onnxBackend.ts")).createOnnxBackend(model, threads);
	} catch (cause) {
		if (cause instanceof AlthingError) throw cause;
		throw new AlthingError(
			"learning.backend_unavailable",
			`The ${backend} backend does not load on this machine (${cause instanceof Error ? cause.message : cause}): choose the other one, or install its package for this platform.`,
			{ backend },
			{ cause },
		);
	}
}

export interface BackendDescription {
	readonly backend: BackendName;
	readonly runtime: string;
	readonly available: boolean;
	/** What is missing, if anything. */
	readonly note?: string;
}

/** Which backends work on this machine, each shown by running a gradient of a tiny model. */
export async function describeBackends(): Promise<BackendDescription[]> {
	const model: Model = {
		inputs: 1,
		layers: [{ kind: "dense", units: 1, useBias: true }],
		task: "regression",
	};
	const describe = async (backend: BackendName): Promise<BackendDescription> => {
		try {
			const trainer = await createTrainer({ model, backend });
			const batch = { features: Float32Array.of(1), labels: Float32Array.of(1), rows: 1 };
			await trainer.clippedGradientSum(new Float32Array(2), batch, { mode: "flat", norm: 1 });
			await trainer.dispose();
			const missing = backend === "tfjs" ? await missingNativeTfjs() : undefined;
			const note = missing === undefined ? {} : { note: `@tensorflow/tfjs-node is not in use: ${missing}` };
			return { backend, runtime: trainer.backend, available: true, ...note };
		} catch (error) {
			const note = error instanceof Error ? error.message : String(error);
			return { backend, runtime: "none", available: false, note };
		}
	};
	return [await describe("onnx"), await describe("tfjs")];
}

async function missingNativeTfjs(): Promise<string | undefined> {
	const { loadTfjs } = await import("./engine/tfjsBackend.ts");
	return (await loadTfjs()).nativeUnavailable;
}

const NO_NORMS = new Float32Array(0);

class BatchedTrainer implements Trainer {
	readonly parameterCount: number;
	readonly backend: string;
	readonly #model: Model;
	readonly #backend: Backend;
	/** Batch sizes that graphs are compiled for; the last one is the chunk size. */
	readonly #sizes: readonly number[];

	constructor(model: Model, backend: Backend) {
		this.#model = model;
		this.#backend = backend;
		this.#sizes = chunkSizes(model);
		this.backend = backend.name;
		this.parameterCount = parameterLayout(model).reduce((count, slot) => count + slot.length, 0);
	}

	async clippedGradientSum(
		parameters: Float32Array,
		batch: Batch,
		clipping: Clipping,
	): Promise<ClippedGradientSum> {
		const norms = clippingTargets(this.#model, clipping);
		let withinNorm = 0;
		const result = await this.#gradient(
			clipping.mode,
			parameters,
			batch,
			norms,
			({ squaredNorms }, { rows }) => {
				for (let row = 0; row < rows; row++) {
					const within = norms.every(
						(norm, group) => squaredNorms[row * norms.length + group]! <= norm * norm,
					);
					if (within) withinNorm += 1;
				}
			},
		);
		return { ...result, withinNorm };
	}

	async gradientSum(parameters: Float32Array, batch: Batch): Promise<GradientSum> {
		const result = await this.#gradient("gradient", parameters, batch, NO_NORMS);
		if (!allFinite(result.sum)) {
			throw new AlthingError(
				"learning.not_finite",
				"The gradient is not finite: lower the learning rate, or look for non-finite values in the data.",
			);
		}
		return result;
	}

	async evaluate(parameters: Float32Array, batch: Batch, lossBound: number): Promise<Evaluation> {
		requirePositive("loss bound", lossBound);
		this.#check(parameters, batch);
		const { task } = this.#model;
		let lossSum = 0;
		let correct = 0;
		await this.#inChunks("logits", parameters, batch, NO_NORMS, (_, chunk) => {
			chunk.forEachRow((logits, label) => {
				const loss = exampleLoss(task, logits, label);
				lossSum += Number.isNaN(loss) ? lossBound : Math.min(loss, lossBound);
				if (isCorrect(task, logits, label)) correct += 1;
			});
		});
		return { lossSum, correct, examples: batch.rows };
	}

	async predict(parameters: Float32Array, features: Float32Array): Promise<Float32Array> {
		const rows = features.length / this.#model.inputs;
		const batch = { features, labels: new Float32Array(Math.ceil(rows)), rows };
		this.#check(parameters, batch);
		const width = outputUnits(this.#model);
		const logits = new Float32Array(rows * width);
		await this.#inChunks("logits", parameters, batch, NO_NORMS, (outputs, chunk) => {
			logits.set(outputs.logits.subarray(0, chunk.rows * width), chunk.start * width);
		});
		return predictionsFromLogits(this.#model, logits);
	}

	async dispose(): Promise<void> {
		await this.#backend.dispose();
	}

	async #gradient(
		kind: ProgramKind,
		parameters: Float32Array,
		batch: Batch,
		clippingNorms: Float32Array,
		see: (outputs: ProgramOutputs, chunk: Chunk) => void = () => {},
	): Promise<GradientSum> {
		this.#check(parameters, batch);
		const slots = parameterLayout(this.#model);
		const sum = new Float64Array(this.parameterCount);
		let lossSum = 0;
		await this.#inChunks(kind, parameters, batch, clippingNorms, (outputs, chunk) => {
			see(outputs, chunk);
			slots.forEach(({ offset }, slot) => {
				const gradient = outputs.gradients[slot]!;
				for (let i = 0; i < gradient.length; i++) sum[offset + i]! += gradient[i]!;
			});
			chunk.forEachRow((logits, label) => {
				const loss = exampleLoss(this.#model.task, logits, label);
				if (Number.isFinite(loss)) lossSum += loss;
			});
		});
		return { sum, lossSum, examples: batch.rows };
	}

	async #inChunks(
		kind: ProgramKind,
		parameters: Float32Array,
		batch: Batch,
		clippingNorms: Float32Array,
		take: (outputs: ProgramOutputs, chunk: Chunk) => void,
	): Promise<void> {
		const { inputs } = this.#model;
		const width = outputUnits(this.#model);
		const largest = this.#sizes.at(-1)!;
		for (let start = 0; start < batch.rows; start += largest) {
			const rows = Math.min(largest, batch.rows - start);
			const size = this.#sizes.find((candidate) => candidate >= rows) ?? largest;
			const features = padded(
				batch.features.subarray(start * inputs, (start + rows) * inputs),
				size * inputs,
			);
			const labels = padded(batch.labels.subarray(start, start + rows), size);
			const weights = new Float32Array(size).fill(1, 0, rows);
			const outputs = await this.#backend.run(kind, {
				size,
				features,
				labels,
				weights,
				clippingNorms,
				dropoutMasks: kind === "logits" ? [] : drawDropoutMasks(this.#model, size),
				parameters,
			});
			const forEachRow: Chunk["forEachRow"] = (visit) => {
				for (let row = 0; row < rows; row++) {
					visit(outputs.logits.subarray(row * width, (row + 1) * width), labels[row]!);
				}
			};
			take(outputs, { start, rows, forEachRow });
		}
	}

	#check(parameters: Float32Array, batch: Batch): void {
		requireParameterCount(this.#model, parameters.length);
		if (!allFinite(parameters)) {
			throw new AlthingError(
				"learning.not_finite",
				"The model's parameters are not finite: training has diverged, or the model file is damaged.",
			);
		}
		requireBatch(this.#model, batch);
	}
}

interface Chunk {
	readonly start: number;
	readonly rows: number;
	forEachRow(visit: (logits: Float32Array, label: number) => void): void;
}

function padded(values: Float32Array, length: number): Float32Array {
	if (values.length === length) return values;
	const result = new Float32Array(length);
	result.set(values);
	return result;
}

function requirePositive(what: string, value: number): void {
	if (Number.isFinite(value) && value > 0) return;
	throw new AlthingError(
		"learning.invalid_argument",
		`The ${what} must be a positive number, not ${value}.`,
		{
			what,
			value,
		},
	);
}
