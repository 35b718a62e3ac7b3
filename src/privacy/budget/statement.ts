/** The epsilon that a ledger states for losses, and by which theorem. */
import { epsilonBounds } from "../accounting/accountant.ts";
import type { PrivacyEvent } from "../accounting/events.ts";
import { RdpFilter } from "../accounting/filter.ts";
import { epsilonFromRdp } from "../accounting/rdp.ts";
import type { Limits } from "./account.ts";
import type { Loss } from "./loss.ts";
import { eventKey } from "./spending.ts";

/** A question to the tight accountant: epsilon of an event at a delta. It may take tens of milliseconds. */
export interface TightQuestion {
	readonly event: PrivacyEvent;
	/** In (0, 1). */
	readonly delta: number;
}

const filters = new Map<string, RdpFilter>();
const MAXIMUM_FILTERS = 4096;
const MAXIMUM_ANSWERS = 1024;

/** One filter for each pair of limits: building its weights costs more than using them. */
function filterFor(epsilonLimit: number, deltaLimit: number): RdpFilter {
	const key = `${epsilonLimit}/${deltaLimit}`;
	let filter = filters.get(key);
	if (filter === undefined) {
		filter = new RdpFilter({ epsilonLimit, deltaLimit });
		if (filters.size >= MAXIMUM_FILTERS) filters.clear();
		filters.set(key, filter);
	}
	return filter;
}

/**
 * Epsilon where every mechanism may have been chosen from the outputs before it.
 * @param limits epsilon: the one that the filter's weights derive from
 * @returns Infinity where delta is used up by what is charged beside the curves
 */
export function adaptiveEpsilon(loss: Loss, limits: Limits): number {
	if (isNothing(loss)) return 0;
	if (!(limits.delta > 0 && limits.epsilon > 0)) return Number.POSITIVE_INFINITY;
	const filter = filterFor(limits.epsilon, limits.delta);
	return loss.slackDelta <= filter.slackLimit ? filter.epsilonOf(loss.curve) : Number.POSITIVE_INFINITY;
}

/** Epsilon where all parameters were fixed beforehand: the best order may be picked afterwards. */
export function plannedEpsilon(loss: Loss, delta: number): number {
	if (isNothing(loss)) return 0;
	const left = delta - loss.slackDelta;
	return left > 0 ? epsilonFromRdp(loss.curve, left).epsilon : Number.POSITIVE_INFINITY;
}

/** An epsilon and how it is proven. */
export interface Stated {
	readonly epsilon: number;
	/** `rdp-filter` (adaptive), or the accountant of a planned composition: `rdp`, `pld`, ... */
	readonly method: string;
}

/** Answers of the tight accountant, kept: whoever can ask it elsewhere fills them in beforehand. */
export class TightBounds {
	readonly #known = new Map<string, Stated>();

	/** An upper bound on epsilon, if it is known already. */
	known(question: TightQuestion): Stated | undefined {
		return this.#known.get(keyOf(question));
	}

	/** @param answer a proven upper bound */
	learn(question: TightQuestion, answer: Stated): void {
		if (this.#known.size >= MAXIMUM_ANSWERS) this.#known.delete(this.#known.keys().next().value ?? "");
		this.#known.set(keyOf(question), answer);
	}

	/** The bound, computed here and now where it is not known. */
	answer(question: TightQuestion): Stated {
		const known = this.known(question);
		if (known !== undefined) return known;
		const answer = tightAnswer(question);
		this.learn(question, answer);
		return answer;
	}
}

/** The best proven bound on epsilon where all parameters were fixed beforehand; may take tens of milliseconds. */
export function tightAnswer({ event, delta }: TightQuestion): Stated {
	const { upper, method } = epsilonBounds(event, delta);
	return { epsilon: upper, method };
}

function keyOf({ event, delta }: TightQuestion): string {
	return `${delta}/${eventKey(event)}`;
}

function isNothing(loss: Loss): boolean {
	return loss.slackDelta === 0 && loss.curve.every((value) => value === 0);
}
