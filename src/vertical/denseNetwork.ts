/**
 * A part of a split network: dense layers with tanh between them and a linear last one, in double
 * precision. Its errors come from elsewhere (through the cut), which the compiled training graphs of
 * src/learning, made for whole models with a loss at their end, have no place for.
 */
import { initialParameters, type Model } from "../learning/model.ts";

/** Inputs, hidden units, outputs: at least two numbers. */
export type Widths = readonly number[];

export interface ForwardPass {
	readonly rows: number;
	/** Input of each layer, rows x width, row-major; the last one is the output. */
	readonly activations: readonly Float64Array[];
}

export interface ClippedGradient {
	/** Sum over the rows of their gradients, each scaled down to at most the norm. */
	readonly sum: Float64Array;
	/** Gradient of each row with respect to its inputs, rows x inputs. */
	readonly inputErrors: Float64Array;
}

export function parameterCountOf(widths: Widths): number {
	let count = 0;
	for (let layer = 1; layer < widths.length; layer++) count += (widths[layer - 1]! + 1) * widths[layer]!;
	return count;
}

/** Weights after Glorot, biases zero. @param seed 32 bytes */
export function initialPart(widths: Widths, seed: Uint8Array): Float64Array {
	const dense = widths.slice(1).map((units) => ({ kind: "dense" as const, units, useBias: true }));
	const model: Model = { inputs: widths[0]!, layers: dense, task: "multiclass" };
	return Float64Array.from(initialParameters(model, seed));
}

/** @param inputs rows x widths[0] */
export function forward(
	widths: Widths,
	parameters: Float64Array,
	inputs: Float64Array,
	rows: number,
): ForwardPass {
	const activations = [inputs];
	let offset = 0;
	for (let layer = 1; layer < widths.length; layer++) {
		const [width, outputs] = [widths[layer - 1]!, widths[layer]!];
		const input = activations[layer - 1]!;
		const output = new Float64Array(rows * outputs);
		const bias = offset + width * outputs;
		for (let row = 0; row < rows; row++) {
			for (let to = 0; to < outputs; to++) {
				let value = parameters[bias + to]!;
				for (let from = 0; from < width; from++)
					value += input[row * width + from]! * parameters[offset + from * outputs + to]!;
				output[row * outputs + to] = layer === widths.length - 1 ? value : Math.tanh(value);
			}
		}
		activations.push(output);
		offset = bias + outputs;
	}
	return { rows, activations };
}

/**
 * The clipped gradient sum from errors at the output. A dense layer's squared gradient norm for one
 * row is (|a|^2 + 1) |e|^2, so no row's gradient is formed to be measured. A row whose gradient is
 * not finite counts as zero.
 * @param outputErrors rows x outputs
 * @param norm > 0; Infinity for no clipping
 */
export function backward(
	widths: Widths,
	parameters: Float64Array,
	{ rows, activations }: ForwardPass,
	outputErrors: Float64Array,
	norm: number,
): ClippedGradient {
	const offsets = offsetsOf(widths);
	const errors: Float64Array[] = [];
	errors[widths.length - 1] = outputErrors;
	for (let layer = widths.length - 1; layer > 0; layer--) {
		const [width, outputs] = [widths[layer - 1]!, widths[layer]!];
		const error = errors[layer]!;
		const input = activations[layer - 1]!;
		const back = new Float64Array(rows * width);
		for (let row = 0; row < rows; row++) {
			for (let from = 0; from < width; from++) {
				let value = 0;
				for (let to = 0; to < outputs; to++)
					value += parameters[offsets[layer]! + from * outputs + to]! * error[row * outputs + to]!;
				const a = input[row * width + from]!;
				back[row * width + from] = layer === 1 ? value : value * (1 - a * a);
			}
		}
		errors[layer - 1] = back;
	}
	const factors = clippingFactors(widths, rows, activations, errors, norm);
	const sum = new Float64Array(parameters.length);
	for (let layer = 1; layer < widths.length; layer++) {
		const [width, outputs] = [widths[layer - 1]!, widths[layer]!];
		const offset = offsets[layer]!;
		for (let row = 0; row < rows; row++) {
			const factor = factors[row]!;
			if (factor === 0) continue;
			for (let to = 0; to < outputs; to++) {
				const error = factor * errors[layer]![row * outputs + to]!;
				for (let from = 0; from < width; from++)
					sum[offset + from * outputs + to]! += activations[layer - 1]![row * width + from]! * error;
				sum[offset + width * outputs + to]! += error;
			}
		}
	}
	return { sum, inputErrors: errors[0]! };
}

/** What each row's gradient is multiplied with. */
function clippingFactors(
	widths: Widths,
	rows: number,
	activations: readonly Float64Array[],
	errors: readonly Float64Array[],
	norm: number,
): Float64Array {
	const factors = new Float64Array(rows);
	for (let row = 0; row < rows; row++) {
		let squared = 0;
		for (let layer = 1; layer < widths.length; layer++) {
			const input = squaredNormOf(activations[layer - 1]!, row, widths[layer - 1]!);
			squared += (input + 1) * squaredNormOf(errors[layer]!, row, widths[layer]!);
		}
		// A hair below the norm: the measured one is rounded.
		if (Number.isFinite(squared)) factors[row] = Math.min(1, (norm * (1 - 2 ** -40)) / Math.sqrt(squared));
	}
	return factors;
}

/**
 * Scales each row down to at most `norm`, in place; a row that is not finite becomes zero.
 * @param values rows x width
 */
export function clipRows(values: Float64Array, width: number, norm: number): void {
	for (let row = 0; row * width < values.length; row++) {
		const squared = squaredNormOf(values, row, width);
		const factor = Number.isFinite(squared) ? Math.min(1, (norm * (1 - 2 ** -40)) / Math.sqrt(squared)) : 0;
		if (factor === 1) continue;
		for (let i = row * width; i < (row + 1) * width; i++) values[i] = factor === 0 ? 0 : values[i]! * factor;
	}
}

function squaredNormOf(values: Float64Array, row: number, width: number): number {
	let squared = 0;
	for (let i = row * width; i < (row + 1) * width; i++) squared += values[i]! * values[i]!;
	return squared;
}

/** Where each layer's kernel begins; layers count from 1. */
function offsetsOf(widths: Widths): readonly number[] {
	const offsets = [0, 0];
	for (let layer = 1; layer < widths.length - 1; layer++)
		offsets.push(offsets[layer]! + (widths[layer - 1]! + 1) * widths[layer]!);
	return offsets;
}
