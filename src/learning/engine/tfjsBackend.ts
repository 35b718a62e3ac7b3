/**
 * The eager backend: the same programs run operation by operation on TensorFlow.js, natively when
 * the optional package `@tensorflow/tfjs-node` loads, else on WebAssembly. Slower than the compiled
 * backend; independent of it, so each is a check on the other.
 */
import { createRequire } from "node:module";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-wasm";
import { AlthingError } from "../../../crypto/error.ts";
import type { ActivationFunction } from "../layers.ts";
import { type Model, parameterLayout } from "../model.ts";
import type { Backend, ProgramInputs, ProgramKind, ProgramOutputs, TensorOperations } from "./operations.ts";
import { buildProgram } from "./programs.ts";

const LARGEST_FLOAT32 = 3.4028234663852886e38;

const eager: TensorOperations<tf.Tensor> = {
	constant: (value) => tf.scalar(value),
	matmul: (a, b, transposed = {}) => tf.matMul(a, b, transposed.a ?? false, transposed.b ?? false),
	affine: (x, weights, bias) => {
		const product = tf.matMul(x, weights);
		return bias === undefined ? product : tf.add(product, bias);
	},
	add: (a, b) => tf.add(a, b),
	subtract: (a, b) => tf.sub(a, b),
	multiply: (a, b) => tf.mul(a, b),
	divide: (a, b) => tf.div(a, b),
	minimum: (a, b) => tf.minimum(a, b),
	squareRoot: (a) => tf.sqrt(a),
	activate: (activation, a) => ACTIVATIONS[activation](a),
	isPositive: (a) => tf.cast(tf.greater(a, 0), "float32"),
	softmax: (a) => tf.softmax(a, 1),
	oneHot: (labels, classes) =>
		tf.cast(tf.equal(labels, tf.reshape(tf.range(0, classes), [1, classes])), "float32"),
	squaredNormPerRow: (a) => tf.sum(tf.square(a), 1, true),
	sumOverRows: (a) => tf.sum(a, 0),
	// Every comparison with NaN is false.
	keepFiniteRows: (test, value) => tf.where(tf.lessEqual(test, LARGEST_FLOAT32), value, tf.zerosLike(value)),
};

const ACTIVATIONS: Readonly<Record<ActivationFunction, (a: tf.Tensor) => tf.Tensor>> = {
	relu: tf.relu,
	tanh: tf.tanh,
	sigmoid: tf.sigmoid,
};

/** Which TensorFlow.js runtime this process uses, and why not the native one. */
export interface TfjsRuntime {
	readonly name: "tfjs-node (native)" | "tfjs (WASM)";
	/** Why `@tensorflow/tfjs-node` is not in use; absent when it is. */
	readonly nativeUnavailable?: string;
}

let runtime: Promise<TfjsRuntime> | undefined;

/**
 * Loads TensorFlow.js once for the process, native if possible.
 * @throws AlthingError `learning.backend_unavailable` when neither runtime starts.
 */
export function loadTfjs(): Promise<TfjsRuntime> {
	runtime ??= startTfjs();
	return runtime;
}

async function startTfjs(): Promise<TfjsRuntime> {
	const nativeUnavailable = loadNative();
	if (nativeUnavailable === undefined && (await tf.setBackend("tensorflow")))
		return { name: "tfjs-node (native)" };
	if (await tf.setBackend("wasm")) {
		await tf.ready();
		return { name: "tfjs (WASM)", nativeUnavailable: nativeUnavailable ?? "its backend did not start" };
	}
	throw new AlthingError(
		"learning.backend_unavailable",
		"TensorFlow.js starts neither natively nor on WebAssembly: reinstall the packages, or use the onnx backend.",
		{ nativeUnavailable },
	);
}

/** Registers the native backend; otherwise says why not. */
function loadNative(): string | undefined {
	const require = createRequire(import.meta.url);
	// tfjs-node 4.22 calls util.isNullOrUndefined, which Node 23 removed.
	const util = require("node:util") as { isNullOrUndefined?: (value: unknown) => boolean };
	util.isNullOrUndefined ??= (value) => value === null || value === undefined;
	try {
		require("@tensorflow/tfjs-node");
		return undefined;
	} catch (error) {
		return (error instanceof Error ? error.message : String(error)).split("\n")[0] ?? "unknown";
	}
}

/** @throws AlthingError `learning.backend_unavailable`. */
export async function createTfjsBackend(model: Model): Promise<Backend> {
	const { name } = await loadTfjs();
	const slots = parameterLayout(model);
	return {
		name,
		async run(kind: ProgramKind, inputs: ProgramInputs): Promise<ProgramOutputs> {
			const { size, parameters } = inputs;
			const results = tf.tidy(() => {
				const { logits, gradients } = buildProgram(eager, model, kind, {
					features: tf.tensor2d(inputs.features, [size, model.inputs]),
					labels: tf.tensor2d(inputs.labels, [size, 1]),
					weights: tf.tensor2d(inputs.weights, [size, 1]),
					clippingNorm: tf.scalar(inputs.clippingNorm),
					parameters: slots.map((slot) =>
						tf.tensor(parameters.subarray(slot.offset, slot.offset + slot.length), [...slot.shape]),
					),
				});
				return [logits, ...gradients];
			});
			try {
				const arrays = await Promise.all(results.map((tensor) => tensor.data<"float32">()));
				return { logits: arrays[0]!, gradients: arrays.slice(1) };
			} finally {
				tf.dispose(results);
			}
		},
		// Nothing outlives a run: tidy and the dispose above free every tensor.
		dispose: async () => {},
	};
}
