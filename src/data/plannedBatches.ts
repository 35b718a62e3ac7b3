/**
 * The batches of several steps to come, collected in one pass: each record is kept once, whatever
 * number of steps it is in. Membership is secret, and so is every size here.
 */

/** Records as trainers take them: features row-major. */
export interface Rows {
	readonly features: Float32Array;
	readonly labels: Float32Array;
	readonly rows: number;
}

const BLOCK_ROWS = 1024;

export class PlannedBatches {
	readonly first: number;
	readonly steps: number;
	readonly #width: number;
	/** Features and label of BLOCK_ROWS records each. */
	readonly #blocks: Float32Array[] = [];
	#rows = 0;
	/** Records of each step; undefined once taken. */
	readonly #members: (number[] | undefined)[];

	/** For the steps first .. first + steps - 1. */
	constructor(first: number, steps: number, width: number) {
		this.first = first;
		this.steps = steps;
		this.#width = width;
		this.#members = Array.from({ length: steps }, () => []);
	}

	/** Keeps a record. @returns its index, for {@link assign} */
	add(features: Float32Array, label: number): number {
		const place = this.#rows % BLOCK_ROWS;
		const stride = this.#width + 1;
		if (place === 0) this.#blocks.push(new Float32Array(BLOCK_ROWS * stride));
		const block = this.#blocks.at(-1)!;
		block.set(features.subarray(0, this.#width), place * stride);
		block[place * stride + this.#width] = label;
		return this.#rows++;
	}

	/** Puts a kept record into a step's batch. */
	assign(step: number, record: number): void {
		this.#members[step - this.first]!.push(record);
	}

	/** Whether the step's batch is here and was not taken. */
	has(step: number): boolean {
		return this.#members[step - this.first] !== undefined;
	}

	/** Whether no batch of this step or a later one is left. */
	exhaustedFrom(step: number): boolean {
		return this.#members.every((members, i) => members === undefined || this.first + i < step);
	}

	/** A step's batch, once: it is for that step and no other. */
	take(step: number): Rows | undefined {
		const members = this.#members[step - this.first];
		if (members === undefined) return undefined;
		this.#members[step - this.first] = undefined;
		const width = this.#width;
		const features = new Float32Array(members.length * width);
		const labels = new Float32Array(members.length);
		for (const [position, record] of members.entries()) {
			const block = this.#blocks[Math.floor(record / BLOCK_ROWS)]!;
			const at = (record % BLOCK_ROWS) * (width + 1);
			features.set(block.subarray(at, at + width), position * width);
			labels[position] = block[at + width]!;
		}
		return { features, labels, rows: members.length };
	}

	/** Forgets everything: batches that were not taken are never used. */
	discard(): void {
		for (const block of this.#blocks) block.fill(0);
		this.#blocks.length = 0;
		this.#members.fill(undefined);
	}
}
