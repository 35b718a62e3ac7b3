/**
 * Noise that follows the measured loss: a few levels fixed in the signed plan, and which one a round
 * runs at decided from what earlier rounds released. Every node computes the same decision from the
 * common state, by comparisons, sums and products of whole numbers and released values alone.
 *
 * The controller is validation-based decay (Yu, Liu, Pu, Gursoy, Truex 2019, sec. V): noise does
 * little harm while the loss still falls, so the job begins with the most of it and goes to the next
 * level each time the loss stalls.
 *
 * Parameters then depend on outputs, so the job's epsilon is that of the adaptive filter
 * (privacy/accounting/filter.ts). The prices of the levels make its stopping rule exact: a
 * path whose prices sum up to at most {@link ALLOWANCE} passes the filter in every round.
 */
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import { ROUNDING_TAIL } from "../compression/stochasticRounding.ts";
import { roundEvent } from "../privacy/accounting/calibration.ts";
import { composed, selfComposed } from "../privacy/accounting/events.ts";
import { RdpFilter } from "../privacy/accounting/filter.ts";
import { rdpOf } from "../privacy/accounting/rdp.ts";
import { type ScheduledLevel, scheduledLevels } from "./noiseSchedule.ts";
import type { SharedNoise } from "./privacyChoice.ts";
import { SAMPLE_TAIL } from "./recordReach.ts";

/** Few, so that a stall says something: the loss is measured with noise. */
export const ADAPTIVE_LEVELS = 4;
/** Evaluations without progress after which the noise is lowered. */
const PATIENCE = 2;
/** The loss has to fall below this share of the least one measured to count as progress; exact in binary. */
const PROGRESS = 1 - 1 / 32;
/** What the prices of all rounds may sum up to: the job's whole epsilon. */
export const ALLOWANCE = 1e9;
/** How close to epsilon the rounds of an even run come, relatively. */
const WIDTH = 1e-5;

/** Part of the signed plan, the noisiest level first. */
export interface NoiseAllocation {
	/** What a round at each level takes of {@link ALLOWANCE}; whole numbers, rounded up. */
	readonly prices: readonly number[];
}

/** Part of the common state. */
export interface AllocationState {
	/** By level: rounds that have been run at it, or given up. Their sum is the next round. */
	readonly counts: readonly number[];
	/** Level of the next round. */
	readonly level: number;
	/** The least loss released so far; absent before the first one. */
	readonly leastLoss?: number;
	/** Evaluations since then. */
	readonly stalled: number;
}

const count = z.int().min(0);
export const allocationStateSchema = z
	.strictObject({
		counts: z.array(count).min(1).max(ADAPTIVE_LEVELS),
		level: count,
		leastLoss: z.number().min(0).optional(),
		stalled: count,
	})
	.refine(({ counts, level }) => level < counts.length);

/** A decoded state, without keys that have no value. */
export function allocationOf({
	leastLoss,
	...state
}: z.infer<typeof allocationStateSchema>): AllocationState {
	return leastLoss === undefined ? state : { ...state, leastLoss };
}

/** The levels' noise multipliers and prices: spending as much at each level comes to the whole epsilon. */
interface PlannedAllocation extends NoiseAllocation {
	readonly multipliers: readonly number[];
}

/** How a job's rounds are divided over the levels if none of them is skipped and the loss stalls evenly. */
function evenRun(privacy: Pick<SharedNoise, "noiseRatio">, rounds: number): ScheduledLevel[] {
	return scheduledLevels({ kind: "geometric", ratio: privacy.noiseRatio ?? 1 }, rounds, ADAPTIVE_LEVELS);
}

/** The filter that a job's adaptive noise stays within, and by which its epsilon is stated. */
function filterOf({ epsilon, delta }: { readonly epsilon: number; readonly delta: number }): RdpFilter {
	return new RdpFilter({ epsilonLimit: epsilon, deltaLimit: delta });
}

/**
 * @param rounds of the whole job, at least {@link ADAPTIVE_LEVELS}
 * @throws AlthingError `privacy.unreachable_target` where no such noise stays within epsilon and delta
 */
export function planAllocation(privacy: SharedNoise, rounds: number): PlannedAllocation {
	const filter = filterOf(privacy);
	const schedule = evenRun(privacy, rounds);
	const sampling = privacy.samplingRate ?? 1;
	const unreachable = (): never => {
		throw new AlthingError(
			"privacy.unreachable_target",
			`No adaptive noise keeps ${rounds} rounds within epsilon ${privacy.epsilon} at delta ${privacy.delta}. Allow a larger epsilon or delta, or fewer rounds.`,
		);
	};
	// Twice: what the samplers and shares of noise add beside the tails of samples is far smaller.
	if (2 * (SAMPLE_TAIL + ROUNDING_TAIL) * rounds > filter.slackLimit) unreachable();
	const spentAt = (first: number) =>
		rdpOf(
			composed(
				...schedule.map((level) =>
					selfComposed(roundEvent(sampling, first * level.weight), level.rounds.length),
				),
			),
		);
	const first = nineDigitsUp(
		least((multiplier) => filter.epsilonOf(spentAt(multiplier)) <= privacy.epsilon, unreachable),
	);
	const multipliers = schedule.map(({ weight }) => Number((first * weight).toPrecision(9)));
	const { constant, slopes } = filter.linearBound(spentAt(first));
	const rest = privacy.epsilon - constant;
	if (!(rest > 0)) return unreachable();
	const prices = multipliers.map((multiplier) => {
		const curve = rdpOf(roundEvent(sampling, multiplier));
		const epsilon = slopes.reduce((sum, slope, i) => sum + (slope > 0 ? slope * curve[i]! : 0), 0);
		return Math.ceil((epsilon / rest) * (1 + 2 ** -40) * ALLOWANCE);
	});
	if (prices[0]! * rounds > ALLOWANCE) unreachable();
	return { multipliers, prices };
}

/** Where an allocation begins: the most noise. */
export function initialAllocation({ prices }: NoiseAllocation): AllocationState {
	return { counts: prices.map(() => 0), level: 0, stalled: 0 };
}

/**
 * The level of a round that starts from a state. Once the state's own round has been given up, the
 * rounds after it run with the most noise until one is released: so much is always left.
 */
export function levelIn(state: AllocationState, round: number): number {
	return round === roundsIn(state) ? state.level : 0;
}

/** The state after a round was released. @param loss what the round's evaluation released, if it had one */
export function allocationAfter(
	{ prices }: NoiseAllocation,
	state: AllocationState,
	released: { readonly round: number; readonly rounds: number; readonly loss: number | undefined },
): AllocationState {
	const { round, rounds, loss } = released;
	const counts = [...state.counts];
	counts[state.level]! += 1;
	// Rounds in between were given up, but may have shown their sums to somebody: they count.
	counts[0]! += round - roundsIn(state);
	const measured = measure(state, loss);
	const left = ALLOWANCE - spent(prices, counts);
	const open = rounds - round - 1;
	const last = prices.length - 1;
	// Nothing to save for once all that is to come can have the least noise.
	const wanted = open * prices[last]! <= left ? last : Math.min(last, measured.level);
	const level = affordable(prices, wanted, left, open);
	return { ...measured, counts, level };
}

/** What the controller makes of a measured loss. */
function measure(
	{ level, leastLoss, stalled }: AllocationState,
	loss: number | undefined,
): Omit<AllocationState, "counts"> {
	if (loss === undefined) return { level, stalled, ...(leastLoss === undefined ? {} : { leastLoss }) };
	if (leastLoss === undefined || loss < leastLoss * PROGRESS) return { level, leastLoss: loss, stalled: 0 };
	return stalled + 1 < PATIENCE
		? { level, leastLoss, stalled: stalled + 1 }
		: { level: level + 1, leastLoss, stalled: 0 };
}

/** The wanted level, or the nearest noisier one that leaves enough for all later rounds at the noisiest. */
function affordable(prices: readonly number[], wanted: number, left: number, open: number): number {
	let level = wanted;
	while (level > 0 && prices[level]! + (open - 1) * prices[0]! > left) level -= 1;
	return level;
}

function roundsIn({ counts }: AllocationState): number {
	return counts.reduce((sum, each) => sum + each, 0);
}

function spent(prices: readonly number[], counts: readonly number[]): number {
	return counts.reduce((sum, each, level) => sum + each * prices[level]!, 0);
}

/** The least multiplier, to a relative {@link WIDTH} above it, that is enough; more noise is never worse. */
function least(enough: (multiplier: number) => boolean, unreachable: () => never): number {
	let low = 0.05;
	let high = 1;
	while (!enough(high)) {
		if (high > 1e6) return unreachable();
		low = high;
		high *= 2;
	}
	while (high > low * (1 + WIDTH)) {
		const middle = Math.sqrt(low * high);
		if (enough(middle)) high = middle;
		else low = middle;
	}
	return high;
}

/** Every node derives the plan for itself, and logarithms may differ in the last bit: nine digits, upwards. */
function nineDigitsUp(value: number): number {
	return Number((value * (1 + 1e-8)).toPrecision(9));
}
