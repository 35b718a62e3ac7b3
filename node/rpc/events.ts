/**
 * The node's event stream: a bounded ring that readers follow by id.
 *
 * A reader is only a position in the ring, so a slow one costs no memory: when the ring
 * has moved past it, it is told (`stream.gap`) and goes on with what is left. Ids grow by
 * one and begin at the start time, so they go on growing over a restart and an id from
 * before it is seen to be too old.
 */
import type { Clock } from "./clock.ts";
import { GAP_EVENT } from "./eventTypes.ts";
import type { JsonObject, NodeEvent } from "./services.ts";

/** A round makes some ten events: hours of history for a busy node in a few MB. */
const DEFAULT_CAPACITY = 4096;
/** Ids per ms of start time; still exact in a double until the year 2255. */
const IDS_PER_MS = 1000;

export class EventHub {
	readonly #clock: Clock;
	readonly #capacity: number;
	readonly #ring: NodeEvent[] = [];
	#newest: number;
	#published = Promise.withResolvers<void>();

	constructor(options: { clock: Clock; capacity?: number }) {
		this.#clock = options.clock;
		this.#capacity = options.capacity ?? DEFAULT_CAPACITY;
		this.#newest = options.clock.nowMs() * IDS_PER_MS;
	}

	/** Id of the latest event, or the one before the first. */
	get newest(): number {
		return this.#newest;
	}

	/** Adds an event and wakes the readers. `type` is dotted, e.g. `job.round`; `data` must be JSON. */
	publish(event: { type: string; job?: string; data: JsonObject }): NodeEvent {
		this.#newest += 1;
		const full: NodeEvent = { id: this.#newest, at: new Date(this.#clock.nowMs()).toISOString(), ...event };
		this.#ring.push(full);
		if (this.#ring.length > this.#capacity) this.#ring.shift();
		const published = this.#published;
		this.#published = Promise.withResolvers<void>();
		published.resolve();
		return full;
	}

	/**
	 * Events after `after` (default: from now on), then new ones as they come, until `signal` aborts.
	 * @param filter.job only events of this job, and the stream's own
	 */
	async *follow(
		signal: AbortSignal,
		filter: { after?: number | undefined; job?: string | undefined } = {},
	): AsyncGenerator<NodeEvent, void, void> {
		let position = filter.after ?? this.#newest;
		const aborted = Promise.withResolvers<void>();
		const onAbort = () => aborted.resolve();
		signal.addEventListener("abort", onAbort, { once: true });
		try {
			while (!signal.aborted) {
				const wake = this.#published.promise;
				const oldest = this.#newest - this.#ring.length + 1;
				// Too old, or from a run of the node whose clock was ahead.
				if (position < oldest - 1 || position > this.#newest) {
					yield this.#gap(position, oldest);
					position = oldest - 1;
					continue;
				}
				const next = this.#ring[position + 1 - oldest];
				if (next === undefined) {
					await Promise.race([wake, aborted.promise]);
					continue;
				}
				position = next.id;
				if (filter.job === undefined || next.job === filter.job) yield next;
			}
		} finally {
			signal.removeEventListener("abort", onAbort);
		}
	}

	#gap(requested: number, oldest: number): NodeEvent {
		return {
			id: oldest - 1,
			at: new Date(this.#clock.nowMs()).toISOString(),
			type: GAP_EVENT,
			data: { requested, oldest },
		};
	}
}
