/** The label holder's side of the cut: losses, errors for the cut, and the steps of its part behind it. */
import { exampleLoss, isCorrect } from "../learning/loss.ts";
import { backward, clipRows, forward, type Widths } from "./denseNetwork.ts";

/** What is behind the cut: nothing but the loss where `widths` is undefined (logistic regression). */
export interface TopPart {
	readonly widths: Widths | undefined;
	readonly parameters: Float64Array;
}

export interface Errors {
	/** rows x cut, each row within the norm. */
	readonly errors: Float64Array;
	/** Clipped gradient sum of the top's parameters; empty where there are none. */
	readonly topSum: Float64Array;
}

/**
 * @param sums released outputs of all own parts, rows x cut
 * @param labels class indices, one a row
 * @param norms of a record's error and of its gradient in the top; Infinity for no bound
 */
export function errorsAtCut(
	top: TopPart,
	sums: Float64Array,
	labels: Float32Array,
	cut: number,
	norms: { readonly error: number; readonly gradient: number },
): Errors {
	const rows = labels.length;
	if (top.widths === undefined) {
		const errors = lossErrors(sums, labels, cut);
		clipRows(errors, cut, norms.error);
		return { errors, topSum: new Float64Array(0) };
	}
	const pass = forward(top.widths, top.parameters, sums, rows);
	const outputs = top.widths.at(-1)!;
	const { sum, inputErrors } = backward(
		top.widths,
		top.parameters,
		pass,
		lossErrors(pass.activations.at(-1)!, labels, outputs),
		norms.gradient,
	);
	clipRows(inputErrors, cut, norms.error);
	return { errors: inputErrors, topSum: sum };
}

/** Bounded loss and correct answers over records, as the label holder sees them through the noise at the cut. */
export function scoreOf(
	top: TopPart,
	sums: Float64Array,
	labels: Float32Array,
	cut: number,
	lossBound: number,
): { readonly lossSum: number; readonly correct: number } {
	const logits =
		top.widths === undefined
			? sums
			: forward(top.widths, top.parameters, sums, labels.length).activations.at(-1)!;
	const width = top.widths === undefined ? cut : top.widths.at(-1)!;
	const task = width === 1 ? "binary" : "multiclass";
	let lossSum = 0;
	let correct = 0;
	labels.forEach((label, row) => {
		const row32 = Float32Array.from(logits.subarray(row * width, (row + 1) * width));
		const loss = exampleLoss(task, row32, label);
		lossSum += Number.isFinite(loss) ? Math.min(loss, lossBound) : lossBound;
		if (isCorrect(task, row32, label)) correct += 1;
	});
	return { lossSum, correct };
}

/** Gradient of each record's loss with respect to its logits: logistic for one, softmax for several. */
function lossErrors(logits: Float64Array, labels: Float32Array, width: number): Float64Array {
	const errors = new Float64Array(logits.length);
	labels.forEach((label, row) => {
		const at = row * width;
		if (width === 1) {
			errors[at] = 1 / (1 + Math.exp(-logits[at]!)) - label;
			return;
		}
		let largest = Number.NEGATIVE_INFINITY;
		for (let i = 0; i < width; i++) largest = Math.max(largest, logits[at + i]!);
		let total = 0;
		for (let i = 0; i < width; i++) total += Math.exp(logits[at + i]! - largest);
		for (let i = 0; i < width; i++)
			errors[at + i] = Math.exp(logits[at + i]! - largest) / total - (i === label ? 1 : 0);
	});
	return errors;
}
