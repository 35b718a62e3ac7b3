/** The tensor operations on TensorFlow.js, each run at once. Images are channels first, as everywhere in the engine. */
import * as tf from "@tensorflow/tfjs-core";
import type { ActivationFunction } from "../layers.ts";
import { averageShares, type Windows } from "../shapes.ts";
import type { ImageSize, TensorOperations } from "./operations.ts";

const LARGEST_FLOAT32 = 3.4028234663852886e38;
const ACTIVATIONS: Readonly<Record<ActivationFunction, (a: tf.Tensor) => tf.Tensor>> = {
	relu: tf.relu,
	tanh: tf.tanh,
	sigmoid: tf.sigmoid,
};

const toFloat = (a: tf.Tensor) => tf.cast(a, "float32");
const channelsLast = (a: tf.Tensor) => tf.transpose(a, [0, 2, 3, 1]) as tf.Tensor4D;
const channelsFirst = (a: tf.Tensor) => tf.transpose(a, [0, 3, 1, 2]);

export const eagerOperations: TensorOperations<tf.Tensor> = {
	constant: (value) => tf.scalar(value),
	table: (shape, values) => tf.tensor(values, [...shape]),

	add: (a, b) => tf.add(a, b),
	subtract: (a, b) => tf.sub(a, b),
	multiply: (a, b) => tf.mul(a, b),
	divide: (a, b) => tf.div(a, b),
	minimum: (a, b) => tf.minimum(a, b),
	squareRoot: (a) => tf.sqrt(a),
	activate: (activation, a) => ACTIVATIONS[activation](a),
	isPositive: (a) => toFloat(tf.greater(a, 0)),
	isEqual: (a, b) => toFloat(tf.equal(a, b)),
	softmax: (a) => tf.softmax(a, 1),
	oneHot: (labels, classes) => toFloat(tf.equal(labels, tf.reshape(tf.range(0, classes), [1, classes]))),

	sumLast: (a) => tf.sum(a, -1, true),
	squaredNorm: (a) => tf.sum(tf.square(a), -1, true),
	sumSteps: (a) => tf.sum(a, 1),
	sumOverRows: (a) => tf.sum(a, 0),
	keepFiniteRows: (test, value) => {
		// Every comparison with NaN is false. Broadcasting the condition by a product costs a tenth of what
		// tf.where takes to do it (and the WebAssembly kernel for one condition a row gives wrong answers).
		const finite = toFloat(tf.lessEqual(test, LARGEST_FLOAT32));
		return tf.where(tf.cast(tf.mul(tf.onesLike(value), finite), "bool"), value, tf.zerosLike(value));
	},

	matmul: (a, b, transposed = {}) => tf.matMul(a, b, transposed.a ?? false, transposed.b ?? false),
	wideMatmul,
	batchMatmul: (a, b, transposed = {}) => tf.matMul(a, b, transposed.a ?? false, transposed.b ?? false),
	affine: (x, weights, bias) => {
		const product = tf.matMul(x, weights);
		return bias === undefined ? product : tf.add(product, bias);
	},

	reshape: (a, shape) => tf.reshape(a, [...shape]),
	transpose: (a, permutation) => tf.transpose(a, [...permutation]),
	concat: (parts, axis) => tf.concat([...parts], axis),
	slice: (a, axis, start, length) => {
		const begin = a.shape.map((_, i) => (i === axis ? start : 0));
		return tf.slice(
			a,
			begin,
			a.shape.map((size, i) => (i === axis ? length : size)),
		);
	},
	padImage,
	windowPixels: (a, { strides, count }, [row, column]) => {
		const end = [row + (count[0] - 1) * strides[0] + 1, column + (count[1] - 1) * strides[1] + 1];
		const [rows, channels] = a.shape as [number, number];
		// The strided slice is many times slower.
		if (strides[0] === 1 && strides[1] === 1) {
			return tf.slice(a, [0, 0, row, column], [rows, channels, ...count]);
		}
		return tf.stridedSlice(a, [0, 0, row, column], [rows, channels, end[0]!, end[1]!], [1, 1, ...strides]);
	},

	convolve,
	convolveTransposed,
	convolveDepthwise: (x, kernel, windows) => {
		const image = channelsLast(padImage(x, windows.padding));
		return channelsFirst(tf.depthwiseConv2d(image, kernel as tf.Tensor4D, [...windows.strides], "valid"));
	},
	convolveDepthwiseTransposed: (error, kernel, windows, shape) => {
		// As a full convolution whose kernel is zero between different channels.
		const diagonal = tf.mul(kernel, tf.eye(shape[2]));
		return convolveTransposed(error, diagonal, windows, shape);
	},
	maxPool,
	averagePool: (x, windows, shape) => {
		const shares = tf.tensor(averageShares(windows, shape), [1, 1, ...windows.count]);
		const each: ImageSize = [shape[0], shape[1], 1];
		const ones = tf.ones([...windows.size, 1, 1]);
		const alone = (a: tf.Tensor, [height, width]: readonly [number, number]) =>
			tf.reshape(a, [-1, 1, height, width]);
		const sums = convolve(alone(x, [shape[0], shape[1]]), ones, windows);
		return {
			output: tf.mul(tf.reshape(sums, [-1, shape[2], ...windows.count]), shares),
			backward: (error) => {
				const spread = convolveTransposed(alone(tf.mul(error, shares), windows.count), ones, windows, each);
				return tf.reshape(spread, [-1, shape[2], shape[0], shape[1]]);
			},
		};
	},

	gather: (table, indices, count) => tf.gather(table, places(indices, count)),
	scatterAdd: (values, indices, count, features) =>
		tf.scatterND(tf.reshape(places(indices, count), [-1, 1]), tf.reshape(values, [-1, features]), [
			count,
			features,
		]),
	nanUnlessIndex: (a, count) =>
		tf.where(
			tf.logicalAnd(tf.equal(a, tf.floor(a)), isWithin(a, count)),
			tf.zerosLike(a),
			tf.fill(a.shape, Number.NaN),
		),
};

/** TensorFlow.js has no double precision: this one product is computed here. */
function wideMatmul(a: tf.Tensor, b: tf.Tensor): tf.Tensor {
	const [left, right] = [a.dataSync(), b.dataSync()];
	const [rows, m] = a.shape as [number, number];
	const n = b.shape[1]!;
	const product = new Float64Array(m * n);
	for (let row = 0; row < rows; row++) {
		for (let i = 0; i < m; i++) {
			const value = left[row * m + i]!;
			for (let j = 0; j < n; j++) product[i * n + j]! += value * right[row * n + j]!;
		}
	}
	return tf.tensor(Float32Array.from(product), [m, n]);
}

function padImage(a: tf.Tensor, [top, left, bottom, right]: Windows["padding"], value = 0): tf.Tensor {
	if (top + left + bottom + right === 0) return a;
	return tf.pad(
		a,
		[
			[0, 0],
			[0, 0],
			[top, bottom],
			[left, right],
		],
		value,
	);
}

function convolve(x: tf.Tensor, kernel: tf.Tensor, windows: Windows): tf.Tensor {
	const image = channelsLast(padImage(x, windows.padding));
	return channelsFirst(tf.conv2d(image, kernel as tf.Tensor4D, [...windows.strides], "valid"));
}

function convolveTransposed(
	error: tf.Tensor,
	kernel: tf.Tensor,
	windows: Windows,
	shape: ImageSize,
): tf.Tensor {
	const [top, left, bottom, right] = windows.padding;
	const padded: [number, number, number, number] = [
		error.shape[0]!,
		shape[0] + top + bottom,
		shape[1] + left + right,
		shape[2],
	];
	const image = tf.conv2dTranspose(
		channelsLast(error),
		kernel as tf.Tensor4D,
		padded,
		[...windows.strides],
		"valid",
	);
	return channelsFirst(tf.slice(image, [0, top, left, 0], [padded[0], ...shape]));
}

function maxPool(
	x: tf.Tensor,
	windows: Windows,
	shape: ImageSize,
): { output: tf.Tensor; backward: (error: tf.Tensor) => tf.Tensor } {
	const { size, strides, padding } = windows;
	const padded = padImage(x, padding, -LARGEST_FLOAT32);
	const output = channelsFirst(tf.maxPool(channelsLast(padded), [...size], [...strides], "valid"));
	return {
		output,
		backward: (error) => {
			// At each offset of the windows: the error goes where the largest value stands first.
			const offsets = size[0] * size[1];
			let free = tf.onesLike(error);
			const parts = Array.from({ length: offsets }, (_, offset) => {
				const place: [number, number] = [Math.floor(offset / size[1]), offset % size[1]];
				const pixels = eagerOperations.windowPixels(padded, windows, place);
				const here = tf.mul(free, toFloat(tf.equal(pixels, output)));
				free = tf.sub(free, here);
				return tf.reshape(tf.mul(error, here), [-1, 1, ...windows.count]);
			});
			// A convolution whose filter number k is one at offset k puts each part back in its place.
			const kernel = tf.reshape(tf.eye(offsets), [...size, 1, offsets]);
			const spread = convolveTransposed(tf.concat(parts, 1), kernel, windows, [shape[0], shape[1], 1]);
			return tf.reshape(spread, [-1, shape[2], shape[0], shape[1]]);
		},
	};
}

/** Whole numbers to places in a table; what is none becomes 0. */
function places(indices: tf.Tensor, count: number): tf.Tensor {
	return tf.cast(tf.where(isWithin(indices, count), indices, tf.zerosLike(indices)), "int32");
}

function isWithin(a: tf.Tensor, count: number): tf.Tensor {
	return tf.logicalAnd(tf.greaterEqual(a, 0), tf.lessEqual(a, count - 1));
}
