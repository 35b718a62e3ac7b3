/**
 * Adds masked inputs up as they arrive. Only the running sum and a few that came in while a worker was
 * adding are kept, so a coordinator's memory does not grow with the cohort.
 */
import type { AggregationConfig } from "./configuration.ts";
import { runAggregationTask } from "./masking.ts";
import type { Outbox } from "./outbox.ts";

/** Inputs that wait for a worker at most; more are added up at once, which costs this step milliseconds. */
const MOST_WAITING = 16;

export class InputSum {
	readonly #config: Pick<AggregationConfig, "length" | "modulusBits">;
	readonly #workId: string;
	#waiting: Uint8Array[] = [];
	#total: { readonly packed: Uint8Array; readonly hash: Uint8Array } | undefined;
	#adding = false;

	/** @param workId of the tasks that the owner passes on to {@link completed} */
	constructor(config: Pick<AggregationConfig, "length" | "modulusBits">, workId: string) {
		this.#config = config;
		this.#workId = workId;
	}

	/** @param packed a checked masked input; not kept once it is added */
	add(packed: Uint8Array, out: Outbox): void {
		this.#waiting.push(packed);
		if (this.#waiting.length > MOST_WAITING) this.#waiting = [this.#added(this.#waiting)];
		this.#dispatch(out);
	}

	/** Inputs that were kept until now. */
	addAll(packed: readonly Uint8Array[], out: Outbox): void {
		this.#waiting.push(...packed);
		this.#dispatch(out);
	}

	completed(packed: Uint8Array, hash: Uint8Array, out: Outbox): void {
		this.#adding = false;
		this.#total = { packed, hash };
		this.#dispatch(out);
	}

	get adding(): boolean {
		return this.#adding;
	}

	/** The sum of everything added, once no addition is under way; undefined for none. */
	settled(): { readonly packed: Uint8Array; readonly hash: Uint8Array } | undefined {
		return this.#adding ? undefined : this.#total;
	}

	clear(): void {
		this.#waiting = [];
		this.#total = undefined;
	}

	#added(inputs: readonly Uint8Array[]): Uint8Array {
		const { length, modulusBits } = this.#config;
		const result = runAggregationTask({ kind: "sum", inputs, length, modulusBits });
		return (result as Extract<typeof result, { kind: "sum" }>).packed;
	}

	#dispatch(out: Outbox): void {
		if (this.#adding || this.#waiting.length === 0) return;
		const inputs = this.#total === undefined ? this.#waiting : [this.#total.packed, ...this.#waiting];
		this.#waiting = [];
		this.#adding = true;
		const { length, modulusBits } = this.#config;
		out.work(this.#workId, { kind: "sum", inputs, length, modulusBits });
	}
}
