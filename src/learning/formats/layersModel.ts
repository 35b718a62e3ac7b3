/**
 * Models in the TensorFlow.js LayersModel format: `model.json` (a Keras Sequential topology and a
 * weights manifest) beside `weights.bin`; `tf.loadLayersModel` reads them.
 */
import { z } from "zod";
import { AlthingError } from "../../../crypto/error.ts";
import type { Layer } from "../layers.ts";
import { float32FromBytes, float32ToBytes } from "../littleEndian.ts";
import { parameterCount, parameterLayout, parseModel, type Task } from "../model.ts";
import {
	OUTPUT_FUNCTION,
	requireDenseLayers,
	requireTrainedModel,
	type TrainedModel,
} from "./trainedModel.ts";

export interface LayersModelFiles {
	/** Text of `model.json`. */
	readonly modelJson: string;
	/** Bytes of `weights.bin`, the one file that `modelJson` names. */
	readonly weights: Uint8Array;
}

/** @throws AlthingError as {@link requireTrainedModel}. */
export function exportLayersModel(trained: TrainedModel): LayersModelFiles {
	const { model, parameters } = requireTrainedModel(trained);
	const layers = requireDenseLayers(model, "LayersModel").map((layer, index) => ({
		class_name: layer.kind === "dense" ? "Dense" : "Activation",
		config: {
			name: layerName(index),
			trainable: true,
			...(layer.kind === "dense"
				? { units: layer.units, activation: "linear", use_bias: layer.useBias }
				: { activation: layer.function }),
			...(index === 0 ? { batch_input_shape: [null, model.inputs], dtype: "float32" } : {}),
		},
	}));
	const output = {
		class_name: "Activation",
		config: { name: "predictions", trainable: true, activation: OUTPUT_FUNCTION[model.task] },
	};
	const modelJson = {
		format: "layers-model",
		generatedBy: "althing",
		convertedBy: null,
		modelTopology: { class_name: "Sequential", config: { name: "althing", layers: [...layers, output] } },
		weightsManifest: [
			{
				paths: ["weights.bin"],
				weights: parameterLayout(model).map(({ layer, role, shape }) => ({
					name: `${layerName(layer)}/${role}`,
					shape,
					dtype: "float32",
				})),
			},
		],
	};
	return { modelJson: JSON.stringify(modelJson), weights: float32ToBytes(parameters) };
}

function layerName(index: number): string {
	return `layer_${index}`;
}

const activationName = z.enum(["linear", "relu", "tanh", "sigmoid", "softmax"]).default("linear");
const inputShape = z.tuple([z.null(), z.int().min(1)]).optional();
const layerSchema = z.discriminatedUnion("class_name", [
	z.object({ class_name: z.literal("InputLayer"), config: z.object({ batch_input_shape: inputShape }) }),
	z.object({
		class_name: z.literal("Dense"),
		config: z.object({
			units: z.int().min(1),
			activation: activationName,
			use_bias: z.boolean().default(true),
			batch_input_shape: inputShape,
		}),
	}),
	z.object({
		class_name: z.literal("Activation"),
		config: z.object({ activation: activationName, batch_input_shape: inputShape }),
	}),
]);
const modelJsonSchema = z.object({
	modelTopology: z.object({
		class_name: z.literal("Sequential"),
		config: z.object({ layers: z.array(layerSchema).min(1) }),
	}),
	weightsManifest: z
		.array(
			z.object({
				weights: z.array(
					z.object({
						shape: z.array(z.int().min(1)),
						dtype: z.literal("float32"),
						quantization: z.undefined().optional(),
					}),
				),
			}),
		)
		.min(1),
});

/**
 * Reads a Sequential model of Dense and Activation layers.
 * @param weights the weight files in the manifest's order, joined
 * @throws AlthingError `learning.invalid_layers_model`, `learning.invalid_model`, `learning.not_finite`.
 */
export function importLayersModel({ modelJson, weights }: LayersModelFiles): TrainedModel {
	const { modelTopology, weightsManifest } = parseModelJson(modelJson);
	const chain: (Layer | "softmax")[] = [];
	let inputs: number | undefined;
	for (const { class_name, config } of modelTopology.config.layers) {
		inputs ??= config.batch_input_shape?.[1];
		if (class_name === "InputLayer") continue;
		if (class_name === "Dense") chain.push({ kind: "dense", units: config.units, useBias: config.use_bias });
		if (config.activation === "softmax") chain.push("softmax");
		else if (config.activation !== "linear") chain.push({ kind: "activation", function: config.activation });
	}
	const task = taskOf(chain.at(-1));
	if (task !== "regression") chain.pop();
	const layers = chain.filter((layer) => layer !== "softmax");
	if (layers.length !== chain.length) throw invalid("a softmax stands between its layers");
	const model = parseModel({ inputs, layers, task });
	const stored = weightsManifest.flatMap((group) => group.weights.map(({ shape }) => shape.join("x")));
	const expected = parameterLayout(model).map(({ shape }) => shape.join("x"));
	if (stored.join() !== expected.join() || weights.length !== 4 * parameterCount(model)) {
		throw invalid("its weights are not those of its layers");
	}
	return requireTrainedModel({ model, parameters: float32FromBytes(weights) });
}

/** The task that a model's last step belongs to. */
function taskOf(last: Layer | "softmax" | undefined): Task {
	if (last === "softmax") return "multiclass";
	return last?.kind === "activation" && last.function === "sigmoid" ? "binary" : "regression";
}

function parseModelJson(text: string): z.infer<typeof modelJsonSchema> {
	let json: unknown;
	try {
		json = JSON.parse(text);
	} catch (cause) {
		throw invalid("model.json is not JSON", cause);
	}
	const parsed = modelJsonSchema.safeParse(json);
	if (parsed.success) return parsed.data;
	const issue = parsed.error.issues[0];
	throw invalid(`${issue?.path.join(".")}: ${issue?.message}`);
}

function invalid(problem: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"learning.invalid_layers_model",
		`The LayersModel cannot be read: ${problem}.`,
		{},
		{ cause },
	);
}
