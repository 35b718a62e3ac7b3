/** One exchange with the neighbours: a step towards each, of bounded length. */
import { AlthingError } from "../../crypto/error.ts";
import { allFinite } from "../learning/finite.ts";

export interface Received {
	readonly weight: number;
	readonly parameters: Float32Array;
}

export interface Mixed {
	readonly parameters: Float32Array;
	/** Of the neighbours, in their order: how far each model is from ours, before clipping. */
	readonly distances: readonly number[];
}

/**
 * x + sum of w_j clip(x_j - x, radius): the weighted average where no difference is longer than the
 * radius. A neighbour that sends anything moves us by at most its weight times the radius (self-centered
 * clipping: He, Karimireddy and Jaggi, Byzantine-robust decentralized learning via self-centered
 * clipping, 2022). The weight of one that is absent stays with our own model.
 * @param radius L2, > 0
 * @throws AlthingError `gossip.bad_model` when lengths differ or a value is not finite
 */
export function mix(own: Float32Array, received: readonly Received[], radius: number): Mixed {
	const sum = Float64Array.from(own);
	const distances: number[] = [];
	for (const { weight, parameters } of received) {
		if (parameters.length !== own.length || !allFinite(parameters))
			throw new AlthingError("gossip.bad_model", `a model of ${own.length} finite parameters was expected`);
		let squares = 0;
		for (let i = 0; i < own.length; i++) {
			const difference = parameters[i]! - own[i]!;
			squares += difference * difference;
		}
		const distance = Math.sqrt(squares);
		distances.push(distance);
		const step = weight * (distance > radius ? radius / distance : 1);
		for (let i = 0; i < own.length; i++) sum[i]! += step * (parameters[i]! - own[i]!);
	}
	return { parameters: Float32Array.from(sum), distances };
}
