/** Our layers in Keras' vocabulary, which TensorFlow.js' LayersModel speaks, and back. */
import { z } from "zod";
import { AlthingError } from "../../../crypto/error.ts";
import type { ParameterRole } from "../layerParameters.ts";
import type { Layer, LayerOf } from "../layers.ts";

export interface KerasLayer {
	readonly class_name: string;
	readonly config: Readonly<Record<string, unknown>>;
}

const RECURRENT_CLASSES = { simple: "SimpleRNN", gru: "GRU", lstm: "LSTM" } as const;

/**
 * The layer as Keras describes it; undefined for one that a trained model does not have.
 * @throws AlthingError `learning.unsupported_layer` for one that TensorFlow.js does not know
 */
export function toKeras(layer: Exclude<Layer, LayerOf<"residual">>, dimensions: number): KerasLayer {
	switch (layer.kind) {
		case "dense":
			return {
				class_name: "Dense",
				config: { units: layer.units, activation: "linear", use_bias: layer.useBias },
			};
		case "conv2d":
			return { class_name: "Conv2D", config: { filters: layer.filters, ...convolution(layer) } };
		case "depthwiseConv2d":
			return { class_name: "DepthwiseConv2D", config: { depth_multiplier: 1, ...convolution(layer) } };
		case "maxPool2d":
		case "averagePool2d":
			return {
				class_name: layer.kind === "maxPool2d" ? "MaxPooling2D" : "AveragePooling2D",
				config: {
					pool_size: layer.poolSize,
					strides: layer.strides ?? layer.poolSize,
					padding: layer.padding,
					data_format: "channels_last",
				},
			};
		case "globalAveragePool":
			return dimensions === 3
				? { class_name: "GlobalAveragePooling2D", config: { data_format: "channels_last" } }
				: { class_name: "GlobalAveragePooling1D", config: {} };
		case "flatten":
			return { class_name: "Flatten", config: {} };
		case "activation":
			return { class_name: "Activation", config: { activation: layer.function } };
		case "dropout":
			return { class_name: "Dropout", config: { rate: layer.rate } };
		case "layerNorm":
			return {
				class_name: "LayerNormalization",
				config: { axis: [dimensions], epsilon: layer.epsilon, center: true, scale: true },
			};
		case "embedding":
			return {
				class_name: "Embedding",
				config: { input_dim: layer.vocabulary, output_dim: layer.units, mask_zero: false },
			};
		case "recurrent":
			return {
				class_name: RECURRENT_CLASSES[layer.cell],
				config: {
					units: layer.units,
					activation: "tanh",
					...(layer.cell === "simple" ? {} : { recurrent_activation: "sigmoid" }),
					use_bias: true,
					return_sequences: layer.sequences,
					...(layer.cell === "gru" ? { reset_after: false } : {}),
				},
			};
		case "groupNorm":
			throw new AlthingError(
				"learning.unsupported_layer",
				"TensorFlow.js has no group normalization, so this model cannot be written as a LayersModel: export it as ONNX, or its weights as safetensors.",
				{ kind: layer.kind, format: "LayersModel" },
			);
	}
}

function convolution(layer: LayerOf<"conv2d"> | LayerOf<"depthwiseConv2d">): Record<string, unknown> {
	return {
		kernel_size: layer.kernelSize,
		strides: layer.strides,
		padding: layer.padding,
		data_format: "channels_last",
		dilation_rate: [1, 1],
		activation: "linear",
		use_bias: layer.useBias,
	};
}

/** What Keras calls a layer's weights. */
export function kerasWeightName(className: string, role: ParameterRole): string {
	switch (role) {
		case "kernel":
			return className === "DepthwiseConv2D" ? "depthwise_kernel" : "kernel";
		case "recurrentKernel":
			return "recurrent_kernel";
		case "embeddings":
			return "embeddings";
		case "scale":
			return "gamma";
		case "bias":
			return className === "LayerNormalization" ? "beta" : "bias";
	}
}

const size = z.int().min(1);
const pair = z.union([z.tuple([size, size]), size.transform((one): [number, number] => [one, one])]);
const activation = z.enum(["linear", "relu", "tanh", "sigmoid", "softmax"]).default("linear");
const padding = z.enum(["same", "valid"]).default("valid");
const channelsLast = z.literal("channels_last").optional();
const named = {
	name: z.string().optional(),
	batch_input_shape: z.tuple([z.null()], size).optional(),
};
const windowed = {
	...named,
	strides: pair.default([1, 1]),
	padding,
	data_format: channelsLast,
};
const convolved = {
	...windowed,
	kernel_size: pair,
	dilation_rate: z.union([z.tuple([z.literal(1), z.literal(1)]), z.literal(1)]).nullish(),
	activation,
	use_bias: z.boolean().default(true),
};
const pooled = { ...windowed, pool_size: pair.default([2, 2]), strides: pair.nullish() };
const recurrent = {
	...named,
	units: size,
	activation: z.literal("tanh").default("tanh"),
	use_bias: z.literal(true).default(true),
	return_sequences: z.boolean().default(false),
	go_backwards: z.literal(false).optional(),
	stateful: z.literal(false).optional(),
};
/** TensorFlow.js' own default is another function ("hard sigmoid"), so it must be said. */
const gates = z.literal("sigmoid");

function kerasLayer<Name extends string, Config extends z.ZodRawShape>(name: Name, config: Config) {
	return z.object({ class_name: z.literal(name), config: z.object({ ...named, ...config }) });
}

/** Layers that a file may have. */
export const kerasLayerSchema = z.discriminatedUnion("class_name", [
	kerasLayer("InputLayer", {}),
	kerasLayer("Dense", { units: size, activation, use_bias: z.boolean().default(true) }),
	kerasLayer("Conv2D", { ...convolved, filters: size }),
	kerasLayer("DepthwiseConv2D", { ...convolved, depth_multiplier: z.literal(1).default(1) }),
	kerasLayer("MaxPooling2D", pooled),
	kerasLayer("AveragePooling2D", pooled),
	kerasLayer("GlobalAveragePooling1D", {}),
	kerasLayer("GlobalAveragePooling2D", { data_format: channelsLast }),
	kerasLayer("Flatten", { data_format: channelsLast }),
	kerasLayer("Activation", { activation }),
	kerasLayer("Dropout", { rate: z.number() }),
	kerasLayer("LayerNormalization", {
		epsilon: z.number().default(1e-3),
		center: z.literal(true).default(true),
		scale: z.literal(true).default(true),
	}),
	kerasLayer("Embedding", { input_dim: size, output_dim: size, mask_zero: z.literal(false).default(false) }),
	kerasLayer("SimpleRNN", recurrent),
	kerasLayer("GRU", {
		...recurrent,
		recurrent_activation: gates,
		reset_after: z.literal(false).default(false),
	}),
	kerasLayer("LSTM", { ...recurrent, recurrent_activation: gates }),
	kerasLayer("Add", {}),
]);

type ReadLayer = z.infer<typeof kerasLayerSchema>;
/** Our layers, and the softmax that only a model's end may have. */
export type Step = Exclude<Layer, LayerOf<"residual">> | "softmax";

/** What a layer of a file does, in our layers: none for an input, two where it has an activation of its own. */
export function fromKeras(layer: Exclude<ReadLayer, { class_name: "Add" }>): Step[] {
	switch (layer.class_name) {
		case "InputLayer":
			return [];
		case "Dense": {
			const { units, use_bias: useBias, activation: after } = layer.config;
			return [{ kind: "dense", units, useBias }, ...activated(after)];
		}
		case "Conv2D":
		case "DepthwiseConv2D": {
			const { kernel_size: kernelSize, strides, use_bias: useBias, activation: after } = layer.config;
			const common = { kernelSize, strides, padding: layer.config.padding, useBias };
			return [
				layer.class_name === "Conv2D"
					? { kind: "conv2d", filters: layer.config.filters, ...common }
					: { kind: "depthwiseConv2d", ...common },
				...activated(after),
			];
		}
		case "MaxPooling2D":
		case "AveragePooling2D": {
			const { pool_size: poolSize, strides, padding: around } = layer.config;
			const kind = layer.class_name === "MaxPooling2D" ? "maxPool2d" : "averagePool2d";
			const tiles = strides == null || strides.join() === poolSize.join();
			return [{ kind, poolSize, ...(tiles ? {} : { strides }), padding: around }];
		}
		case "GlobalAveragePooling1D":
		case "GlobalAveragePooling2D":
			return [{ kind: "globalAveragePool" }];
		case "Flatten":
			return [{ kind: "flatten" }];
		case "Activation":
			return activated(layer.config.activation);
		case "Dropout":
			return [{ kind: "dropout", rate: layer.config.rate }];
		case "LayerNormalization":
			return [{ kind: "layerNorm", epsilon: layer.config.epsilon }];
		case "Embedding":
			return [{ kind: "embedding", vocabulary: layer.config.input_dim, units: layer.config.output_dim }];
		case "SimpleRNN":
		case "GRU":
		case "LSTM": {
			const { units, return_sequences: sequences } = layer.config;
			const cell = ({ SimpleRNN: "simple", GRU: "gru", LSTM: "lstm" } as const)[layer.class_name];
			return [{ kind: "recurrent", cell, units, sequences }];
		}
	}
}

function activated(name: z.infer<typeof activation>): Step[] {
	if (name === "linear") return [];
	return name === "softmax" ? ["softmax"] : [{ kind: "activation", function: name }];
}
