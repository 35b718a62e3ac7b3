/** What a session screens its inputs by, and what it finds. */
import type { PeerId } from "../contract.ts";

export interface SelectionRules {
	/** f among those who are asked. */
	readonly attackers: number;
	/** Corrupt members that are not asked any more, because it was proven; none where absent. */
	readonly proven?: number | undefined;
}

export interface ScreeningRules {
	/** The first so many coordinates of the vector are held to the bound. */
	readonly coordinates: number;
	/** L2 norm of an honest input over these coordinates at most, in the ring's integer units, rounding included. */
	readonly normBound: number;
	/** Of those that keep to the bound, the sum is made of whom a score over shared sketches selects. */
	readonly selection?: SelectionRules | undefined;
	/** Of those that keep to the bound, who has agreed too little or too much with earlier sums is left out. */
	readonly reputation?: ReputationRules | undefined;
}

/** The rules once so many attackers are proven and not asked any more: that many fewer are left. */
export function rulesWithout(rules: ScreeningRules, excluded: number): ScreeningRules {
	const { selection, reputation } = rules;
	if (excluded === 0) return rules;
	return {
		...rules,
		...(selection === undefined
			? {}
			: { selection: { attackers: Math.max(1, selection.attackers - excluded), proven: excluded } }),
		...(reputation === undefined
			? {}
			: { reputation: { ...reputation, attackers: Math.max(0, reputation.attackers - excluded) } }),
	};
}

export interface ReputationRules {
	/** f: so many are left out at most. */
	readonly attackers: number;
	/** Of the electorate's members, in their order. */
	readonly scores: Float64Array;
	/** Of the same; absent in a job's first rounds. */
	readonly standings?: Float64Array | undefined;
	/**
	 * That of the last certified aggregate over the screened coordinates, {@link DIRECTION_LENGTH} long; absent
	 * as long as there is none.
	 */
	readonly direction?: Float64Array | undefined;
}

/** So long that rounding to integers is little of it, and that no input within the largest bound wraps the ring. */
export const DIRECTION_LENGTH = 32;

/** Most participants of a session with a selection: what they state of it has to fit into one message. */
export const MAX_SELECTION_HOLDERS = 101;
/** Fewer than so many sketches tell too much of each other by their distances. */
export const LEAST_SELECTION_HOLDERS = 10;

export type Offence = "too_long" | "wrong_mask" | "wrong_self_mask" | "wrong_input" | "wrong_sketch";

/** A participant that is proven to have broken the rules of the screening. */
export interface Offender {
	readonly peer: PeerId;
	readonly offence: Offence;
}

export interface ScreeningOutcome {
	/**
	 * False: a statement in the screening was a lie that only the opening shows, or the sum is longer than its
	 * inputs may be; it must not be used.
	 */
	readonly sound: boolean;
	/** Sorted by peer; everybody that verifies the sum names the same. */
	readonly offenders: readonly Offender[];
	/** Estimated L2 norms of the survivors' inputs, in integer units, in their order. */
	readonly norms: readonly number[];
	/** With a reputation that has a direction: agreement with it, in [-1, 1], of each input within the bound. */
	readonly alignments?: ReadonlyMap<PeerId, number> | undefined;
	/** Sorted; whose inputs kept to the bound and were left out of the sum for their reputation. */
	readonly leftOut?: readonly PeerId[] | undefined;
}

/** What an offence says of its author, for people. */
export function accusation({ peer, offence }: Offender): string {
	switch (offence) {
		case "too_long":
			return `${peer} sent an input beyond the norm that the round allows, by its own statement.`;
		case "wrong_mask":
			return `${peer} stated another mask than the one it shares with a mate.`;
		case "wrong_self_mask":
			return `${peer} stated another self mask than the one it committed to.`;
		case "wrong_input":
			return `${peer} proposed a sum whose inputs are not the ones that were stated.`;
		case "wrong_sketch":
			return `${peer} shared a sketch that is not its input's.`;
	}
}
