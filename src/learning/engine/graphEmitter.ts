/** The tensor operations as ONNX nodes: what a program computes becomes a graph to compile. */
import type { ActivationFunction } from "../layers.ts";
import { averageShares, type Windows } from "../shapes.ts";
import {
	floatTensor,
	integerTensor,
	type OnnxAttributes,
	type OnnxNode,
	type OnnxTensor,
	onnxNode,
} from "./onnxProtobuf.ts";
import type { ImageSize, TensorOperations } from "./operations.ts";

const LARGEST_FLOAT32 = 3.4028234663852886e38;
const ACTIVATIONS: Readonly<Record<ActivationFunction, string>> = {
	relu: "Relu",
	tanh: "Tanh",
	sigmoid: "Sigmoid",
};
/** TensorProto.DataType, the targets of Cast. */
const FLOAT = 1;
const INT64 = 7;
const DOUBLE = 11;

/** Emits nodes; a tensor is the name of a value. */
export class GraphEmitter implements TensorOperations<string> {
	readonly nodes: OnnxNode[] = [];
	readonly initializers: OnnxTensor[] = [];
	readonly #constants = new Map<string, string>();

	constant(value: number): string {
		return this.#initializer(`constant ${value}`, (name) => floatTensor(name, [], Float32Array.of(value)));
	}

	table(shape: readonly number[], values: Float32Array): string {
		const name = `table${this.initializers.length}`;
		this.initializers.push(floatTensor(name, shape, values));
		return name;
	}

	add(a: string, b: string): string {
		return this.#emit("Add", [a, b]);
	}

	subtract(a: string, b: string): string {
		return this.#emit("Sub", [a, b]);
	}

	multiply(a: string, b: string): string {
		return this.#emit("Mul", [a, b]);
	}

	divide(a: string, b: string): string {
		return this.#emit("Div", [a, b]);
	}

	minimum(a: string, b: string): string {
		return this.#emit("Min", [a, b]);
	}

	squareRoot(a: string): string {
		return this.#emit("Sqrt", [a]);
	}

	activate(activation: ActivationFunction, a: string): string {
		return this.#emit(ACTIVATIONS[activation], [a]);
	}

	isPositive(a: string): string {
		return this.#cast(this.#emit("Greater", [a, this.constant(0)]), FLOAT);
	}

	isEqual(a: string, b: string): string {
		return this.#cast(this.#emit("Equal", [a, b]), FLOAT);
	}

	softmax(a: string): string {
		return this.#emit("Softmax", [a], { axis: 1 });
	}

	oneHot(labels: string, classes: number): string {
		const numbers = this.#initializer(`classes ${classes}`, (name) =>
			floatTensor(
				name,
				[1, classes],
				Float32Array.from({ length: classes }, (_, i) => i),
			),
		);
		return this.isEqual(labels, numbers);
	}

	sumLast(a: string, length: number): string {
		// Not ReduceSum: how that groups a row's terms depends on the row's alignment in memory.
		return this.#emit("MatMul", [a, this.#ones([length, 1])]);
	}

	squaredNorm(a: string, length: number): string {
		return this.sumLast(this.multiply(a, a), length);
	}

	sumSteps(a: string, steps: number, features: number): string {
		return this.reshape(this.#emit("MatMul", [this.#ones([1, steps]), a]), [-1, features]);
	}

	sumOverRows(a: string): string {
		return this.#emit("ReduceSum", [a, this.#integers([0])], { keepdims: 0 });
	}

	keepFiniteRows(test: string, value: string): string {
		// Every comparison with NaN is false.
		const finite = this.#emit("LessOrEqual", [test, this.constant(LARGEST_FLOAT32)]);
		return this.#emit("Where", [finite, value, this.constant(0)]);
	}

	matmul(a: string, b: string, transposed: { readonly a?: boolean; readonly b?: boolean } = {}): string {
		return this.#emit("Gemm", [a, b], { transA: transposed.a ? 1 : 0, transB: transposed.b ? 1 : 0 });
	}

	wideMatmul(a: string, b: string): string {
		const product = this.#emit("Gemm", [this.#cast(a, DOUBLE), this.#cast(b, DOUBLE)], { transA: 1 });
		return this.#cast(product, FLOAT);
	}

	batchMatmul(a: string, b: string, transposed: { readonly a?: boolean; readonly b?: boolean } = {}): string {
		// The runtime fuses the transposes into the product.
		const swapped = (x: string, swap = false) => (swap ? this.transpose(x, [0, 2, 1]) : x);
		return this.#emit("MatMul", [swapped(a, transposed.a), swapped(b, transposed.b)]);
	}

	affine(x: string, weights: string, bias: string | undefined): string {
		return this.#emit("Gemm", bias === undefined ? [x, weights] : [x, weights, bias]);
	}

	reshape(a: string, shape: readonly number[]): string {
		return this.#emit("Reshape", [a, this.#integers(shape)]);
	}

	transpose(a: string, permutation: readonly number[]): string {
		return this.#emit("Transpose", [a], { perm: permutation });
	}

	concat(parts: readonly string[], axis: number): string {
		return this.#emit("Concat", parts, { axis });
	}

	slice(a: string, axis: number, start: number, length: number): string {
		return this.#emit("Slice", [a, ...[start, start + length, axis].map((value) => this.#integers([value]))]);
	}

	padImage(a: string, [top, left, bottom, right]: readonly [number, number, number, number]): string {
		return this.#emit("Pad", [a, this.#integers([0, 0, top, left, 0, 0, bottom, right])]);
	}

	windowPixels(a: string, { strides, count }: Windows, offset: readonly [number, number]): string {
		const ends = [0, 1].map((side) => offset[side]! + (count[side]! - 1) * strides[side]! + 1);
		return this.#emit("Slice", [
			a,
			...[offset, ends, [2, 3], strides].map((values) => this.#integers(values)),
		]);
	}

	convolve(x: string, kernel: string, windows: Windows): string {
		return this.#emit("Conv", [x, this.#filters(kernel)], windowAttributes(windows));
	}

	convolveTransposed(error: string, kernel: string, windows: Windows, shape: ImageSize): string {
		return this.#emit("ConvTranspose", [error, this.#filters(kernel)], transposedAttributes(windows, shape));
	}

	convolveDepthwise(x: string, kernel: string, windows: Windows, shape: ImageSize): string {
		return this.#emit("Conv", [x, this.#channelFilters(kernel)], {
			...windowAttributes(windows),
			group: shape[2],
		});
	}

	convolveDepthwiseTransposed(error: string, kernel: string, windows: Windows, shape: ImageSize): string {
		return this.#emit("ConvTranspose", [error, this.#channelFilters(kernel)], {
			...transposedAttributes(windows, shape),
			group: shape[2],
		});
	}

	maxPool(
		x: string,
		windows: Windows,
		shape: ImageSize,
	): { output: string; backward: (error: string) => string } {
		const [height, width, channels] = shape;
		const size = height * width * channels;
		const [output, places] = [`v${this.nodes.length}`, `v${this.nodes.length}places`];
		this.nodes.push(onnxNode("MaxPool", [x], [output, places], windowAttributes(windows)));
		const pooled = windows.count[0] * windows.count[1] * channels;
		return {
			output,
			backward: (error) => {
				// Places count through the whole batch, and for a window that holds no number they are no
				// place at all. Within each example, and clamped, no record reaches another one's errors.
				const rows = this.reshape(places, [-1, pooled]);
				const within = this.#emit("Mod", [rows, this.#integers([size])]);
				const zeros = this.#emit("ConstantOfShape", [this.#emit("Shape", [this.reshape(x, [-1, size])])]);
				const overlap = windows.strides[0] < windows.size[0] || windows.strides[1] < windows.size[1];
				const scattered = this.#emit(
					"ScatterElements",
					[zeros, within, this.reshape(error, [-1, pooled])],
					overlap ? { axis: 1, reduction: "add" } : { axis: 1 },
				);
				return this.reshape(scattered, [-1, channels, height, width]);
			},
		};
	}

	averagePool(
		x: string,
		windows: Windows,
		shape: ImageSize,
	): { output: string; backward: (error: string) => string } {
		const [rows, columns] = windows.count;
		const shares = this.table([1, 1, rows, columns], averageShares(windows, shape));
		const channels = shape[2];
		const side = [...windows.size];
		const ones = this.table(
			[channels, 1, ...side],
			new Float32Array(channels * windows.size[0] * windows.size[1]).fill(1),
		);
		return {
			output: this.#emit("AveragePool", [x], { ...windowAttributes(windows), count_include_pad: 0 }),
			backward: (error) =>
				this.#emit("ConvTranspose", [this.multiply(error, shares), ones], {
					...transposedAttributes(windows, shape),
					group: channels,
				}),
		};
	}

	gather(table: string, indices: string, count: number): string {
		return this.#emit("Gather", [table, this.#places(indices, count)], { axis: 0 });
	}

	scatterAdd(values: string, indices: string, count: number, features: number): string {
		const zeros = this.#emit("ConstantOfShape", [this.#integers([count, features])]);
		const places = this.reshape(this.#places(indices, count), [-1, 1]);
		return this.#emit("ScatterND", [zeros, places, this.reshape(values, [-1, features])], {
			reduction: "add",
		});
	}

	nanUnlessIndex(a: string, count: number): string {
		const whole = this.#emit("Equal", [a, this.#emit("Floor", [a])]);
		const valid = this.#emit("And", [whole, this.#isWithin(a, count)]);
		return this.#emit("Where", [valid, this.constant(0), this.constant(Number.NaN)]);
	}

	/** Gives an emitted value the name of a graph output. */
	expose(value: string, name: string): void {
		this.nodes.push(onnxNode("Identity", [value], name));
	}

	/** Whole numbers to places in a table; what is none becomes 0. */
	#places(indices: string, count: number): string {
		return this.#cast(
			this.#emit("Where", [this.#isWithin(indices, count), indices, this.constant(0)]),
			INT64,
		);
	}

	#isWithin(a: string, count: number): string {
		const above = this.#emit("GreaterOrEqual", [a, this.constant(0)]);
		return this.#emit("And", [above, this.#emit("LessOrEqual", [a, this.constant(count - 1)])]);
	}

	/** [height, width, channels, filters] in ONNX' order. */
	#filters(kernel: string): string {
		return this.transpose(kernel, [3, 2, 0, 1]);
	}

	/** [height, width, channels, 1] as [channels, 1, height, width]. */
	#channelFilters(kernel: string): string {
		return this.transpose(kernel, [2, 3, 0, 1]);
	}

	#cast(a: string, to: number): string {
		return this.#emit("Cast", [a], { to });
	}

	#emit(opType: string, inputs: readonly string[], attributes?: OnnxAttributes): string {
		const output = `v${this.nodes.length}`;
		this.nodes.push(onnxNode(opType, inputs, output, attributes));
		return output;
	}

	#integers(values: readonly number[]): string {
		return this.#initializer(`integers ${values.join()}`, (name) => integerTensor(name, values));
	}

	#ones(shape: readonly number[]): string {
		const count = shape.reduce((product, length) => product * length, 1);
		return this.#initializer(`ones ${shape.join()}`, (name) =>
			floatTensor(name, shape, new Float32Array(count).fill(1)),
		);
	}

	#initializer(key: string, make: (name: string) => OnnxTensor): string {
		let name = this.#constants.get(key);
		if (name === undefined) {
			name = `c${this.#constants.size}`;
			this.#constants.set(key, name);
			this.initializers.push(make(name));
		}
		return name;
	}
}

function windowAttributes({ size, strides, padding }: Windows): OnnxAttributes {
	return { kernel_shape: size, strides, pads: padding };
}

/** The image is as large as its windows reach, plus what the last ones leave over. */
function transposedAttributes(windows: Windows, shape: ImageSize): OnnxAttributes {
	const { size, strides, count, padding } = windows;
	const left = (side: 0 | 1) =>
		shape[side] + padding[side] + padding[side + 2]! - ((count[side] - 1) * strides[side] + size[side]);
	return { ...windowAttributes(windows), output_padding: [left(0), left(1)] };
}
