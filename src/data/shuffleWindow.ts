/**
 * Batches of an epoch in an order by chance, over records that come one after another and do not fit
 * in memory. A window of them is kept; each record that comes takes a place in it by lot, and the one
 * that stood there goes into the batch. What is left at the end goes by lot, too. Every record is
 * handed on once. With room for all records the order is uniform among all orders, exactly; otherwise
 * a record comes about a window's length after its place in the source, by a geometric law.
 */
import { AlthingError } from "../../crypto/error.ts";
import { RandomWords } from "../privacy/samplers/randomWords.ts";
import type { Rows } from "./plannedBatches.ts";

/** In an order by chance (Fisher and Yates). */
export function shuffled<T>(list: readonly T[], words: RandomWords): T[] {
	const order = [...list];
	for (let i = order.length - 1; i > 0; i--) {
		const j = words.belowNumber(i + 1);
		[order[i], order[j]] = [order[j]!, order[i]!];
	}
	return order;
}

export class ShuffleWindow {
	readonly #width: number;
	readonly #take: (batch: Rows) => unknown;
	readonly #words: RandomWords;
	/** Of the window; the first `#held` places are taken. */
	readonly #features: Float32Array;
	readonly #labels: Float32Array;
	#held = 0;
	/** Of the batch that is filled. */
	readonly #batchFeatures: Float32Array;
	readonly #batchLabels: Float32Array;
	#batched = 0;

	/**
	 * @param windowRows records that wait, at least 1
	 * @param batchRows records of a batch, at least 1; the last of an epoch may have fewer
	 * @param take is given a batch, which is valid until what it answers is awaited
	 * @param words of the system CSPRNG unless a test passes a named seeded source
	 * @throws AlthingError `data.bad_sampling`
	 */
	constructor(
		{
			windowRows,
			batchRows,
			width,
		}: { readonly windowRows: number; readonly batchRows: number; readonly width: number },
		take: (batch: Rows) => unknown,
		words = new RandomWords(),
	) {
		for (const rows of [windowRows, batchRows]) {
			if (!Number.isSafeInteger(rows) || rows < 1)
				throw new AlthingError("data.bad_sampling", `A shuffled epoch needs room for records, not ${rows}.`);
		}
		this.#width = width;
		this.#take = take;
		this.#words = words;
		this.#features = new Float32Array(windowRows * width);
		this.#labels = new Float32Array(windowRows);
		this.#batchFeatures = new Float32Array(batchRows * width);
		this.#batchLabels = new Float32Array(batchRows);
	}

	/** The next records of the source. */
	async add({ features, labels, rows }: Rows): Promise<void> {
		const width = this.#width;
		for (let row = 0; row < rows; row++) {
			const full = this.#held === this.#labels.length;
			const place = full ? this.#words.belowNumber(this.#held) : this.#held++;
			if (full && this.#hand(place)) await this.#flush();
			this.#features.set(features.subarray(row * width, (row + 1) * width), place * width);
			this.#labels[place] = labels[row]!;
		}
	}

	/** The source has ended: hands on what is left. The next record begins another epoch. */
	async end(): Promise<void> {
		const width = this.#width;
		for (; this.#held > 0; this.#held--) {
			const last = this.#held - 1;
			const place = this.#words.belowNumber(this.#held);
			const full = this.#hand(place);
			this.#features.copyWithin(place * width, last * width, this.#held * width);
			this.#labels[place] = this.#labels[last]!;
			if (full) await this.#flush();
		}
		await this.#flush();
	}

	/** Forgets all records; none may be added any more. */
	wipe(): void {
		for (const array of [this.#features, this.#labels, this.#batchFeatures, this.#batchLabels]) array.fill(0);
		this.#held = 0;
		this.#batched = 0;
	}

	/** Puts what stands at a place of the window into the batch. @returns whether the batch is full */
	#hand(place: number): boolean {
		const width = this.#width;
		const record = this.#features.subarray(place * width, (place + 1) * width);
		this.#batchFeatures.set(record, this.#batched * width);
		this.#batchLabels[this.#batched++] = this.#labels[place]!;
		return this.#batched === this.#batchLabels.length;
	}

	async #flush(): Promise<void> {
		const rows = this.#batched;
		if (rows === 0) return;
		this.#batched = 0;
		await this.#take({
			features: this.#batchFeatures.subarray(0, rows * this.#width),
			labels: this.#batchLabels.subarray(0, rows),
			rows,
		});
	}
}
