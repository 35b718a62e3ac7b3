/**
 * The eager backend: the same programs run operation by operation on TensorFlow.js, natively when
 * the optional package `@tensorflow/tfjs-node` loads, else on WebAssembly. Slower than the compiled
 * backend; independent of it, so each is a check on the other.
 */
import { createRequire } from "node:module";
import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-backend-wasm";
import { AlthingError } from "../../../crypto/error.ts";
import { type Model, parameterLayout } from "../model.ts";
import { eagerOperations } from "./eagerOperations.ts";
import type { Backend, ProgramInputs, ProgramKind, ProgramOutputs } from "./operations.ts";
import { buildProgram } from "./programs.ts";

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
			const matrix = (values: Float32Array) => tf.tensor2d(values, [size, values.length / size]);
			const results = tf.tidy(() => {
				const { logits, gradients, squaredNorms } = buildProgram(eagerOperations, model, kind, {
					features: matrix(inputs.features),
					labels: matrix(inputs.labels),
					weights: matrix(inputs.weights),
					clippingNorms: tf.tensor2d(inputs.clippingNorms, [1, inputs.clippingNorms.length]),
					dropoutMasks: inputs.dropoutMasks.map(matrix),
					parameters: slots.map((slot) =>
						tf.tensor(parameters.subarray(slot.offset, slot.offset + slot.length), [...slot.shape]),
					),
				});
				return [logits, ...gradients, ...(squaredNorms === undefined ? [] : [squaredNorms])];
			});
			try {
				const arrays = await Promise.all(results.map((tensor) => tensor.data<"float32">()));
				const gradients = kind === "logits" ? [] : arrays.slice(1, 1 + slots.length);
				return {
					logits: arrays[0]!,
					gradients,
					squaredNorms: arrays[1 + gradients.length] ?? new Float32Array(0),
				};
			} finally {
				tf.dispose(results);
			}
		},
		// Nothing outlives a run: tidy and the dispose above free every tensor.
		dispose: async () => {},
	};
}
