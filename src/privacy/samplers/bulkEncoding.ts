/**
 * A real vector to noised integers in one pass: scaled, rounded and clamped exactly as `encode` of
 * fixedPoint.ts does it, noise added, reduced to the ring or scaled back. Blocks are small enough
 * for the processor's cache, and no un-noised integer vector is ever made.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { EncodingPlan } from "../fixedPoint.ts";
import type { FillWords } from "./randomWords.ts";
import type { GaussianSampler } from "./tableGaussian.ts";

/**
 * target[i] = encode(values)[i] + a sample, mod 2^modulusBits.
 * @param values one coordinate for each of `target`; any part of the plan's vector
 * @throws AlthingError `privacy.wrong_length`, or `privacy.not_finite` for a NaN or infinity among the
 *   values: `target` is then all zeros
 */
export function encodeWithNoise(
	values: Float64Array,
	plan: Pick<EncodingPlan, "scale" | "coordinateBound" | "modulusBits">,
	sampler: GaussianSampler,
	target: Uint32Array,
	words?: FillWords,
): void {
	if (values.length !== target.length) {
		throw new AlthingError(
			"privacy.wrong_length",
			`The vector has ${values.length} coordinates, its place in the encoded vector ${target.length}.`,
		);
	}
	const mask = plan.modulusBits === 32 ? -1 : 2 ** plan.modulusBits - 1;
	sampler.forEachBlock(
		values.length,
		(wasm, start, count) => {
			wasm.values.set(values.subarray(start, start + count));
			if (wasm.encode(count, plan.scale, plan.coordinateBound, mask) === 0) {
				target.fill(0);
				throw notFinite();
			}
			target.set(wasm.noise.subarray(0, count), start);
		},
		words,
	);
}

/**
 * values[i] = (encode(values)[i] + a sample) / scale, in place: noise added on an integer grid.
 * @throws AlthingError `privacy.not_finite` for a NaN or infinity among the values, which are then all zeros
 */
export function addNoiseOnGrid(
	values: Float64Array,
	grid: Pick<EncodingPlan, "scale" | "coordinateBound">,
	sampler: GaussianSampler,
	words?: FillWords,
): void {
	sampler.forEachBlock(
		values.length,
		(wasm, start, count) => {
			wasm.values.set(values.subarray(start, start + count));
			if (wasm.encode(count, grid.scale, grid.coordinateBound, -1) === 0) {
				values.fill(0);
				throw notFinite();
			}
			// The scale is a power of two, so its reciprocal is exact.
			wasm.decode(count, 1 / grid.scale);
			values.set(wasm.values.subarray(0, count), start);
		},
		words,
	);
}

function notFinite(): AlthingError {
	return new AlthingError(
		"privacy.not_finite",
		"A coordinate of the vector to encode is not a finite number. Non-finite gradients must be replaced by zeros before they are summed.",
	);
}
