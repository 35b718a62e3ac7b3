/** How each example's gradient is bounded before it is summed. */
import { AlthingError } from "../../crypto/error.ts";
import { MODEL_LIMITS } from "./layers.ts";
import { type Model, parameterLayout } from "./model.ts";

/**
 * For an example's gradient g:
 * - `flat`: g min(1, C / |g|) (Abadi et al. 2016, arXiv:1607.00133);
 * - `automatic`: g C / (|g| + 0.01), always scaled, so that C only scales the noise along (Bu et al.
 *   2022, arXiv:2206.07136);
 * - `perLayer`: each layer's part of g clipped by itself to its own norm (McMahan et al. 2018,
 *   arXiv:1710.06963); `norms` has one for each layer with parameters, in order, a residual block
 *   counting as one layer.
 *
 * No example contributes more than {@link contributionBound} to the sum.
 */
export type Clipping =
	| { readonly mode: "flat" | "automatic"; readonly norm: number }
	| { readonly mode: "perLayer"; readonly norms: readonly number[] };

/** The L2 norm that no example's contribution exceeds: C, or the root of the sum of the layers' squares. */
export function contributionBound(clipping: Clipping): number {
	return clipping.mode === "perLayer" ? Math.hypot(...clipping.norms) : clipping.norm;
}

/** Equal norms for every layer with parameters, together `norm`: C / sqrt(layers) each. */
export function equalLayerNorms(model: Model, norm: number): number[] {
	const layers = clippingGroups(model, "perLayer").length;
	return new Array<number>(layers).fill(norm / Math.sqrt(layers));
}

/** The layers (by index) that are clipped together: those with parameters, each by itself or all at once. */
export function clippingGroups(model: Model, mode: Clipping["mode"]): number[][] {
	const layers = [...new Set(parameterLayout(model).map(({ layer }) => layer))];
	return mode === "perLayer" ? layers.map((layer) => [layer]) : [layers];
}

/** Half a unit in the last place of float32, relative: the rounding of one operation. */
const ROUNDING = 2 ** -24;

/**
 * The norm of each group that the engine aims at, so that no example's contribution exceeds the
 * clipping norm, the bound that the privacy account relies on, for all the rounding of float32. A sum
 * of n squares in any order is off by at most about n roundings (Higham 2002, section 4.2), and a few
 * more follow it. Squares are summed over the last axis of a gradient, then over the others.
 * @throws AlthingError `learning.invalid_argument` for norms that are not positive, or not one a layer.
 */
export function clippingTargets(model: Model, clipping: Clipping): Float32Array {
	const norms = clipping.mode === "perLayer" ? clipping.norms : [clipping.norm];
	const groups = clippingGroups(model, clipping.mode);
	if (norms.length !== groups.length) {
		throw new AlthingError(
			"learning.invalid_argument",
			`Clipping per layer needs one norm for each of the ${groups.length} layers with parameters, not ${norms.length}.`,
			{ layers: groups.length, norms: norms.length },
		);
	}
	const slots = parameterLayout(model);
	let widest = 0;
	for (const { role, shape, length } of slots) {
		const columns = shape.at(-1)!;
		// An embedding's gradient has a row for each token of the record, whatever its vocabulary.
		const rows = role === "embeddings" ? MODEL_LIMITS.tokens : length / columns;
		widest = Math.max(widest, rows + columns);
	}
	const margin = 1 - (widest + layerCount(model) + 16) * ROUNDING;
	return Float32Array.from(norms, (norm) => {
		if (!(Number.isFinite(norm) && norm > 0)) {
			throw new AlthingError(
				"learning.invalid_argument",
				`The clipping norm must be a positive number, not ${norm}.`,
				{ norm },
			);
		}
		return norm * margin;
	});
}

/** Layers, those inside residual blocks included: the norms that are added up. */
function layerCount(model: Model): number {
	return model.layers.reduce(
		(count, layer) => count + (layer.kind === "residual" ? layer.layers.length + 2 : 1),
		0,
	);
}
