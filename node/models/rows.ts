/** Rows as people send them into features as the model was trained on, and its outputs back. */
import { AlthingError } from "../../crypto/error.ts";
import { type DataDescription, prepare } from "../../src/data/description.ts";
import type { Predictions } from "../rpc/services.ts";

/**
 * Rows x inputs, row-major, scaled by the description's public bounds exactly as the training records were.
 * @throws AlthingError `model.bad_input` naming row and column, both counted from 1
 */
export function featuresOf(
	rows: readonly (readonly number[])[],
	description: DataDescription,
): Float32Array<ArrayBuffer> {
	const { count } = description.features;
	if (rows.length === 0) {
		throw new AlthingError("model.bad_input", "There are no rows to predict: send at least one.", {
			rows: 0,
		});
	}
	const features = new Float32Array(rows.length * count);
	for (const [row, values] of rows.entries()) {
		if (values.length !== count) {
			throw new AlthingError(
				"model.bad_input",
				`Row ${row + 1} has ${values.length} numbers, the model takes ${count}: the features of "${description.name}" in the order of its columns, without the label.`,
				{ row: row + 1, column: Math.min(values.length, count) + 1, expected: count, actual: values.length },
			);
		}
		for (const [column, value] of values.entries()) {
			// Checked as float32: a number that overflows there would reach the model as infinity.
			if (!Number.isFinite(Math.fround(value))) {
				throw new AlthingError(
					"model.bad_input",
					`Row ${row + 1}, column ${column + 1} is ${value}, which is not a finite float32 number.`,
					{ row: row + 1, column: column + 1 },
				);
			}
			features[row * count + column] = value;
		}
	}
	const { label } = description;
	const unlabelled = {
		features,
		rows: rows.length,
		columns: Array.from({ length: count }, (_, column) => String(column)),
		// `prepare` wants labels too; these are never looked at.
		labels: new Float32Array(rows.length),
		labelNames: label.kind === "class" ? label.classes.slice(0, 1) : [],
	};
	return new Float32Array(prepare(unlabelled, description).features);
}

/**
 * The answer for people: a probability for each class and the likeliest class, or the value
 * in the label's own unit.
 * @param outputs rows x output units, as the trainer predicts them
 */
export function predictionsOf(
	outputs: Float32Array,
	rows: number,
	description: DataDescription,
): Predictions {
	const { label, features } = description;
	const width = outputs.length / rows;
	const perRow = Array.from({ length: rows }, (_, row) => [
		...outputs.subarray(row * width, (row + 1) * width),
	]);
	if (label.kind === "number") {
		const [least, largest] = label.bounds;
		const inUnit = (scaled: number) =>
			least + (features.scale === "unit" ? scaled : (scaled + 1) / 2) * (largest - least);
		return { outputs: perRow.map((values) => values.map(inUnit)) };
	}
	const classes = label.kind === "class" ? label.classes : [];
	const probabilities = perRow.map((values) => {
		const [one = 0] = values;
		// A binary model says only how likely class 1 is.
		return width === 1 ? [1 - one, one] : values;
	});
	const likeliest = (values: readonly number[]) => classes[values.indexOf(Math.max(...values))] ?? "";
	return { outputs: probabilities, classes: probabilities.map(likeliest) };
}
