/**
 * A round's part of records that do not fit in memory: what a pass over them collected or summed,
 * in place of the records themselves. Which jobs can do with that, and how.
 */
import { AlthingError } from "../../crypto/error.ts";
import type { Rows } from "../data/plannedBatches.ts";
import type { StepSampling } from "../data/streamedPass.ts";
import type { LocalUpdate } from "../learning/localTraining.ts";
import type { Evaluation } from "../learning/trainer.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { largestSample } from "./recordReach.ts";
import { MOST_STEPS } from "./siteSteps.ts";

const MiB = 2 ** 20;
/** Of the memory for batches, what one pass collects. */
const PLANNED_SHARE = 3 / 8;
/** Of the same memory, the window that epochs are shuffled in. */
const WINDOW_SHARE = 3 / 4;

export interface StreamedRound {
	/** Training records of the site. */
	readonly trainingRows: number;
	/** The batch of each private step of the round; empty with `gradient` and `trained`. */
	readonly batches: readonly Rows[];
	/** Sum of all training records' gradients at the common parameters. */
	readonly gradient?: { readonly sum: Float64Array; readonly examples: number };
	/** Local epochs from the common parameters. */
	readonly trained?: LocalUpdate | "diverged";
	/** Of the held-out records, in rounds that evaluate. */
	readonly evaluation?: Evaluation;
}

/** The buffers of a round's part, to be moved to another thread. */
export function roundBuffers({ batches, gradient, trained }: StreamedRound): ArrayBuffer[] {
	const arrays = batches.flatMap(({ features, labels }) => [features, labels]);
	const delta = trained === "diverged" ? undefined : trained?.delta;
	const vectors = [gradient?.sum, delta].filter((vector) => vector !== undefined);
	return [...arrays, ...vectors].map(({ buffer }) => buffer as ArrayBuffer);
}

/** What a job's rounds want of a pass. */
export type StreamedWork =
	| { readonly kind: "batches"; readonly sampling: StepSampling; readonly stepsPerRound: number }
	| { readonly kind: "gradient" }
	/** Local epochs, each a pass. */
	| { readonly kind: "epochs" };

/**
 * How the rounds of a job are fed from a stream; or, as a text, why they cannot be.
 * @param localSteps private steps of a round, from the job's plan; 1 where there are none
 */
export function streamedWork(
	{ training, privacy, personalization }: Pick<ResolvedJobSpec, "training" | "privacy" | "personalization">,
	localSteps = 1,
): StreamedWork | string {
	if (personalization !== undefined)
		return "its personal models are trained on all records again and again, which needs them in memory; leave out personalization";
	if (privacy.mechanism === "site_gaussian")
		return {
			kind: "batches",
			sampling: { kind: "poisson", rate: privacy.samplingRate },
			stepsPerRound: localSteps,
		};
	if (training.algorithm !== "fedsgd") return { kind: "epochs" };
	if (privacy.mechanism === "none" || privacy.unit === "client") return { kind: "gradient" };
	if (privacy.correlation === "none")
		return {
			kind: "batches",
			sampling: { kind: "poisson", rate: privacy.samplingRate ?? 1 },
			stepsPerRound: 1,
		};
	return {
		kind: "batches",
		sampling: { kind: "cycle", separation: privacy.minimumSeparation ?? 1 },
		stepsPerRound: 1,
	};
}

/**
 * Rounds that one pass is planned for: as many as three eighths of the memory hold (what is used, what
 * is collected ahead, and a quarter for held-out records), with a margin that chance exceeds with
 * probability below 1e-13; then a little more memory is used, for dropping a batch by its size would
 * bias the sampling. 0 where every round takes a pass of its own.
 * @throws AlthingError `data.streaming_memory` where one round does not fit
 */
export function roundsAPass(
	work: StreamedWork,
	{
		features,
		trainingRows,
		rounds,
		memoryMiB,
	}: {
		readonly features: number;
		readonly trainingRows: number;
		readonly rounds: number;
		readonly memoryMiB: number;
	},
): number {
	if (work.kind !== "batches") return 0;
	const { sampling, stepsPerRound } = work;
	const rate = sampling.kind === "poisson" ? sampling.rate : 1 / sampling.separation;
	// A record of a batch: float32 features and label, and its place in the batch.
	const recordBytes = 4 * (features + 1) + 8;
	const bytesOf = (count: number) => largestSample(count * stepsPerRound * rate * trainingRows) * recordBytes;
	const room = memoryMiB * MiB * PLANNED_SHARE;
	if (bytesOf(1) > room) {
		const neededMiB = Math.ceil(bytesOf(1) / PLANNED_SHARE / MiB);
		throw new AlthingError(
			"data.streaming_memory",
			`a round of this job samples more records than data.streaming.batchMemoryMiB (${memoryMiB}) has room for; it takes ${neededMiB}. Raise it, or ask for a lower samplingRate.`,
			{ memoryMiB, neededMiB },
		);
	}
	let [fits, tooMany] = [1, rounds + 1];
	while (tooMany - fits > 1) {
		const middle = (fits + tooMany) >> 1;
		if (bytesOf(middle) <= room) fits = middle;
		else tooMany = middle;
	}
	return fits;
}

/**
 * Records that wait while an epoch is shuffled: as many as three quarters of the memory hold, at most all.
 * @throws AlthingError `data.streaming_memory` where they are fewer than a step takes; `data.cannot_stream`
 *   for FedNova where its count of steps would end every epoch early, with the same records each time
 */
export function shuffleRows(
	{
		localBatch,
		localEpochs,
		algorithm,
	}: Pick<ResolvedJobSpec["training"], "localBatch" | "localEpochs" | "algorithm">,
	{
		features,
		trainingRows,
		memoryMiB,
	}: { readonly features: number; readonly trainingRows: number; readonly memoryMiB: number },
): number {
	if (algorithm === "fednova" && localEpochs * Math.ceil(trainingRows / localBatch) > MOST_STEPS)
		throw new AlthingError(
			"data.cannot_stream",
			`fednova counts ${MOST_STEPS} steps a round at most, which is less than the epochs of this job have here; use fedavg, or a larger localBatch`,
		);
	const rows = Math.floor((memoryMiB * MiB * WINDOW_SHARE) / (4 * (features + 1)));
	const all = Math.max(1, trainingRows);
	if (rows >= Math.min(all, localBatch)) return Math.min(all, rows);
	throw new AlthingError(
		"data.streaming_memory",
		`a step of this job takes more records than data.streaming.batchMemoryMiB (${memoryMiB}) has room for. Raise it, or ask for a smaller localBatch.`,
		{ memoryMiB },
	);
}

/** Batches as one set of records, and the rows of each in it. */
export function oneAfterAnother(batches: readonly Rows[]): {
	readonly records: Rows;
	rowsOf(step: number): Uint32Array;
} {
	const starts = [0];
	for (const { rows } of batches) starts.push(starts.at(-1)! + rows);
	const rows = starts.at(-1)!;
	const features = new Float32Array(batches.reduce((length, batch) => length + batch.features.length, 0));
	const labels = new Float32Array(rows);
	let at = 0;
	for (const [i, batch] of batches.entries()) {
		features.set(batch.features, at);
		labels.set(batch.labels, starts[i]!);
		at += batch.features.length;
	}
	return {
		records: { features, labels, rows },
		rowsOf: (step) => Uint32Array.from({ length: batches[step]!.rows }, (_, i) => starts[step]! + i),
	};
}
