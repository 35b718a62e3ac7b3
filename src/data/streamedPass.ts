/**
 * One pass over records that do not fit in memory, for everything that is wanted of it: the batches
 * of several steps, every record of one part, counts.
 *
 * A record's coins are tossed before it is looked at, and records that no step wants are neither
 * scaled nor hashed. Coins of held-out records are tossed and dropped: the others' law is untouched.
 */
import { AlthingError } from "../../crypto/error.ts";
import { participationPlace } from "../privacy/correlatedNoise/participation.ts";
import type { RandomWords } from "../privacy/samplers/randomWords.ts";
import { type ColumnChunk, RecordShaper, type RecordSource } from "./columns.ts";
import type { DataDescription } from "./description.ts";
import { GeometricSkips } from "./geometricSkips.ts";
import { heldOutTest } from "./partition.ts";
import { PlannedBatches, type Rows } from "./plannedBatches.ts";
import { shuffled } from "./shuffleWindow.ts";

/** Which records a step of a job takes. */
export type StepSampling =
	/** Each independently with probability `rate`. */
	| { readonly kind: "poisson"; readonly rate: number }
	/** Those whose place in a cycle of `separation` steps it is. */
	| { readonly kind: "cycle"; readonly separation: number };

export interface PlannedSteps {
	readonly sampling: StepSampling;
	readonly first: number;
	readonly steps: number;
}

export type Part = "train" | "heldOut";

/** Records of a part, as they come, in blocks of at most `rows`. */
export interface EveryRecord {
	readonly part: Part;
	readonly rows: number;
	readonly take: (block: Rows) => void | Promise<void>;
}

export interface PassRequest {
	readonly source: RecordSource;
	readonly description: DataDescription;
	/** The site's secret 32-byte key for the data set. */
	readonly splitKey: Uint8Array;
	readonly heldOutFraction: number;
	/** Records that the source has, where that is known: another number is an error. */
	readonly knownRows?: number;
	/** Collect the batches of the steps first .. first + steps - 1; `knownRows` is needed for it. */
	readonly plan?: PlannedSteps;
	/** Parts of which every record is wanted. */
	readonly every?: readonly EveryRecord[];
	/** Read the source's parts in an order that these decide, where it has parts; not with `plan`. */
	readonly partsBy?: RandomWords;
	/** Look at every record, to count the parts. */
	readonly count?: boolean;
	/** Ends the pass early. */
	readonly signal?: AbortSignal;
	/** Hears how many records are read. */
	readonly onProgress?: (rows: number) => void;
	/** Of the system CSPRNG, unless a test passes a named seeded source. */
	readonly words?: RandomWords;
}

export interface PassResult {
	/** Records of both parts. */
	readonly rows: number;
	/** Of the records looked at, which are all only with `every` or `count`. */
	readonly trainingRows: number;
	readonly heldOutRows: number;
	readonly batches: PlannedBatches | undefined;
}

/**
 * @throws AlthingError `data.*` of a record that cannot be used, `data.changed` when there are more or
 *   fewer records than known, `data.pass_ended` when the signal is given
 */
export async function passOver(request: PassRequest): Promise<PassResult> {
	const { source, description, splitKey, plan, every = [] } = request;
	const shaper = new RecordShaper(source, description);
	const { width } = shaper;
	const isHeldOut = heldOutTest(splitKey, request.heldOutFraction, width);
	const choice = plan === undefined ? undefined : choiceOf(request, plan, width);
	const all = every.length > 0 || request.count === true || (choice?.everyRecord ?? false);
	const batches = plan === undefined ? undefined : new PlannedBatches(plan.first, plan.steps, width);
	const blocks = every.map((wanted) => new Block(wanted, width));
	const record = new Float32Array(width);
	let heldOutRows = 0;
	let seen = 0;
	let base = 0;
	const parts = request.partsBy === undefined ? undefined : await source.parts?.();
	for await (const chunk of source.chunks(parts && shuffled(parts, request.partsBy!))) {
		if (request.signal?.aborted)
			throw new AlthingError(
				"data.pass_ended",
				`The pass over ${source.name} was ended: nobody waits for it.`,
			);
		const end = base + chunk.rows;
		const first = chunk.first ?? base;
		for (let row = all ? base : choice!.next; row < end; row = all ? row + 1 : choice!.next) {
			const label = shaper.shape(chunk, row - base, first + row - base, record);
			const heldOut = isHeldOut(record, 0, label);
			seen++;
			if (heldOut) heldOutRows++;
			choice?.visit(row, record, label, heldOut ? undefined : batches);
			for (const block of blocks)
				if (heldOut === (block.part === "heldOut") && block.add(record, label)) await block.flush();
		}
		base = end;
		if (base > (request.knownRows ?? base)) break;
		request.onProgress?.(base);
	}
	for (const block of blocks) await block.flush();
	record.fill(0);
	if (base !== (request.knownRows ?? base)) throw changed(source.name);
	return { rows: base, trainingRows: seen - heldOutRows, heldOutRows, batches };
}

/** The chunks of a pass that ends when it is told to, whatever it waits for. */
export async function* chunksUntil(
	source: RecordSource,
	signal: AbortSignal | undefined,
): AsyncIterable<ColumnChunk> {
	const interrupt = () => source.interrupt();
	signal?.addEventListener("abort", interrupt);
	try {
		for await (const chunk of source.chunks()) {
			if (signal?.aborted) break;
			yield chunk;
		}
	} catch (error) {
		// What the source says of being interrupted is beside the point.
		if (!signal?.aborted) throw error;
	} finally {
		signal?.removeEventListener("abort", interrupt);
	}
	if (signal?.aborted)
		throw new AlthingError("data.pass_ended", `The pass over ${source.name} was ended: nobody waits for it.`);
}

/** Which steps want a record. */
interface Choice {
	/** Whether a record must be looked at to know. */
	readonly everyRecord: boolean;
	/** The next record that some step wants. */
	readonly next: number;
	/** Assigns the record to its steps; `batches` is left out for a record of the other part. */
	visit(row: number, record: Float32Array, label: number, batches: PlannedBatches | undefined): void;
}

function choiceOf({ knownRows, splitKey, words }: PassRequest, plan: PlannedSteps, width: number): Choice {
	const { sampling } = plan;
	if (sampling.kind === "poisson") {
		if (knownRows === undefined)
			throw new AlthingError("data.bad_sampling", "Steps are planned over a known number of records.");
		return new PoissonChoice(sampling.rate, knownRows, plan, words);
	}
	return new CycleChoice(participationPlace(splitKey, sampling.separation, width), sampling.separation, plan);
}

/** The records are not those that were registered. */
export function changed(source: string): AlthingError {
	return new AlthingError(
		"data.changed",
		`${source} has changed since it was registered as a data set. Remove the data set and add it again: its split and its budget stay.`,
		{ source },
	);
}

/** Coins in the order of records, a record's in the order of steps: the successes are walked along. */
class PoissonChoice implements Choice {
	readonly everyRecord = false;
	readonly #first: number;
	readonly #steps: number;
	readonly #skips: GeometricSkips;
	readonly #coins: number;
	/** Index of the next success; at least the number of coins when there is none. */
	#coin = -1;
	next = 0;

	constructor(rate: number, rows: number, { first, steps }: PlannedSteps, words: RandomWords | undefined) {
		this.#first = first;
		this.#steps = steps;
		this.#coins = rows * steps;
		this.#skips = new GeometricSkips(rate, words);
		this.#advance();
	}

	visit(row: number, record: Float32Array, label: number, batches: PlannedBatches | undefined): void {
		let kept: number | undefined;
		while (this.next === row) {
			if (batches !== undefined) {
				kept ??= batches.add(record, label);
				batches.assign(this.#first + this.#coin - row * this.#steps, kept);
			}
			this.#advance();
		}
	}

	#advance(): void {
		this.#coin += 1 + this.#skips.next(this.#coins - this.#coin - 1);
		this.next = Math.floor(this.#coin / this.#steps);
	}
}

class CycleChoice implements Choice {
	readonly everyRecord = true;
	readonly next = 0;
	readonly #placeOf: (features: Float32Array, offset: number, label: number) => number;
	readonly #separation: number;
	readonly #first: number;
	readonly #steps: number;

	constructor(
		placeOf: (features: Float32Array, offset: number, label: number) => number,
		separation: number,
		{ first, steps }: PlannedSteps,
	) {
		this.#placeOf = placeOf;
		this.#separation = separation;
		this.#first = first;
		this.#steps = steps;
	}

	visit(_row: number, record: Float32Array, label: number, batches: PlannedBatches | undefined): void {
		if (batches === undefined) return;
		const separation = this.#separation;
		const place = this.#placeOf(record, 0, label);
		const offset = (place - (this.#first % separation) + separation) % separation;
		if (offset >= this.#steps) return;
		const kept = batches.add(record, label);
		for (let step = offset; step < this.#steps; step += separation) batches.assign(this.#first + step, kept);
	}
}

/** Gathers records until there are enough to hand on. */
class Block {
	readonly part: Part;
	readonly #every: EveryRecord;
	readonly #width: number;
	readonly #features: Float32Array;
	readonly #labels: Float32Array;
	#rows = 0;

	constructor(every: EveryRecord, width: number) {
		this.part = every.part;
		this.#every = every;
		this.#width = width;
		this.#features = new Float32Array(every.rows * width);
		this.#labels = new Float32Array(every.rows);
	}

	/** @returns whether it is full */
	add(record: Float32Array, label: number): boolean {
		this.#features.set(record, this.#rows * this.#width);
		this.#labels[this.#rows++] = label;
		return this.#rows === this.#every.rows;
	}

	async flush(): Promise<void> {
		const rows = this.#rows;
		if (rows === 0) return;
		this.#rows = 0;
		const { take } = this.#every;
		await take({
			features: this.#features.subarray(0, rows * this.#width),
			labels: this.#labels.subarray(0, rows),
			rows,
		});
	}
}
