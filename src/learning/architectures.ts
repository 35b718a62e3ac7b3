/** Networks beyond dense ones, ready made: for images, sequences and texts. */
import type { ActivationFunction, Layer, LayerOf } from "./layers.ts";
import { type Model, parseModel, type Task } from "./model.ts";

/** [height, width, channels]. */
export type ImageShape = readonly [number, number, number];

/**
 * Two 5x5 convolutions of 16 and 32 filters (unless given), each followed by the activation and 2x2
 * max pooling, then a dense layer: the classical small network for 28x28 images.
 * @param outputs classes, or 1 for regression
 * @throws AlthingError `learning.invalid_model`, for example for images smaller than 4x4.
 */
export function convolutionalNetwork(
	shape: ImageShape,
	outputs: number,
	{
		filters = [16, 32],
		activation = "relu",
	}: { readonly filters?: readonly number[]; readonly activation?: ActivationFunction } = {},
): Model {
	return imageModel(shape, outputs, [
		...filters.flatMap((count): Layer[] => [
			convolution(count, 5, 1, "same"),
			{ kind: "activation", function: activation },
			{ kind: "maxPool2d", poolSize: [2, 2], padding: "valid" },
		]),
		{ kind: "flatten" },
	]);
}

/**
 * The small network of the differential privacy literature for 28x28 images: bounded activations
 * (Papernot et al. 2021, "Tempered sigmoid activations", arXiv:2007.14191, table 2) and few
 * parameters, with group normalization (De et al. 2022, arXiv:2204.13650, section 3). 26,000
 * parameters; trained with DP-SGD it does better than larger ones.
 * @throws AlthingError `learning.invalid_model`, for example for images smaller than 13x13.
 */
export function compactTanhNetwork(shape: ImageShape, outputs: number): Model {
	const tanh: Layer = { kind: "activation", function: "tanh" };
	const pool: Layer = { kind: "maxPool2d", poolSize: [2, 2], strides: [1, 1], padding: "valid" };
	const norm: Layer = { kind: "groupNorm", groups: 4, epsilon: 1e-3 };
	return imageModel(shape, outputs, [
		convolution(16, 8, 2, "same"),
		norm,
		tanh,
		pool,
		convolution(32, 4, 2, "valid"),
		norm,
		tanh,
		pool,
		{ kind: "flatten" },
		{ kind: "dense", units: 32, useBias: true },
		tanh,
	]);
}

/**
 * A recurrent layer over sequences of `steps` x `features`, then a dense layer on its last state.
 * @param outputs classes, or 1 for regression
 * @throws AlthingError `learning.invalid_model`.
 */
export function recurrentNetwork(
	[steps, features]: readonly [number, number],
	cell: LayerOf<"recurrent">["cell"],
	units: number,
	outputs: number,
): Model {
	return parseModel({
		inputs: steps * features,
		inputShape: [steps, features],
		layers: [
			{ kind: "recurrent", cell, units, sequences: false },
			{ kind: "dense", units: outputs, useBias: true },
		],
		task: taskOf(outputs),
	});
}

/**
 * Texts of `tokens` numbers below `vocabulary`: the mean of their embeddings, a hidden layer, classes
 * (as fastText; Joulin et al. 2016, arXiv:1607.01759).
 * @throws AlthingError `learning.invalid_model`.
 */
export function embeddingClassifier(
	text: { readonly tokens: number; readonly vocabulary: number },
	units: number,
	classes: number,
): Model {
	return parseModel({
		inputs: text.tokens,
		layers: [
			{ kind: "embedding", vocabulary: text.vocabulary, units },
			{ kind: "globalAveragePool" },
			{ kind: "dense", units, useBias: true },
			{ kind: "activation", function: "relu" },
			{ kind: "dense", units: classes, useBias: true },
		],
		task: taskOf(classes),
	});
}

function convolution(filters: number, side: number, stride: number, padding: "same" | "valid"): Layer {
	return {
		kind: "conv2d",
		filters,
		kernelSize: [side, side],
		strides: [stride, stride],
		padding,
		useBias: true,
	};
}

function imageModel(shape: ImageShape, outputs: number, layers: readonly Layer[]): Model {
	return parseModel({
		inputs: shape[0] * shape[1] * shape[2],
		inputShape: [...shape],
		layers: [...layers, { kind: "dense", units: outputs, useBias: true }],
		task: taskOf(outputs),
	});
}

function taskOf(outputs: number): Task {
	return outputs === 1 ? "regression" : "multiclass";
}
