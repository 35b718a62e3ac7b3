/**
 * Models in the TensorFlow.js LayersModel format: `model.json` (a Keras topology and a weights
 * manifest) beside `weights.bin`; `tf.loadLayersModel` reads them. Records go in shaped as the model
 * takes them: [batch, features], [batch, steps, features] or [batch, height, width, channels].
 *
 * A model of one chain is a Sequential; one with residual blocks is a graph of layers.
 */
import { float32ToBytes } from "../littleEndian.ts";
import { type Model, type ParameterSlot, parameterLayout } from "../model.ts";
import { chainShapes, inputShapeOf, projectionOf } from "../shapes.ts";
import { type KerasLayer, kerasWeightName, toKeras } from "./kerasLayers.ts";
import { OUTPUT_FUNCTION, requireTrainedModel, type TrainedModel } from "./trainedModel.ts";

export interface LayersModelFiles {
	/** Text of `model.json`. */
	readonly modelJson: string;
	/** Bytes of `weights.bin`, the one file that `modelJson` names. */
	readonly weights: Uint8Array;
}

/** A Keras layer by name, and the names of the layers whose outputs go into it. */
interface Placed extends KerasLayer {
	readonly name: string;
	readonly inputs: readonly string[];
}

const INPUT = "features";
const OUTPUT = "predictions";

/** @throws AlthingError as {@link requireTrainedModel}; `learning.unsupported_layer` for group normalization. */
export function exportLayersModel(trained: TrainedModel): LayersModelFiles {
	const { model, parameters } = requireTrainedModel(trained);
	const layers = placedLayers(model);
	const classes = new Map(layers.map(({ name, class_name }) => [name, class_name]));
	const batchInputShape = [null, ...inputShapeOf(model)];
	const isChain = model.layers.every(({ kind }) => kind !== "residual");
	const modelJson = {
		format: "layers-model",
		generatedBy: "althing",
		convertedBy: null,
		modelTopology: isChain ? sequential(layers, batchInputShape) : graph(layers, batchInputShape),
		weightsManifest: [
			{
				paths: ["weights.bin"],
				weights: parameterLayout(model).map((slot) => {
					const owner = ownerOf(slot);
					return {
						name: `${owner}/${kerasWeightName(classes.get(owner) ?? "", slot.role)}`,
						shape: slot.shape,
						dtype: "float32",
					};
				}),
			},
		],
	};
	return { modelJson: JSON.stringify(modelJson), weights: float32ToBytes(parameters) };
}

function placedLayers(model: Model): Placed[] {
	const placed: Placed[] = [];
	const place = (name: string, layer: KerasLayer, inputs: readonly string[]): string => {
		placed.push({ ...layer, config: { name, trainable: true, ...layer.config }, name, inputs });
		return name;
	};
	const shapes = chainShapes(model.layers, inputShapeOf(model));
	let value = INPUT;
	model.layers.forEach((layer, index) => {
		const shape = shapes[index]!;
		if (layer.kind !== "residual") {
			value = place(`layer_${index}`, toKeras(layer, shape.length), [value]);
			return;
		}
		const block = value;
		const inner = chainShapes(layer.layers, shape);
		layer.layers.forEach((inside, i) => {
			value = place(`layer_${index}_${i}`, toKeras(inside, inner[i]!.length), [value]);
		});
		const projection = projectionOf(layer, shape, inner.at(-1)!);
		const shortcut =
			projection === undefined
				? block
				: place(`layer_${index}_projection`, toKeras(projection, shape.length), [block]);
		value = place(`layer_${index}_sum`, { class_name: "Add", config: {} }, [shortcut, value]);
	});
	place(OUTPUT, { class_name: "Activation", config: { activation: OUTPUT_FUNCTION[model.task] } }, [value]);
	return placed;
}

/** The layer that a tensor belongs to, by the name that {@link placedLayers} gives it. */
function ownerOf({ name }: ParameterSlot): string {
	return name
		.split(".")
		.slice(1, -1)
		.filter((part) => part !== "layers")
		.reduce((owner, part) => `${owner}_${part}`, "layer");
}

type BatchShape = readonly (number | null)[];

function sequential(layers: readonly Placed[], batchInputShape: BatchShape): object {
	const [first, ...rest] = layers.map(({ class_name, config }) => ({ class_name, config }));
	const input = { batch_input_shape: batchInputShape, dtype: "float32" };
	const opened = { ...first, config: { ...first?.config, ...input } };
	return { class_name: "Sequential", config: { name: "althing", layers: [opened, ...rest] } };
}

function graph(layers: readonly Placed[], batchInputShape: BatchShape): object {
	const input = {
		class_name: "InputLayer",
		name: INPUT,
		config: { name: INPUT, batch_input_shape: batchInputShape, dtype: "float32", sparse: false },
		inbound_nodes: [],
	};
	const nodes = layers.map(({ class_name, name, config, inputs }) => ({
		class_name,
		name,
		config,
		inbound_nodes: [inputs.map((from) => [from, 0, 0, {}])],
	}));
	return {
		class_name: "Model",
		config: {
			name: "althing",
			layers: [input, ...nodes],
			input_layers: [[INPUT, 0, 0]],
			output_layers: [[OUTPUT, 0, 0]],
		},
	};
}
