/**
 * The kinds of layers a model is built from, as found in job files, with hard bounds on each number:
 * a description is part of a signed job specification, and a hostile one must not exhaust a site.
 *
 * Names, kernel layouts and conventions are those of Keras. Images are [height, width, channels],
 * sequences [steps, features]. Every layer treats each example by itself; batch normalization does
 * not, and so cannot be among them: with it one record would move every other record's gradient.
 */
import { z } from "zod";

/** Hard bounds on a description. */
export const MODEL_LIMITS = {
	inputs: 1_000_000,
	units: 65_536,
	filters: 4_096,
	/** Side of a convolution kernel or pooling window. */
	window: 16,
	strides: 16,
	groups: 4_096,
	vocabulary: 1_000_000,
	/** Tokens of one record: the embedding's gradient compares each with each. */
	tokens: 1_024,
	/** Steps of a recurrent layer, each unrolled into the compiled graph. */
	recurrentSteps: 256,
	/** The same over all layers: compiling 256 takes seconds. */
	unrolledSteps: 512,
	layers: 64,
	/** 200 MB of Float32 parameters. */
	parameters: 50_000_000,
	/** Values between two layers for one example, 64 MB. */
	activations: 2 ** 24,
	/** Values that a private step keeps for one example, 512 MB. */
	workingValues: 2 ** 27,
} as const;

const pair = (largest: number) => z.tuple([z.int().min(1).max(largest), z.int().min(1).max(largest)]);
/** `valid`: windows inside the image only; `same`: zeros around it, ceil(size / stride) windows a side. */
const padding = z.enum(["same", "valid"]);
const useBias = z.boolean().default(true);

/** x W + b on a vector. */
const denseSchema = z.strictObject({
	kind: z.literal("dense"),
	units: z.int().min(1).max(MODEL_LIMITS.units),
	useBias,
});

/** A convolution of an image: one filter of all channels for each output channel. */
const conv2dSchema = z.strictObject({
	kind: z.literal("conv2d"),
	filters: z.int().min(1).max(MODEL_LIMITS.filters),
	kernelSize: pair(MODEL_LIMITS.window),
	strides: pair(MODEL_LIMITS.strides).default([1, 1]),
	padding: padding.default("valid"),
	useBias,
});

/** One filter for each channel of an image. */
const depthwiseConv2dSchema = z.strictObject({
	kind: z.literal("depthwiseConv2d"),
	kernelSize: pair(MODEL_LIMITS.window),
	strides: pair(MODEL_LIMITS.strides).default([1, 1]),
	padding: padding.default("valid"),
	useBias,
});

/** Windows default to tiling the image: strides equal to the window. */
const pooling = {
	poolSize: pair(MODEL_LIMITS.window).default([2, 2]),
	strides: pair(MODEL_LIMITS.strides).optional(),
	padding: padding.default("valid"),
};
const maxPool2dSchema = z.strictObject({ kind: z.literal("maxPool2d"), ...pooling });
/** The mean of each window; padding does not count. */
const averagePool2dSchema = z.strictObject({ kind: z.literal("averagePool2d"), ...pooling });
/** The mean of each channel of an image, or of each feature over a sequence's steps. */
const globalAveragePoolSchema = z.strictObject({ kind: z.literal("globalAveragePool") });
/** An image or a sequence as a vector, row-major. */
const flattenSchema = z.strictObject({ kind: z.literal("flatten") });

const activationSchema = z.strictObject({
	kind: z.literal("activation"),
	function: z.enum(["relu", "tanh", "sigmoid"]),
});

/** In training each value is zero with this probability and scaled by 1 / (1 - rate) otherwise. */
const dropoutSchema = z.strictObject({
	kind: z.literal("dropout"),
	rate: z.number().gt(0).max(0.95),
});

const epsilon = z.number().min(1e-6).max(1).default(1e-3);
/** Each vector, or each step of a sequence, to mean 0 and variance 1; then a scale and a bias for each feature. */
const layerNormSchema = z.strictObject({ kind: z.literal("layerNorm"), epsilon });
/** Each group of an image's channels, over all pixels, to mean 0 and variance 1; then a scale and a bias for each channel. */
const groupNormSchema = z.strictObject({
	kind: z.literal("groupNorm"),
	groups: z.int().min(1).max(MODEL_LIMITS.groups),
	epsilon,
});

/** A row of a table for each of a record's tokens, whole numbers from 0: the first layer of a text model. */
const embeddingSchema = z.strictObject({
	kind: z.literal("embedding"),
	vocabulary: z.int().min(1).max(MODEL_LIMITS.vocabulary),
	units: z.int().min(1).max(MODEL_LIMITS.units),
});

/**
 * A recurrent layer over a sequence: `simple` h' = tanh(x W + h U + b), `gru` (Cho et al. 2014, the
 * reset gate before the product) or `lstm`; gates are logistic, in Keras' order.
 */
const recurrentSchema = z.strictObject({
	kind: z.literal("recurrent"),
	cell: z.enum(["simple", "gru", "lstm"]),
	units: z.int().min(1).max(MODEL_LIMITS.units),
	/** Whether all steps' states come out, or the last one. */
	sequences: z.boolean().default(false),
});

const kinds = [
	denseSchema,
	conv2dSchema,
	depthwiseConv2dSchema,
	maxPool2dSchema,
	averagePool2dSchema,
	globalAveragePoolSchema,
	flattenSchema,
	activationSchema,
	dropoutSchema,
	layerNormSchema,
	groupNormSchema,
	embeddingSchema,
	recurrentSchema,
] as const;

const innerLayerSchema = z.discriminatedUnion("kind", [...kinds], { error: explainKind });

/**
 * The input plus the output of inner layers. With `projection` the input goes through a dense layer
 * (vectors) or a 1x1 convolution (images, strided as the shapes require), without bias.
 */
const residualSchema = z.strictObject({
	kind: z.literal("residual"),
	layers: z.array(innerLayerSchema).min(1).max(MODEL_LIMITS.layers),
	projection: z.boolean().default(false),
});

/** Any layer of a model. */
export const layerSchema = z.discriminatedUnion("kind", [...kinds, residualSchema], { error: explainKind });

export type Layer = z.infer<typeof layerSchema>;
export type LayerKind = Layer["kind"];
export type LayerOf<K extends LayerKind> = Extract<Layer, { kind: K }>;
export type ActivationFunction = LayerOf<"activation">["function"];
export type PoolingLayer = LayerOf<"maxPool2d"> | LayerOf<"averagePool2d">;

/** Why a kind is not there, where the answer helps; otherwise the list of those that are. */
function explainKind(issue: {
	readonly code?: string | undefined;
	readonly input?: unknown;
}): string | undefined {
	if (issue.code !== "invalid_union") return undefined;
	const kind = (issue.input as { kind?: unknown } | null | undefined)?.kind;
	if (typeof kind === "string" && /^batch_?norm/i.test(kind)) {
		return "batch normalization mixes the records of a batch, so no bound on one record's gradient would hold: use groupNorm (images) or layerNorm instead";
	}
	const known = [...kinds, residualSchema].map((schema) => schema.shape.kind.value).join(", ");
	return `the kind must be one of ${known}`;
}
