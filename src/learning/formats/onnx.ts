/**
 * Inference models in ONNX: input `features` [batch, inputs], output `predictions` [batch, outputs]
 * (a value, the probability of class 1, or of each class), the batch size left open.
 *
 * The file carries the model's description in its metadata. A file with one is read back exactly; a
 * file of another program is read as a chain of layers (onnxChain.ts).
 */
import { AlthingError } from "../../../crypto/error.ts";
import {
	decodeOnnxModel,
	encodeOnnxModel,
	floatValues,
	invalidOnnx,
	type OnnxGraph,
	type OnnxNode,
} from "../engine/onnxProtobuf.ts";
import { type Model, outputUnits, parameterCount, parameterLayout, parseModel } from "../model.ts";
import { importOnnxChain } from "./onnxChain.ts";
import { inferenceGraph } from "./onnxGraph.ts";
import { weightFromOnnx } from "./onnxWeights.ts";
import { requireTrainedModel, type TrainedModel } from "./trainedModel.ts";

const DESCRIPTION = "althing.model";

/** The bytes of an `.onnx` file. @throws AlthingError as {@link requireTrainedModel}. */
export function exportOnnx(trained: TrainedModel): Uint8Array {
	const { model, parameters } = requireTrainedModel(trained);
	return encodeOnnxModel({
		name: "althing",
		...inferenceGraph(model, parameters),
		inputs: [{ name: "features", shape: ["batch", model.inputs] }],
		outputs: [{ name: "predictions", shape: ["batch", outputUnits(model)] }],
		metadata: { [DESCRIPTION]: JSON.stringify(model) },
	});
}

/**
 * Reads a model from the bytes of an `.onnx` file, ours or a chain of common layers.
 * @throws AlthingError `learning.invalid_onnx`, `learning.invalid_model`, `learning.not_finite`.
 */
export function importOnnx(bytes: Uint8Array): TrainedModel {
	const graph = decodeOnnxModel(bytes);
	const description = graph.metadata?.[DESCRIPTION];
	return requireTrainedModel(
		description === undefined ? importOnnxChain(graph) : importDescribed(graph, describedModel(description)),
	);
}

function describedModel(text: string): Model {
	try {
		return parseModel(JSON.parse(text));
	} catch (cause) {
		if (cause instanceof AlthingError) throw cause;
		throw invalidOnnx("the description in its metadata is not JSON", cause);
	}
}

/** The graph must still be the one that we write for this description: what runs elsewhere is then what is read here. */
function importDescribed(graph: OnnxGraph, model: Model): TrainedModel {
	const stored = new Map(graph.initializers.map((tensor) => [tensor.name, tensor]));
	const parameters = new Float32Array(parameterCount(model));
	for (const slot of parameterLayout(model)) {
		const tensor = stored.get(slot.name);
		if (tensor === undefined) throw invalidOnnx(`the weights ${slot.name} are not stored in it`);
		const values = weightFromOnnx(model, slot, floatValues(tensor));
		if (values.length !== slot.length) throw invalidOnnx(`the weights ${slot.name} have another shape`);
		parameters.set(values, slot.offset);
	}
	const expected = inferenceGraph(model, parameters).nodes;
	if (expected.map(nodeText).join("\n") !== graph.nodes.map(nodeText).join("\n")) {
		throw invalidOnnx("its nodes are not those of the model that its metadata describe");
	}
	return { model, parameters };
}

function nodeText({ opType, input, output, attribute }: OnnxNode): string {
	const values = attribute.map(({ name, type, f, i, ints }) =>
		type === 1 ? [name, Math.fround(f ?? 0)] : type === 7 ? [name, ints] : [name, i],
	);
	return JSON.stringify([opType, input, output, values]);
}
