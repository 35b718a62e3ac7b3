/**
 * What is trained: a small, typed, serializable description of a network, the task it learns, the
 * layout of its parameters in one flat Float32Array, and their public initial value.
 *
 * A description is part of a signed job specification, so it is validated with hard bounds and has
 * one canonical hash. Everything here is a pure function of its arguments: every node computes the
 * same hash, the same layout and, bit for bit, the same initial parameters.
 */
import { z } from "zod";
import { encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { addMask } from "../../crypto/maskStream.ts";
import { exampleValues, unrolledSteps } from "./gradientCost.ts";
import { type ParameterRole, parameterTensors } from "./layerParameters.ts";
import { type ActivationFunction, type Layer, layerSchema, MODEL_LIMITS } from "./layers.ts";
import { float32ToBytes } from "./littleEndian.ts";
import { type ShapedModel, shapesOf, sizeOf } from "./shapes.ts";

/**
 * The shape of a model description, as found in job files. The last layer is dense and yields
 * logits; the task adds the output function (identity, sigmoid, softmax) and the loss.
 */
export const modelSchema = z
	.strictObject({
		/** Features of a record. */
		inputs: z.int().min(1).max(MODEL_LIMITS.inputs),
		/**
		 * How they are arranged, row-major, where they are more than a vector: [height, width,
		 * channels] of an image, [steps, features] of a sequence. Holds `inputs` values.
		 */
		inputShape: z.array(z.int().min(1).max(MODEL_LIMITS.inputs)).min(1).max(3).optional(),
		layers: z.array(layerSchema).min(1).max(MODEL_LIMITS.layers),
		task: z.enum(["regression", "binary", "multiclass"]),
	})
	.superRefine((model, context) => {
		const refuse = (path: (string | number)[], message: string) =>
			context.addIssue({ code: "custom", path, message });
		const last = model.layers.at(-1);
		if (last?.kind !== "dense") {
			refuse(["layers"], "the last layer must be dense: the task adds the output function");
		} else if (model.task === "multiclass" && last.units < 2) {
			refuse(
				["layers", model.layers.length - 1, "units"],
				"a multiclass model needs at least 2 output units",
			);
		} else if (model.task !== "multiclass" && last.units !== 1) {
			refuse(["layers", model.layers.length - 1, "units"], `a ${model.task} model has exactly 1 output unit`);
		}
		try {
			if (parameterCount(model) > MODEL_LIMITS.parameters) {
				refuse(["layers"], `more than ${MODEL_LIMITS.parameters} parameters`);
			}
			if (unrolledSteps(model) > MODEL_LIMITS.unrolledSteps) {
				refuse(["layers"], `more than ${MODEL_LIMITS.unrolledSteps} recurrent steps in all`);
			}
			if (exampleValues(model) > MODEL_LIMITS.workingValues) {
				refuse(["layers"], "a step would need more than 512 MB for one example");
			}
		} catch (error) {
			if (!(error instanceof AlthingError)) throw error;
			refuse(["layers"], String(error.facts.problem));
		}
	});

export type Model = z.infer<typeof modelSchema>;
/** `regression`: squared error (z - y)^2; `binary`: logistic loss, labels 0 or 1; `multiclass`: softmax cross-entropy, labels 0..classes-1. */
export type Task = Model["task"];

/**
 * Validates a description that came from outside.
 * @throws AlthingError `learning.invalid_model`, naming each wrong key.
 */
export function parseModel(value: unknown): Model {
	const parsed = modelSchema.safeParse(value);
	if (parsed.success) return parsed.data;
	const problems = parsed.error.issues.map(
		(issue) => `${issue.path.length === 0 ? "model" : issue.path.join(".")}: ${issue.message}`,
	);
	throw new AlthingError(
		"learning.invalid_model",
		`The model description is not valid: ${problems.join("; ")}.`,
		{
			problems,
		},
	);
}

/** One dense layer of one unit, squared error. */
export function linearRegression(inputs: number): Model {
	return multilayerPerceptron(inputs, [], 1, "relu", "regression");
}

/** One dense layer of one unit, logistic loss. */
export function logisticRegression(inputs: number): Model {
	return multilayerPerceptron(inputs, [], 1, "relu", "binary");
}

/** One dense layer with one unit for each of `classes` classes, softmax cross-entropy. */
export function softmaxRegression(inputs: number, classes: number): Model {
	return multilayerPerceptron(inputs, [], classes, "relu", "multiclass");
}

/**
 * Dense layers of `hidden` units, each followed by `activation`, then `outputs` logits.
 * @param task defaults to `multiclass`, or to `regression` for a single output.
 * @throws AlthingError `learning.invalid_model`.
 */
export function multilayerPerceptron(
	inputs: number,
	hidden: readonly number[],
	outputs: number,
	activation: ActivationFunction,
	task: Task = outputs === 1 ? "regression" : "multiclass",
): Model {
	const layers: Layer[] = hidden.flatMap((units): Layer[] => [
		{ kind: "dense", units, useBias: true },
		{ kind: "activation", function: activation },
	]);
	layers.push({ kind: "dense", units: outputs, useBias: true });
	return parseModel({ inputs, layers, task });
}

/** Width of the model's output: classes of a multiclass model, otherwise 1. */
export function outputUnits(model: Model): number {
	const last = model.layers.at(-1);
	return last?.kind === "dense" ? last.units : 0;
}

/** Number of trainable parameters, biases included. */
export function parameterCount(model: ShapedModel): number {
	const last = parameterLayout(model).at(-1);
	return last === undefined ? 0 : last.offset + last.length;
}

/** One tensor inside the flat parameter vector, row-major. */
export interface ParameterSlot {
	/** For example `layers.0.kernel`, or `layers.2.layers.0.kernel` inside a residual block. */
	readonly name: string;
	/** Index of the layer of the model it belongs to. */
	readonly layer: number;
	readonly role: ParameterRole;
	/** See {@link parameterTensors}. */
	readonly shape: readonly number[];
	/** Values that one output depends on, and outputs that one value reaches. */
	readonly fans: readonly [number, number];
	readonly offset: number;
	readonly length: number;
}

/** The tensors of the flat parameter vector in order: layer after layer, each its kernel before its bias. */
export function parameterLayout(model: ShapedModel): ParameterSlot[] {
	const shapes = shapesOf(model);
	const slots: ParameterSlot[] = [];
	let offset = 0;
	model.layers.forEach((layer, index) => {
		for (const { name, role, shape, fans } of parameterTensors(layer, shapes[index]!)) {
			const length = sizeOf(shape);
			slots.push({ name: `layers.${index}.${name}`, layer: index, role, shape, fans, offset, length });
			offset += length;
		}
	});
	return slots;
}

/**
 * Views of the flat vector by tensor name; writing to a view writes to `parameters`.
 * @throws AlthingError `learning.parameter_count` when the vector is not of this model.
 */
export function parameterViews(model: Model, parameters: Float32Array): Map<string, Float32Array> {
	requireParameterCount(model, parameters.length);
	return new Map(
		parameterLayout(model).map((slot) => [
			slot.name,
			parameters.subarray(slot.offset, slot.offset + slot.length),
		]),
	);
}

/** @throws AlthingError `learning.parameter_count` when `length` is not this model's parameter count. */
export function requireParameterCount(model: Model, length: number): void {
	const expected = parameterCount(model);
	if (length === expected) return;
	throw new AlthingError(
		"learning.parameter_count",
		`The model has ${expected} parameters, but the vector has ${length}: it belongs to another model.`,
		{ expected, actual: length },
	);
}

/** Canonical SHA-256 of the description (32 bytes): equal on every node for equal models. */
export function modelHash(model: Model): Uint8Array {
	return hashFields("althing/model/v1", encodeCanonical(parseModel(model)));
}

/**
 * SHA-256 (32 bytes) of a model with its parameters, bit for bit: what nodes compare and sign to agree on a model.
 * @throws AlthingError `learning.parameter_count`.
 */
export function parametersHash(model: Model, parameters: Float32Array): Uint8Array {
	requireParameterCount(model, parameters.length);
	return hashFields("althing/model/parameters/v1", modelHash(model), float32ToBytes(parameters));
}

/**
 * Initial parameters from a public 32-byte seed: Glorot uniform kernels and embeddings (Glorot and
 * Bengio, 2010: U(-s, s), s = sqrt(6 / (fan-in + fan-out))), zero biases, scales of one.
 *
 * Uses an AES-CTR expansion of the seed and only exactly rounded IEEE operations, so that all
 * machines agree bit for bit.
 * @throws AlthingError `learning.invalid_seed`.
 */
export function initialParameters(model: Model, seed: Uint8Array): Float32Array {
	if (seed.length !== 32) {
		throw new AlthingError(
			"learning.invalid_seed",
			`The initialization seed must be 32 bytes, not ${seed.length}.`,
			{
				actual: seed.length,
			},
		);
	}
	const parameters = new Float32Array(parameterCount(model));
	for (const slot of parameterLayout(model)) {
		if (slot.role === "bias") continue;
		if (slot.role === "scale") {
			parameters.fill(1, slot.offset, slot.offset + slot.length);
			continue;
		}
		const [fanIn, fanOut] = slot.fans;
		const scale = Math.sqrt(6 / (fanIn + fanOut));
		const words = new Uint32Array(slot.length);
		addMask(words, hashFields("althing/model/initialization/v1", seed, slot.name));
		for (let i = 0; i < words.length; i++) {
			// The top 24 bits, centred in their cell: u in (0, 1), symmetric about 1/2, exact in a double.
			const u = ((words[i]! >>> 8) + 0.5) / 2 ** 24;
			parameters[slot.offset + i] = scale * (2 * u - 1);
		}
	}
	return parameters;
}
