/**
 * The common optimizer: how the released sum of a round changes the common model.
 *
 * Every node applies it for itself and must reach the same bits, so it uses exactly rounded IEEE
 * operations only, in a fixed order, and its state is explicit, serializable and hashable. It works
 * on released (already private) values, so nothing here touches data.
 */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { allFinite } from "./finite.ts";
import { float64FromBytes, float64ToBytes } from "./littleEndian.ts";

export interface OptimizerSettings {
	/** Step size, > 0. */
	readonly learningRate: number;
	/** In [0, 1); 0 is plain gradient descent. */
	readonly momentum: number;
}

export interface OptimizerState {
	/** Steps taken. */
	readonly step: number;
	/** Heavy-ball velocity, one value a parameter; empty without momentum. */
	readonly velocity: Float64Array;
}

/** The state before the first step. @throws AlthingError `learning.invalid_optimizer`. */
export function initialOptimizerState(settings: OptimizerSettings, parameterCount: number): OptimizerState {
	requireSettings(settings);
	return { step: 0, velocity: new Float64Array(settings.momentum === 0 ? 0 : parameterCount) };
}

/**
 * One step of heavy-ball gradient descent (Polyak, 1964): v <- momentum v + g, p <- p - learningRate v.
 *
 * @param gradient the estimate of the mean gradient; for FedAvg the pseudo-gradient, which is minus the mean delta
 * @returns new parameters and state; the arguments are left as they are
 * @throws AlthingError `learning.invalid_optimizer`, `learning.parameter_count`, or `learning.not_finite`
 *   when the gradient or the result is not finite: the step is then not taken.
 */
export function applyGradient(
	settings: OptimizerSettings,
	state: OptimizerState,
	parameters: Float32Array,
	gradient: Float64Array,
): { parameters: Float32Array; state: OptimizerState } {
	requireSettings(settings);
	const { learningRate, momentum } = settings;
	const count = parameters.length;
	if (gradient.length !== count || state.velocity.length !== (momentum === 0 ? 0 : count)) {
		throw new AlthingError(
			"learning.parameter_count",
			`The optimizer was given ${count} parameters, ${gradient.length} gradient values and a state of ${state.velocity.length} values: they belong to different models or settings.`,
			{ parameters: count, gradient: gradient.length, velocity: state.velocity.length },
		);
	}
	const next = new Float32Array(count);
	const velocity = new Float64Array(state.velocity.length);
	for (let i = 0; i < count; i++) {
		let direction = gradient[i]!;
		if (momentum !== 0) {
			direction = momentum * state.velocity[i]! + direction;
			velocity[i] = direction;
		}
		next[i] = parameters[i]! - learningRate * direction;
		if (!Number.isFinite(next[i]!)) {
			throw new AlthingError(
				"learning.not_finite",
				`Parameter ${i} would no longer be finite: training diverges; lower the learning rate.`,
				{ index: i, step: state.step },
			);
		}
	}
	return { parameters: next, state: { step: state.step + 1, velocity } };
}

/** Canonical bytes of a state, for checkpoints and hashes. */
export function encodeOptimizerState(state: OptimizerState): Uint8Array {
	return encodeCanonical({ step: state.step, velocity: float64ToBytes(state.velocity) });
}

const stateSchema = z.strictObject({ step: z.int().min(0), velocity: z.instanceof(Uint8Array) });

/** @throws AlthingError `learning.invalid_optimizer_state` or `encoding.*` when the bytes are damaged. */
export function decodeOptimizerState(bytes: Uint8Array): OptimizerState {
	const parsed = stateSchema.safeParse(decodeCanonical(bytes, bytes.length));
	const velocity = parsed.success ? float64FromBytes(parsed.data.velocity) : undefined;
	if (!parsed.success || !(velocity && allFinite(velocity))) {
		throw new AlthingError(
			"learning.invalid_optimizer_state",
			"The stored optimizer state is damaged: resume from an earlier checkpoint.",
		);
	}
	return { step: parsed.data.step, velocity };
}

function requireSettings({ learningRate, momentum }: OptimizerSettings): void {
	if (Number.isFinite(learningRate) && learningRate > 0 && momentum >= 0 && momentum < 1) return;
	throw new AlthingError(
		"learning.invalid_optimizer",
		`The learning rate must be positive and the momentum in [0, 1), not ${learningRate} and ${momentum}.`,
		{ learningRate, momentum },
	);
}
