/**
 * Losses and predictions from logits, in double precision and outside the graphs: a few operations
 * per example, the same for every backend.
 */
import { type Model, outputUnits, type Task } from "./model.ts";

/**
 * The loss of one example: squared error (z - y)^2, logistic loss, or softmax cross-entropy in nats.
 * Not finite when a logit is not, or overflows.
 */
export function exampleLoss(task: Task, logits: Float32Array, label: number): number {
	const z = logits[0]!;
	switch (task) {
		case "regression":
			return (z - label) ** 2;
		case "binary":
			// log(1 + e^z) - y z without overflow.
			return Math.max(z, 0) - z * label + Math.log1p(Math.exp(-Math.abs(z)));
		case "multiclass": {
			const largest = logits.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
			let total = 0;
			for (const logit of logits) total += Math.exp(logit - largest);
			return Math.log(total) + largest - logits[label]!;
		}
	}
}

/** Whether the most likely class is the label; false for regression, where nothing is right or wrong. */
export function isCorrect(task: Task, logits: Float32Array, label: number): boolean {
	switch (task) {
		case "regression":
			return false;
		case "binary":
			return Number.isFinite(logits[0]) && (logits[0]! > 0 ? 1 : 0) === label;
		case "multiclass":
			return logits.every((logit, i) =>
				i === label ? !Number.isNaN(logit) : logit < logits[label]! || (logit === logits[label] && i > label),
			);
	}
}

/**
 * What the model says, row after row: the value (regression), the probability of class 1 (binary)
 * or the probability of each class (multiclass).
 */
export function predictionsFromLogits(model: Model, logits: Float32Array): Float32Array {
	switch (model.task) {
		case "regression":
			return logits.slice();
		case "binary":
			return logits.map((z) => 1 / (1 + Math.exp(-z)));
		case "multiclass": {
			const classes = outputUnits(model);
			const probabilities = new Float32Array(logits.length);
			for (let start = 0; start < logits.length; start += classes) {
				const row = logits.subarray(start, start + classes);
				const largest = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
				let total = 0;
				for (const z of row) total += Math.exp(z - largest);
				row.forEach((z, i) => {
					probabilities[start + i] = Math.exp(z - largest) / total;
				});
			}
			return probabilities;
		}
	}
}
