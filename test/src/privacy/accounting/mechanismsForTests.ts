import type { MechanismEvent } from "../../../../src/privacy/accounting/events.ts";

/** Every kind of mechanism, at a strength: the larger it is, the less private. */
export const MECHANISMS: Readonly<Record<MechanismEvent["kind"], (strength: number) => MechanismEvent>> = {
	gaussian: (strength) => ({ kind: "gaussian", noiseMultiplier: 1 / strength }),
	laplace: (strength) => ({ kind: "laplace", scale: 1 / strength }),
	discreteGaussian: (strength) => ({ kind: "discreteGaussian", sigma: 2 / strength, sensitivity: 2 }),
	discreteLaplace: (strength) => ({ kind: "discreteLaplace", scale: 3 / strength, sensitivity: 3 }),
	skellam: (strength) => ({
		kind: "skellam",
		variance: 100 / strength ** 2,
		l1Sensitivity: 40,
		l2Sensitivity: 8,
	}),
	randomizedResponse: (strength) => ({
		kind: "randomizedResponse",
		categories: 4,
		noiseProbability: 4 / (Math.exp(strength) + 3),
	}),
	pureDp: (strength) => ({ kind: "pureDp", epsilon: strength }),
	boundedRange: (strength) => ({ kind: "boundedRange", epsilon: strength }),
	permuteAndFlip: (strength) => ({ kind: "permuteAndFlip", epsilon: strength }),
	zeroConcentrated: (strength) => ({ kind: "zeroConcentrated", rho: strength ** 2 / 2 }),
};
