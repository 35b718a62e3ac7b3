/**
 * Membership inference: how well an attacker tells a model's training records from others,
 * with confidence, beside what differential privacy allows at most.
 *
 * Two attackers: by loss (Yeom et al. 2018), and by likelihood ratio with shadow models (LiRA,
 * Carlini et al. 2022), which knows how each record's loss is distributed with and without it.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { clopperPearsonLower, clopperPearsonUpper } from "./clopperPearson.ts";
import { normalQuantile } from "./gaussianTradeoff.ts";
import type { PrivacyClaim } from "./tradeoffCurve.ts";

export interface Interval {
	readonly estimate: number;
	readonly lower: number;
	readonly upper: number;
}

export interface AttackReport {
	readonly members: number;
	readonly outsiders: number;
	/** Area under the ROC curve; 1/2 is guessing. */
	readonly auc: Interval;
	/** Largest TPR - FPR over the thresholds. */
	readonly advantage: Interval;
	/** True-positive rate at each false-positive rate asked for. */
	readonly truePositiveRates: readonly { readonly falsePositiveRate: number; readonly rate: Interval }[];
}

/** The most that any attacker can have against (epsilon, delta)-DP: for all the claims given together. */
export interface AttackLimits {
	readonly advantage: number;
	readonly auc: number;
	readonly truePositiveRates: readonly { readonly falsePositiveRate: number; readonly rate: number }[];
}

const DEFAULT_RATES: readonly number[] = [0.001, 0.01, 0.1];

/**
 * How well scores separate members from outsiders. Intervals hold at 1 - significance each:
 * AUC by the normal approximation of the Mann-Whitney statistic (DeLong, DeLong,
 * Clarke-Pearson 1988), advantage by the inequality of Dvoretzky, Kiefer, Wolfowitz and
 * Massart, rates by Clopper and Pearson at the threshold that the outsiders' quantile sets.
 * @param members scores of records that were in, higher for "in"; at least 2
 * @param outsiders scores of records that were not; at least 2
 * @throws AlthingError `audit.bad_argument` for too few scores
 */
export function attackReport(
	members: readonly number[],
	outsiders: readonly number[],
	significance = 0.05,
	falsePositiveRates: readonly number[] = DEFAULT_RATES,
): AttackReport {
	if (members.length < 2 || outsiders.length < 2) {
		throw new AlthingError(
			"audit.bad_argument",
			`An attack is measured on at least 2 members and 2 others, not ${members.length} and ${outsiders.length}.`,
		);
	}
	const inside = Float64Array.from(members).sort();
	const outside = Float64Array.from(outsiders).sort();
	const deviation =
		Math.sqrt(Math.log(4 / significance) / (2 * inside.length)) +
		Math.sqrt(Math.log(4 / significance) / (2 * outside.length));
	const advantage = largestAdvantage(inside, outside);
	return {
		members: inside.length,
		outsiders: outside.length,
		auc: areaUnderCurve(inside, outside, significance),
		advantage: {
			estimate: advantage,
			lower: Math.max(0, advantage - deviation),
			upper: Math.min(1, advantage + deviation),
		},
		truePositiveRates: falsePositiveRates.map((falsePositiveRate) => {
			// The smallest score that at most this share of outsiders exceeds.
			const allowed = Math.floor(falsePositiveRate * outside.length);
			const threshold = outside[outside.length - 1 - allowed]!;
			const found = inside.length - countAtMost(inside, threshold);
			return {
				falsePositiveRate,
				rate: {
					estimate: found / inside.length,
					lower: clopperPearsonLower(found, inside.length, significance / 2),
					upper: clopperPearsonUpper(found, inside.length, significance / 2),
				},
			};
		}),
	};
}

/**
 * What the claims leave to any attacker: advantage at most (e^epsilon - 1 + 2 delta) /
 * (e^epsilon + 1), TPR at most min(e^epsilon FPR + delta, 1 - e^-epsilon (1 - delta - FPR))
 * (Kairouz, Oh, Viswanath 2015), the least over the claims; AUC is the area under that curve.
 */
export function attackLimits(
	claims: readonly PrivacyClaim[],
	falsePositiveRates: readonly number[] = DEFAULT_RATES,
): AttackLimits {
	const largestRate = (falsePositiveRate: number) =>
		claims.reduce(
			(least, { epsilon, delta }) =>
				Math.min(
					least,
					Math.exp(epsilon) * falsePositiveRate + delta,
					1 - Math.exp(-epsilon) * (1 - delta - falsePositiveRate),
				),
			1,
		);
	const steps = 4096;
	let area = 0;
	// The curve is increasing: right ends bound the area from above.
	for (let i = 1; i <= steps; i++) area += largestRate(i / steps) / steps;
	return {
		advantage: claims.reduce(
			(least, { epsilon, delta }) =>
				Math.min(least, (Math.expm1(epsilon) + 2 * delta) / (Math.exp(epsilon) + 1)),
			1,
		),
		auc: Math.min(1, area),
		truePositiveRates: falsePositiveRates.map((falsePositiveRate) => ({
			falsePositiveRate,
			rate: largestRate(falsePositiveRate),
		})),
	};
}

/** Yeom's attack: a low loss tells a member. */
export function lossScores(losses: readonly number[]): number[] {
	return losses.map((loss) => -loss);
}

/**
 * LiRA's scores: for each record the log-likelihood ratio of its target confidence under two
 * normal laws, fitted to shadow models that were trained with it and without it.
 * @param targetLosses of the audited model, one a record
 * @param shadows each shadow model's losses and which records it was trained with; every record
 *   needs at least two shadows with and two without it
 * @throws AlthingError `audit.too_few_shadows`
 */
export function likelihoodRatioScores(
	targetLosses: readonly number[],
	shadows: readonly { readonly losses: readonly number[]; readonly included: readonly boolean[] }[],
): number[] {
	const confidences = targetLosses.map(confidenceOf);
	const inside = targetLosses.map((): number[] => []);
	const outside = targetLosses.map((): number[] => []);
	for (const { losses, included } of shadows) {
		losses.forEach((loss, record) => {
			(included[record] ? inside : outside)[record]?.push(confidenceOf(loss));
		});
	}
	// Few shadows make a poor variance for one record alone: all records share one (Carlini et al., sec. VI-C).
	const spread = (samples: readonly number[][]) => {
		let squares = 0;
		let freedom = 0;
		for (const values of samples) {
			const mean = meanOf(values);
			for (const value of values) squares += (value - mean) ** 2;
			freedom += values.length - 1;
		}
		return Math.max(1e-12, squares / freedom);
	};
	if ([...inside, ...outside].some((values) => values.length < 2)) {
		throw new AlthingError(
			"audit.too_few_shadows",
			"Every record needs two shadow models trained with it and two without it. Train more shadow models.",
		);
	}
	const varianceIn = spread(inside);
	const varianceOut = spread(outside);
	return confidences.map(
		(confidence, record) =>
			logNormal(confidence, meanOf(inside[record]!), varianceIn) -
			logNormal(confidence, meanOf(outside[record]!), varianceOut),
	);
}

/** log(p / (1 - p)) of p = e^-loss: nearly normal where the loss itself is not. */
function confidenceOf(loss: number): number {
	const bounded = Math.max(1e-12, loss);
	return -bounded - Math.log(-Math.expm1(-bounded));
}

function logNormal(value: number, mean: number, variance: number): number {
	return -((value - mean) ** 2) / (2 * variance) - Math.log(variance) / 2;
}

function meanOf(values: readonly number[]): number {
	return values.reduce((sum, value) => sum + value, 0) / values.length;
}

function countBelow(sorted: Float64Array, value: number): number {
	return position(sorted, (entry) => entry < value);
}

function countAtMost(sorted: Float64Array, value: number): number {
	return position(sorted, (entry) => entry <= value);
}

/** How many entries, from the start, satisfy a condition that holds up to some place. */
function position(sorted: Float64Array, holds: (entry: number) => boolean): number {
	let low = 0;
	let high = sorted.length;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (holds(sorted[middle]!)) low = middle + 1;
		else high = middle;
	}
	return low;
}

function largestAdvantage(inside: Float64Array, outside: Float64Array): number {
	let largest = 0;
	for (const threshold of [...inside, ...outside]) {
		const advantage =
			countBelow(outside, threshold) / outside.length - countBelow(inside, threshold) / inside.length;
		largest = Math.max(largest, advantage);
	}
	return largest;
}

function areaUnderCurve(inside: Float64Array, outside: Float64Array, significance: number): Interval {
	const placement = (value: number, others: Float64Array) =>
		(countBelow(others, value) + countAtMost(others, value)) / (2 * others.length);
	const ofMembers = Array.from(inside, (value) => placement(value, outside));
	const ofOutsiders = Array.from(outside, (value) => 1 - placement(value, inside));
	const estimate = meanOf(ofMembers);
	const variance = (values: readonly number[]) =>
		values.reduce((sum, value) => sum + (value - estimate) ** 2, 0) / (values.length - 1) / values.length;
	const width = -normalQuantile(significance / 2) * Math.sqrt(variance(ofMembers) + variance(ofOutsiders));
	return { estimate, lower: Math.max(0, estimate - width), upper: Math.min(1, estimate + width) };
}
