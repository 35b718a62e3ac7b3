/**
 * Who is asked to contribute to an attempt of a round: a pure function of the job file, of what the
 * participants declared when they accepted, of the last certified beacon and of certified history. Every node
 * computes it for itself, so a coordinator has no say in it.
 *
 * Further attempts ask the same participants and more: a coordinator that lets attempts die gets a larger
 * set, never another one of its liking, and a selection of whom too many are away ends in everybody.
 */
import type { PeerId } from "../../crypto/identity.ts";
import { invitedOf } from "./cohort.ts";
import type { SelectionHistory } from "./history.ts";
import { drawn, type PublicDraw, shuffled, uniformIntegers } from "./publicDraw.ts";
import type { Characteristics, SelectionChoice } from "./selectionChoice.ts";

/** Of a participant that has reported none: it is tried. */
const LARGEST_LOSS = 254;
/** What a round without a report adds to a participant's utility, and all of them at most. */
const BONUS_A_ROUND = 4;
const LARGEST_BONUS = 128;
/** A secure sum has at least three share holders. */
const LEAST_ASKED = 3;
/** Least chance of a participant under `availability`, in 1/1024 of the best one's: who was away can come back. */
const LEAST_RELIABILITY = 64;

export interface SelectionRule {
	readonly choice: SelectionChoice;
	/** Declared by each participant when it accepted the job. */
	readonly characteristics: ReadonlyMap<PeerId, Characteristics>;
	/** Fewest contributions that a sum may be opened for: fewer are never asked. */
	readonly minimumSurvivors: number;
}

export interface SelectionRound extends PublicDraw {
	readonly attempt: number;
	/** The job's participants, sorted. */
	readonly members: readonly PeerId[];
	readonly history: SelectionHistory;
}

/** Those asked to contribute, sorted. */
export function selectParticipants(rule: SelectionRule, round: SelectionRound): PeerId[] {
	const { choice, minimumSurvivors } = rule;
	const { members, attempt } = round;
	const asked =
		choice.strategy === "poisson"
			? members.filter((peer) => drawn(round, peer, choice.probability)).length
			: invitedOf(choice);
	const wanted = Math.min(members.length, Math.max(asked, minimumSurvivors, LEAST_ASKED) * (attempt + 1));
	return firstOf(rule, round, wanted).sort();
}

/** The first of the strategy's order: longer beginnings contain the shorter ones. */
function firstOf(rule: SelectionRule, round: SelectionRound, wanted: number): PeerId[] {
	const { choice } = rule;
	const order = shuffled(round, round.members);
	switch (choice.strategy) {
		case "uniform":
		case "poisson":
			return order.slice(0, wanted);
		case "fair": {
			const asked = byPeer(round, ({ invited }) => invited);
			return order.sort((a, b) => asked(a) - asked(b)).slice(0, wanted);
		}
		case "weighted": {
			const least = Math.min(...Object.values(choice.weights));
			const weight = (peer: PeerId) => choice.weights[declaredBy(rule, peer) ?? ""] ?? least;
			return weightedDraw(round, round.members, weight, wanted);
		}
		case "availability": {
			const weight = byPeer(round, ({ reliability }) => Math.max(LEAST_RELIABILITY, reliability));
			return weightedDraw(round, round.members, weight, wanted);
		}
		case "power_of_choice": {
			const candidates = order.slice(0, Math.max(choice.candidates, wanted));
			const loss = byPeer(round, ({ loss }) => loss ?? LARGEST_LOSS);
			const rest = order.slice(candidates.length);
			return [...candidates.sort((a, b) => loss(b) - loss(a)), ...rest].slice(0, wanted);
		}
		case "utility":
			return byUtility(round, order, choice.exploration, wanted);
		case "stratified":
			return stratified(rule, order, choice).slice(0, wanted);
	}
}

function byPeer(
	{ members, history }: SelectionRound,
	of: (record: SelectionHistory[number]) => number,
): (peer: PeerId) => number {
	const values = new Map(members.map((peer, index) => [peer, of(history[index]!)]));
	return (peer) => values.get(peer)!;
}

function declaredBy({ choice, characteristics }: SelectionRule, peer: PeerId): string | undefined {
	return "characteristic" in choice ? characteristics.get(peer)?.[choice.characteristic] : undefined;
}

/**
 * Part of the selected by what they last reported, raised for every round since their last one (in place of
 * Oort's logarithmic bonus: integers), the rest uniformly among the others. Who lies about its loss is sure
 * of a place among the former and has no influence on the latter.
 */
function byUtility(
	round: SelectionRound,
	order: readonly PeerId[],
	exploration: number,
	wanted: number,
): PeerId[] {
	const utility = byPeer(
		round,
		({ loss, lastSurvived }) =>
			(loss ?? LARGEST_LOSS) +
			Math.min(LARGEST_BONUS, BONUS_A_ROUND * (lastSurvived < 0 ? round.round : round.round - lastSurvived)),
	);
	const ranked = [...order].sort((a, b) => utility(b) - utility(a));
	// One after the other, so that a longer beginning contains the shorter ones.
	const chosen = new Set<PeerId>();
	let explored = 0;
	while (chosen.size < wanted) {
		const explores = explored < exploration * (chosen.size + 1);
		const next = (explores ? order : ranked).find((peer) => !chosen.has(peer))!;
		if (explores) explored++;
		chosen.add(next);
	}
	return [...chosen];
}

/** Without replacement, each next one with a chance in proportion to its weight among those left. */
function weightedDraw(
	draw: PublicDraw,
	members: readonly PeerId[],
	weightOf: (peer: PeerId) => number,
	wanted: number,
): PeerId[] {
	const next = uniformIntegers(draw);
	const left = members.map((peer) => ({ peer, weight: weightOf(peer) }));
	let total = left.reduce((sum, { weight }) => sum + weight, 0);
	const chosen: PeerId[] = [];
	while (chosen.length < wanted) {
		let target = next(total);
		let index = 0;
		while (target >= left[index]!.weight) target -= left[index++]!.weight;
		const [one] = left.splice(index, 1);
		total -= one!.weight;
		chosen.push(one!.peer);
	}
	return chosen;
}

/**
 * Turns through the strata in proportion to their sizes, so that every beginning of the order has about the
 * shares asked for; whoever is in none comes last.
 */
function stratified(
	rule: SelectionRule,
	order: readonly PeerId[],
	{ strata }: Extract<SelectionChoice, { strategy: "stratified" }>,
): PeerId[] {
	const place = new Map<PeerId, number>();
	const taken = new Map<string, number>();
	for (const peer of order) {
		const value = declaredBy(rule, peer);
		const size = value === undefined ? undefined : strata[value];
		if (value === undefined || size === undefined) continue;
		const before = taken.get(value) ?? 0;
		taken.set(value, before + 1);
		// The k-th of a stratum of size s comes after (k - 1/2) / s of the whole.
		place.set(peer, (2 * before + 1) / (2 * size));
	}
	const placeOf = (peer: PeerId) => place.get(peer) ?? Number.POSITIVE_INFINITY;
	return [...order].sort((a, b) => {
		const [one, other] = [placeOf(a), placeOf(b)];
		return one === other ? 0 : one - other;
	});
}
