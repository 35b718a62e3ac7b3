/** A tiny model around each kind of layer, for tests; every rule's branches are among them. */

import type { z } from "zod";
import type { LayerKind } from "../../../src/learning/layers.ts";
import { type Model, type modelSchema, parseModel } from "../../../src/learning/model.ts";
import type { Batch } from "../../../src/learning/trainer.ts";
import { randomBatch } from "./reference.ts";

type Description = z.input<typeof modelSchema>;
type Layers = Description["layers"];

const DENSE = { kind: "dense", units: 3 } as const;
const TANH = { kind: "activation", function: "tanh" } as const;

function image(layers: Layers, inputShape: [number, number, number] = [5, 4, 2]): Model {
	return parseModel({
		inputs: inputShape[0] * inputShape[1] * inputShape[2],
		inputShape,
		layers: [...layers, DENSE],
		task: "multiclass",
	});
}

function sequence(layers: Layers, inputShape: [number, number] = [4, 2]): Model {
	return parseModel({
		inputs: inputShape[0] * inputShape[1],
		inputShape,
		layers: [...layers, { kind: "dense", units: 1 }],
		task: "regression",
	});
}

/** By the kind that is tested, then what is special about it. */
export const LAYER_MODELS: Readonly<Record<string, Model>> = {
	"conv2d, valid": image([{ kind: "conv2d", filters: 3, kernelSize: [3, 2] }, TANH, { kind: "flatten" }]),
	"conv2d, same, strided, second layer without bias": image([
		{ kind: "conv2d", filters: 2, kernelSize: [3, 3], strides: [2, 1], padding: "same" },
		TANH,
		{ kind: "conv2d", filters: 2, kernelSize: [2, 2], strides: [2, 2], useBias: false },
		{ kind: "flatten" },
	]),
	"conv2d, ghost norm of few positions": image([
		{ kind: "conv2d", filters: 4, kernelSize: [3, 2], strides: [3, 2], padding: "same" },
		TANH,
		{ kind: "flatten" },
	]),
	depthwiseConv2d: image([
		{ kind: "depthwiseConv2d", kernelSize: [3, 3], strides: [2, 2], padding: "same" },
		{ kind: "depthwiseConv2d", kernelSize: [2, 2], useBias: false },
		{ kind: "flatten" },
	]),
	"maxPool2d, tiling": image([
		{ kind: "conv2d", filters: 2, kernelSize: [3, 3], padding: "same" },
		{ kind: "activation", function: "relu" },
		{ kind: "maxPool2d" },
		{ kind: "flatten" },
	]),
	"maxPool2d, overlapping, same": image([
		{ kind: "conv2d", filters: 2, kernelSize: [2, 2] },
		{ kind: "maxPool2d", poolSize: [3, 2], strides: [2, 1], padding: "same" },
		{ kind: "flatten" },
	]),
	"averagePool2d, overlapping, same": image([
		{ kind: "conv2d", filters: 2, kernelSize: [2, 2] },
		{ kind: "averagePool2d", poolSize: [3, 3], strides: [2, 2], padding: "same" },
		{ kind: "flatten" },
	]),
	"averagePool2d, leaving pixels over": image([
		{ kind: "conv2d", filters: 2, kernelSize: [1, 1] },
		{ kind: "averagePool2d" },
		{ kind: "flatten" },
	]),
	"globalAveragePool of an image": image([
		{ kind: "conv2d", filters: 3, kernelSize: [3, 3] },
		TANH,
		{ kind: "globalAveragePool" },
	]),
	groupNorm: image([
		{ kind: "conv2d", filters: 4, kernelSize: [2, 2] },
		{ kind: "groupNorm", groups: 2 },
		TANH,
		{ kind: "flatten" },
	]),
	"layerNorm of vectors, dropout": parseModel({
		inputs: 4,
		layers: [{ kind: "dense", units: 5 }, { kind: "layerNorm" }, TANH, { kind: "dense", units: 1 }],
		task: "binary",
	}),
	"recurrent, simple": sequence([{ kind: "recurrent", cell: "simple", units: 3 }]),
	"recurrent, gru, sequences, layerNorm": sequence([
		{ kind: "recurrent", cell: "gru", units: 3, sequences: true },
		{ kind: "layerNorm" },
		{ kind: "recurrent", cell: "gru", units: 2 },
	]),
	"recurrent, lstm, ghost norm": sequence([{ kind: "recurrent", cell: "lstm", units: 4 }], [3, 2]),
	"recurrent, lstm, many steps": sequence(
		[{ kind: "recurrent", cell: "lstm", units: 2, sequences: true }, { kind: "globalAveragePool" }],
		[12, 1],
	),
	"residual, identity and projection of images": image([
		{
			kind: "residual",
			layers: [{ kind: "conv2d", filters: 2, kernelSize: [3, 3], padding: "same" }, TANH],
		},
		{
			kind: "residual",
			projection: true,
			layers: [{ kind: "conv2d", filters: 3, kernelSize: [3, 3], strides: [2, 2], padding: "same" }, TANH],
		},
		{ kind: "globalAveragePool" },
	]),
	"residual, projection of vectors": parseModel({
		inputs: 4,
		layers: [{ kind: "residual", projection: true, layers: [{ kind: "dense", units: 3 }, TANH] }, DENSE],
		task: "multiclass",
	}),
	embedding: parseModel({
		inputs: 5,
		layers: [{ kind: "embedding", vocabulary: 6, units: 3 }, { kind: "globalAveragePool" }, TANH, DENSE],
		task: "multiclass",
	}),
	"embedding before a recurrent layer": parseModel({
		inputs: 4,
		layers: [
			{ kind: "embedding", vocabulary: 3, units: 2 },
			{ kind: "recurrent", cell: "simple", units: 3 },
			DENSE,
		],
		task: "multiclass",
	}),
};

/** Random records; token numbers for a model that begins with an embedding. */
export function recordsFor(model: Model, rows: number, seed: number): Batch {
	const batch = randomBatch(model, rows, seed);
	const [first] = model.layers;
	if (first?.kind !== "embedding") return batch;
	return {
		...batch,
		features: batch.features.map((value) => Math.floor(((value + 1) / 2) * first.vocabulary)),
	};
}

/** Kinds among the tested models, inner layers included. */
export function testedKinds(): Set<LayerKind> {
	return new Set(
		Object.values(LAYER_MODELS).flatMap((model) =>
			model.layers.flatMap((layer) =>
				layer.kind === "residual" ? [layer.kind, ...layer.layers.map(({ kind }) => kind)] : [layer.kind],
			),
		),
	);
}
