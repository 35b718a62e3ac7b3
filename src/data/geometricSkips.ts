/**
 * Independent coins of one probability p, by the number of failures before each success: a pass over
 * N records for K rounds has N K coins, of which few succeed.
 *
 * Exact: p = m / 2^53 with m = floor(q 2^53), the same coin as poissonSampling.ts tosses one by one.
 * The number of failures G has P(G >= j) = (1 - p)^j, a rational with denominator 2^(53 j). A uniform
 * number is compared with these thresholds by its first 53 bits; where they tie, with all bits that
 * the largest denominator asks for. Failures beyond the table start over, which changes nothing: a
 * geometric law has no memory.
 */
import { AlthingError } from "../../crypto/error.ts";
import { RandomWords } from "../privacy/samplers/randomWords.ts";

const UNIT = 2n ** 53n;
const LARGEST_SPAN = 4096;

export class GeometricSkips {
	readonly #words: RandomWords;
	/** 2^53 (1 - p). */
	readonly #failure: bigint;
	/** Failures that the table reaches to. */
	readonly #span: number;
	/** floor((1 - p)^j 2^53) for j = 1 .. span, descending. */
	readonly #thresholds: Float64Array;

	/**
	 * @param probability q in (0, 1]
	 * @param words of the system CSPRNG unless a test passes a named seeded source
	 * @throws AlthingError `data.bad_sampling`
	 */
	constructor(probability: number, words: RandomWords = new RandomWords()) {
		if (!(probability > 0 && probability <= 1)) {
			throw new AlthingError(
				"data.bad_sampling",
				`Poisson sampling needs a probability in (0, 1], not ${probability}.`,
			);
		}
		this.#words = words;
		this.#failure = UNIT - BigInt(Math.floor(probability * 2 ** 53));
		this.#span = Math.max(1, Math.min(LARGEST_SPAN, Math.ceil(3 / probability)));
		this.#thresholds = new Float64Array(this.#span);
		let power = this.#failure;
		for (let j = 1; j <= this.#span; j++) {
			this.#thresholds[j - 1] = Number(power >> BigInt(53 * (j - 1)));
			power *= this.#failure;
		}
	}

	/**
	 * Failures before the next success; any number from `limit` on where the first `limit` coins all fail.
	 * @param limit coins that are left: the walk ends there
	 */
	next(limit: number): number {
		if (this.#failure === UNIT) return limit;
		let failures = 0;
		while (failures < limit) {
			const drawn = this.#draw();
			failures += drawn;
			if (drawn < this.#span) break;
		}
		return failures;
	}

	/** min(G, span). */
	#draw(): number {
		const uniform = this.#words.word53();
		// How many thresholds are above it: the list descends.
		let low = 0;
		let high = this.#span;
		while (low < high) {
			const middle = (low + high) >> 1;
			if (this.#thresholds[middle]! > uniform) low = middle + 1;
			else high = middle;
		}
		return low < this.#span && this.#thresholds[low] === uniform ? this.#settle(uniform, low) : low;
	}

	/** The same where the first bits tie with a threshold: about once in 2^53 / span draws. */
	#settle(leading: number, certain: number): number {
		const span = this.#span;
		const bits = BigInt(53 * (span - 1));
		const uniform = (BigInt(leading) << bits) | (bits === 0n ? 0n : this.#words.below(1n << bits));
		let failures = certain;
		while (
			failures < span &&
			uniform < (this.#failure ** BigInt(failures + 1)) << BigInt(53 * (span - failures - 1))
		)
			failures++;
		return failures;
	}
}
