/**
 * The programs of a training step, built from the layer rules for any backend:
 *
 * - `logits`: the forward pass;
 * - `gradient`: the sum over the real rows of the loss gradients;
 * - `flat`, `perLayer`, `automatic`: the same with each example's gradient clipped first (see
 *   ../clipping.ts), and left out (counted as zero) where it is not finite.
 */
import { clippingGroups } from "../clipping.ts";
import { type Model, outputUnits } from "../model.ts";
import { inputShapeOf } from "../shapes.ts";
import type { ProgramKind, TensorOperations } from "./operations.ts";
import { fromRows } from "./rules/images.ts";
import type { LayerGradient, RowFactors } from "./rules/layerRule.ts";
import { chain } from "./rules/network.ts";

export interface ProgramTensors<T> {
	/** [size, inputs] */
	readonly features: T;
	/** [size, 1] */
	readonly labels: T;
	/** [size, 1] */
	readonly weights: T;
	/** [1, groups] */
	readonly clippingNorms: T;
	/** [size, values] for each dropout layer in order. */
	readonly dropoutMasks: readonly T[];
	/** One for each slot of the parameter layout. */
	readonly parameters: readonly T[];
}

export interface ProgramResult<T> {
	readonly logits: T;
	/** One for each slot of the parameter layout; none for `logits`. */
	readonly gradients: readonly T[];
	/** [size, groups]; only of a clipping program. */
	readonly squaredNorms?: T;
}

/** Added to the norm in automatic clipping: gamma of Bu et al. 2022, arXiv:2206.07136. */
const AUTOMATIC_STABILITY = 0.01;

/** Runs (eager) or emits (compiled) one program. */
export function buildProgram<T>(
	ops: TensorOperations<T>,
	model: Model,
	kind: ProgramKind,
	tensors: ProgramTensors<T>,
): ProgramResult<T> {
	const masks = tensors.dropoutMasks.values();
	const shape = inputShapeOf(model);
	const network = chain(model.layers, {
		ops,
		shape,
		input: fromRows(ops, tensors.features, shape),
		parameters: tensors.parameters,
		nextDropoutMask: () => masks.next().value,
	});
	const logits = network.output;
	if (kind === "logits") return { logits, gradients: [] };

	const outputError = lossGradient(ops, model, logits, tensors.labels);
	if (kind === "gradient") {
		// Weighting the output error weights every layer's: the backward pass is linear in it.
		const layers = network.backward(ops.multiply(outputError, tensors.weights));
		return { logits, gradients: sums(layers, () => undefined) };
	}
	const layers = network.backward(outputError);
	const { squaredNorms, factors } = clippingFactors(ops, model, kind, layers, tensors);
	return { logits, gradients: sums(layers, factors), squaredNorms };
}

function sums<T>(
	layers: readonly LayerGradient<T>[],
	rowsOf: (layer: number) => RowFactors<T> | undefined,
): T[] {
	return layers.flatMap(({ parameters }, i) => parameters.flatMap((parameter) => parameter.sum(rowsOf(i))));
}

/** Gradient of each example's loss with respect to its logits. */
function lossGradient<T>(ops: TensorOperations<T>, model: Model, logits: T, labels: T): T {
	switch (model.task) {
		case "regression":
			return ops.multiply(ops.subtract(logits, labels), ops.constant(2));
		case "binary":
			return ops.subtract(ops.activate("sigmoid", logits), labels);
		case "multiclass":
			return ops.subtract(ops.softmax(logits), ops.oneHot(labels, outputUnits(model)));
	}
}

/** What each example's gradient of each layer is multiplied with, its weight included. */
function clippingFactors<T>(
	ops: TensorOperations<T>,
	model: Model,
	mode: "flat" | "perLayer" | "automatic",
	layers: readonly LayerGradient<T>[],
	tensors: ProgramTensors<T>,
): { squaredNorms: T; factors: (layer: number) => RowFactors<T> } {
	const add = (terms: readonly T[]) => terms.reduce((sum, term) => ops.add(sum, term));
	const groups = clippingGroups(model, mode);
	const groupNorms = groups.map((members) =>
		add(members.flatMap((layer) => layers[layer]!.parameters.map((parameter) => parameter.squaredNorm()))),
	);
	// One bad layer drops the example from all of them.
	const finiteTest = add(groupNorms);
	const factors = groupNorms.map((squaredNorm, group): RowFactors<T> => {
		const bound = groups.length === 1 ? tensors.clippingNorms : ops.slice(tensors.clippingNorms, 1, group, 1);
		const norm = ops.squareRoot(squaredNorm);
		// C / 0 is infinite, so a zero gradient keeps the factor 1.
		const factor =
			mode === "automatic"
				? ops.divide(bound, ops.add(norm, ops.constant(AUTOMATIC_STABILITY)))
				: ops.minimum(ops.constant(1), ops.divide(bound, norm));
		return { factor: ops.keepFiniteRows(finiteTest, ops.multiply(factor, tensors.weights)), finiteTest };
	});
	return {
		squaredNorms: groupNorms.length === 1 ? groupNorms[0]! : ops.concat(groupNorms, 1),
		factors: (layer) => factors[groups.findIndex((members) => members.includes(layer))]!,
	};
}
