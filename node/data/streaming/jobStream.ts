/**
 * One job's rounds over records that do not fit in memory, in a thread of its own.
 *
 * A pass collects the batches of as many rounds as half of the memory holds; the next pass begins as
 * soon as one ends and collects into the other half, so that only the first round waits for a pass.
 * Batches are taken once, for the round they were drawn for; those of rounds that this site missed are
 * discarded, and a round that is asked for again is drawn afresh.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { RecordSource } from "../../../src/data/columns.ts";
import type { DataDescription } from "../../../src/data/description.ts";
import type { PlannedBatches, Rows } from "../../../src/data/plannedBatches.ts";
import {
	type EveryRecord,
	type PassResult,
	passOver,
	type StepSampling,
} from "../../../src/data/streamedPass.ts";
import {
	type BackendName,
	createTrainer,
	type Evaluation,
	type Trainer,
} from "../../../src/learning/trainer.ts";
import type { CommonState } from "../../../src/training/commonState.ts";
import type { ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import type { TrainingPlan } from "../../../src/training/plan.ts";
import { HELD_OUT_FRACTION } from "../../../src/training/siteData.ts";
import {
	roundsAPass,
	type StreamedRound,
	type StreamedWork,
	streamedWork,
} from "../../../src/training/streamedRound.ts";

/** Records that an evaluation or a gradient takes at a time. */
const BLOCK_ROWS = 2048;

export interface StreamedRecords {
	readonly description: DataDescription;
	readonly splitKey: Uint8Array;
	readonly trainingRows: number;
	readonly heldOutRows: number;
}

export interface JobStreamOptions {
	/** Opens the records for one pass. */
	readonly open: () => Promise<RecordSource>;
	readonly records: StreamedRecords;
	readonly spec: ResolvedJobSpec;
	readonly plan: TrainingPlan;
	readonly backend: BackendName;
	readonly batchMemoryMiB: number;
	/** Ends every pass. */
	readonly signal: AbortSignal;
}

/** A pass that collects batches of rounds to come. */
interface Planning {
	readonly firstRound: number;
	readonly endRound: number;
	readonly batches: Promise<PlannedBatches>;
	readonly stop: AbortController;
}

export class JobStream {
	readonly #options: JobStreamOptions;
	readonly #work: StreamedWork;
	readonly #roundsAPass: number;
	#trainer: Promise<Trainer> | undefined;
	#current: Planning | undefined;
	#ahead: Planning | undefined;
	#turn: Promise<unknown> = Promise.resolve();
	/** The held-out records, where they fit. */
	#heldOut: Rows | undefined;

	/** @throws AlthingError `data.cannot_stream`, `data.streaming_memory` */
	constructor(options: JobStreamOptions) {
		this.#options = options;
		const { spec, plan, records, batchMemoryMiB } = options;
		const work = streamedWork(spec, plan.localSteps);
		if (typeof work === "string")
			throw new AlthingError("data.cannot_stream", `This job cannot stream: ${work}.`);
		this.#work = work;
		this.#roundsAPass = roundsAPass(work, {
			features: records.description.features.count,
			trainingRows: records.trainingRows,
			rounds: spec.training.rounds,
			memoryMiB: batchMemoryMiB,
		});
	}

	/** Rounds that one pass is planned for; 0 where every round takes a pass. */
	get roundsAPass(): number {
		return this.#roundsAPass;
	}

	/** One round after another, however they are asked for. @throws AlthingError `data.*`, `learning.*` */
	round(round: number, state: CommonState): Promise<StreamedRound> {
		const answer = this.#turn.then(() => this.#round(round, state));
		this.#turn = answer.catch(() => {});
		return answer;
	}

	async #round(round: number, state: CommonState): Promise<StreamedRound> {
		const { spec, records } = this.#options;
		const { trainingRows } = records;
		const evaluates = round % spec.training.evaluateEveryRounds === 0;
		if (this.#work.kind === "gradient") {
			const { gradient, evaluation } = await this.#sums(state, { gradient: true, evaluates });
			return { trainingRows, batches: [], ...given({ gradient, evaluation }) };
		}
		const batches = await this.#batchesOf(round, this.#work.stepsPerRound);
		const { evaluation } = evaluates ? await this.#sums(state, { gradient: false, evaluates }) : {};
		return { trainingRows, batches, ...given({ evaluation }) };
	}

	/** Forgets what was planned and gives back all memory; the signal has ended the passes. */
	async close(): Promise<void> {
		await this.#turn;
		for (const planning of [this.#current, this.#ahead]) {
			discard(planning);
			await planning?.batches.catch(() => {});
		}
		this.#current = undefined;
		this.#ahead = undefined;
		this.#heldOut?.features.fill(0);
		this.#heldOut = undefined;
		await (await this.#trainer?.catch(() => undefined))?.dispose();
	}

	async #batchesOf(round: number, stepsPerRound: number): Promise<Rows[]> {
		if (!(await offers(this.#current, round, stepsPerRound))) {
			discard(this.#current);
			this.#current = undefined;
			if (covers(this.#ahead, round)) this.#current = this.#ahead;
			else discard(this.#ahead);
			this.#ahead = undefined;
			this.#current ??= this.#plan(round);
		}
		const current = this.#current!;
		let planned: PlannedBatches;
		try {
			planned = await current.batches;
		} catch (error) {
			// The next round tries another pass.
			if (this.#current === current) this.#current = undefined;
			throw error;
		}
		const first = round * stepsPerRound;
		const batches = Array.from({ length: stepsPerRound }, (_, step) => planned.take(first + step)!);
		if (this.#ahead === undefined && current.endRound < this.#options.spec.training.rounds)
			this.#ahead = this.#plan(current.endRound);
		return batches;
	}

	#plan(firstRound: number): Planning {
		const { rounds } = this.#options.spec.training;
		const endRound = Math.min(rounds, firstRound + this.#roundsAPass);
		const { sampling, stepsPerRound } = this.#work as Extract<StreamedWork, { kind: "batches" }>;
		const stop = new AbortController();
		const signal = AbortSignal.any([stop.signal, this.#options.signal]);
		const plan = {
			sampling,
			first: firstRound * stepsPerRound,
			steps: Math.max(1, endRound - firstRound) * stepsPerRound,
		};
		const batches = this.#pass({ plan, signal }).then((result) => result.batches!);
		// Heard of when a round asks for it.
		batches.catch(() => {});
		return { firstRound, endRound, batches, stop };
	}

	async #pass(wanted: {
		readonly plan?: { readonly sampling: StepSampling; readonly first: number; readonly steps: number };
		readonly every?: readonly EveryRecord[];
		readonly signal?: AbortSignal;
	}): Promise<PassResult> {
		const { description, splitKey, trainingRows, heldOutRows } = this.#options.records;
		const source = await this.#options.open();
		try {
			return await passOver({
				source,
				description,
				splitKey,
				heldOutFraction: HELD_OUT_FRACTION,
				knownRows: trainingRows + heldOutRows,
				signal: this.#options.signal,
				...wanted,
			});
		} finally {
			await source.close();
		}
	}

	/** What is computed from every record of a part, at the common parameters. */
	async #sums(
		{ parameters }: CommonState,
		{ gradient: wantsGradient, evaluates }: { readonly gradient: boolean; readonly evaluates: boolean },
	): Promise<Pick<StreamedRound, "gradient" | "evaluation">> {
		const { plan, backend } = this.#options;
		this.#trainer ??= createTrainer({ model: plan.model, backend, threads: 1 });
		const trainer = await this.#trainer;
		const gradient = { sum: new Float64Array(trainer.parameterCount), examples: 0 };
		let evaluation: Evaluation = { lossSum: 0, correct: 0, examples: 0 };
		const add = async (block: Rows) => {
			const one = await trainer.evaluate(parameters, block, plan.lossBound);
			evaluation = {
				lossSum: evaluation.lossSum + one.lossSum,
				correct: evaluation.correct + one.correct,
				examples: evaluation.examples + one.examples,
			};
		};
		const every: EveryRecord[] = [];
		if (wantsGradient)
			every.push({
				part: "train",
				rows: BLOCK_ROWS,
				take: async (block) => {
					const { sum, examples } = await trainer.gradientSum(parameters, block);
					for (let i = 0; i < sum.length; i++) gradient.sum[i]! += sum[i]!;
					gradient.examples += examples;
				},
			});
		if (evaluates && this.#heldOut === undefined) {
			const kept = this.#roomForHeldOut();
			every.push({
				part: "heldOut",
				rows: BLOCK_ROWS,
				take: async (block) => {
					kept?.add(block);
					await add(block);
				},
			});
			await this.#pass({ every });
			this.#heldOut = kept?.rows;
		} else {
			if (every.length > 0) await this.#pass({ every });
			if (evaluates && this.#heldOut !== undefined) await add(this.#heldOut);
		}
		return given({
			gradient: wantsGradient ? gradient : undefined,
			evaluation: evaluates ? evaluation : undefined,
		});
	}

	/** A quarter of the memory is for held-out records, if they fit into it. */
	#roomForHeldOut(): { readonly rows: Rows; add(block: Rows): void } | undefined {
		const { records, batchMemoryMiB } = this.#options;
		const { heldOutRows } = records;
		const width = records.description.features.count;
		if (heldOutRows * 4 * (width + 1) > (batchMemoryMiB * 2 ** 20) / 4) return undefined;
		const features = new Float32Array(heldOutRows * width);
		const labels = new Float32Array(heldOutRows);
		let at = 0;
		return {
			rows: { features, labels, rows: heldOutRows },
			add: (block) => {
				features.set(block.features, at * width);
				labels.set(block.labels, at);
				at += block.rows;
			},
		};
	}
}

/** Without what there is none of. */
function given<T extends object>(parts: T): { [Key in keyof T]?: NonNullable<T[Key]> } {
	return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as never;
}

function covers(planning: Planning | undefined, round: number): boolean {
	return planning !== undefined && planning.firstRound <= round && round < planning.endRound;
}

/** Whether the round's batches are planned and not taken. */
async function offers(
	planning: Planning | undefined,
	round: number,
	stepsPerRound: number,
): Promise<boolean> {
	if (!covers(planning, round)) return false;
	const planned = await planning!.batches.catch(() => undefined);
	return planned?.has(round * stepsPerRound) ?? false;
}

function discard(planning: Planning | undefined): void {
	planning?.stop.abort();
	planning?.batches.then(
		(planned) => planned.discard(),
		() => {},
	);
}
