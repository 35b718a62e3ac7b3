/**
 * What each round of a vertical job is for. Records are drawn in public: which of them a step uses
 * is known to all, so no amplification by sampling is claimed, and each trains once an epoch.
 */
import { hashFields } from "../../crypto/hash.ts";
import { forEachChunk } from "../../crypto/maskStream.ts";
import type { VerticalJob } from "./verticalSpec.ts";

export type Step =
	/** Are these the same records everywhere? */
	| { readonly kind: "align" }
	/** Own parts' outputs for a batch of training records, or a chunk of held-out ones, are summed. */
	| {
			readonly kind: "forward";
			readonly epoch: number;
			readonly part: "train" | "heldOut";
			/** Of the part, counted from 0. */
			readonly chunk: number;
	  }
	/** The label holder's errors for the batch come back. `step` counts them over the job. */
	| { readonly kind: "backward"; readonly epoch: number; readonly chunk: number; readonly step: number }
	/** The label holder tells how well the held-out records were predicted. */
	| { readonly kind: "score"; readonly epoch: number };

const HELD_OUT_SHARE = 0.2;

export interface Schedule {
	readonly rounds: number;
	readonly trainRecords: number;
	readonly heldOutRecords: number;
	readonly batch: number;
	readonly trainChunks: number;
	readonly heldOutChunks: number;
}

export function scheduleOf({ data, training }: Pick<VerticalJob, "data" | "training">): Schedule {
	const heldOutRecords = Math.floor(data.records * HELD_OUT_SHARE);
	const trainRecords = data.records - heldOutRecords;
	const { batch, epochs } = training;
	const trainChunks = Math.ceil(trainRecords / batch);
	const heldOutChunks = Math.ceil(heldOutRecords / batch);
	const rounds = 1 + epochs * (2 * trainChunks + heldOutChunks + 1);
	return { rounds, trainRecords, heldOutRecords, batch, trainChunks, heldOutChunks };
}

/** @param round in [0, schedule.rounds) */
export function stepOf(schedule: Schedule, round: number): Step {
	if (round === 0) return { kind: "align" };
	const { trainChunks, heldOutChunks } = schedule;
	const perEpoch = 2 * trainChunks + heldOutChunks + 1;
	const epoch = Math.floor((round - 1) / perEpoch);
	const place = (round - 1) % perEpoch;
	if (place < 2 * trainChunks) {
		const chunk = place >> 1;
		return place % 2 === 0
			? { kind: "forward", epoch, part: "train", chunk }
			: { kind: "backward", epoch, chunk, step: epoch * trainChunks + chunk };
	}
	const chunk = place - 2 * trainChunks;
	return chunk < heldOutChunks
		? { kind: "forward", epoch, part: "heldOut", chunk }
		: { kind: "score", epoch };
}

/** How many batches' errors had come back before a round. */
export function errorsBefore(schedule: Schedule, round: number): number {
	const step = stepOf(schedule, round);
	switch (step.kind) {
		case "align":
			return 0;
		case "backward":
			return step.step;
		case "score":
			return (step.epoch + 1) * schedule.trainChunks;
		case "forward":
			return step.part === "train"
				? step.epoch * schedule.trainChunks + step.chunk
				: (step.epoch + 1) * schedule.trainChunks;
	}
}

/**
 * The common records (places in the alignment) of a chunk. Held-out records are the last ones of the
 * alignment, training records are shuffled anew for each epoch by the job's public seed.
 */
export function recordsOf(
	schedule: Schedule,
	seed: Uint8Array,
	{ epoch, part, chunk }: Extract<Step, { kind: "forward" }>,
): Int32Array {
	const { trainRecords, heldOutRecords, batch } = schedule;
	if (part === "heldOut") {
		const first = trainRecords + chunk * batch;
		const count = Math.min(batch, trainRecords + heldOutRecords - first);
		return Int32Array.from({ length: count }, (_, i) => first + i);
	}
	const order = publicPermutation(hashFields("althing/vertical-batches/1", seed, epoch), trainRecords);
	return order.subarray(chunk * batch, Math.min((chunk + 1) * batch, trainRecords));
}

/** 0 to count - 1, sorted by 64 bits each of a public key stream. */
function publicPermutation(seed: Uint8Array, count: number): Int32Array {
	const words = new Uint32Array(2 * count);
	forEachChunk(words.length, seed, (offset, chunk) => words.set(chunk, offset));
	return Int32Array.from({ length: count }, (_, i) => i).sort(
		(a, b) => words[2 * a]! - words[2 * b]! || words[2 * a + 1]! - words[2 * b + 1]! || a - b,
	);
}
