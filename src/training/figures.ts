/** The figures beside an update, three of an evaluation and the site's weights, into the vector and out of its sum. */
import { decode, fromRing } from "../privacy/fixedPoint.ts";
import { encodeToRing } from "../privacy/samplers/bulkEncoding.ts";
import type { GaussianSampler } from "../privacy/samplers/tableGaussian.ts";
import { METRICS, type TrainingPlan } from "./plan.ts";

type FigureLayout = Pick<TrainingPlan, "encoding" | "figures" | "layout" | "whole">;

/**
 * @param metrics three real values, in the unit of the plan's noise level
 * @param noise this site's, for each coordinate of an evaluation
 * @param vector the encoded vector, whose coordinates of the figures are written
 */
export function putFigures(
	{ encoding, figures, layout }: FigureLayout,
	metrics: Float64Array,
	weights: Float64Array,
	noise: GaussianSampler | "none",
	vector: Uint32Array,
): void {
	if (figures.kind === "copies") {
		const { copies } = figures;
		const repeated = new Float64Array(METRICS * copies);
		for (let i = 0; i < METRICS; i++) repeated.fill(metrics[i]!, i * copies, (i + 1) * copies);
		encodeToRing(repeated, encoding, noise, vector.subarray(layout.metrics, layout.weight));
		encodeToRing(weights, encoding, "none", vector.subarray(layout.weight));
		return;
	}
	const whole = new Uint32Array(METRICS + weights.length);
	encodeToRing(metrics, figures.encoding, noise, whole.subarray(0, METRICS));
	encodeToRing(weights, figures.encoding, "none", whole.subarray(METRICS));
	const { limbs, limbBits } = figures;
	for (const [i, value] of whole.entries()) {
		for (let limb = 0; limb < limbs; limb++)
			vector[layout.metrics + i * limbs + limb] = (value >>> (limb * limbBits)) & (2 ** limbBits - 1);
	}
}

/** The figures of a sum of vectors: sums of the evaluations in their unit, and of the weights. */
export function takeFigures(
	{ encoding, figures, layout, whole: { weights } }: FigureLayout,
	sum: Uint32Array,
): { readonly metrics: Float64Array; readonly weights: Float64Array } {
	if (figures.kind === "copies") {
		const { copies } = figures;
		const values = decode(fromRing(sum.subarray(layout.metrics), encoding.modulusBits), encoding);
		const metrics = new Float64Array(METRICS);
		for (let i = 0; i < METRICS; i++) {
			for (let copy = 0; copy < copies; copy++) metrics[i]! += values[i * copies + copy]!;
			metrics[i]! /= copies;
		}
		return { metrics, weights: values.slice(METRICS * copies) };
	}
	const { limbs, limbBits } = figures;
	const whole = new Uint32Array(METRICS + weights);
	for (let i = 0; i < whole.length; i++) {
		for (let limb = 0; limb < limbs; limb++)
			whole[i]! += Math.imul(sum[layout.metrics + i * limbs + limb]!, 1 << (limb * limbBits));
	}
	const values = decode(fromRing(whole, figures.encoding.modulusBits), figures.encoding);
	return { metrics: values.slice(0, METRICS), weights: values.slice(METRICS) };
}
