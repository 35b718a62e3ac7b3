/**
 * The programs of a training step, built from the layer rules for any backend:
 *
 * - `logits`: the forward pass;
 * - `gradient`: the sum over the real rows of the loss gradients;
 * - `clippedGradient`: the same with each example's gradient g scaled by min(1, C / |g|) first, and
 *   left out (counted as zero) where it is not finite.
 */
import { type Model, outputUnits } from "../model.ts";
import type { ProgramKind, TensorOperations } from "./operations.ts";
import { type LayerRule, type LayerTrace, type RowFactors, ruleOf } from "./rules.ts";

export interface ProgramTensors<T> {
	/** [size, inputs] */
	readonly features: T;
	/** [size, 1] */
	readonly labels: T;
	/** [size, 1] */
	readonly weights: T;
	/** Scalar. */
	readonly clippingNorm: T;
	/** One for each slot of the parameter layout. */
	readonly parameters: readonly T[];
}

export interface ProgramResult<T> {
	readonly logits: T;
	readonly gradients: readonly T[];
}

interface Step<T> {
	readonly rule: LayerRule;
	readonly trace: LayerTrace<T>;
}

/** Runs (eager) or emits (compiled) one program. */
export function buildProgram<T>(
	ops: TensorOperations<T>,
	model: Model,
	kind: ProgramKind,
	tensors: ProgramTensors<T>,
): ProgramResult<T> {
	const steps = forward(ops, model, tensors);
	const logits = steps.at(-1)!.trace.output;
	if (kind === "logits") return { logits, gradients: [] };

	const outputError = lossGradient(ops, model, logits, tensors.labels);
	if (kind === "gradient") {
		// Weighting the output error weights every layer's: the backward pass is linear in it.
		const errors = backward(ops, steps, ops.multiply(outputError, tensors.weights));
		return {
			logits,
			gradients: steps.flatMap(({ rule, trace }, i) => rule.parameterGradient(ops, trace, errors[i]!)),
		};
	}
	const errors = backward(ops, steps, outputError);
	const rows = clippingFactors(ops, steps, errors, tensors);
	return {
		logits,
		gradients: steps.flatMap(({ rule, trace }, i) => rule.parameterGradient(ops, trace, errors[i]!, rows)),
	};
}

function forward<T>(ops: TensorOperations<T>, model: Model, tensors: ProgramTensors<T>): Step<T>[] {
	let input = tensors.features;
	let used = 0;
	return model.layers.map((layer) => {
		const rule = ruleOf(layer);
		const parameters = tensors.parameters.slice(used, used + rule.parameterTensors);
		used += rule.parameterTensors;
		const output = rule.forward(ops, input, parameters);
		const trace = { input, output, parameters };
		input = output;
		return { rule, trace };
	});
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

/** The error at each layer's output, in layer order. */
function backward<T>(ops: TensorOperations<T>, steps: readonly Step<T>[], outputError: T): T[] {
	const errors: T[] = [outputError];
	for (let i = steps.length - 1; i > 0; i--) {
		const { rule, trace } = steps[i]!;
		errors.unshift(rule.backwardInput(ops, trace, errors[0]!));
	}
	return errors;
}

/** min(1, C / |g|) per row, times the row's weight; |g| runs over all layers together (flat clipping). */
function clippingFactors<T>(
	ops: TensorOperations<T>,
	steps: readonly Step<T>[],
	errors: readonly T[],
	tensors: ProgramTensors<T>,
): RowFactors<T> {
	const norms = steps.flatMap(({ rule, trace }, i) => rule.perExampleSquaredNorm(ops, trace, errors[i]!));
	const squaredNorm = norms.reduce((sum, norm) => ops.add(sum, norm));
	// C / 0 is infinite, so a zero gradient keeps the factor 1.
	const factor = ops.minimum(ops.constant(1), ops.divide(tensors.clippingNorm, ops.squareRoot(squaredNorm)));
	return { factor: ops.multiply(factor, tensors.weights), finiteTest: squaredNorm };
}
