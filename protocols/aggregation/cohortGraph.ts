/**
 * Who holds whose shares and is masked against whom, among all members that may be in a session: a
 * public function of the beacon, so a coordinator that leaves members out moves nobody's neighbours.
 * A missing neighbour counts as one that dropped out.
 */
import { scryptSync } from "node:crypto";
import { toHex } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId } from "../contract.ts";
import type { CohortParameters, RingCohort } from "./cohortParameters.ts";
import { DOMAIN } from "./sessionId.ts";

export interface CohortGraph {
	/** Sorted. */
	readonly members: readonly PeerId[];
	/** Every member, by position; Merkle trees over the cohort have this order. */
	readonly order: readonly PeerId[];
	/** @returns -1 for a stranger */
	positionOf(member: PeerId): number;
	/** Share holders of a member; the one at i has share i + 1. A member holds shares of its own holders. */
	holdersOf(member: PeerId): readonly PeerId[];
	/** Members that one is masked against; symmetric. */
	matesOf(member: PeerId): readonly PeerId[];
	/** Holders and mates, by position. */
	neighboursOf(member: PeerId): readonly PeerId[];
	/** Who is told of a member's vote besides the coordinator, so that two stories of one coordinator meet. */
	witnessesOf(member: PeerId): readonly PeerId[];
	/** t, in a roster of this size. */
	threshold(rosterSize: number): number;
	/** Sums that are opened, each by itself: members are masked against others of their bucket alone. */
	readonly bucketCount: number;
	/** @returns 0 where there is one sum */
	bucketOf(member: PeerId): number;
	/** Those among survivors whose bucket may be opened: all where there is one sum. Sorted like the survivors. */
	openable(survivors: readonly PeerId[]): readonly PeerId[];
	/** Buckets without which nothing is opened, when so many attackers are proven and left out. */
	leastBuckets(proven: number): number;
	/** Why the sum of these survivors must not be opened, whoever is corrupt; undefined if it may. */
	thinSpot(survivors: Iterable<PeerId>): string | undefined;
}

/** Memory-hard, so that trying out beacons is dear: 32 MiB and some 80 ms each. */
const STRETCH = { N: 2 ** 15, r: 8, p: 1, maxmem: 2 ** 26 };

/**
 * Seed of the graph from the beacon of a job's start. Slow on purpose (decision 022): compute it once.
 * @returns 32 bytes
 */
export function graphSeedOf(beacon: Uint8Array): Uint8Array {
	return Uint8Array.from(scryptSync(beacon, `${DOMAIN}/graph`, 32, STRETCH));
}

/**
 * @param members sorted
 * @param seed 32 bytes that nobody could choose after the members were known; not used by a complete graph
 */
export function cohortGraph(
	members: readonly PeerId[],
	parameters: CohortParameters,
	seed: Uint8Array,
): CohortGraph {
	const key = parameters.graph === "complete" ? "" : `${toHex(seed)} ${Object.values(parameters).join()}`;
	const known = recent.get(members);
	if (known?.key === key) return known.graph;
	const graph =
		parameters.graph === "complete"
			? new CompleteGraph(members)
			: new RingGraph(members, inRandomOrder(members, seed), parameters);
	recent.set(members, { key, graph });
	return graph;
}

/** A job's sessions have the same members in the same order, round after round. */
const recent = new WeakMap<readonly PeerId[], { readonly key: string; readonly graph: CohortGraph }>();

function inRandomOrder(members: readonly PeerId[], seed: Uint8Array): PeerId[] {
	const keyed = members.map((member) => [toHex(hashFields(`${DOMAIN}/ring`, seed, member)), member] as const);
	return keyed.sort(([a], [b]) => (a < b ? -1 : 1)).map(([, member]) => member);
}

/** Graphs of one sum. */
abstract class OneSum {
	readonly bucketCount: number = 1;

	bucketOf(_member: PeerId): number {
		return 0;
	}

	openable(survivors: readonly PeerId[]): readonly PeerId[] {
		return survivors;
	}

	leastBuckets(_proven: number): number {
		return 1;
	}
}

export class CompleteGraph extends OneSum implements CohortGraph {
	readonly members: readonly PeerId[];
	readonly #positions: ReadonlyMap<PeerId, number>;
	/** Everybody but one, as far as it was asked for. */
	readonly #others = new Map<PeerId, readonly PeerId[]>();

	constructor(members: readonly PeerId[]) {
		super();
		this.members = members;
		this.#positions = positionsIn(members);
	}

	get order(): readonly PeerId[] {
		return this.members;
	}

	positionOf(member: PeerId): number {
		return this.#positions.get(member) ?? -1;
	}

	holdersOf(member: PeerId): readonly PeerId[] {
		const known = this.#others.get(member);
		if (known !== undefined) return known;
		const others = this.members.filter((other) => other !== member);
		// A stranger's is not kept: there may be any number of them.
		if (this.#positions.has(member)) this.#others.set(member, others);
		return others;
	}

	matesOf(member: PeerId): readonly PeerId[] {
		return this.holdersOf(member);
	}

	neighboursOf(member: PeerId): readonly PeerId[] {
		return this.holdersOf(member);
	}

	witnessesOf(member: PeerId): readonly PeerId[] {
		return this.holdersOf(member);
	}

	/** t = floor(n/2)+1: safe together with the one certificate. */
	threshold(rosterSize: number): number {
		return Math.floor(rosterSize / 2) + 1;
	}

	thinSpot(): undefined {
		return undefined;
	}
}

/** Nearest members on the ring, on both sides together, that hear of a vote. */
const WITNESSES = 4;

class RingGraph extends OneSum implements CohortGraph {
	readonly members: readonly PeerId[];
	readonly order: readonly PeerId[];
	readonly #positions: ReadonlyMap<PeerId, number>;
	readonly #parameters: RingCohort;
	/** Nearest members by degree and position, as far as they were asked for. */
	readonly #near = new Map<number, (readonly PeerId[] | undefined)[]>();

	constructor(members: readonly PeerId[], order: readonly PeerId[], parameters: RingCohort) {
		super();
		this.members = members;
		this.order = order;
		this.#positions = positionsIn(order);
		this.#parameters = parameters;
	}

	positionOf(member: PeerId): number {
		return this.#positions.get(member) ?? -1;
	}

	holdersOf(member: PeerId): readonly PeerId[] {
		return this.#around(member, this.#parameters.holders);
	}

	matesOf(member: PeerId): readonly PeerId[] {
		return this.#around(member, this.#parameters.mates);
	}

	neighboursOf(member: PeerId): readonly PeerId[] {
		return this.#around(member, Math.max(this.#parameters.holders, this.#parameters.mates));
	}

	witnessesOf(member: PeerId): readonly PeerId[] {
		return this.#around(member, Math.min(WITNESSES, this.#parameters.holders));
	}

	threshold(): number {
		return this.#parameters.threshold;
	}

	/** The `degree` nearest, half of them on each side, from the farthest before to the farthest after. */
	#around(member: PeerId, degree: number): readonly PeerId[] {
		const at = this.#positions.get(member);
		if (at === undefined) return [];
		const known = this.#near.get(degree)?.[at];
		if (known !== undefined) return known;
		const size = this.order.length;
		const reach = degree / 2;
		const offsets = Array.from({ length: degree }, (_, i) => (i < reach ? i - reach : i - reach + 1));
		const near = offsets.map((offset) => this.order[(at + offset + size) % size] as PeerId);
		const ofDegree = this.#near.get(degree) ?? new Array<readonly PeerId[] | undefined>(size);
		ofDegree[at] = near;
		this.#near.set(degree, ofDegree);
		return near;
	}

	/**
	 * Honest survivors whose neighbours on the ring are at most km/2 positions apart are masked against
	 * each other. To part them takes two gaps of km/2 positions in which whoever survives is corrupt; with
	 * w survivors in any two disjoint windows that would be w corrupt members there (README, "Sparse graphs").
	 */
	thinSpot(survivors: Iterable<PeerId>): string | undefined {
		const { mates, windowSurvivors } = this.#parameters;
		const width = mates / 2;
		const size = this.order.length;
		const present = new Uint8Array(size);
		for (const survivor of survivors) present[this.positionOf(survivor)] = 1;
		const counts = new Uint16Array(size);
		let count = 0;
		for (let i = 0; i < width; i++) count += present[i] as number;
		for (let first = 0; first < size; first++) {
			counts[first] = count;
			count += (present[(first + width) % size] as number) - (present[first] as number);
		}
		// Of all windows from a position on, the emptiest: what a window whose ring is not closed before it meets.
		const emptiest = Uint16Array.from(counts);
		for (let i = size - 2; i >= 0; i--)
			emptiest[i] = Math.min(emptiest[i] as number, emptiest[i + 1] as number);
		let least = 2 * width;
		for (let a = 0; a + width < size; a++) {
			let other = emptiest[a + width] as number;
			if (a < width) {
				// The other window must end before this one begins again.
				other = 2 * width;
				for (let b = a + width; b <= a + size - width; b++) other = Math.min(other, counts[b] as number);
			}
			least = Math.min(least, (counts[a] as number) + other);
		}
		return least >= windowSurvivors
			? undefined
			: `only ${least} survivors are left in two windows of ${width} neighbours, where ${windowSurvivors} are required`;
	}
}

function positionsIn(order: readonly PeerId[]): ReadonlyMap<PeerId, number> {
	return new Map(order.map((member, position) => [member, position]));
}
