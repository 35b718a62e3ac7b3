/**
 * A total (epsilon, delta) divided over phases or rounds, by shape or by solving for the least
 * expected loss of utility; always exact in total: the noise is scaled until the accountant
 * says that all phases together spend the target and not more.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { epsilonBounds } from "../accounting/accountant.ts";
import { calibrate } from "../accounting/calibration.ts";
import { gaussian, poissonSampled } from "../accounting/events.ts";
import { lowestPoint } from "../accounting/goldenSection.ts";
import { curveOf, epsilonFromRdp, rdpOf } from "../accounting/rdp.ts";
import { eventOfPhases, type Phase, requirePhases } from "./phases.ts";

/**
 * How each round's share of the budget (its rho, 1 / (2 z^2)) develops; `sensitivityProportional`
 * shares it by sensitivity; `optimal` minimizes the loss.
 */
export type Strategy =
	| { readonly kind: "uniform" | "increasing" | "decreasing" | "sensitivityProportional" }
	| { readonly kind: "optimal" }
	/** Each round's share is `ratio` times the one before, ratio > 0. */
	| { readonly kind: "geometric"; readonly ratio: number };

export interface AllocationRequest {
	readonly epsilon: number;
	readonly delta: number;
	readonly phases: readonly Phase[];
	readonly strategy: Strategy;
	/**
	 * Utility lost in one round of a phase at a noise variance, convex and increasing; default
	 * weight x variance. Only `optimal` looks at it.
	 */
	readonly loss?: (variance: number, phase: Phase) => number;
}

interface PhaseAllocation {
	readonly name: string;
	readonly rounds: number;
	readonly noiseMultiplier: number;
	/** Standard deviation of a round's noise, in the phase's units: noiseMultiplier x sensitivity. */
	readonly sigma: number;
	/** What the phase alone would cost, at the same delta; the phases' figures do not add up. */
	readonly epsilonAlone: number;
}

export interface Allocation {
	readonly phases: readonly PhaseAllocation[];
	/** The accountant's bound on everything, at most what was asked. */
	readonly epsilon: number;
	readonly delta: number;
	/** Expected loss of utility: sum over the phases of rounds x loss. */
	readonly loss: number;
}

/**
 * @throws AlthingError `privacy.bad_plan`, `privacy.bad_target`, `privacy.bad_delta`,
 *   `privacy.unreachable_target` when no noise is enough
 */
export function allocate(request: AllocationRequest): Allocation {
	const { epsilon, delta, phases, strategy } = request;
	requirePhases(phases);
	const loss = request.loss ?? ((variance, { weight }) => weight * variance);
	const shape =
		strategy.kind === "optimal"
			? optimalMultipliers({ epsilon, delta, phases, loss })
			: sharesOf(strategy, phases).map((share) => 1 / Math.sqrt(share));
	const scale = calibrate({
		epsilon,
		delta,
		eventOf: (factor) =>
			eventOfPhases(
				phases,
				shape.map((multiplier) => factor * multiplier),
			),
	});
	const multipliers = shape.map((multiplier) => scale * multiplier);
	return {
		phases: phases.map((phase, i) => ({
			name: phase.name,
			rounds: phase.rounds,
			noiseMultiplier: multipliers[i]!,
			sigma: multipliers[i]! * phase.sensitivity,
			epsilonAlone: epsilonBounds(eventOfPhases([phase], [multipliers[i]!]), delta).upper,
		})),
		epsilon: epsilonBounds(eventOfPhases(phases, multipliers), delta).upper,
		delta,
		loss: totalLoss(phases, multipliers, loss),
	};
}

type Loss = NonNullable<AllocationRequest["loss"]>;

function totalLoss(phases: readonly Phase[], multipliers: readonly number[], loss: Loss): number {
	return phases.reduce(
		(sum, phase, i) => sum + phase.rounds * loss((multipliers[i]! * phase.sensitivity) ** 2, phase),
		0,
	);
}

/** A round's share of the budget in each phase, up to a common factor; phases are taken in order of time. */
function sharesOf(strategy: Exclude<Strategy, { kind: "optimal" }>, phases: readonly Phase[]): number[] {
	let before = 0;
	// A phase stands for its middle round.
	const middles = phases.map(({ rounds }) => {
		const middle = before + (rounds - 1) / 2;
		before += rounds;
		return middle;
	});
	switch (strategy.kind) {
		case "uniform":
			return phases.map(() => 1);
		case "increasing":
			return middles.map((middle) => middle + 1);
		case "decreasing":
			return middles.map((middle) => before - middle);
		case "geometric": {
			const { ratio } = strategy;
			if (!(ratio > 0 && ratio < Number.POSITIVE_INFINITY)) {
				throw new AlthingError(
					"privacy.bad_plan",
					`The ratio of a geometric plan is positive, not ${ratio}.`,
				);
			}
			// Relative to the middle of the whole, so that long plans stay within the range of numbers.
			return middles.map((middle) => ratio ** (middle - before / 2));
		}
		case "sensitivityProportional":
			return phases.map(({ sensitivity }) => sensitivity);
	}
}

/** Noise multipliers looked at, as logarithms. */
const LEAST_LOG = Math.log(0.05);
const LARGEST_LOG = Math.log(1e5);
const SETTLED = 1e-4;
const MOST_REPETITIONS = 6;

/**
 * Least sum of n_i L_i(z_i^2 S_i^2) under sum of n_i rdp_a(q_i, z_i) = budget, by Lagrange's
 * multiplier: phases fall apart, each minimizes L_i + lambda rdp_a on a line. The order a is the
 * one at which Renyi accounting states the whole's epsilon, and the level is the one at which the
 * tight accountant meets the target; both are found by repeating.
 *
 * Without sampling rdp_a = a / (2 z^2), the solution is z_i^2 proportional to 1 / (S_i sqrt(w_i))
 * whatever a, and exact for every accountant, since Gaussians compose by 1/z^2 alone. With
 * sampling it is optimal for Renyi accounting, and near it for the tighter one that scales it.
 */
function optimalMultipliers(request: {
	readonly epsilon: number;
	readonly delta: number;
	readonly phases: readonly Phase[];
	readonly loss: Loss;
}): number[] {
	const { epsilon, delta, phases, loss } = request;
	const solve = (order: number, logLambda: number) =>
		phases.map((phase) =>
			Math.exp(
				lowestPoint(
					(logMultiplier) => {
						const multiplier = Math.exp(logMultiplier);
						const cost = costOf(phase, multiplier, order);
						return loss((multiplier * phase.sensitivity) ** 2, phase) + Math.exp(logLambda) * cost;
					},
					LEAST_LOG,
					LARGEST_LOG,
					1e-7,
				).x,
			),
		);
	const renyi = (multipliers: readonly number[]) =>
		epsilonFromRdp(rdpOf(eventOfPhases(phases, multipliers)), delta);
	let order = 16;
	let target = epsilon;
	for (let repetition = 0; ; repetition++) {
		// More weight on cost, more noise, less epsilon.
		let low = -60;
		let high = 60;
		while (high - low > 1e-7) {
			const middle = (low + high) / 2;
			if (renyi(solve(order, middle)).epsilon > target) low = middle;
			else high = middle;
		}
		const multipliers = solve(order, high);
		const spent = epsilonBounds(eventOfPhases(phases, multipliers), delta).upper;
		const found = Math.max(2, Math.round(renyi(multipliers).order));
		const settled = found === order && Math.abs(spent / epsilon - 1) < SETTLED;
		if (settled || repetition === MOST_REPETITIONS) return multipliers;
		order = found;
		// The tight accountant allows more than the Renyi one: aim where it meets the target.
		target *= epsilon / spent;
	}
}

/** Renyi cost of one round at an integer order. */
function costOf({ samplingProbability }: Phase, multiplier: number, order: number): number {
	return curveOf(poissonSampled(samplingProbability, gaussian(multiplier)), "addRemove", [order])[0]!;
}
