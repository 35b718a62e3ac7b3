/**
 * Composition knowing nothing of the mechanisms but their (epsilon, delta).
 *
 * Loose beside RDP or a privacy-loss distribution, and all there is for mechanisms described by
 * these two numbers alone. Parameters fixed beforehand, except for `basicComposition`.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { logFactorialsTo } from "./rdp/poissonSampling.ts";
import { requireDelta, requireEpsilon } from "./rdp.ts";

/** A guarantee of (epsilon, delta)-DP. */
export interface Guarantee {
	/** >= 0. */
	readonly epsilon: number;
	/** In [0, 1). */
	readonly delta: number;
}

/** Both numbers add up (Dwork, Kenthapadi, McSherry, Mironov, Naor 2006), whatever depends on what. */
export function basicComposition(parts: readonly Guarantee[]): Guarantee {
	for (const part of parts) requireGuarantee(part);
	return {
		epsilon: parts.reduce((sum, part) => sum + part.epsilon, 0),
		delta: parts.reduce((sum, part) => sum + part.delta, 0),
	};
}

/**
 * sqrt(2 log(1/slack) sum e^2) + sum e (e^e - 1) / (e^e + 1) at sum of deltas + slack, never above
 * the basic one (Dwork, Rothblum, Vadhan 2010; this form: Kairouz, Oh, Viswanath 2015, Thm. 3.5).
 * @param slackDelta in (0, 1), what the concentration may fail with
 */
export function advancedComposition(parts: readonly Guarantee[], slackDelta: number): Guarantee {
	requireDelta(slackDelta);
	const basic = basicComposition(parts);
	let mean = 0;
	let squares = 0;
	for (const { epsilon } of parts) {
		mean += epsilon * Math.tanh(epsilon / 2);
		squares += epsilon * epsilon;
	}
	const epsilon = mean + Math.sqrt(-2 * Math.log(slackDelta) * squares);
	return { epsilon: Math.min(basic.epsilon, epsilon), delta: Math.min(1, basic.delta + slackDelta) };
}

/** `count` mechanisms of one and the same guarantee. */
export interface RepeatedGuarantee extends Guarantee {
	/** An integer >= 0. */
	readonly count: number;
}

/**
 * Least delta at `epsilon` of the composition: exact, no other bound from these numbers is smaller
 * (Kairouz, Oh, Viswanath 2015, Thm. 3.3, evaluated at any epsilon: the worst case is `count`
 * randomized responses, each of which fails entirely with probability delta).
 * @param epsilon >= 0
 */
export function optimalCompositionDelta(repeated: RepeatedGuarantee, epsilon: number): number {
	requireEpsilon(epsilon);
	const losses = responseLosses(repeated);
	let kept = 0;
	for (const { loss, mass } of losses) if (loss > epsilon) kept += -Math.expm1(epsilon - loss) * mass;
	// 1 - (1 - delta)^count (1 - kept), without cancellation.
	const failed = -Math.expm1(repeated.count * Math.log1p(-repeated.delta));
	return Math.min(1, failed + (1 - failed) * kept);
}

/**
 * Least epsilon at `delta`: the inverse of {@link optimalCompositionDelta}.
 * Infinity if the mechanisms alone fail with more than `delta`.
 * @param delta in (0, 1)
 */
export function optimalCompositionEpsilon(repeated: RepeatedGuarantee, delta: number): number {
	requireDelta(delta);
	const failed = -Math.expm1(repeated.count * Math.log1p(-repeated.delta));
	if (failed >= delta) return Number.POSITIVE_INFINITY;
	const allowed = (delta - failed) / (1 - failed);
	// kept(epsilon) = sum over losses above epsilon of mass - e^(epsilon - loss) mass: from the top,
	// the first segment between two losses on which it passes `allowed`.
	const losses = responseLosses(repeated);
	let mass = 0;
	let scaled = 0;
	for (const [i, { loss, mass: own }] of losses.entries()) {
		const above = losses[i - 1]?.loss ?? loss;
		mass += own;
		// Of e^(loss - l) mass over all l so far.
		scaled = scaled * Math.exp(loss - above) + own;
		if (mass <= allowed) continue;
		const epsilon = loss + Math.log((mass - allowed) / scaled);
		if (epsilon > (losses[i + 1]?.loss ?? Number.NEGATIVE_INFINITY)) return Math.max(0, epsilon);
	}
	return 0;
}

/** The losses (count - 2 i) epsilon of `count` randomized responses with their probabilities, largest first. */
function responseLosses({ epsilon, delta, count }: RepeatedGuarantee): { loss: number; mass: number }[] {
	requireGuarantee({ epsilon, delta });
	if (!Number.isSafeInteger(count) || count < 0) {
		throw new AlthingError(
			"privacy.bad_event",
			`A mechanism is composed a whole number of times, not ${count}.`,
			{ count },
		);
	}
	const logLie = -epsilon - Math.log1p(Math.exp(-epsilon));
	const logTruth = -Math.log1p(Math.exp(-epsilon));
	const logFactorials = logFactorialsTo(count);
	return Array.from({ length: count + 1 }, (_, lies) => ({
		loss: (count - 2 * lies) * epsilon,
		mass: Math.exp(
			logFactorials[count]! -
				logFactorials[lies]! -
				logFactorials[count - lies]! +
				lies * logLie +
				(count - lies) * logTruth,
		),
	}));
}

function requireGuarantee({ epsilon, delta }: Guarantee): void {
	if (!(epsilon >= 0 && epsilon < Number.POSITIVE_INFINITY && delta >= 0 && delta < 1)) {
		throw new AlthingError(
			"privacy.bad_event",
			`A guarantee needs an epsilon >= 0 and a delta in [0, 1), not ${epsilon} and ${delta}.`,
			{ epsilon, delta },
		);
	}
}
