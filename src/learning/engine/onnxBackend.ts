/**
 * The compiled backend: each program becomes one ONNX graph for a fixed batch size, which ONNX
 * Runtime fuses and runs natively. Training needs no training API this way: a step's forward and
 * backward pass is an ordinary inference graph.
 */
import { InferenceSession, Tensor } from "onnxruntime-node";
import { toHex } from "../../../crypto/encoding.ts";
import { clippingGroups } from "../clipping.ts";
import { type Model, modelHash, outputUnits, parameterLayout } from "../model.ts";
import { dropoutSizes } from "../shapes.ts";
import { CompiledGraphs } from "./compiledGraphs.ts";
import { GraphEmitter } from "./graphEmitter.ts";
import { encodeOnnxModel, type OnnxValue } from "./onnxProtobuf.ts";
import type { Backend, ProgramInputs, ProgramKind, ProgramOutputs } from "./operations.ts";
import { buildProgram } from "./programs.ts";

const graphs = new CompiledGraphs();

/** The ONNX file of one program of one model at one batch size, with a float32 input for each tensor. */
function compileProgram(model: Model, kind: ProgramKind, size: number): Uint8Array {
	const ops = new GraphEmitter();
	const slots = parameterLayout(model);
	const masks = dropoutSizes(model).map((values, i) => ({ name: maskName(i), shape: [size, values] }));
	const result = buildProgram(ops, model, kind, {
		features: "features",
		labels: "labels",
		weights: "weights",
		clippingNorms: "clippingNorms",
		dropoutMasks: kind === "logits" ? [] : masks.map(({ name }) => name),
		parameters: slots.map((slot) => slot.name),
	});
	ops.expose(result.logits, "logits");
	result.gradients.forEach((gradient, i) => {
		ops.expose(gradient, gradientName(i));
	});
	const inputs: OnnxValue[] = [{ name: "features", shape: [size, model.inputs] }];
	const outputs: OnnxValue[] = [
		{ name: "logits", shape: [size, outputUnits(model)] },
		...result.gradients.map((_, i) => ({ name: gradientName(i), shape: slots[i]!.shape })),
	];
	if (kind !== "logits") {
		inputs.push({ name: "labels", shape: [size, 1] }, { name: "weights", shape: [size, 1] }, ...masks);
	}
	if (kind !== "logits" && kind !== "gradient") {
		const groups = clippingGroups(model, kind).length;
		inputs.push({ name: "clippingNorms", shape: [1, groups] });
		outputs.push({ name: "squaredNorms", shape: [size, groups] });
		ops.expose(result.squaredNorms!, "squaredNorms");
	}
	return encodeOnnxModel({
		name: kind,
		nodes: ops.nodes,
		initializers: ops.initializers,
		inputs: [...inputs, ...slots.map(({ name, shape }) => ({ name, shape }))],
		outputs,
	});
}

function gradientName(slot: number): string {
	return `gradient${slot}`;
}

function maskName(layer: number): string {
	return `dropout${layer}`;
}

/**
 * Compiles each (kind, batch size) once and keeps the session.
 * @param threads CPU threads within one graph; 1 leaves the other cores to the node's own work.
 */
export function createOnnxBackend(model: Model, threads = 1): Backend {
	const slots = parameterLayout(model);
	const owner = `${toHex(modelHash(model))} ${threads}`;
	graphs.open(owner);
	let open = true;

	const compile = (kind: ProgramKind, size: number): Promise<InferenceSession> =>
		InferenceSession.create(compileProgram(model, kind, size), {
			intraOpNumThreads: threads,
			interOpNumThreads: 1,
			executionMode: "sequential",
			graphOptimizationLevel: "all",
			// A plan of the whole memory in advance takes a third more than reusing blocks, and saves no time.
			enableMemPattern: false,
			logSeverityLevel: 3,
		});

	return {
		name: "onnxruntime-node (CPU)",
		async run(kind: ProgramKind, inputs: ProgramInputs): Promise<ProgramOutputs> {
			const { size, parameters } = inputs;
			const matrix = (values: Float32Array) => new Tensor("float32", values, [size, values.length / size]);
			const feeds: Record<string, Tensor> = { features: matrix(inputs.features) };
			for (const { name, shape, offset, length } of slots) {
				feeds[name] = new Tensor("float32", parameters.subarray(offset, offset + length), shape);
			}
			if (kind !== "logits") {
				feeds.labels = matrix(inputs.labels);
				feeds.weights = matrix(inputs.weights);
				inputs.dropoutMasks.forEach((mask, i) => {
					feeds[maskName(i)] = matrix(mask);
				});
			}
			const clips = kind !== "logits" && kind !== "gradient";
			if (clips) {
				const norms = inputs.clippingNorms;
				feeds.clippingNorms = new Tensor("float32", norms, [1, norms.length]);
			}
			const results = await graphs.use(
				owner,
				`${kind} ${size}`,
				() => compile(kind, size),
				(session) => session.run(feeds),
			);
			const array = (name: string) => results[name]!.data as Float32Array;
			return {
				logits: array("logits"),
				gradients: kind === "logits" ? [] : slots.map((_, i) => array(gradientName(i))),
				squaredNorms: clips ? array("squaredNorms") : new Float32Array(0),
			};
		},
		async dispose(): Promise<void> {
			if (!open) return;
			open = false;
			await graphs.close(owner);
		},
	};
}
