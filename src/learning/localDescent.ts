/**
 * One step after the other inside a site: what is added to a gradient before the parameters move,
 * by the algorithm of local training. It changes nothing that a private step is charged for: all
 * that comes in beside the gradient is public or was released before.
 */
import { AlthingError } from "../../crypto/error.ts";

export interface DescentRule {
	/** Step size, > 0. */
	readonly learningRate: number;
	/** Heavy-ball momentum inside the site, in [0, 1); it begins anew with every round. 0 by default. */
	readonly momentum?: number;
	/**
	 * Pulls the parameters towards an anchor: adds weight (p - anchor), weight >= 0. With the common
	 * parameters as the anchor FedProx (Li et al. 2020, arXiv:1812.06127), for a personal model Ditto.
	 */
	readonly proximal?: { readonly weight: number; readonly anchor: Float32Array };
	/** Added to every gradient: c - c_i of SCAFFOLD (Karimireddy et al. 2020, arXiv:1910.06378). */
	readonly correction?: Float64Array;
	/** 1 where a parameter moves, 0 where it stays as it is; all move by default. */
	readonly moving?: Uint8Array;
}

export class Descent {
	readonly #rule: DescentRule;
	readonly #parameters: Float32Array;
	readonly #velocity: Float64Array | undefined;

	/**
	 * @param parameters changed in place by every step
	 * @throws AlthingError `learning.invalid_argument` for a rule out of range or of another length
	 */
	constructor(rule: DescentRule, parameters: Float32Array) {
		requireRule(rule, parameters.length);
		this.#rule = rule;
		this.#parameters = parameters;
		this.#velocity = (rule.momentum ?? 0) > 0 ? new Float64Array(parameters.length) : undefined;
	}

	/** @param sum of gradients; the step is against sum / divisor */
	step(sum: Float64Array, divisor: number): void {
		const { learningRate, momentum = 0, proximal, correction, moving } = this.#rule;
		const parameters = this.#parameters;
		const velocity = this.#velocity;
		for (let i = 0; i < parameters.length; i++) {
			if (moving !== undefined && moving[i] === 0) continue;
			let gradient = sum[i]! / divisor;
			if (proximal !== undefined) gradient += proximal.weight * (parameters[i]! - proximal.anchor[i]!);
			if (correction !== undefined) gradient += correction[i]!;
			if (velocity !== undefined) {
				velocity[i] = momentum * velocity[i]! + gradient;
				gradient = velocity[i]!;
			}
			parameters[i]! -= learningRate * gradient;
		}
	}
}

/**
 * How much of a gradient that stayed the same K steps would add up to, in learning rates: the norm of
 * FedNova's weights a (Wang et al. 2020, arXiv:2007.07481, section 4). K without momentum and without
 * a proximal term; by running the recurrences, which covers both together.
 * @param steps K, a whole number >= 0
 */
export function accumulatedSteps(
	steps: number,
	{ learningRate, momentum = 0, proximal }: Pick<DescentRule, "learningRate" | "momentum" | "proximal">,
): number {
	const pull = proximal?.weight ?? 0;
	let moved = 0;
	let velocity = 0;
	for (let step = 0; step < steps; step++) {
		velocity = momentum * velocity + 1 - learningRate * pull * moved;
		moved += velocity;
	}
	return moved;
}

function requireRule(
	{ learningRate, momentum = 0, proximal, correction, moving }: DescentRule,
	count: number,
) {
	const refuse = (message: string): never => {
		throw new AlthingError("learning.invalid_argument", message);
	};
	if (!(Number.isFinite(learningRate) && learningRate > 0))
		refuse(`The local learning rate must be a positive number, not ${learningRate}.`);
	if (!(momentum >= 0 && momentum < 1)) refuse(`The local momentum must be in [0, 1), not ${momentum}.`);
	if (proximal !== undefined && !(Number.isFinite(proximal.weight) && proximal.weight >= 0))
		refuse(`The weight of the proximal term must not be negative, and is ${proximal.weight}.`);
	for (const vector of [proximal?.anchor, correction, moving]) {
		if (vector !== undefined && vector.length !== count)
			refuse(`A local step was given ${vector.length} values beside ${count} parameters.`);
	}
}
