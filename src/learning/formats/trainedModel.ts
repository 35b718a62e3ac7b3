/** A model with its parameters, as the file formats in this folder export and import it. */
import { AlthingError } from "../../../crypto/error.ts";
import { allFinite } from "../finite.ts";
import { type Model, requireParameterCount, type Task } from "../model.ts";

export interface TrainedModel {
	readonly model: Model;
	/** The flat parameter vector, all finite. */
	readonly parameters: Float32Array;
}

/** What the exported model applies to its logits, so that its output is a value or probabilities. */
export const OUTPUT_FUNCTION = {
	regression: "linear",
	binary: "sigmoid",
	multiclass: "softmax",
} as const satisfies Record<Task, string>;

/**
 * Checks a model before it is written or after it was read.
 * @throws AlthingError `learning.parameter_count`, `learning.not_finite`.
 */
export function requireTrainedModel(trained: TrainedModel): TrainedModel {
	requireParameterCount(trained.model, trained.parameters.length);
	if (!allFinite(trained.parameters)) {
		throw new AlthingError(
			"learning.not_finite",
			"The model has parameters that are not finite; it is of no use.",
		);
	}
	return trained;
}

/** Joins tensors into the flat parameter vector. */
export function joinTensors(tensors: readonly Float32Array[]): Float32Array {
	const parameters = new Float32Array(tensors.reduce((count, tensor) => count + tensor.length, 0));
	let offset = 0;
	for (const tensor of tensors) {
		parameters.set(tensor, offset);
		offset += tensor.length;
	}
	return parameters;
}
