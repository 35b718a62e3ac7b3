/**
 * Masked sums by bucket: one after the other, each packed by itself; a cohort without buckets is one of them.
 * A bucket nothing of which is opened has zeros.
 */
import { isPacked, packedSize } from "../../crypto/ringPacking.ts";
import type { PeerId } from "../contract.ts";
import type { Context } from "./context.ts";
import { InputSum } from "./inputSum.ts";
import type { AggregationTask, MaskRemoval, UnmaskTask } from "./masking.ts";
import type { Proposal } from "./messages.ts";
import type { Opening } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import { survivorsOf } from "./proposal.ts";
import { vectorHash } from "./sessionId.ts";

/** Adds masked inputs up, each to its author's bucket. */
export class BucketSums {
	readonly #context: Context;
	readonly #sums: readonly InputSum[];
	readonly #workIds: readonly string[];

	/** @param workId begins the names of the tasks that the owner passes on to {@link completed} */
	constructor(context: Context, workId: string) {
		this.#context = context;
		this.#workIds = Array.from({ length: context.graph.bucketCount }, (_, bucket) => `${workId}/${bucket}`);
		this.#sums = this.#workIds.map((id) => new InputSum(context.config, id));
	}

	/** @param packed a checked masked input; not kept once it is added */
	add(author: PeerId, packed: Uint8Array, out: Outbox): void {
		this.#sums[this.#context.graph.bucketOf(author)]?.add(packed, out);
	}

	/** Several at once, by author. */
	addAll(inputs: ReadonlyMap<PeerId, Uint8Array>, out: Outbox): void {
		const { graph } = this.#context;
		for (const [bucket, sum] of this.#sums.entries()) {
			const here = [...inputs].filter(([author]) => graph.bucketOf(author) === bucket);
			if (here.length > 0)
				sum.addAll(
					here.map(([, packed]) => packed),
					out,
				);
		}
	}

	completed(workId: string, packed: Uint8Array, hash: Uint8Array, out: Outbox): void {
		this.#sums[this.#workIds.indexOf(workId)]?.completed(packed, hash, out);
	}

	/** The sums of everything added, once no addition is under way; undefined for none. */
	settled(): { readonly packed: Uint8Array; readonly hash: Uint8Array } | undefined {
		if (this.#sums.some((sum) => sum.adding)) return undefined;
		const settled = this.#sums.map((sum) => sum.settled());
		const [first, ...others] = settled;
		if (others.length === 0) return first;
		if (settled.every((sum) => sum === undefined)) return undefined;
		const { length, modulusBits } = this.#context.config;
		const bytes = packedSize(length, modulusBits);
		const packed = new Uint8Array(bytes * settled.length);
		for (const [bucket, sum] of settled.entries())
			if (sum !== undefined) packed.set(sum.packed, bucket * bytes);
		return { packed, hash: vectorHash(packed) };
	}

	clear(): void {
		for (const sum of this.#sums) sum.clear();
	}
}

/** Whether bytes are masked sums of a session's buckets. */
export function areMaskedSums({ config, graph }: Context, blob: Uint8Array): boolean {
	const { length, modulusBits } = config;
	const bytes = packedSize(length, modulusBits);
	if (blob.length !== bytes * graph.bucketCount) return false;
	return Array.from({ length: graph.bucketCount }, (_, bucket) =>
		isPacked(blob.subarray(bucket * bytes, (bucket + 1) * bytes), modulusBits, length),
	).every((sound) => sound);
}

/** The task that checks masked sums against their survivors' projections and, with masks, removes them. */
export function unmaskTask(
	{ config, graph }: Context,
	proposal: Proposal,
	opening: Pick<Opening, "projections" | "inputs">,
	rest: Pick<UnmaskTask, "packed" | "seed" | "compare" | "masks">,
): AggregationTask {
	const { length, modulusBits } = config;
	const survivors = survivorsOf(graph, proposal);
	const of = (bucket: number): UnmaskTask => {
		const isHere = (peer: PeerId) => graph.bucketOf(peer) === bucket;
		const bytes = packedSize(length, modulusBits);
		return {
			...rest,
			kind: "unmask",
			packed: rest.packed.slice(bucket * bytes, (bucket + 1) * bytes),
			projections: opening.projections.filter(({ author }) => isHere(author)).map(({ packed }) => packed),
			inputs: opening.inputs.filter(({ survivor }) => isHere(survivor)).map(({ packed }) => packed),
			masks: rest.masks && masksAmong(rest.masks, survivors, isHere),
			length,
			modulusBits,
		};
	};
	if (graph.bucketCount === 1) return of(0);
	const open = new Set(survivors.map((peer) => graph.bucketOf(peer)));
	const buckets = Array.from({ length: graph.bucketCount }, (_, bucket) =>
		open.has(bucket) ? of(bucket) : undefined,
	);
	return { kind: "unmaskBuckets", buckets, length, modulusBits };
}

/** The masks in the sum of some of the survivors, who are masked against nobody else. */
function masksAmong(
	masks: MaskRemoval,
	survivors: readonly PeerId[],
	isHere: (peer: PeerId) => boolean,
): MaskRemoval {
	return {
		sid: masks.sid,
		selfSeeds: masks.selfSeeds.filter((_, place) => isHere(survivors[place] as PeerId)),
		edges: masks.edges.filter(({ survivor }) => isHere(survivor)),
		secrets: masks.secrets.filter(({ peer }) => isHere(peer)),
	};
}

/** Unmasked sums by bucket, as views. */
export function sumsByBucket({ config, graph }: Context, sum: Uint32Array): Uint32Array[] {
	const { length } = config;
	return Array.from({ length: graph.bucketCount }, (_, bucket) =>
		sum.subarray(bucket * length, (bucket + 1) * length),
	);
}
