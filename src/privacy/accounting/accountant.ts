/**
 * The best proven figure of all accountants that know an event: the privacy-loss distribution
 * where every part has a dominating pair, Renyi bounds where none has, both side by side for a mixture.
 *
 * For events whose parameters were fixed before their data was touched; the other case is `filter.ts`.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { Adjacency } from "./adjacency.ts";
import { optimalCompositionDelta, optimalCompositionEpsilon, type RepeatedGuarantee } from "./composition.ts";
import { type ComposedEvent, composed, type PrivacyEvent, type SelfComposedEvent } from "./events.ts";
import { pldDelta, pldEpsilon } from "./pld/index.ts";
import { countedPairs } from "./pld/mechanisms.ts";
import { replacingOne } from "./rdp/replaceOne.ts";
import { deltaFromRdp, epsilonFromRdp, rdpOf, requireDelta, requireEpsilon } from "./rdp.ts";
import { zcdpDelta, zcdpEpsilon } from "./zcdp.ts";

/** What is proven of one figure: it lies in [lower, upper]; `upper` is the guarantee. */
export interface Bounds {
	/** Of the worst mechanism the event may stand for; 0 where no lower bound is known. */
	readonly lower: number;
	readonly upper: number;
	/** The accountant whose bound `upper` is: "pld", "rdp", "zcdp", "optimal", or "pld+rdp" with the allowance split. */
	readonly method: string;
}

/** Where the two bounds of the distribution are this close, no other accountant can gain anything. */
const CLOSE = 1.01;

/** So far out a distribution would have to be computed on an ever larger grid. */
const NEGLIGIBLE_DELTA = 1e-30;

/** Covers the rounding of the optimal composition theorem, and the most mechanisms it is summed over. */
const OPTIMAL_ROUNDING = 1e-9;
const MOST_OPTIMAL = 1e5;

/** Shares of the allowance tried for the part that has Renyi bounds only. */
const DELTA_SHARES = [0.01, 0.1, 0.5];
const EPSILON_SHARES = [0.25, 0.5, 0.75];

/**
 * Least epsilon with which the event is (epsilon, delta)-DP.
 * @param delta in (0, 1)
 * @throws AlthingError `privacy.bad_delta`, `privacy.unsupported_event` where no accountant knows a part
 */
export function epsilonBounds(
	event: PrivacyEvent,
	delta: number,
	adjacency: Adjacency = "addRemove",
): Bounds {
	requireDelta(delta);
	return bestOf(event, adjacency, {
		most: Number.POSITIVE_INFINITY,
		optimal: (repeated) => optimalCompositionEpsilon(repeated, delta),
		tight: (part) => pldEpsilon(part, delta, { adjacency }),
		renyi: (part) => renyiEpsilon(part, delta, adjacency),
		split: (tight, renyi) =>
			DELTA_SHARES.map(
				(share) =>
					pldEpsilon(tight, delta * (1 - share), { adjacency }).upper +
					renyiEpsilon(renyi, delta * share, adjacency).upper,
			),
	});
}

/**
 * Least delta with which the event is (epsilon, delta)-DP.
 * @param epsilon >= 0 and finite
 * @throws AlthingError `privacy.bad_epsilon`, `privacy.unsupported_event` where no accountant knows a part
 */
export function deltaBounds(
	event: PrivacyEvent,
	epsilon: number,
	adjacency: Adjacency = "addRemove",
): Bounds {
	requireEpsilon(epsilon);
	return bestOf(event, adjacency, {
		most: 1,
		optimal: (repeated) => optimalCompositionDelta(repeated, epsilon),
		tight: (part) => tightDelta(part, epsilon, adjacency),
		renyi: (part) => renyiDelta(part, epsilon, adjacency),
		split: (tight, renyi) =>
			EPSILON_SHARES.map(
				(share) =>
					tightDelta(tight, epsilon * (1 - share), adjacency).upper +
					renyiDelta(renyi, epsilon * share, adjacency).upper,
			),
	});
}

/** By the distribution, unless Renyi bounds show that delta is below anything a release could tell from 0. */
function tightDelta(
	event: PrivacyEvent,
	epsilon: number,
	adjacency: Adjacency,
): { lower: number; upper: number } {
	const renyi = ifSupported(() => renyiDelta(event, epsilon, adjacency));
	if (renyi !== undefined && renyi.upper < NEGLIGIBLE_DELTA) return { lower: 0, upper: renyi.upper };
	return pldDelta(event, epsilon, { adjacency });
}

/** One question put to every accountant. */
interface Question {
	/** The answer that says nothing. */
	readonly most: number;
	readonly optimal: (repeated: RepeatedGuarantee) => number;
	readonly tight: (event: PrivacyEvent) => { readonly lower: number; readonly upper: number };
	readonly renyi: (event: PrivacyEvent) => Upper;
	/** Upper bounds by basic composition of the two parts (Dwork et al. 2006), at several splits of the allowance. */
	readonly split: (tight: PrivacyEvent, renyi: PrivacyEvent) => readonly number[];
}

interface Upper {
	readonly upper: number;
	readonly method: string;
}

function bestOf(event: PrivacyEvent, adjacency: Adjacency, question: Question): Bounds {
	const parts = leavesOf(event, 1);
	const repeated = asRepeatedPure(parts, adjacency);
	if (repeated !== undefined) {
		const exact = question.optimal(repeated);
		return {
			lower: exact * (1 - OPTIMAL_ROUNDING),
			upper: Math.min(question.most, exact * (1 + OPTIMAL_ROUNDING)),
			method: "optimal",
		};
	}
	const tightParts: PrivacyEvent[] = [];
	const otherParts: PrivacyEvent[] = [];
	for (const part of parts) {
		const isTight = !isOnlyDominated(part) && hasDominatingPair(part, adjacency);
		(isTight ? tightParts : otherParts).push(part);
	}
	const tight = composed(...tightParts);
	const others = composed(...otherParts);
	// Whatever else is released, the tight parts alone already cost this much.
	const { lower, upper } = question.tight(tight);
	if (otherParts.length === 0 && upper <= CLOSE * lower) return { lower, upper, method: "pld" };
	const candidates: Upper[] = [];
	const whole = ifSupported(() => question.renyi(event));
	if (whole !== undefined) candidates.push(whole);
	if (otherParts.length === 0) candidates.push({ upper, method: "pld" });
	else if (hasDominatingPair(event, adjacency)) {
		candidates.push({ upper: question.tight(event).upper, method: "pld" });
	}
	if (tightParts.length > 0 && otherParts.length > 0) {
		const uppers = ifSupported(() => question.split(tight, others)) ?? [];
		candidates.push(...uppers.map((one) => ({ upper: one, method: "pld+rdp" })));
	}
	// No accountant knows some part: the Renyi accountant says which.
	if (candidates.length === 0) candidates.push(question.renyi(others));
	const best = candidates.reduce((least, one) => (one.upper < least.upper ? one : least));
	return { lower, upper: Math.min(best.upper, question.most), method: best.method };
}

/** What the accountant answers, undefined if it does not know the event. */
function ifSupported<Answer>(ask: () => Answer): Answer | undefined {
	try {
		return ask();
	} catch (error) {
		if (error instanceof AlthingError && error.code === "privacy.unsupported_event") return undefined;
		throw error;
	}
}

/** Whether the event's pair dominates it without being one it can come to: no lower bound follows from that. */
function isOnlyDominated(event: PrivacyEvent): boolean {
	if (event.kind === "selfComposed" || event.kind === "poissonSampled") return isOnlyDominated(event.event);
	return event.kind === "boundedRange" || event.kind === "permuteAndFlip";
}

/** What is not a composition, with its count. */
interface Leaf extends SelfComposedEvent {
	readonly event: Exclude<PrivacyEvent, SelfComposedEvent | ComposedEvent>;
}

/** The event as a list of leaves. */
function leavesOf(event: PrivacyEvent, count: number): Leaf[] {
	if (event.kind === "composed") return event.events.flatMap((part) => leavesOf(part, count));
	if (event.kind === "selfComposed") return leavesOf(event.event, count * event.count);
	return [{ kind: "selfComposed", event, count }];
}

/** Whether all there is are mechanisms of one and the same pure epsilon: what the optimal composition theorem is about. */
function asRepeatedPure(parts: readonly Leaf[], adjacency: Adjacency): RepeatedGuarantee | undefined {
	let epsilon: number | undefined;
	let count = 0;
	for (const { event, count: times } of parts) {
		if (event.kind !== "pureDp" || (epsilon !== undefined && event.epsilon !== epsilon)) return undefined;
		epsilon = event.epsilon;
		count += times;
	}
	if (epsilon === undefined || count > MOST_OPTIMAL) return undefined;
	return { epsilon: adjacency === "replaceOne" ? 2 * epsilon : epsilon, delta: 0, count };
}

function hasDominatingPair(event: PrivacyEvent, adjacency: Adjacency): boolean {
	return ifSupported(() => countedPairs(event, adjacency)) !== undefined;
}

/** By the curve, and by rho alone where that says everything: at the best real order instead of one of a list. */
function renyiEpsilon(event: PrivacyEvent, delta: number, adjacency: Adjacency): Upper {
	const rho = rhoOf(event, adjacency);
	if (rho !== undefined) return { upper: zcdpEpsilon(rho, delta), method: "zcdp" };
	return { upper: epsilonFromRdp(rdpOf(event, adjacency), delta).epsilon, method: "rdp" };
}

function renyiDelta(event: PrivacyEvent, epsilon: number, adjacency: Adjacency): Upper {
	const rho = rhoOf(event, adjacency);
	if (rho !== undefined) return { upper: zcdpDelta(rho, epsilon), method: "zcdp" };
	return { upper: deltaFromRdp(rdpOf(event, adjacency), epsilon).delta, method: "rdp" };
}

/** Total rho of an event whose curve is rho a at every order a, undefined for any other. */
function rhoOf(event: PrivacyEvent, adjacency: Adjacency): number | undefined {
	switch (event.kind) {
		case "gaussian":
		case "discreteGaussian":
		case "zeroConcentrated": {
			const mechanism = adjacency === "replaceOne" ? replacingOne(event) : event;
			if (mechanism.kind === "gaussian") return 0.5 / mechanism.noiseMultiplier ** 2;
			if (mechanism.kind === "zeroConcentrated") return mechanism.rho;
			if (mechanism.kind === "discreteGaussian") return 0.5 * (mechanism.sensitivity / mechanism.sigma) ** 2;
			return undefined;
		}
		case "selfComposed": {
			const one = rhoOf(event.event, adjacency);
			return one === undefined ? undefined : one * event.count;
		}
		case "composed": {
			let total = 0;
			for (const part of event.events) {
				const rho = rhoOf(part, adjacency);
				if (rho === undefined) return undefined;
				total += rho;
			}
			return total;
		}
		default:
			return undefined;
	}
}
