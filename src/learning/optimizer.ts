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
import { float32FromBytes, float32ToBytes } from "./littleEndian.ts";

export interface OptimizerSettings {
	/** Step size, > 0. */
	readonly learningRate: number;
	/** Decay of the velocity, in [0, 1); 0 is plain gradient descent. beta1 of the adaptive rules. */
	readonly momentum: number;
	/** Scale each coordinate by the root of its squares; absent for gradient descent. */
	readonly adaptive?: AdaptiveRule;
}

/** How the squares of a coordinate's gradients are kept. */
export interface AdaptiveRule {
	/**
	 * - `adam`: their decaying mean (Kingma, Ba 2015);
	 * - `yogi`: moves towards the new square by a share of that square, so it shrinks slowly (Zaheer et al. 2018);
	 * - `adagrad`: their sum (Duchi et al. 2011).
	 * As common optimizers of federated averaging: Reddi et al. 2021, arXiv:2003.00295.
	 */
	readonly rule: "adam" | "yogi" | "adagrad";
	/** beta2 of adam and yogi, in (0, 1); adagrad forgets nothing and does not look at it. */
	readonly secondMomentDecay: number;
	/** Added to the root, > 0. Noise keeps the root from 0, so small values change nothing in private training. */
	readonly epsilon: number;
}

/** Moments are float32, as in every training framework: half of what a member fetches that was away. */
export interface OptimizerState {
	/** Steps taken. */
	readonly step: number;
	/** Velocity, or with an adaptive rule the mean gradient, one value a parameter; empty without momentum. */
	readonly velocity: Float32Array;
	/** Squares as the adaptive rule keeps them, one value a parameter. */
	readonly squares?: Float32Array;
}

/** The state before the first step. @throws AlthingError `learning.invalid_optimizer`. */
export function initialOptimizerState(settings: OptimizerSettings, parameterCount: number): OptimizerState {
	requireSettings(settings);
	const velocity = new Float32Array(settings.momentum === 0 ? 0 : parameterCount);
	return settings.adaptive === undefined
		? { step: 0, velocity }
		: { step: 0, velocity, squares: new Float32Array(parameterCount) };
}

/**
 * One step: heavy-ball gradient descent (Polyak, 1964), v <- momentum v + g, p <- p - learningRate v,
 * or an adaptive rule: p <- p - learningRate m / (sqrt(v) + epsilon), with the bias corrections of Adam
 * (Kingma, Ba 2015, algorithm 1) for what decays.
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
	requireLengths(settings, state, parameters.length, gradient.length);
	const { direction, moments } =
		settings.adaptive === undefined
			? heavyBall(settings.momentum, state, gradient)
			: scaled(settings.momentum, settings.adaptive, state, gradient);
	const next = new Float32Array(parameters.length);
	for (let i = 0; i < next.length; i++) {
		next[i] = parameters[i]! - settings.learningRate * direction[i]!;
		if (!Number.isFinite(next[i]!)) {
			throw new AlthingError(
				"learning.not_finite",
				`Parameter ${i} would no longer be finite: training diverges; lower the learning rate.`,
				{ index: i, step: state.step },
			);
		}
	}
	if (moments.squares !== undefined && !allFinite(moments.squares)) {
		throw new AlthingError(
			"learning.not_finite",
			"A squared gradient is no longer finite: training diverges; lower the learning rate.",
			{ step: state.step },
		);
	}
	return { parameters: next, state: { step: state.step + 1, ...moments } };
}

interface Direction {
	readonly direction: Float32Array | Float64Array;
	readonly moments: Omit<OptimizerState, "step">;
}

function heavyBall(momentum: number, { velocity }: OptimizerState, gradient: Float64Array): Direction {
	if (momentum === 0) return { direction: gradient, moments: { velocity } };
	const next = velocity.map((value, i) => momentum * value + gradient[i]!);
	return { direction: next, moments: { velocity: next } };
}

function scaled(
	momentum: number,
	{ rule, secondMomentDecay, epsilon }: AdaptiveRule,
	state: OptimizerState,
	gradient: Float64Array,
): Direction {
	const velocity = state.velocity.map((value, i) => momentum * value + (1 - momentum) * gradient[i]!);
	const mean = momentum === 0 ? gradient : velocity;
	const squares = squaresAfter(rule, secondMomentDecay, state.squares!, gradient);
	const meanWeight = 1 - integerPower(momentum, state.step + 1);
	const squareWeight = rule === "adagrad" ? 1 : 1 - integerPower(secondMomentDecay, state.step + 1);
	const direction = Float64Array.from(
		mean,
		(value, i) => value / meanWeight / (Math.sqrt(squares[i]! / squareWeight) + epsilon),
	);
	return { direction, moments: { velocity, squares } };
}

function squaresAfter(
	rule: AdaptiveRule["rule"],
	decay: number,
	squares: Float32Array,
	gradient: Float64Array,
): Float32Array {
	const square = (i: number) => gradient[i]! * gradient[i]!;
	switch (rule) {
		case "adam":
			return squares.map((before, i) => decay * before + (1 - decay) * square(i));
		case "yogi":
			return squares.map((before, i) => before - (1 - decay) * Math.sign(before - square(i)) * square(i));
		case "adagrad":
			return squares.map((before, i) => before + square(i));
	}
}

/** By repeated multiplication: Math.pow is not exactly rounded, and engines differ in its last bits. */
function integerPower(base: number, exponent: number): number {
	let power = 1;
	for (let i = 0; i < exponent && power > 0; i++) power *= base;
	return power;
}

function requireLengths(
	{ momentum, adaptive }: OptimizerSettings,
	{ velocity, squares }: OptimizerState,
	count: number,
	gradient: number,
): void {
	const wanted = {
		velocity: momentum === 0 ? 0 : count,
		squares: adaptive === undefined ? undefined : count,
	};
	if (gradient === count && velocity.length === wanted.velocity && squares?.length === wanted.squares) return;
	throw new AlthingError(
		"learning.parameter_count",
		`The optimizer was given ${count} parameters, ${gradient} gradient values and a state of ${velocity.length} and ${squares?.length ?? 0} values: they belong to different models or settings.`,
		{ parameters: count, gradient, velocity: velocity.length },
	);
}

/** Canonical bytes of a state, for checkpoints and hashes. */
export function encodeOptimizerState({ step, velocity, squares }: OptimizerState): Uint8Array {
	return encodeCanonical({
		step,
		velocity: float32ToBytes(velocity),
		...(squares === undefined ? {} : { squares: float32ToBytes(squares) }),
	});
}

const stateSchema = z.strictObject({
	step: z.int().min(0),
	velocity: z.instanceof(Uint8Array),
	squares: z.instanceof(Uint8Array).optional(),
});

/** @throws AlthingError `learning.invalid_optimizer_state` or `encoding.*` when the bytes are damaged. */
export function decodeOptimizerState(bytes: Uint8Array): OptimizerState {
	const parsed = stateSchema.safeParse(decodeCanonical(bytes, bytes.length));
	if (parsed.success) {
		const velocity = float32FromBytes(parsed.data.velocity);
		const squares =
			parsed.data.squares === undefined ? {} : { squares: float32FromBytes(parsed.data.squares) };
		if (allFinite(velocity) && allFinite(squares.squares ?? new Float32Array()))
			return { step: parsed.data.step, velocity, ...squares };
	}
	throw new AlthingError(
		"learning.invalid_optimizer_state",
		"The stored optimizer state is damaged: resume from an earlier checkpoint.",
	);
}

function requireSettings({ learningRate, momentum, adaptive }: OptimizerSettings): void {
	const fraction = (value: number): boolean => value >= 0 && value < 1;
	const positive = (value: number): boolean => value > 0 && value < Number.POSITIVE_INFINITY;
	const ruleIsGood =
		adaptive === undefined ||
		(fraction(adaptive.secondMomentDecay) && adaptive.secondMomentDecay > 0 && positive(adaptive.epsilon));
	if (positive(learningRate) && fraction(momentum) && ruleIsGood) return;
	throw new AlthingError(
		"learning.invalid_optimizer",
		`The learning rate must be positive and the momentum in [0, 1), not ${learningRate} and ${momentum}; an adaptive rule's second decay in (0, 1) and its epsilon positive.`,
		{ learningRate, momentum },
	);
}
