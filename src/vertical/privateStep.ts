/** One step of an own part: descent along a clipped gradient sum, with this organization's noise where there is privacy. */
import { type EncodingPlan, planEncoding } from "../privacy/fixedPoint.ts";
import { sigmaFor } from "../privacy/integerNoise.ts";
import { largestNoiseMultiplier } from "../privacy/noiseShares.ts";
import { addNoiseOnGrid } from "../privacy/samplers/bulkEncoding.ts";
import { type GaussianSampler, tableGaussian } from "../privacy/samplers/tableGaussian.ts";

/** Noise for the gradient sums of one part; keeps its table. */
export class StepNoise {
	readonly #grid: EncodingPlan;
	readonly #sampler: GaussianSampler;

	/**
	 * @param length parameters of the part
	 * @param clippingNorm of one record's gradient
	 * @param batch most records of a step
	 */
	constructor(noiseMultiplier: number, length: number, clippingNorm: number, batch: number) {
		const alone = { minimumSurvivors: 1, corrupted: 0, maximumContributors: 1 };
		this.#grid = planEncoding({
			length,
			clippingNorm,
			maximumContributors: 1,
			perSiteBound: batch,
			largestNoiseMultiplier: largestNoiseMultiplier({ ...alone, noiseMultiplier, length }),
			modulusBits: 32,
		});
		this.#sampler = tableGaussian(sigmaFor({ noiseMultiplier, sensitivity: this.#grid.sensitivity }));
	}

	/** Total-variation distance of one value to its exact law. */
	get distance(): number {
		return this.#sampler.totalVariationDistance;
	}

	/** In place. */
	add(sum: Float64Array): void {
		addNoiseOnGrid(sum, this.#grid, this.#sampler);
	}
}

/** @param records public number that the sum is divided by */
export function stepped(
	parameters: Float64Array,
	sum: Float64Array,
	records: number,
	learningRate: number,
): Float64Array {
	return parameters.map((value, i) => value - (learningRate / records) * sum[i]!);
}
