/** A table of numbers in memory: what readers produce and trainers consume. */

export interface Dataset {
	/** rows x columns.length, row-major. */
	readonly features: Float32Array;
	/** One per row: an index into `labelNames`, or the number itself where `labelNames` is empty. */
	readonly labels: Float32Array;
	readonly rows: number;
	/** Names of the feature columns. */
	readonly columns: readonly string[];
	readonly labelNames: readonly string[];
	/** One per row, where the description names a key column. */
	readonly keys?: readonly string[];
}

/** The rows at `indices`, in that order. @param indices each in [0, rows) */
export function gather(dataset: Dataset, indices: Int32Array): Dataset {
	const width = dataset.columns.length;
	const features = new Float32Array(indices.length * width);
	const labels = new Float32Array(indices.length);
	for (const [position, index] of indices.entries()) {
		if (index < 0 || index >= dataset.rows) {
			throw new RangeError(`Row ${index} is outside a data set of ${dataset.rows} rows.`);
		}
		features.set(dataset.features.subarray(index * width, (index + 1) * width), position * width);
		labels[position] = dataset.labels[index]!;
	}
	const { keys } = dataset;
	return {
		...dataset,
		features,
		labels,
		rows: indices.length,
		...(keys === undefined ? {} : { keys: Array.from(indices, (index) => keys[index]!) }),
	};
}
