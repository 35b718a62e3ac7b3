/**
 * Gradients of a perceptron with one hidden layer of rectifiers and a softmax, over records that are mostly
 * zeros. The robustness experiments take half a million of these gradients a part, of 32 records each:
 * a call of the node's trainer costs more there than the arithmetic in it. The same gradient, as a test says.
 */
import type { Dataset } from "../../src/data/dataset.ts";

/** Records by their values that are not zero. */
export interface SparseRecords {
	readonly rows: number;
	/** Of row r: the places from starts[r] to starts[r + 1]. */
	readonly starts: Int32Array;
	readonly columns: Int32Array;
	readonly values: Float32Array;
	readonly labels: Int32Array;
}

export function sparse({ features, labels, rows, columns }: Dataset): SparseRecords {
	const starts = new Int32Array(rows + 1);
	const places: number[] = [];
	for (let row = 0; row < rows; row++) {
		for (let i = row * columns.length; i < (row + 1) * columns.length; i++)
			if (features[i] !== 0) places.push(i);
		starts[row + 1] = places.length;
	}
	return {
		rows,
		starts,
		columns: Int32Array.from(places, (place) => place % columns.length),
		values: Float32Array.from(places, (place) => features[place]!),
		labels: Int32Array.from(labels),
	};
}

export class SparsePerceptron {
	readonly #inputs: number;
	readonly #hidden: number;
	readonly #classes: number;
	readonly #activations: Float64Array;
	readonly #hiddenErrors: Float64Array;
	readonly #outputs: Float64Array;

	/** Parameters lie as in a model of two dense layers: kernel [inputs, hidden], bias, kernel [hidden, classes], bias. */
	constructor(inputs: number, hidden: number, classes: number) {
		this.#inputs = inputs;
		this.#hidden = hidden;
		this.#classes = classes;
		this.#activations = new Float64Array(hidden);
		this.#hiddenErrors = new Float64Array(hidden);
		this.#outputs = new Float64Array(classes);
	}

	/** sum += factor times the sum of the gradients of the cross-entropy at these rows. */
	addGradient(
		parameters: Float32Array,
		records: SparseRecords,
		rows: Int32Array,
		factor: number,
		sum: Float64Array,
	): void {
		for (const row of rows) {
			this.#forward(parameters, records, row);
			this.#backward(parameters, records, row, factor, sum);
		}
	}

	/** Rows whose label has the largest output. */
	correct(parameters: Float32Array, records: SparseRecords): number {
		let correct = 0;
		for (let row = 0; row < records.rows; row++) {
			this.#forward(parameters, records, row);
			const label = this.#outputs[records.labels[row]!]!;
			if (this.#outputs.every((value, k) => value < label || k === records.labels[row])) correct++;
		}
		return correct;
	}

	#forward(parameters: Float32Array, { starts, columns, values }: SparseRecords, row: number): void {
		const hidden = this.#hidden;
		const classes = this.#classes;
		const activations = this.#activations;
		const outputs = this.#outputs;
		const bias = this.#inputs * hidden;
		for (let u = 0; u < hidden; u++) activations[u] = parameters[bias + u]!;
		for (let place = starts[row]!; place < starts[row + 1]!; place++) {
			const value = values[place]!;
			const kernel = columns[place]! * hidden;
			for (let u = 0; u < hidden; u++) activations[u]! += value * parameters[kernel + u]!;
		}
		const second = bias + hidden;
		for (let k = 0; k < classes; k++) outputs[k] = parameters[second + hidden * classes + k]!;
		for (let u = 0; u < hidden; u++) {
			const activation = activations[u]!;
			if (activation <= 0) continue;
			for (let k = 0; k < classes; k++) outputs[k]! += activation * parameters[second + u * classes + k]!;
		}
	}

	#backward(
		parameters: Float32Array,
		{ starts, columns, values, labels }: SparseRecords,
		row: number,
		factor: number,
		sum: Float64Array,
	): void {
		const hidden = this.#hidden;
		const classes = this.#classes;
		const activations = this.#activations;
		const errors = this.#hiddenErrors;
		const outputs = this.#outputs;
		const second = this.#inputs * hidden + hidden;
		let largest = Number.NEGATIVE_INFINITY;
		for (let k = 0; k < classes; k++) largest = Math.max(largest, outputs[k]!);
		let total = 0;
		for (let k = 0; k < classes; k++) total += outputs[k] = Math.exp(outputs[k]! - largest);
		for (let k = 0; k < classes; k++) {
			outputs[k] = factor * (outputs[k]! / total - (k === labels[row] ? 1 : 0));
			sum[second + hidden * classes + k]! += outputs[k]!;
		}
		for (let u = 0; u < hidden; u++) {
			const activation = activations[u]!;
			let error = 0;
			if (activation > 0)
				for (let k = 0; k < classes; k++) {
					const place = second + u * classes + k;
					sum[place]! += activation * outputs[k]!;
					error += outputs[k]! * parameters[place]!;
				}
			errors[u] = error;
			sum[this.#inputs * hidden + u]! += error;
		}
		for (let place = starts[row]!; place < starts[row + 1]!; place++) {
			const value = values[place]!;
			const kernel = columns[place]! * hidden;
			for (let u = 0; u < hidden; u++) sum[kernel + u]! += value * errors[u]!;
		}
	}
}
