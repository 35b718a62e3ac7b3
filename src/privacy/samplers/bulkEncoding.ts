/**
 * A real vector to noised integers in one pass: scaled, rounded and clamped exactly as `encode` of
 * fixedPoint.ts does it, noise added, reduced to the ring or scaled back. Blocks are small enough
 * for the processor's cache, and with noise no un-noised integer is ever stored.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { EncodingPlan } from "../fixedPoint.ts";
import type { FillWords } from "./randomWords.ts";
import type { GaussianSampler, VisitBlock } from "./tableGaussian.ts";
import { wasmNoise } from "./wasmNoise.ts";

/**
 * target[i] = encode(values)[i] + a sample, mod 2^modulusBits.
 * @param values one coordinate for each of `target`; any part of the plan's vector
 * @param noise "none" only where the job's mechanism adds none here
 * @throws AlthingError `privacy.wrong_length`, or `privacy.not_finite` for a NaN or infinity among the
 *   values: `target` is then all zeros
 */
export function encodeToRing(
	values: Float64Array,
	plan: Pick<EncodingPlan, "scale" | "coordinateBound" | "modulusBits">,
	noise: GaussianSampler | "none",
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
	const visit: VisitBlock = (wasm, start, count) => {
		wasm.values.set(values.subarray(start, start + count));
		if (wasm.encode(count, plan.scale, plan.coordinateBound, mask) === 0) {
			target.fill(0);
			throw notFinite();
		}
		target.set(wasm.noise.subarray(0, count), start);
	};
	if (noise === "none") forEachSilentBlock(values.length, visit);
	else noise.forEachBlock(values.length, visit, words);
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

/** As a sampler's blocks, with zeros for samples. */
function forEachSilentBlock(length: number, visit: VisitBlock): void {
	const wasm = wasmNoise();
	const blockValues = wasm.noise.length;
	try {
		for (let start = 0; start < length; start += blockValues) {
			wasm.noise.fill(0);
			visit(wasm, start, Math.min(blockValues, length - start));
		}
	} finally {
		wasm.wipe();
	}
}

function notFinite(): AlthingError {
	return new AlthingError(
		"privacy.not_finite",
		"A coordinate of the vector to encode is not a finite number. Non-finite gradients must be replaced by zeros before they are summed.",
	);
}
