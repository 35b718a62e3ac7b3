/**
 * Where a budget is heading: composition, not a straight line. Epsilon grows about with the
 * square root of equal charges at first and faster in the end, so an extrapolated line ends the
 * budget too early or too late. Nothing here charges anything.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { epsilonBounds } from "../accounting/accountant.ts";
import { composed, type PrivacyEvent, selfComposed } from "../accounting/events.ts";
import { RdpFilter } from "../accounting/filter.ts";
import { rdpOf } from "../accounting/rdp.ts";

/** How an account adds up: `adaptive` by the filter that it enforces, `planned` by the tightest accountant. */
type Composition = "adaptive" | "planned";

export interface BudgetState {
	readonly epsilonLimit: number;
	/** Adaptive: the limit that the filter's weights were derived from, when the first charge was made. */
	readonly filterEpsilon: number;
	/** Adaptive: the limit on delta, which the filter divides itself. Planned: the limit less what is charged beside the events. */
	readonly delta: number;
	readonly composition: Composition;
	/** Everything charged so far that counts. */
	readonly charged: readonly TimedEvent[];
}

interface TimedEvent {
	/** Milliseconds since 1970. */
	readonly atMs: number;
	readonly event: PrivacyEvent;
	/** Alike charges at that time; default 1. */
	readonly count?: number;
}

export interface Forecast {
	readonly epsilonSpent: number;
	/** Charges in the window the rate is taken from. */
	readonly recentCharges: number;
	/** When the budget ends if the window's charges go on; absent without recent charges, or beyond the horizon. */
	readonly exhaustedAtMs?: number;
	/** Epsilon at times ahead, if they do: for drawing the curve. */
	readonly course: readonly { readonly atMs: number; readonly epsilon: number }[];
}

const HOUR_MS = 3_600_000;
const COURSE_POINTS = 12;
/** Forecasts end after so many windows. */
const HORIZON_WINDOWS = 1 << 16;

/** Epsilon of events by the account's own rule. */
export function epsilonOfState(state: Omit<BudgetState, "charged">, events: readonly PrivacyEvent[]): number {
	if (events.length === 0) return 0;
	const event = composed(...grouped(events));
	if (state.composition === "planned") return epsilonBounds(event, state.delta).upper;
	const filter = new RdpFilter({ epsilonLimit: state.filterEpsilon, deltaLimit: state.delta });
	return filter.epsilonOf(rdpOf(event));
}

/**
 * When the budget is gone if charges go on as in the last `windowMs`.
 * @param nowMs milliseconds since 1970
 * @param windowMs the past that stands for the future, >= 1 hour
 * @throws AlthingError `privacy.bad_plan`
 */
export function forecast(state: BudgetState, nowMs: number, windowMs: number): Forecast {
	if (!(windowMs >= HOUR_MS)) {
		throw new AlthingError("privacy.bad_plan", "A forecast looks back over an hour at least.");
	}
	const past = state.charged.map(eventOf);
	const recent = state.charged.filter(({ atMs }) => atMs > nowMs - windowMs && atMs <= nowMs);
	const again = recent.map(eventOf);
	const recentCharges = recent.reduce((sum, { count = 1 }) => sum + count, 0);
	const after = (windows: number) =>
		epsilonOfState(state, [...past, ...again.map((event) => selfComposed(event, windows))]);
	const epsilonSpent = epsilonOfState(state, past);
	const result = { epsilonSpent, recentCharges };
	if (again.length === 0) return { ...result, course: [] };
	const windows = largestFitting((count) => after(count) <= state.epsilonLimit, HORIZON_WINDOWS);
	if (windows === undefined) return { ...result, course: courseOf(after, HORIZON_WINDOWS, nowMs, windowMs) };
	return {
		...result,
		// Within the window that no longer fits whole, its charges are spread evenly.
		exhaustedAtMs: nowMs + windowMs * (windows + lastShare(state, [...past], again, windows)),
		course: courseOf(after, windows + 1, nowMs, windowMs),
	};
}

/** What `rounds` more of `event` would cost. */
export function costOfMore(
	state: BudgetState,
	event: PrivacyEvent,
	rounds: number,
): { readonly before: number; readonly after: number; readonly cost: number; readonly fits: boolean } {
	const past = state.charged.map(eventOf);
	const before = epsilonOfState(state, past);
	const after = epsilonOfState(state, [...past, selfComposed(event, rounds)]);
	return { before, after, cost: Math.max(0, after - before), fits: after <= state.epsilonLimit };
}

/** The largest number of rounds of `event` that still fits, at most `most`. */
export function largestJob(state: BudgetState, event: PrivacyEvent, most = 10_000_000): number {
	const past = state.charged.map(eventOf);
	const fits = (rounds: number) =>
		epsilonOfState(state, [...past, selfComposed(event, rounds)]) <= state.epsilonLimit;
	return largestFitting(fits, most) ?? most;
}

function eventOf({ event, count = 1 }: TimedEvent): PrivacyEvent {
	return count === 1 ? event : selfComposed(event, count);
}

/** Share of the next window that still fits, to 1 / 64. */
function lastShare(
	state: BudgetState,
	past: readonly PrivacyEvent[],
	again: readonly PrivacyEvent[],
	windows: number,
): number {
	const whole = again.map((event) => selfComposed(event, windows));
	const fits = (charges: number) =>
		epsilonOfState(state, [...past, ...whole, ...again.slice(0, charges)]) <= state.epsilonLimit;
	return (largestFitting(fits, again.length) ?? again.length) / again.length;
}

function courseOf(
	after: (windows: number) => number,
	windows: number,
	nowMs: number,
	windowMs: number,
): { atMs: number; epsilon: number }[] {
	const points = new Set(
		Array.from({ length: COURSE_POINTS + 1 }, (_, i) => Math.round((windows * i) / COURSE_POINTS)),
	);
	return [...points].map((count) => ({ atMs: nowMs + count * windowMs, epsilon: after(count) }));
}

/** The largest count with `fits`, which holds up to some count and not beyond; undefined if it holds at `most`. */
function largestFitting(fits: (count: number) => boolean, most: number): number | undefined {
	let high = 1;
	while (high < most && fits(high)) high = Math.min(most, high * 2);
	if (fits(high)) return undefined;
	let low = 0;
	while (high - low > 1) {
		const middle = Math.floor((low + high) / 2);
		if (fits(middle)) low = middle;
		else high = middle;
	}
	return low;
}

/** Equal events once, with their number: accountants work by distinct event. */
function grouped(events: readonly PrivacyEvent[]): PrivacyEvent[] {
	const groups = new Map<string, { event: PrivacyEvent; count: number }>();
	for (const one of events) {
		const [event, count] = one.kind === "selfComposed" ? [one.event, one.count] : [one, 1];
		const key = JSON.stringify(event);
		const known = groups.get(key);
		if (known === undefined) groups.set(key, { event, count });
		else known.count += count;
	}
	return [...groups.values()].map(({ event, count }) => selfComposed(event, count));
}
