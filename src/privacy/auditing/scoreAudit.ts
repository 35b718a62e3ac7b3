/**
 * From attack scores to a verdict on a claim. Two bounds, because each is blind where the other sees:
 *
 * - `oneRun` holds whatever the mechanism does with all canaries at once (Steinke, Nasr,
 *   Jagielski 2023), and is far from the truth for that reason.
 * - `independent` is sharp and treats each canary as a run of its own. It holds where canaries
 *   do not touch each other, as gradient canaries on coordinates of their own with independent
 *   noise, or truly separate runs. It can therefore prove that an implementation is not the
 *   mechanism it claims to be.
 */
import { clopperPearsonUpper, requireSignificance } from "./clopperPearson.ts";
import { epsilonOfMu, normalQuantile } from "./gaussianTradeoff.ts";
import { type Guesses, oneRunEpsilonLower } from "./oneRun.ts";
import { type LeastFalsePositiveRate, refutesTradeoff } from "./oneRunTradeoff.ts";

export interface CanaryScores {
	/** Whether each canary was in, by a fair coin of its own. */
	readonly included: readonly boolean[];
	/** Higher: the attacker rather believes it was in. */
	readonly scores: Float64Array;
	/** Thresholds fixed before the run, if any are known: with log-likelihood ratios as scores, 0 is the middle. */
	readonly thresholds?: readonly number[];
}

export interface ScoreClaim {
	/** The delta that lower bounds on epsilon are stated at, in (0, 1). */
	readonly delta: number;
	/** The claimed trade-off curve. */
	readonly curve: LeastFalsePositiveRate;
}

interface OneRunBound extends Guesses {
	readonly epsilonLower: number;
	/** The claimed curve as a whole is refuted. */
	readonly refutesClaim: boolean;
}

interface IndependentBound {
	/** From one pair of rates, nothing assumed of the curve. */
	readonly epsilonLower: number;
	/** If the mechanism is a Gaussian one: its epsilon is at least this. */
	readonly gaussianEpsilonLower: number;
	readonly refutesClaim: boolean;
	/** Of the threshold that gave `gaussianEpsilonLower`, with their confidence bounds. */
	readonly truePositiveRate: RateBounds;
	readonly falsePositiveRate: RateBounds;
}

interface RateBounds {
	readonly measured: number;
	readonly lower: number;
	readonly upper: number;
}

export interface ScoreAudit {
	readonly canaries: number;
	/** All that is said is wrong with at most this probability, if the claim is true. */
	readonly significance: number;
	readonly oneRun: OneRunBound;
	readonly independent: IndependentBound;
}

/** Shares of the canaries that are guessed, the surest first; all are tried, and paid for. */
const GUESSED_SHARES = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5] as const;

/**
 * Both bounds, together wrong with probability at most `significance`.
 * @param claim what is audited
 * @param significance in (0, 1)
 * @throws AlthingError `audit.bad_argument`
 */
export function auditScores(canaries: CanaryScores, claim: ScoreClaim, significance: number): ScoreAudit {
	requireSignificance(significance);
	return {
		canaries: canaries.scores.length,
		significance,
		oneRun: oneRunBound(canaries, claim, significance / 2),
		independent: independentBound(canaries, claim, significance / 2),
	};
}

/** The surest guesses: scores furthest from their median, upper ones guessed in, lower ones out. */
function oneRunBound(
	{ included, scores }: CanaryScores,
	claim: ScoreClaim,
	significance: number,
): OneRunBound {
	const canaries = scores.length;
	const byScore = [...scores.keys()].sort((a, b) => scores[b]! - scores[a]!);
	// Two tests for each share: of the delta's epsilon, and of the curve.
	const each = significance / (2 * GUESSED_SHARES.length);
	let best: OneRunBound = { canaries, guesses: 0, correct: 0, epsilonLower: 0, refutesClaim: false };
	for (const share of GUESSED_SHARES) {
		const side = Math.floor((share * canaries) / 2);
		if (side === 0) continue;
		let correct = 0;
		for (const canary of byScore.slice(0, side)) if (included[canary]) correct++;
		for (const canary of byScore.slice(-side)) if (!included[canary]) correct++;
		const guesses = { canaries, guesses: 2 * side, correct };
		const epsilonLower = oneRunEpsilonLower(guesses, claim.delta, each);
		const refutesClaim = refutesTradeoff(guesses, claim.curve, each);
		// Where nothing is proven yet, more guesses say more.
		const shown = epsilonLower >= best.epsilonLower ? guesses : best;
		best = {
			...{ canaries, guesses: shown.guesses, correct: shown.correct },
			epsilonLower: Math.max(epsilonLower, best.epsilonLower),
			refutesClaim: refutesClaim || best.refutesClaim,
		};
	}
	return best;
}

/**
 * Rates at the thresholds fixed beforehand, measured on all canaries, and at one that half of the
 * canaries choose and the other half measure: the first are best where the scores are what the
 * attacker took them for, the second finds what is wrong in another way.
 */
function independentBound(canaries: CanaryScores, claim: ScoreClaim, significance: number): IndependentBound {
	const { included, scores, thresholds = [] } = canaries;
	const all = [...scores.keys()];
	// Canaries' order says nothing of their coins, so even ones may choose and odd ones measure.
	const [choosing, measuring] = [all.filter((i) => i % 2 === 0), all.filter((i) => i % 2 === 1)];
	const tests = [
		...thresholds.map((threshold) => ({ threshold, measuring: all })),
		{ threshold: bestThreshold(choosing, included, scores), measuring },
	];
	// Two rates, each bounded from both sides, in every test.
	const each = significance / (4 * tests.length);
	const none: RateBounds = { measured: 0, lower: 0, upper: 1 };
	let best: IndependentBound = {
		epsilonLower: 0,
		gaussianEpsilonLower: 0,
		refutesClaim: false,
		truePositiveRate: none,
		falsePositiveRate: none,
	};
	let largestMu = Number.NEGATIVE_INFINITY;
	for (const test of tests) {
		const [tpr, fpr] = [true, false].map((inside) => {
			const group = test.measuring.filter((i) => included[i] === inside);
			const found = group.filter((i) => scores[i]! >= test.threshold).length;
			return group.length === 0 ? none : rateBounds(found, group.length, each);
		}) as [RateBounds, RateBounds];
		const mu = normalQuantile(tpr.lower) - normalQuantile(fpr.upper);
		if (mu > largestMu) best = { ...best, truePositiveRate: tpr, falsePositiveRate: fpr };
		largestMu = Math.max(largestMu, mu);
		best = {
			...best,
			epsilonLower: Math.max(best.epsilonLower, epsilonOfRates(tpr, fpr, claim.delta)),
			gaussianEpsilonLower: epsilonOfMu(largestMu, claim.delta),
			refutesClaim: best.refutesClaim || fpr.upper < claim.curve(tpr.lower),
		};
	}
	return best;
}

/** Epsilon that the rates prove at delta, both ways round. */
function epsilonOfRates(tpr: RateBounds, fpr: RateBounds, delta: number): number {
	const ratio = (above: number, below: number) => (above > delta ? Math.log((above - delta) / below) : 0);
	return Math.max(0, ratio(tpr.lower, fpr.upper), ratio(1 - fpr.upper, 1 - tpr.lower));
}

function rateBounds(count: number, trials: number, significance: number): RateBounds {
	return {
		measured: count / trials,
		lower: 1 - clopperPearsonUpper(trials - count, trials, significance),
		upper: clopperPearsonUpper(count, trials, significance),
	};
}

/** The threshold with the largest difference of rates: a heuristic, nothing rests on it. */
function bestThreshold(
	choosing: readonly number[],
	included: readonly boolean[],
	scores: Float64Array,
): number {
	const ranked = choosing.toSorted((a, b) => scores[b]! - scores[a]!);
	const members = Math.max(1, choosing.filter((i) => included[i]).length);
	const outsiders = Math.max(1, choosing.length - members);
	let advantage = 0;
	let largest = Number.NEGATIVE_INFINITY;
	let threshold = 0;
	for (const canary of ranked) {
		advantage += included[canary] ? 1 / members : -1 / outsiders;
		if (advantage > largest) {
			largest = advantage;
			threshold = scores[canary]!;
		}
	}
	return threshold;
}
