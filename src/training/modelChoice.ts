/** The models that a job file can ask for, and the network each of them stands for. */
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import type { DataDescription } from "../data/description.ts";
import { compactTanhNetwork, convolutionalNetwork, recurrentNetwork } from "../learning/architectures.ts";
import { layerSchema, MODEL_LIMITS } from "../learning/layers.ts";
import {
	linearRegression,
	logisticRegression,
	type Model,
	multilayerPerceptron,
	parseModel,
	softmaxRegression,
} from "../learning/model.ts";

const activation = z.enum(["relu", "tanh", "sigmoid"]);
const size = z.int().min(1).max(MODEL_LIMITS.inputs);
const imageShape = z
	.tuple([size, size, size])
	.describe("height, width and channels of a record's features, row-major: [28, 28, 1]");

export const modelChoiceSchema = z.discriminatedUnion("kind", [
	z.strictObject({ kind: z.literal("linear_regression") }),
	z.strictObject({ kind: z.literal("logistic_regression") }),
	z.strictObject({ kind: z.literal("softmax_regression") }),
	z.strictObject({
		kind: z.literal("multilayer_perceptron"),
		hidden: z.array(z.int().min(1).max(4096)).min(1).max(8).describe("units of each hidden layer"),
		activation: activation.default("tanh"),
	}),
	z.strictObject({
		kind: z
			.literal("convolutional")
			.describe("5x5 convolutions, each with 2x2 max pooling, then one dense layer"),
		inputShape: imageShape,
		filters: z.array(z.int().min(1).max(512)).min(1).max(4).default([16, 32]),
		activation: activation.default("relu"),
	}),
	z.strictObject({
		kind: z
			.literal("compact_convolutional")
			.describe("two small convolutions with group normalization and tanh: made for private training"),
		inputShape: imageShape,
	}),
	z.strictObject({
		kind: z.literal("recurrent").describe("one recurrent layer, then one dense layer on its last state"),
		inputShape: z.tuple([size, size]).describe("steps and features of a record: [20, 3]"),
		cell: z.enum(["simple", "gru", "lstm"]).default("gru"),
		units: z.int().min(1).max(1024).default(32),
	}),
	z.strictObject({
		kind: z
			.literal("layers")
			.describe("any network, layer by layer; the last layer is added to fit the labels"),
		inputShape: z
			.array(size)
			.min(1)
			.max(3)
			.optional()
			.describe("how a record's features are arranged; a vector by default"),
		layers: z.array(layerSchema).max(MODEL_LIMITS.layers - 1),
	}),
]);

export type ModelChoice = z.infer<typeof modelChoiceSchema>;

/**
 * The network of a choice for records of a data description.
 * @throws AlthingError `job.model_mismatch` naming what does not fit
 */
export function modelFor(choice: ModelChoice, description: DataDescription, dataSet: string): Model {
	const inputs = description.features.count;
	const classes = description.label.kind === "class" ? description.label.classes.length : 0;
	const outputs = Math.max(1, classes);
	const refuse = (why: string): never => {
		throw new AlthingError(
			"job.model_mismatch",
			`model ${choice.kind} does not fit data set ${dataSet}: ${why}`,
		);
	};
	if (description.label.kind === "none")
		refuse(
			"its records have no label; technique vertical_learning trains with the labels of another organization",
		);
	if ("inputShape" in choice && choice.inputShape !== undefined) {
		const values = choice.inputShape.reduce((product, length) => product * length, 1);
		if (values !== inputs)
			refuse(`inputShape [${choice.inputShape.join(", ")}] has ${values} values, a record has ${inputs}`);
	}
	switch (choice.kind) {
		case "linear_regression":
			if (classes > 0) refuse("its labels are classes; use logistic_regression or softmax_regression");
			return linearRegression(inputs);
		case "logistic_regression":
			if (classes !== 2) refuse(`it needs 2 classes, the data has ${classes}`);
			return logisticRegression(inputs);
		case "softmax_regression":
			if (classes < 2) refuse("its labels are numbers; use linear_regression");
			return softmaxRegression(inputs, classes);
		case "multilayer_perceptron": {
			const { hidden, activation } = choice;
			if (classes === 0) return multilayerPerceptron(inputs, hidden, 1, activation, "regression");
			return multilayerPerceptron(inputs, hidden, classes, activation, "multiclass");
		}
		default:
			return fitting(choice, outputs, inputs, refuse);
	}
}

function fitting(
	choice: Extract<ModelChoice, { inputShape?: unknown }>,
	outputs: number,
	inputs: number,
	refuse: (why: string) => never,
): Model {
	try {
		switch (choice.kind) {
			case "convolutional":
				return convolutionalNetwork(choice.inputShape, outputs, choice);
			case "compact_convolutional":
				return compactTanhNetwork(choice.inputShape, outputs);
			case "recurrent":
				return recurrentNetwork(choice.inputShape, choice.cell, choice.units, outputs);
			case "layers":
				return parseModel({
					inputs,
					inputShape: choice.inputShape,
					layers: [...choice.layers, { kind: "dense", units: outputs, useBias: true }],
					task: outputs === 1 ? "regression" : "multiclass",
				});
		}
	} catch (error) {
		if (error instanceof AlthingError && error.code === "learning.invalid_model") refuse(error.message);
		throw error;
	}
}
