/**
 * A cohort in buckets: members are masked against those of their own bucket alone, so that each bucket's sum
 * is opened by itself; secrets are shared among the whole cohort, as ever, and one certificate fixes the
 * survivors of all buckets. Who is in which bucket follows from a beacon: no coordinator picks a bucket.
 */
import { toHex } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId } from "../contract.ts";
import { type CohortGraph, CompleteGraph } from "./cohortGraph.ts";
import { DOMAIN } from "./sessionId.ts";

export interface BucketRules {
	/** Members of a bucket, or one more of some. */
	readonly size: number;
	/** Of a bucket with fewer survivors nothing is opened: they count as dropouts. At least 2. */
	readonly survivors: number;
	/** f: the rule over the buckets' sums needs 2 f + 1 of them. */
	readonly attackers: number;
}

/** The most buckets of so many members. */
export function bucketCountOf(members: number, { size }: Pick<BucketRules, "size">): number {
	return Math.max(1, Math.floor(members / size));
}

/** Members of each bucket among some, in their order. */
export function byBucket(graph: CohortGraph, members: readonly PeerId[]): PeerId[][] {
	return Array.from({ length: graph.bucketCount }, (_, bucket) =>
		members.filter((member) => graph.bucketOf(member) === bucket),
	);
}

export class BucketGraph extends CompleteGraph {
	override readonly bucketCount: number;
	readonly #rules: BucketRules;
	readonly #bucketOf: ReadonlyMap<PeerId, number>;

	/**
	 * @param members sorted
	 * @param seed 32 bytes that nobody could choose after the members were known
	 */
	constructor(members: readonly PeerId[], rules: BucketRules, seed: Uint8Array) {
		super(members);
		this.#rules = rules;
		this.bucketCount = bucketCountOf(members.length, rules);
		const drawn = members.map(
			(member) => [toHex(hashFields(`${DOMAIN}/bucket`, seed, member)), member] as const,
		);
		drawn.sort(([a], [b]) => (a < b ? -1 : 1));
		this.#bucketOf = new Map(drawn.map(([, member], place) => [member, place % this.bucketCount]));
	}

	override bucketOf(member: PeerId): number {
		return this.#bucketOf.get(member) ?? -1;
	}

	override matesOf(member: PeerId): readonly PeerId[] {
		const bucket = this.bucketOf(member);
		return this.members.filter((other) => other !== member && this.bucketOf(other) === bucket);
	}

	/** Those in buckets of which enough survive. */
	override openable(survivors: readonly PeerId[]): PeerId[] {
		const counts = this.#counts(survivors);
		return survivors.filter((member) => (counts[this.bucketOf(member)] ?? 0) >= this.#rules.survivors);
	}

	/** An attacker spoils one bucket; one that is proven, and left out, spoils none. */
	override leastBuckets(proven: number): number {
		return 2 * Math.max(0, this.#rules.attackers - proven) + 1;
	}

	#counts(survivors: Iterable<PeerId>): number[] {
		const counts = new Array<number>(this.bucketCount).fill(0);
		for (const member of survivors) {
			const bucket = this.bucketOf(member);
			if (bucket >= 0) counts[bucket]!++;
		}
		return counts;
	}
}
