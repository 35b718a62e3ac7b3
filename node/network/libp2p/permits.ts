/** A permit; `release` may be called more than once. */
export interface Permit {
	release(): void;
}

interface Waiter {
	readonly key: string;
	readonly grant: (permit: Permit) => void;
}

/** A semaphore with a total and a share per key, first come first served among those that may go. */
export class PermitPool {
	readonly #total: number;
	readonly #perKey: number;
	readonly #held = new Map<string, number>();
	readonly #waiting: Waiter[] = [];
	#taken = 0;

	constructor(total: number, perKey: number) {
		this.#total = total;
		this.#perKey = perKey;
	}

	get taken(): number {
		return this.#taken;
	}

	/** True when nobody could get a permit for `key` right now. */
	exhausted(key: string): boolean {
		return this.#taken >= this.#total || (this.#held.get(key) ?? 0) >= this.#perKey;
	}

	/** Waits for a permit; rejects with the signal's reason when that aborts first. */
	acquire(key: string, signal: AbortSignal): Promise<Permit> {
		return new Promise((resolve, reject) => {
			if (signal.aborted) {
				reject(signal.reason);
				return;
			}
			const waiter: Waiter = {
				key,
				grant: (permit) => {
					signal.removeEventListener("abort", onAbort);
					resolve(permit);
				},
			};
			const onAbort = (): void => {
				const at = this.#waiting.indexOf(waiter);
				if (at >= 0) this.#waiting.splice(at, 1);
				reject(signal.reason);
			};
			signal.addEventListener("abort", onAbort, { once: true });
			this.#waiting.push(waiter);
			this.#serve();
		});
	}

	#serve(): void {
		for (let at = 0; at < this.#waiting.length; ) {
			const waiter = this.#waiting[at] as Waiter;
			if (this.exhausted(waiter.key)) {
				at += 1;
				continue;
			}
			this.#waiting.splice(at, 1);
			waiter.grant(this.#take(waiter.key));
		}
	}

	#take(key: string): Permit {
		this.#taken += 1;
		this.#held.set(key, (this.#held.get(key) ?? 0) + 1);
		let released = false;
		return {
			release: () => {
				if (released) return;
				released = true;
				this.#taken -= 1;
				const left = (this.#held.get(key) ?? 1) - 1;
				if (left > 0) this.#held.set(key, left);
				else this.#held.delete(key);
				this.#serve();
			},
		};
	}
}
