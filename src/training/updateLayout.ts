/** What a site's update is made of, before it is compressed, and which weights go beside it. */
import type { JobSpec } from "./jobSpec.ts";
import { clustersOf } from "./personalizationChoice.ts";

/** [ shared parameters of each common model | changes of the control variates (scaffold) ]. */
export interface UpdateLayout {
	/** Shared parameters of one model. */
	readonly shared: number;
	/** Common models, side by side from coordinate 0 on; 1 unless clustered. */
	readonly clusters: number;
	/** First coordinate of the control variates' changes, one for each shared parameter. */
	readonly variates?: number;
	/** Coordinates in all. */
	readonly length: number;
	/** Weights that go beside the update: one for each common model, and with `steps` one more. */
	readonly weights: number;
	/** FedNova: place of the weighted steps among the weights. */
	readonly steps?: number;
}

/** @param shared shared parameters of one model */
export function updateLayoutOf(spec: JobSpec, shared: number): UpdateLayout {
	const { privacy, training, personalization } = spec;
	const clusters = clustersOf(personalization);
	const scaffold = training.algorithm === "scaffold";
	// With equal weights the steps would have to be noised and charged; a public step size does as well.
	const steps = training.algorithm === "fednova" && privacy.mechanism === "none";
	return {
		shared,
		clusters,
		...(scaffold ? { variates: clusters * shared } : {}),
		length: clusters * shared + (scaffold ? shared : 0),
		weights: clusters + (steps ? 1 : 0),
		...(steps ? { steps: clusters } : {}),
	};
}
