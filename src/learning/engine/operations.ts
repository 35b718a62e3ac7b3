/**
 * The tensor operations that the layer rules are written against, and what a backend offers.
 *
 * `T` is a backend's tensor: a live tfjs tensor for the eager backend, the name of a value in a
 * graph under construction for ONNX. All tensors are float32 and the first dimension of everything
 * but parameters is the batch, one example a row: vectors are [rows, features], sequences [rows,
 * steps, features], images [rows, channels, height, width]. Arithmetic broadcasts as in NumPy.
 * Shapes given to an operation may hold one -1, which stands for the batch.
 *
 * What an operation yields for one example must not depend, not even in its last bit, on the other
 * examples or on the example's place among them: a neighbour's last bit can decide on which side of
 * zero an activation falls, and then its clipped gradient moves by far more than rounding. Only
 * `matmul` of a transposed batch, `wideMatmul`, `sumOverRows` and `scatterAdd` join examples.
 */
import type { ActivationFunction } from "../layers.ts";
import type { Windows } from "../shapes.ts";

export interface TensorOperations<T> {
	/** A scalar known when the program is built. */
	constant(value: number): T;
	/** A tensor known when the program is built. */
	table(shape: readonly number[], values: Float32Array): T;

	add(a: T, b: T): T;
	subtract(a: T, b: T): T;
	multiply(a: T, b: T): T;
	divide(a: T, b: T): T;
	minimum(a: T, b: T): T;
	squareRoot(a: T): T;
	activate(activation: ActivationFunction, a: T): T;
	/** 1 where a > 0, else 0. */
	isPositive(a: T): T;
	/** 1 where a = b, else 0; 0 where either is NaN. */
	isEqual(a: T, b: T): T;
	/** Softmax of each row of a matrix. */
	softmax(a: T): T;
	/** [rows, 1] class numbers to [rows, classes] of 0 and 1. */
	oneHot(labels: T, classes: number): T;

	/** Sums over the last axis, of this length, which stays with length 1. */
	sumLast(a: T, length: number): T;
	/** Sums over the last axis of squares; it stays with length 1. */
	squaredNorm(a: T, length: number): T;
	/** Sums over the steps of sequences: [rows, steps, features] to [rows, features]. */
	sumSteps(a: T, steps: number, features: number): T;
	/** Sum over the rows of a matrix, [columns]. */
	sumOverRows(a: T): T;
	/** `value` in the rows where the [rows, 1] `test` is finite, 0 in the others (also where they hold NaN). */
	keepFiniteRows(test: T, value: T): T;

	/** a b of two matrices, either transposed first. */
	matmul(a: T, b: T, transposed?: Transposed): T;
	/** a^T b of two matrices, accumulated in double precision and rounded once. */
	wideMatmul(a: T, b: T): T;
	/** The product of each row's two matrices, [rows, m, k] and [rows, k, n], either transposed first. */
	batchMatmul(a: T, b: T, transposed?: Transposed): T;
	/** x weights + bias, the bias added to each row. */
	affine(x: T, weights: T, bias: T | undefined): T;

	reshape(a: T, shape: readonly number[]): T;
	transpose(a: T, permutation: readonly number[]): T;
	concat(parts: readonly T[], axis: number): T;
	/** `length` places of one axis from `start`. */
	slice(a: T, axis: number, start: number, length: number): T;
	/** Zeros around images: rows above, columns left, rows below, columns right. */
	padImage(a: T, padding: readonly [number, number, number, number]): T;
	/** Of padded images, the pixel at one offset (row, column) of every window. */
	windowPixels(a: T, windows: Windows, offset: readonly [number, number]): T;

	/** Convolution of images (without kernel flip), kernel [height, width, channels, filters]. */
	convolve(x: T, kernel: T, windows: Windows): T;
	/** Its transpose: from errors of the output to those of the image of `shape` [height, width, channels]. */
	convolveTransposed(error: T, kernel: T, windows: Windows, shape: ImageSize): T;
	/** Convolution of each channel with its own filter, kernel [height, width, channels, 1]. */
	convolveDepthwise(x: T, kernel: T, windows: Windows, shape: ImageSize): T;
	convolveDepthwiseTransposed(error: T, kernel: T, windows: Windows, shape: ImageSize): T;
	/** The largest value of each window; of equal ones the gradient goes to one alone. */
	maxPool(x: T, windows: Windows, shape: ImageSize): Pooled<T>;
	/** The mean of each window's pixels inside the image. */
	averagePool(x: T, windows: Windows, shape: ImageSize): Pooled<T>;

	/** Rows of a [count, features] table by [rows, tokens] whole numbers, clamped to it: [rows, tokens, features]. */
	gather(table: T, indices: T, count: number): T;
	/** The transpose of gather: [rows, tokens, features] added into a table of `count` rows, places as there. */
	scatterAdd(values: T, indices: T, count: number, features: number): T;
	/** 0 where a holds a whole number from 0 to count - 1, NaN elsewhere. */
	nanUnlessIndex(a: T, count: number): T;
}

/** Height, width, channels. */
export type ImageSize = readonly [number, number, number];

interface Transposed {
	readonly a?: boolean;
	readonly b?: boolean;
}

interface Pooled<T> {
	readonly output: T;
	/** From errors of the output to errors of the input. */
	backward(error: T): T;
}

/**
 * What is compiled or run: the logits, the sum of the gradients, or the sum of the gradients with
 * each clipped in the way named. See programs.ts.
 */
export type ProgramKind = "logits" | "gradient" | "flat" | "perLayer" | "automatic";

/** One padded batch and what it is evaluated at. Only `logits` ignores all but features and parameters. */
export interface ProgramInputs {
	/** Rows after padding; one compiled graph per size. */
	readonly size: number;
	/** size x inputs, row-major. */
	readonly features: Float32Array;
	readonly labels: Float32Array;
	/** 1 for a real row, 0 for padding. */
	readonly weights: Float32Array;
	/** One norm for each clipping group; unused by `logits` and `gradient`. */
	readonly clippingNorms: Float32Array;
	/** For each dropout layer in order, size x values of 0 or 1 / (1 - rate); none for `logits`. */
	readonly dropoutMasks: readonly Float32Array[];
	/** The flat parameter vector. */
	readonly parameters: Float32Array;
}

export interface ProgramOutputs {
	/** size x outputs, row-major. */
	readonly logits: Float32Array;
	/** One array for each slot of the parameter layout, in order; none for `logits`. */
	readonly gradients: readonly Float32Array[];
	/** size x clipping groups, the gradient's squared norms before clipping; empty without clipping. */
	readonly squaredNorms: Float32Array;
}

/** Runs programs of one model. */
export interface Backend {
	/** Which runtime computes, for `doctor` and the model card. */
	readonly name: string;
	run(kind: ProgramKind, inputs: ProgramInputs): Promise<ProgramOutputs>;
	dispose(): Promise<void>;
}
