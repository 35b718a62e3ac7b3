/**
 * A clock for protocols that stands still while this node does not attend to anything: while its
 * event loop is held up, or the machine was asleep. Silence of others is only silence if somebody was
 * listening: a busy node would otherwise suspect every coordinator as soon as it gets to its messages.
 */

/** How often the clock is looked at, and the most that one look counts. */
const LOOK_MS = 100;
const MOST_PER_LOOK_MS = 3 * LOOK_MS;

export class AttendedClock {
	readonly #wallMs: () => number;
	#attendedMs = 0;
	#lookedMs: number;
	#timer: NodeJS.Timeout | undefined;

	/** @param wallMs a monotonic clock; default `performance.now` */
	constructor(wallMs: () => number = () => performance.now()) {
		this.#wallMs = wallMs;
		this.#lookedMs = wallMs();
	}

	start(): void {
		this.#timer ??= setInterval(() => this.look(), LOOK_MS).unref();
	}

	stop(): void {
		clearInterval(this.#timer);
		this.#timer = undefined;
	}

	/** Milliseconds attended so far; never back. */
	nowMs(): number {
		return this.#attendedMs + Math.min(MOST_PER_LOOK_MS, this.#wallMs() - this.#lookedMs);
	}

	/** The event loop has come round. */
	look(): void {
		this.#attendedMs = this.nowMs();
		this.#lookedMs = this.#wallMs();
	}
}
