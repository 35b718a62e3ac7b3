/** Lets `rate` units per second through, with bursts up to `burst`. Time is handed in, in ms. */
export class TokenBucket {
	readonly #ratePerMs: number;
	readonly #burst: number;
	#level: number;
	#atMs: number;

	constructor(ratePerSecond: number, burst: number, nowMs: number) {
		this.#ratePerMs = ratePerSecond / 1000;
		this.#burst = burst;
		this.#level = burst;
		this.#atMs = nowMs;
	}

	/** Takes `units` and answers true, or takes nothing and answers false. */
	take(units: number, nowMs: number): boolean {
		this.#refill(nowMs);
		if (this.#level < units) return false;
		this.#level -= units;
		return true;
	}

	/** Takes `units` now, on credit if need be, and answers how many ms the caller must wait first. */
	reserve(units: number, nowMs: number): number {
		this.#refill(nowMs);
		this.#level -= units;
		return this.#level >= 0 ? 0 : Math.ceil(-this.#level / this.#ratePerMs);
	}

	#refill(nowMs: number): void {
		this.#level = Math.min(this.#burst, this.#level + (nowMs - this.#atMs) * this.#ratePerMs);
		this.#atMs = nowMs;
	}
}
