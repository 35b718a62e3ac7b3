/**
 * One job's rounds over records that do not fit in memory, in a thread of its own.
 *
 * A pass collects the batches of as many rounds as half of the memory holds; the next pass begins as
 * soon as one ends and collects into the other half, so that only the first round waits for a pass.
 * Batches are taken once, for the round they were drawn for; those of rounds that this site missed are
 * discarded, and a round that is asked for again is drawn afresh. Local epochs take a pass each.
 */
import { AlthingError } from "../../../crypto/error.ts";
import type { RecordSource } from "../../../src/data/columns.ts";
import type { DataDescription } from "../../../src/data/description.ts";
import type { PlannedBatches, Rows } from "../../../src/data/plannedBatches.ts";
import { ShuffleWindow } from "../../../src/data/shuffleWindow.ts";
import {
	type EveryRecord,
	type PassResult,
	passOver,
	type StepSampling,
} from "../../../src/data/streamedPass.ts";
import { diverged, trainOverEpochs } from "../../../src/learning/localTraining.ts";
import {
	type BackendName,
	createTrainer,
	type Evaluation,
	type Trainer,
} from "../../../src/learning/trainer.ts";
import { RandomWords } from "../../../src/privacy/samplers/randomWords.ts";
import type { CommonState } from "../../../src/training/commonState.ts";
import type { ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import type { TrainingPlan } from "../../../src/training/plan.ts";
import { HELD_OUT_FRACTION } from "../../../src/training/siteData.ts";
import { NEW_SITE, type SiteState } from "../../../src/training/siteState.ts";
import { epochsStart } from "../../../src/training/siteSteps.ts";
import {
	roundsAPass,
	type StreamedRound,
	type StreamedWork,
	shuffleRows,
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
	/** Shuffle local epochs; of the system CSPRNG, unless a test passes a named seeded source. */
	readonly words?: RandomWords;
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
	/** Records that wait while local epochs are shuffled; 0 for jobs without any. */
	readonly #windowRows: number;
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
		const here = {
			features: records.description.features.count,
			trainingRows: records.trainingRows,
			memoryMiB: batchMemoryMiB,
		};
		this.#roundsAPass = roundsAPass(work, { ...here, rounds: spec.training.rounds });
		this.#windowRows = work.kind === "epochs" ? shuffleRows(spec.training, here) : 0;
	}

	/** Rounds that one pass is planned for; 0 where every round takes a pass. */
	get roundsAPass(): number {
		return this.#roundsAPass;
	}

	/**
	 * One round after another, however they are asked for.
	 * @param own what the site keeps for itself, for local epochs that go by it
	 * @throws AlthingError `data.*`, `learning.*`
	 */
	round(round: number, state: CommonState, own: SiteState = NEW_SITE): Promise<StreamedRound> {
		const answer = this.#turn.then(() => this.#round(round, state, own));
		this.#turn = answer.catch(() => {});
		return answer;
	}

	async #round(round: number, state: CommonState, own: SiteState): Promise<StreamedRound> {
		const { spec, records } = this.#options;
		const { trainingRows } = records;
		const evaluating =
			round % spec.training.evaluateEveryRounds === 0 ? await this.#evaluating(state) : undefined;
		const every = evaluating?.every ?? [];
		const ended = async () => given({ evaluation: await evaluating?.result() });
		switch (this.#work.kind) {
			case "gradient": {
				const gradient = await this.#gradient(state, every);
				return { trainingRows, batches: [], gradient, ...(await ended()) };
			}
			case "epochs": {
				const trained = await this.#epochs(round, state, own, every);
				return { trainingRows, batches: [], trained, ...(await ended()) };
			}
			case "batches": {
				const batches = await this.#batchesOf(round, this.#work.stepsPerRound);
				if (every.length > 0) await this.#pass({ every });
				return { trainingRows, batches, ...(await ended()) };
			}
		}
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
		readonly partsBy?: RandomWords;
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

	/** The sum of all training records' gradients at the common parameters, in a pass that serves others as well. */
	async #gradient(
		{ parameters }: CommonState,
		others: readonly EveryRecord[],
	): Promise<NonNullable<StreamedRound["gradient"]>> {
		const trainer = await this.#training();
		const total = { sum: new Float64Array(trainer.parameterCount), examples: 0 };
		const every: EveryRecord = {
			part: "train",
			rows: BLOCK_ROWS,
			take: async (block) => {
				const { sum, examples } = await trainer.gradientSum(parameters, block);
				for (let i = 0; i < sum.length; i++) total.sum[i]! += sum[i]!;
				total.examples += examples;
			},
		};
		await this.#pass({ every: [every, ...others] });
		return total;
	}

	/**
	 * Local epochs, a pass each; the first serves others as well, and is read to its end also where
	 * training diverges: what that means for the round is not the stream's to say.
	 */
	async #epochs(
		round: number,
		state: CommonState,
		own: SiteState,
		others: readonly EveryRecord[],
	): Promise<NonNullable<StreamedRound["trained"]>> {
		const { spec, plan, records, words = new RandomWords() } = this.#options;
		const { start, rule } = epochsStart({ spec, plan }, round, state, own);
		const size = {
			windowRows: this.#windowRows,
			batchRows: spec.training.localBatch,
			width: records.description.features.count,
		};
		const trainer = await this.#training();
		let finite = true;
		const unlessDiverged = async <T>(train: () => Promise<T>): Promise<T | undefined> => {
			if (!finite) return undefined;
			try {
				return await train();
			} catch (error) {
				if (!(error instanceof AlthingError && error.code === "learning.not_finite")) throw error;
				finite = false;
				return undefined;
			}
		};
		const trained = await unlessDiverged(() =>
			trainOverEpochs(trainer, start, rule, async (epoch, take) => {
				const window = new ShuffleWindow(size, (batch) => unlessDiverged(() => take(batch)), words);
				try {
					const every: EveryRecord = { part: "train", rows: BLOCK_ROWS, take: (block) => window.add(block) };
					await this.#pass({ partsBy: words, every: epoch === 0 ? [every, ...others] : [every] });
					await window.end();
				} finally {
					window.wipe();
				}
				// Nothing is left to be learned.
				if (!finite) throw diverged();
			}),
		);
		return trained ?? "diverged";
	}

	/** Evaluates the common parameters: what a pass has to show for it, and the result when the pass has ended. */
	async #evaluating({ parameters }: CommonState): Promise<{
		readonly every: readonly EveryRecord[];
		result(): Promise<Evaluation>;
	}> {
		const trainer = await this.#training();
		const evaluate = (block: Rows) => trainer.evaluate(parameters, block, this.#options.plan.lossBound);
		const heldOut = this.#heldOut;
		if (heldOut !== undefined) return { every: [], result: () => evaluate(heldOut) };
		const kept = this.#roomForHeldOut();
		let evaluation: Evaluation = { lossSum: 0, correct: 0, examples: 0 };
		const take = async (block: Rows) => {
			kept?.add(block);
			const one = await evaluate(block);
			evaluation = {
				lossSum: evaluation.lossSum + one.lossSum,
				correct: evaluation.correct + one.correct,
				examples: evaluation.examples + one.examples,
			};
		};
		return {
			every: [{ part: "heldOut", rows: BLOCK_ROWS, take }],
			result: async () => {
				this.#heldOut = kept?.rows;
				return evaluation;
			},
		};
	}

	#training(): Promise<Trainer> {
		const { plan, backend } = this.#options;
		this.#trainer ??= createTrainer({ model: plan.model, backend, threads: 1 });
		return this.#trainer;
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
