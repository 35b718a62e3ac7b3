/**
 * The tensor operations that the layer rules are written against, and what a backend offers.
 *
 * `T` is a backend's tensor: a live tfjs tensor for the eager backend, the name of a value in a
 * graph under construction for ONNX. All tensors are float32; matrices are [rows, columns] with one
 * row per example; [rows, 1] broadcasts over columns and a scalar over everything.
 */
import type { ActivationFunction } from "../layers.ts";

export interface TensorOperations<T> {
	/** A scalar known when the program is built. */
	constant(value: number): T;
	/** a b, with either factor transposed first. */
	matmul(a: T, b: T, transposed?: { readonly a?: boolean; readonly b?: boolean }): T;
	/** x weights + bias, the bias added to each row. */
	affine(x: T, weights: T, bias: T | undefined): T;
	add(a: T, b: T): T;
	subtract(a: T, b: T): T;
	multiply(a: T, b: T): T;
	divide(a: T, b: T): T;
	minimum(a: T, b: T): T;
	squareRoot(a: T): T;
	activate(activation: ActivationFunction, a: T): T;
	/** 1 where a > 0, else 0. */
	isPositive(a: T): T;
	/** Softmax of each row. */
	softmax(a: T): T;
	/** [rows, 1] class numbers to [rows, classes] of 0 and 1. */
	oneHot(labels: T, classes: number): T;
	/** Sum of squares of each row, [rows, 1]. */
	squaredNormPerRow(a: T): T;
	/** Sum over the rows, [columns]. */
	sumOverRows(a: T): T;
	/** `value` in the rows where the [rows, 1] `test` is finite, 0 in the others (also where they hold NaN). */
	keepFiniteRows(test: T, value: T): T;
}

/** What is compiled or run: see programs.ts. */
export type ProgramKind = "clippedGradient" | "gradient" | "logits";

/** One padded batch and what it is evaluated at. Only `logits` ignores labels, weights and clipping norm. */
export interface ProgramInputs {
	/** Rows after padding; one compiled graph per size. */
	readonly size: number;
	/** size x inputs, row-major. */
	readonly features: Float32Array;
	readonly labels: Float32Array;
	/** 1 for a real row, 0 for padding. */
	readonly weights: Float32Array;
	readonly clippingNorm: number;
	/** The flat parameter vector. */
	readonly parameters: Float32Array;
}

export interface ProgramOutputs {
	/** size x outputs, row-major. */
	readonly logits: Float32Array;
	/** One array for each slot of the parameter layout, in order; none for `logits`. */
	readonly gradients: readonly Float32Array[];
}

/** Runs programs of one model. */
export interface Backend {
	/** Which runtime computes, for `doctor` and the model card. */
	readonly name: string;
	run(kind: ProgramKind, inputs: ProgramInputs): Promise<ProgramOutputs>;
	dispose(): Promise<void>;
}
