/** Rows of records as the trainer takes them. */
import { AlthingError } from "../../crypto/error.ts";
import { type Model, outputUnits } from "./model.ts";

/** `features` is rows x inputs, row-major; `labels` has one value a row: class number, 0 or 1, or target. */
export interface Batch {
	readonly features: Float32Array;
	readonly labels: Float32Array;
	readonly rows: number;
}

/**
 * The chosen rows of a batch, in the order given.
 * @throws AlthingError `learning.invalid_argument` for a row that is not there.
 */
export function takeRows(data: Batch, rows: Uint32Array): Batch {
	const inputs = data.rows === 0 ? 0 : data.features.length / data.rows;
	const features = new Float32Array(rows.length * inputs);
	const labels = new Float32Array(rows.length);
	rows.forEach((row, i) => {
		if (row >= data.rows) {
			throw new AlthingError("learning.invalid_argument", `Row ${row} was drawn from ${data.rows} rows.`, {
				row,
			});
		}
		features.set(data.features.subarray(row * inputs, (row + 1) * inputs), i * inputs);
		labels[i] = data.labels[row]!;
	});
	return { features, labels, rows: rows.length };
}

/** @throws AlthingError `learning.invalid_batch` for wrong lengths or a label that is no class of the model. */
export function requireBatch(model: Model, { features, labels, rows }: Batch): void {
	if (!Number.isSafeInteger(rows) || features.length !== rows * model.inputs || labels.length !== rows) {
		throw new AlthingError(
			"learning.invalid_batch",
			`A batch of ${rows} rows needs ${model.inputs} features and one label a row, not ${features.length} features and ${labels.length} labels in all.`,
			{ rows, inputs: model.inputs, features: features.length, labels: labels.length },
		);
	}
	if (model.task === "regression") return;
	const classes = model.task === "binary" ? 2 : outputUnits(model);
	const row = labels.findIndex((label) => !Number.isInteger(label) || label < 0 || label >= classes);
	if (row >= 0) {
		throw new AlthingError(
			"learning.invalid_batch",
			`The label of row ${row} is no class number from 0 to ${classes - 1}: check the label column and the model's classes.`,
			{ row, classes },
		);
	}
}
