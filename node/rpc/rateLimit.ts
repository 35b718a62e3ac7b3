/** Token buckets, one for each key, so that one caller's flood is that caller's alone. */
import type { Clock } from "./clock.ts";

export interface RateLimit {
	/** Requests that may come at once. */
	readonly burst: number;
	/** Requests per second sustained. */
	readonly perSecond: number;
}

export class RateLimiter {
	readonly #limit: RateLimit;
	readonly #clock: Clock;
	readonly #buckets = new Map<string, { level: number; atMs: number }>();

	constructor(limit: RateLimit, clock: Clock) {
		this.#limit = limit;
		this.#clock = clock;
	}

	/** Takes one request from the bucket. Returns 0, or the whole seconds to wait before there is room. */
	take(key: string): number {
		const nowMs = this.#clock.nowMs();
		const bucket = this.#buckets.get(key) ?? { level: this.#limit.burst, atMs: nowMs };
		// A clock set back must not drain a bucket.
		const elapsedSeconds = Math.max(0, nowMs - bucket.atMs) / 1000;
		const level = Math.min(this.#limit.burst, bucket.level + elapsedSeconds * this.#limit.perSecond);
		const granted = level >= 1;
		this.#buckets.set(key, { level: granted ? level - 1 : level, atMs: nowMs });
		return granted ? 0 : Math.ceil((1 - level) / this.#limit.perSecond);
	}
}
