/** Uniform 32-bit words from the CSPRNG, drawn in large blocks because a call costs far more than a word. */
import { randomFillSync } from "node:crypto";

/** Fills the array with uniform words. The default everywhere is the system CSPRNG; tests pass a named seeded source. */
export type FillWords = (target: Uint32Array) => void;

/** The operating system's CSPRNG. */
export const systemWords: FillWords = (target) => {
	randomFillSync(target);
};

const BLOCK_WORDS = 1 << 12;

/** Words one at a time. Used words are overwritten, so that spent noise cannot be read out of memory later. */
export class RandomWords {
	readonly #fill: FillWords;
	readonly #block = new Uint32Array(BLOCK_WORDS);
	#next = BLOCK_WORDS;

	constructor(fill: FillWords = systemWords) {
		this.#fill = fill;
	}

	/** A uniform integer in [0, 2^32). */
	word(): number {
		if (this.#next === BLOCK_WORDS) {
			this.#fill(this.#block);
			this.#next = 0;
		}
		const word = this.#block[this.#next]!;
		this.#block[this.#next++] = 0;
		return word;
	}

	/** A uniform integer in [0, 2^53). */
	word53(): number {
		const high = this.word() >>> 11;
		return high * 2 ** 32 + this.word();
	}

	/** A uniform integer in [0, bound), exactly, by rejection; bound an integer in [1, 2^53]. */
	belowNumber(bound: number): number {
		if (bound <= 2 ** 32) {
			// The smallest mask of ones that covers bound - 1.
			const mask = bound === 1 ? 0 : 0xffffffff >>> Math.clz32(bound - 1);
			for (;;) {
				const value = (this.word() & mask) >>> 0;
				if (value < bound) return value;
			}
		}
		// Multiples of bound below 2^53; a value beyond the last one is drawn again.
		const limit = 2 ** 53 - (2 ** 53 % bound);
		for (;;) {
			const value = this.word53();
			if (value < limit) return value % bound;
		}
	}

	/** A uniform integer in [0, bound), exactly, by rejection; bound >= 1. */
	below(bound: bigint): bigint {
		const bits = (bound - 1n).toString(2).length;
		for (;;) {
			let value = 0n;
			for (let drawn = 0; drawn < bits; drawn += 32) value = (value << 32n) | BigInt(this.word());
			value = BigInt.asUintN(bits, value);
			if (value < bound) return value;
		}
	}
}
