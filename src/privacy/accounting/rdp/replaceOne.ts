import type { MechanismEvent } from "../events.ts";

/**
 * The mechanism as it looks to neighbours that differ by one record replaced: that is one
 * removed and one added, so what an additive mechanism's output moves by doubles, and a bound
 * known only as such is taken twice (group privacy; zCDP with the factor 2^2, Bun, Steinke 2016, Prop. 27).
 * Randomized response is stated for an exchanged answer in the first place.
 */
export function replacingOne(event: MechanismEvent): MechanismEvent {
	switch (event.kind) {
		case "gaussian":
			return { ...event, noiseMultiplier: event.noiseMultiplier / 2 };
		case "laplace":
			return { ...event, scale: event.scale / 2 };
		case "discreteGaussian":
		case "discreteLaplace":
			return { ...event, sensitivity: event.sensitivity * 2 };
		case "skellam":
			return { ...event, l1Sensitivity: event.l1Sensitivity * 2, l2Sensitivity: event.l2Sensitivity * 2 };
		case "pureDp":
		case "boundedRange":
		case "permuteAndFlip":
			return { ...event, epsilon: event.epsilon * 2 };
		case "zeroConcentrated":
			return { ...event, rho: event.rho * 4 };
		case "randomizedResponse":
			return event;
	}
}
