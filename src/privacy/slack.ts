/** What a plan sets aside for all that is charged to delta beside the accountant: samplers, shares, tails. */

/** Part of delta kept for it. */
export const DELTA_RESERVE = 0.01;

/** Delta that is left for the accountant. */
export function accountedDelta(delta: number): number {
	return delta * (1 - DELTA_RESERVE);
}

/** More than the total-variation distance of one value, as any sampler here draws it, to its exact law. */
export const LARGEST_SAMPLER_DISTANCE = 2 ** -100;

/** Accounts are held to state no larger epsilon than this, or than the job's or query's own. */
const LARGEST_ACCOUNT_EPSILON = 24;

/**
 * The epsilon at which distances between laws are charged, as (1 + e^epsilon) times as much delta: the
 * largest that the account may come to state with this release and others, not this one's alone.
 */
export function slackEpsilon(epsilon: number): number {
	return Math.max(epsilon, LARGEST_ACCOUNT_EPSILON);
}
