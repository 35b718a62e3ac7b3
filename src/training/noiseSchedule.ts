/**
 * Noise that changes from round to round, fixed in the signed plan: a few levels, each for an equal
 * part of the rounds, so that the account stays a composition of few different events.
 */

const LARGEST_LEVELS = 8;

export interface NoiseSchedule {
	readonly kind: "constant" | "linear" | "geometric";
	/** Noise of the last level over that of the first, > 0. */
	readonly ratio: number;
}

/** One level: its noise relative to the first one's, and how many rounds it lasts. */
export interface ScheduledLevel {
	readonly weight: number;
	readonly rounds: readonly number[];
}

/**
 * @param rounds of the whole job, an integer >= 1
 * @param most levels, where there are that many rounds
 */
export function scheduledLevels(
	{ kind, ratio }: NoiseSchedule,
	rounds: number,
	most = LARGEST_LEVELS,
): ScheduledLevel[] {
	const count = kind === "constant" ? 1 : Math.min(most, rounds);
	const weightAt = (part: number): number =>
		kind === "linear" ? 1 + (ratio - 1) * part : kind === "geometric" ? ratio ** part : 1;
	const all = Array.from({ length: rounds }, (_, round) => round);
	return Array.from({ length: count }, (_, level) => ({
		// Nine digits: every node derives the plan for itself, and powers may differ in the last bit.
		weight: Number(weightAt(count === 1 ? 0 : level / (count - 1)).toPrecision(9)),
		rounds: all.filter((round) => levelOf(round, rounds, count) === level),
	}));
}

/** Which of `count` levels a round belongs to. */
export function levelOf(round: number, rounds: number, count: number): number {
	return Math.min(count - 1, Math.floor((round * count) / rounds));
}
