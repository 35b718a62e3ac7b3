/**
 * The part of the ONNX file format (onnx.proto, IR version 8) that Althing writes and reads:
 * float32 and int64 tensors, nodes with scalar, string and integer-list attributes.
 * Shared by the compiled step graphs and by model export and import.
 */
import protobuf from "protobufjs/light.js";
import { AlthingError } from "../../../crypto/error.ts";
import { float32FromBytes, float32ToBytes } from "../littleEndian.ts";

/** TensorProto.DataType. */
const FLOAT = 1;
const INT64 = 7;
/** The operator set every graph of ours is written for. */
const OPERATOR_SET = 17;
const IR_VERSION = 8;

export interface OnnxTensor {
	readonly name: string;
	readonly dims: readonly number[];
	readonly dataType: number;
	/** Little-endian elements. */
	readonly rawData: Uint8Array;
}

interface OnnxAttribute {
	readonly name: string;
	/** AttributeProto.AttributeType: 1 float, 2 integer, 3 string, 7 integers. */
	readonly type: number;
	readonly f?: number;
	readonly i?: number;
	readonly s?: Uint8Array;
	readonly ints?: readonly number[];
}

export interface OnnxNode {
	readonly opType: string;
	readonly input: readonly string[];
	readonly output: readonly string[];
	readonly attribute: readonly OnnxAttribute[];
}

/** A named graph input or output of float32; a string dimension is symbolic. */
export interface OnnxValue {
	readonly name: string;
	readonly shape: readonly (number | string)[];
}

export interface OnnxGraph {
	readonly name: string;
	readonly nodes: readonly OnnxNode[];
	readonly initializers: readonly OnnxTensor[];
	readonly inputs: readonly OnnxValue[];
	readonly outputs: readonly OnnxValue[];
	/** Free text by name (ModelProto.metadata_props). */
	readonly metadata?: Readonly<Record<string, string>>;
}

const repeated = "repeated";
const root = protobuf.Root.fromJSON({
	nested: {
		Attribute: {
			fields: {
				name: { type: "string", id: 1 },
				f: { type: "float", id: 2 },
				i: { type: "int64", id: 3 },
				s: { type: "bytes", id: 4 },
				ints: { rule: repeated, type: "int64", id: 8 },
				type: { type: "int32", id: 20 },
			},
		},
		Node: {
			fields: {
				input: { rule: repeated, type: "string", id: 1 },
				output: { rule: repeated, type: "string", id: 2 },
				opType: { type: "string", id: 4 },
				attribute: { rule: repeated, type: "Attribute", id: 5 },
			},
		},
		Tensor: {
			fields: {
				dims: { rule: repeated, type: "int64", id: 1 },
				dataType: { type: "int32", id: 2 },
				name: { type: "string", id: 8 },
				rawData: { type: "bytes", id: 9 },
			},
		},
		Dimension: {
			fields: { dimValue: { type: "int64", id: 1 }, dimParam: { type: "string", id: 2 } },
		},
		Shape: { fields: { dim: { rule: repeated, type: "Dimension", id: 1 } } },
		TensorType: { fields: { elemType: { type: "int32", id: 1 }, shape: { type: "Shape", id: 2 } } },
		Type: { fields: { tensorType: { type: "TensorType", id: 1 } } },
		ValueInfo: { fields: { name: { type: "string", id: 1 }, type: { type: "Type", id: 2 } } },
		Graph: {
			fields: {
				node: { rule: repeated, type: "Node", id: 1 },
				name: { type: "string", id: 2 },
				initializer: { rule: repeated, type: "Tensor", id: 5 },
				input: { rule: repeated, type: "ValueInfo", id: 11 },
				output: { rule: repeated, type: "ValueInfo", id: 12 },
			},
		},
		OperatorSet: { fields: { domain: { type: "string", id: 1 }, version: { type: "int64", id: 2 } } },
		Property: { fields: { key: { type: "string", id: 1 }, value: { type: "string", id: 2 } } },
		Model: {
			fields: {
				irVersion: { type: "int64", id: 1 },
				producerName: { type: "string", id: 2 },
				graph: { type: "Graph", id: 7 },
				opsetImport: { rule: repeated, type: "OperatorSet", id: 8 },
				metadataProps: { rule: repeated, type: "Property", id: 14 },
			},
		},
	},
});
const modelType = root.lookupType("Model");

/** A float32 tensor constant. */
export function floatTensor(name: string, dims: readonly number[], values: Float32Array): OnnxTensor {
	return { name, dims, dataType: FLOAT, rawData: float32ToBytes(values) };
}

/** A one-dimensional int64 constant, as axes are given in. */
export function integerTensor(name: string, values: readonly number[]): OnnxTensor {
	const rawData = new Uint8Array(values.length * 8);
	const view = new DataView(rawData.buffer);
	values.forEach((value, i) => {
		view.setBigInt64(8 * i, BigInt(value), true);
	});
	return { name, dims: [values.length], dataType: INT64, rawData };
}

/** The elements of a float32 tensor. @throws AlthingError `learning.invalid_onnx` for another type or a wrong length. */
export function floatValues(tensor: OnnxTensor): Float32Array {
	const count = tensor.dims.reduce((product, size) => product * size, 1);
	if (tensor.dataType !== FLOAT || tensor.rawData.length !== 4 * count) {
		throw invalidOnnx(`tensor ${tensor.name} is not float32 raw data of ${count} elements`);
	}
	return float32FromBytes(tensor.rawData);
}

/** Attribute values by name: numbers are integers, arrays integer lists, floats say so. */
export type OnnxAttributes = Readonly<
	Record<string, number | string | readonly number[] | { readonly float: number }>
>;

/** A node with one or several outputs. */
export function onnxNode(
	opType: string,
	input: readonly string[],
	output: string | readonly string[],
	attributes: OnnxAttributes = {},
): OnnxNode {
	const attribute = Object.entries(attributes).map(([name, value]): OnnxAttribute => {
		if (typeof value === "number") return { name, type: 2, i: value };
		if (typeof value === "string") return { name, type: 3, s: new TextEncoder().encode(value) };
		if ("float" in value) return { name, type: 1, f: value.float };
		return { name, type: 7, ints: value };
	});
	return { opType, input, output: typeof output === "string" ? [output] : output, attribute };
}

/** Encodes a graph as an ONNX model file. */
export function encodeOnnxModel(graph: OnnxGraph): Uint8Array {
	const value = ({ name, shape }: OnnxValue) => ({
		name,
		type: {
			tensorType: {
				elemType: FLOAT,
				shape: {
					dim: shape.map((size) => (typeof size === "number" ? { dimValue: size } : { dimParam: size })),
				},
			},
		},
	});
	const message = {
		irVersion: IR_VERSION,
		producerName: "althing",
		opsetImport: [{ domain: "", version: OPERATOR_SET }],
		metadataProps: Object.entries(graph.metadata ?? {}).map(([key, text]) => ({ key, value: text })),
		graph: {
			name: graph.name,
			node: graph.nodes,
			initializer: graph.initializers,
			input: graph.inputs.map(value),
			output: graph.outputs.map(value),
		},
	};
	return modelType.encode(modelType.fromObject(message)).finish();
}

/**
 * Decodes an ONNX model file; parts of the format outside the subset above are skipped.
 * @throws AlthingError `learning.invalid_onnx`.
 */
export function decodeOnnxModel(bytes: Uint8Array): OnnxGraph {
	let decoded: Record<string, unknown>;
	try {
		decoded = modelType.toObject(modelType.decode(bytes), { longs: Number, arrays: true, defaults: true });
	} catch (cause) {
		throw invalidOnnx("the bytes are not an ONNX protobuf message", cause);
	}
	const graph = decoded.graph as DecodedGraph | null;
	if (!graph) throw invalidOnnx("there is no graph in it");
	const value = ({ name, type }: DecodedValue): OnnxValue => ({
		name,
		shape: (type?.tensorType?.shape?.dim ?? []).map(({ dimValue, dimParam }) => dimParam || dimValue),
	});
	return {
		name: graph.name,
		nodes: graph.node,
		initializers: graph.initializer,
		inputs: graph.input.map(value),
		outputs: graph.output.map(value),
		metadata: Object.fromEntries(
			(decoded.metadataProps as { key: string; value: string }[]).map(({ key, value: text }) => [key, text]),
		),
	};
}

interface DecodedValue {
	readonly name: string;
	readonly type: {
		readonly tensorType: {
			readonly shape: { readonly dim: { dimValue: number; dimParam: string }[] } | null;
		} | null;
	} | null;
}

interface DecodedGraph {
	readonly name: string;
	readonly node: readonly OnnxNode[];
	readonly initializer: readonly OnnxTensor[];
	readonly input: readonly DecodedValue[];
	readonly output: readonly DecodedValue[];
}

/** The error of every ONNX file we cannot read. */
export function invalidOnnx(problem: string, cause?: unknown): AlthingError {
	return new AlthingError(
		"learning.invalid_onnx",
		`The ONNX model cannot be read: ${problem}.`,
		{},
		{ cause },
	);
}
