/**
 * The compiled backend: each program becomes one ONNX graph for a fixed batch size, which ONNX
 * Runtime fuses and runs natively. Training needs no training API this way: a step's forward and
 * backward pass is an ordinary inference graph.
 */
import { InferenceSession, Tensor } from "onnxruntime-node";
import type { ActivationFunction } from "../layers.ts";
import { type Model, outputUnits, parameterLayout } from "../model.ts";
import {
	encodeOnnxModel,
	floatTensor,
	integerTensor,
	type OnnxNode,
	type OnnxTensor,
	type OnnxValue,
	onnxNode,
} from "./onnxProtobuf.ts";
import type { Backend, ProgramInputs, ProgramKind, ProgramOutputs, TensorOperations } from "./operations.ts";
import { buildProgram } from "./programs.ts";

const LARGEST_FLOAT32 = 3.4028234663852886e38;
const ACTIVATIONS: Readonly<Record<ActivationFunction, string>> = {
	relu: "Relu",
	tanh: "Tanh",
	sigmoid: "Sigmoid",
};

/** Emits one node for each operation; a tensor is the name of a value. */
class GraphEmitter implements TensorOperations<string> {
	readonly nodes: OnnxNode[] = [];
	readonly initializers: OnnxTensor[] = [];
	readonly #constants = new Map<string, string>();

	constant(value: number): string {
		return this.#initializer(`constant ${value}`, (name) => floatTensor(name, [], Float32Array.of(value)));
	}

	matmul(a: string, b: string, transposed: { readonly a?: boolean; readonly b?: boolean } = {}): string {
		return this.#emit("Gemm", [a, b], { transA: transposed.a ? 1 : 0, transB: transposed.b ? 1 : 0 });
	}

	affine(x: string, weights: string, bias: string | undefined): string {
		return this.#emit("Gemm", bias === undefined ? [x, weights] : [x, weights, bias]);
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
		return this.#emit("Cast", [this.#emit("Greater", [a, this.constant(0)])], { to: 1 });
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
		return this.#emit("Cast", [this.#emit("Equal", [labels, numbers])], { to: 1 });
	}

	squaredNormPerRow(a: string): string {
		return this.#emit("ReduceSumSquare", [a], { axes: [1], keepdims: 1 });
	}

	sumOverRows(a: string): string {
		const axes = this.#initializer("axes 0", (name) => integerTensor(name, [0]));
		return this.#emit("ReduceSum", [a, axes], { keepdims: 0 });
	}

	keepFiniteRows(test: string, value: string): string {
		// Every comparison with NaN is false.
		const finite = this.#emit("LessOrEqual", [test, this.constant(LARGEST_FLOAT32)]);
		return this.#emit("Where", [finite, value, this.constant(0)]);
	}

	/** Gives an emitted value the name of a graph output. */
	expose(value: string, name: string): void {
		this.nodes.push(onnxNode("Identity", [value], name));
	}

	#emit(
		opType: string,
		inputs: readonly string[],
		attributes?: Readonly<Record<string, number | readonly number[]>>,
	): string {
		const output = `v${this.nodes.length}`;
		this.nodes.push(onnxNode(opType, inputs, output, attributes));
		return output;
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

/** The ONNX file of one program of one model at one batch size, with a float32 input for each tensor. */
function compileProgram(model: Model, kind: ProgramKind, size: number): Uint8Array {
	const ops = new GraphEmitter();
	const slots = parameterLayout(model);
	const result = buildProgram(ops, model, kind, {
		features: "features",
		labels: "labels",
		weights: "weights",
		clippingNorm: "clippingNorm",
		parameters: slots.map((slot) => slot.name),
	});
	ops.expose(result.logits, "logits");
	result.gradients.forEach((gradient, i) => {
		ops.expose(gradient, gradientName(i));
	});
	const inputs: OnnxValue[] = [{ name: "features", shape: [size, model.inputs] }];
	if (kind !== "logits")
		inputs.push({ name: "labels", shape: [size, 1] }, { name: "weights", shape: [size, 1] });
	if (kind === "clippedGradient") inputs.push({ name: "clippingNorm", shape: [] });
	return encodeOnnxModel({
		name: kind,
		nodes: ops.nodes,
		initializers: ops.initializers,
		inputs: [...inputs, ...slots.map(({ name, shape }) => ({ name, shape }))],
		outputs: [
			{ name: "logits", shape: [size, outputUnits(model)] },
			...result.gradients.map((_, i) => ({ name: gradientName(i), shape: slots[i]!.shape })),
		],
	});
}

function gradientName(slot: number): string {
	return `gradient${slot}`;
}

/**
 * Compiles each (kind, batch size) once and keeps the session.
 * @param threads CPU threads within one graph; 1 leaves the other cores to the node's own work.
 */
export function createOnnxBackend(model: Model, threads = 1): Backend {
	const slots = parameterLayout(model);
	const sessions = new Map<string, Promise<InferenceSession>>();

	const sessionFor = (kind: ProgramKind, size: number): Promise<InferenceSession> => {
		const key = `${kind} ${size}`;
		let session = sessions.get(key);
		if (!session) {
			session = InferenceSession.create(compileProgram(model, kind, size), {
				intraOpNumThreads: threads,
				interOpNumThreads: 1,
				executionMode: "sequential",
				graphOptimizationLevel: "all",
				logSeverityLevel: 3,
			});
			sessions.set(key, session);
		}
		return session;
	};

	return {
		name: "onnxruntime-node (CPU)",
		async run(kind: ProgramKind, inputs: ProgramInputs): Promise<ProgramOutputs> {
			const { size, parameters } = inputs;
			const session = await sessionFor(kind, size);
			const feeds: Record<string, Tensor> = {
				features: new Tensor("float32", inputs.features, [size, model.inputs]),
			};
			for (const slot of slots) {
				feeds[slot.name] = new Tensor(
					"float32",
					parameters.subarray(slot.offset, slot.offset + slot.length),
					slot.shape,
				);
			}
			if (kind !== "logits") {
				feeds.labels = new Tensor("float32", inputs.labels, [size, 1]);
				feeds.weights = new Tensor("float32", inputs.weights, [size, 1]);
			}
			if (kind === "clippedGradient") {
				feeds.clippingNorm = new Tensor("float32", Float32Array.of(inputs.clippingNorm), []);
			}
			const results = await session.run(feeds);
			const array = (name: string) => results[name]!.data as Float32Array;
			return {
				logits: array("logits"),
				gradients: kind === "logits" ? [] : slots.map((_, i) => array(gradientName(i))),
			};
		},
		async dispose(): Promise<void> {
			const open = await Promise.allSettled(sessions.values());
			sessions.clear();
			for (const session of open) if (session.status === "fulfilled") await session.value.release();
		},
	};
}
