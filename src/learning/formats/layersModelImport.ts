/** Reads TensorFlow.js LayersModels: a Sequential, or a graph that is a chain but for residual blocks. */
import { z } from "zod";
import { AlthingError } from "../../../crypto/error.ts";
import type { Layer, LayerOf } from "../layers.ts";
import { float32FromBytes } from "../littleEndian.ts";
import { parameterLayout, parseModel, type Task } from "../model.ts";
import { sizeOf } from "../shapes.ts";
import { fromKeras, kerasLayerSchema, type Step } from "./kerasLayers.ts";
import type { LayersModelFiles } from "./layersModel.ts";
import { joinTensors, requireTrainedModel, type TrainedModel } from "./trainedModel.ts";

const inboundSchema = z.array(z.array(z.tuple([z.string(), z.literal(0), z.literal(0)], z.unknown())));
const outputSchema = z.tuple([z.tuple([z.string(), z.literal(0), z.literal(0)])]);
const modelJsonSchema = z.object({
	modelTopology: z.discriminatedUnion("class_name", [
		z.object({
			class_name: z.literal("Sequential"),
			config: z.object({ layers: z.array(kerasLayerSchema).min(1) }),
		}),
		z.object({
			class_name: z.enum(["Model", "Functional"]),
			config: z.object({
				layers: z
					.array(
						z.intersection(kerasLayerSchema, z.object({ name: z.string(), inbound_nodes: inboundSchema })),
					)
					.min(1),
				output_layers: outputSchema,
			}),
		}),
	]),
	weightsManifest: z
		.array(
			z.object({
				weights: z.array(
					z.object({
						name: z.string(),
						shape: z.array(z.int().min(1)),
						dtype: z.literal("float32"),
						quantization: z.undefined().optional(),
					}),
				),
			}),
		)
		.min(1),
});
type Topology = z.infer<typeof modelJsonSchema>["modelTopology"];
type KerasNode = z.infer<typeof kerasLayerSchema>;

/** A layer of a file with the layers whose outputs it takes. */
interface Node {
	readonly layer: KerasNode;
	readonly name: string;
	readonly inputs: readonly string[];
}

/** Our layers, each with the names of the file's layers that hold its weights, in our order. */
interface Read {
	readonly step: Step | LayerOf<"residual">;
	readonly owners: readonly string[];
}

/**
 * @param weights the weight files in the manifest's order, joined
 * @throws AlthingError `learning.invalid_layers_model`, `learning.invalid_model`, `learning.not_finite`.
 */
export function importLayersModel({ modelJson, weights }: LayersModelFiles): TrainedModel {
	const { modelTopology, weightsManifest } = parseModelJson(modelJson);
	const nodes = nodesOf(modelTopology);
	const output =
		modelTopology.class_name === "Sequential" ? nodes.at(-1)!.name : modelTopology.config.output_layers[0][0];
	const steps = chainTo(new Map(nodes.map((node) => [node.name, node])), output);
	const task = taskOf(steps.at(-1)?.step);
	if (task !== "regression") steps.pop();
	const layers = steps.map(({ step }) => step).filter((step): step is Layer => step !== "softmax");
	if (layers.length !== steps.length) throw invalid("a softmax stands between its layers");
	const shape = nodes.find(({ layer }) => layer.config.batch_input_shape !== undefined)?.layer.config
		.batch_input_shape;
	const sizes = (shape?.slice(1) ?? []) as number[];
	const model = parseModel({
		inputs: sizes.length === 0 ? undefined : sizeOf(sizes),
		...(sizes.length > 1 ? { inputShape: sizes } : {}),
		layers,
		task,
	});
	const stored = tensorsByOwner(
		weightsManifest.flatMap((group) => group.weights),
		weights,
	);
	const tensors = steps.flatMap(({ owners }) => owners.flatMap((owner) => stored.get(owner) ?? []));
	const expected = parameterLayout(model).map((slot) => slot.shape.join("x"));
	const count = [...stored.values()].reduce((sum, list) => sum + list.length, 0);
	if (tensors.map(({ shape: own }) => own.join("x")).join() !== expected.join() || count !== tensors.length)
		throw invalid("its weights are not those of its layers");
	return requireTrainedModel({ model, parameters: joinTensors(tensors.map(({ values }) => values)) });
}

function nodesOf(topology: Topology): Node[] {
	if (topology.class_name === "Sequential") {
		const names = topology.config.layers.map((layer, i) => layer.config.name ?? `unnamed ${i}`);
		return topology.config.layers.map((layer, i) => ({
			layer,
			name: names[i]!,
			inputs: i === 0 ? [] : [names[i - 1]!],
		}));
	}
	return topology.config.layers.map((layer) => ({
		layer,
		name: layer.name,
		inputs: (layer.inbound_nodes[0] ?? []).map(([from]) => from),
	}));
}

/** The steps from the input to a layer, found backwards; each sum closes one residual block. */
function chainTo(nodes: ReadonlyMap<string, Node>, output: string): Read[] {
	const steps: Read[] = [];
	let at: string | undefined = output;
	for (let hops = 0; at !== undefined; hops++) {
		const node = nodes.get(at);
		if (node === undefined || hops > nodes.size) throw invalid(`layer "${at}" leads to no input`);
		if (node.layer.class_name === "Add") {
			const { block, from } = residualBlock(nodes, node);
			steps.unshift(block);
			at = from;
		} else {
			steps.unshift(...reads(node));
			at = soleInput(node);
		}
	}
	return steps;
}

function reads({ layer, name }: Node): Read[] {
	if (layer.class_name === "Add") throw invalid(`layer "${name}" is a sum inside a residual block`);
	return fromKeras(layer).map((step, i) => ({ step, owners: i === 0 ? [name] : [] }));
}

function soleInput({ inputs, name }: Node): string | undefined {
	if (inputs.length > 1) throw invalid(`layer "${name}" takes more than one input`);
	return inputs[0];
}

/** A sum of two paths from one layer: the longer one is the block, the other nothing or a projection. */
function residualBlock(nodes: ReadonlyMap<string, Node>, sum: Node): { block: Read; from: string } {
	const paths = sum.inputs.map((name) => pathBack(nodes, name));
	const [first, second] = paths;
	if (first === undefined || second === undefined || paths.length !== 2)
		throw invalid(`layer "${sum.name}" does not add two values`);
	const from = first.find((name) => second.includes(name));
	if (from === undefined) throw invalid(`what layer "${sum.name}" adds has no common origin`);
	const branches = [first, second]
		.map((path) => path.slice(0, path.indexOf(from)).reverse())
		.sort((a, b) => a.length - b.length);
	const [shortcut = [], main = []] = branches;
	const inner = main.flatMap((name) => reads(nodes.get(name)!));
	const layers = inner.map(({ step }) => step).filter((step) => isInnerLayer(step));
	if (shortcut.length > 1 || layers.length === 0 || layers.length !== inner.length)
		throw invalid(`what layer "${sum.name}" adds is no residual block`);
	return {
		block: {
			step: {
				kind: "residual",
				layers,
				projection: shortcut.length === 1,
			},
			owners: [...inner.flatMap(({ owners }) => owners), ...shortcut],
		},
		from,
	};
}

function isInnerLayer(step: Read["step"]): step is Exclude<Layer, LayerOf<"residual">> {
	return step !== "softmax" && step.kind !== "residual";
}

/** Names from a layer back to the input, across earlier blocks by either of their paths. */
function pathBack(nodes: ReadonlyMap<string, Node>, name: string): string[] {
	const path: string[] = [];
	let at: string | undefined = name;
	while (at !== undefined && path.length <= nodes.size) {
		path.push(at);
		at = nodes.get(at)?.inputs[0];
	}
	return path;
}

interface StoredTensor {
	readonly shape: readonly number[];
	readonly values: Float32Array;
}

/** Weights by the layer they are named for, in the file's order, which is Keras' own and ours. */
function tensorsByOwner(
	specs: readonly { readonly name: string; readonly shape: readonly number[] }[],
	bytes: Uint8Array,
): Map<string, StoredTensor[]> {
	const byOwner = new Map<string, StoredTensor[]>();
	let offset = 0;
	for (const { name, shape } of specs) {
		const end = offset + 4 * sizeOf(shape);
		if (end > bytes.length) throw invalid("its weights are fewer than its manifest says");
		const [owner = ""] = name.split("/");
		const values = float32FromBytes(bytes.subarray(offset, end));
		byOwner.set(owner, [...(byOwner.get(owner) ?? []), { shape, values }]);
		offset = end;
	}
	if (offset !== bytes.length) throw invalid("its weights are more than its manifest says");
	return byOwner;
}

/** The task that a model's last step belongs to. */
function taskOf(last: Read["step"] | undefined): Task {
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
