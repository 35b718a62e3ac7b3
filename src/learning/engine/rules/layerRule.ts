/**
 * What the engine knows of a kind of layer, written once for every backend.
 *
 * Notation in this folder: a is a layer's input, one example a row; e the gradient of each example's
 * loss with respect to the layer's output; G the gradient of one example with respect to a parameter
 * tensor; c the factor with which an example counts in the clipped sum.
 *
 * The sum over examples of c G never needs a second backward pass: it is formed from the a and e of
 * the first (book-keeping, Bu et al. 2023, arXiv:2210.00038). The norms |G| come from a and e alone
 * where that is cheaper (ghost norm, Goodfellow 2015, arXiv:1510.01799; Li et al. 2022,
 * arXiv:2110.05679), else from the G themselves, which then also give the sum.
 */
import type { TensorShape } from "../../shapes.ts";
import type { TensorOperations } from "../operations.ts";

export interface LayerContext<T> {
	readonly ops: TensorOperations<T>;
	/** Shape of one example's input. */
	readonly shape: TensorShape;
	readonly input: T;
	readonly parameters: readonly T[];
	/** The next dropout layer's mask; undefined where dropout is off. */
	nextDropoutMask(): T | undefined;
}

/** The forward pass of one layer, and how to go back through it. */
export interface LayerPass<T> {
	readonly output: T;
	backward(error: T): LayerGradient<T>;
}

export interface LayerGradient<T> {
	/** The error at the layer's input. Called at most once, and not for the first layer. */
	input(): T;
	/** Of the layer's parameters, in their order. */
	readonly parameters: readonly ParameterGradient<T>[];
}

/** The gradients of every example with respect to one or several consecutive parameter tensors. */
export interface ParameterGradient<T> {
	/** |G|^2 per example, [rows, 1], never less than the truth by more than rounding; see README.md. */
	squaredNorm(): T;
	/** Sum over the examples of c G, or of G; one tensor for each parameter. */
	sum(rows?: RowFactors<T>): T[];
}

/** How much each example counts in a gradient sum. */
export interface RowFactors<T> {
	/** [rows, 1]; 0 for rows that are left out. */
	readonly factor: T;
	/** [rows, 1]; rows where this is not finite are left out: what they hold must not reach the sum, 0 times NaN is NaN. */
	readonly finiteTest: T;
}
