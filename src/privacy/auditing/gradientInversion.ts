/**
 * What an unprotected update gives away: for a model whose first layer is dense with a bias, the
 * gradient of one example is kernel[i][j] = x_i e_j and bias[j] = e_j, so x = kernel / bias, to the
 * last bit of the arithmetic (Geiping et al. 2020, Prop. 3.1). A smoke check, not the strongest
 * attack: it shows what clipping, summing and noise buy.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { type Model, parameterLayout } from "../../learning/model.ts";

/**
 * The features that a gradient of the first layer shows: the ratio in the unit whose bias moved most.
 * @param gradient in the order of the flat parameter vector
 * @returns one value a feature; zeros where no bias moved
 * @throws AlthingError `audit.unsupported` for a model that does not begin with a dense layer with a bias
 */
export function invertGradient(model: Model, gradient: Float64Array): Float64Array {
	const [kernel, bias] = parameterLayout(model);
	if (kernel?.role !== "kernel" || kernel.shape.length !== 2 || bias?.role !== "bias") {
		throw new AlthingError(
			"audit.unsupported",
			"This inversion reads the first layer of a model that begins with a dense layer with a bias.",
		);
	}
	const [features = 0, units = 0] = kernel.shape;
	let unit = 0;
	for (let j = 1; j < units; j++) {
		if (Math.abs(gradient[bias.offset + j]!) > Math.abs(gradient[bias.offset + unit]!)) unit = j;
	}
	const moved = gradient[bias.offset + unit]!;
	return Float64Array.from({ length: features }, (_, i) =>
		moved === 0 ? 0 : gradient[kernel.offset + i * units + unit]! / moved,
	);
}

/** Cosine of the angle between a recovered record and the true one: 1 is recovered up to scale, 0 unrelated. */
export function similarity(recovered: Float64Array, truth: Float32Array): number {
	let product = 0;
	let squares = 0;
	let trueSquares = 0;
	for (let i = 0; i < truth.length; i++) {
		product += recovered[i]! * truth[i]!;
		squares += recovered[i]! ** 2;
		trueSquares += truth[i]! ** 2;
	}
	return squares === 0 || trueSquares === 0 ? 0 : product / Math.sqrt(squares * trueSquares);
}
