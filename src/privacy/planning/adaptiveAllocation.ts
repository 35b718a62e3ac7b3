/**
 * A budget spent by measured utility: the noise of the next round is chosen from what earlier
 * rounds released, and a filter keeps the whole within (epsilon, delta) whatever is chosen.
 *
 * The rule is validation-based decay (Yu, Liu, Pu, Gursoy, Truex 2019, "Differentially private
 * model publishing for deep learning", sec. V): noise is cheap while the metric improves, and is
 * lowered by a factor each time it stalls. It may look at released, already private metrics only:
 * then the choice costs nothing by itself (post-processing), and the filter accounts for adaptivity.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { gaussian, type PrivacyEvent, poissonSampled } from "../accounting/events.ts";
import { RdpFilter } from "../accounting/filter.ts";
import { type RdpCurve, rdpOf } from "../accounting/rdp.ts";

export interface AdaptivePlan {
	readonly epsilon: number;
	readonly delta: number;
	/** In (0, 1]; 1 without secret sampling. */
	readonly samplingProbability: number;
	/** Noise multiplier of the first round, > 0: more than an even split would take, so that there is something to adapt. */
	readonly firstNoiseMultiplier: number;
	/** The noise is never lowered below this, > 0. */
	readonly leastNoiseMultiplier: number;
	/** What the noise is multiplied by when the metric stalls, in (0, 1). */
	readonly decay: number;
	/** Rounds without `improvement` that count as a stall, an integer >= 1. */
	readonly patience: number;
	/** How much the metric must rise over the best before to count, >= 0. */
	readonly improvement: number;
}

export class AdaptiveAllocation {
	readonly #plan: AdaptivePlan;
	readonly #filter: RdpFilter;
	#spent: RdpCurve;
	#noiseMultiplier: number;
	#best = Number.NEGATIVE_INFINITY;
	#stalled = 0;

	/** @throws AlthingError `privacy.bad_plan`, `privacy.bad_target`, `privacy.bad_delta` */
	constructor(plan: AdaptivePlan) {
		const { firstNoiseMultiplier, leastNoiseMultiplier, decay, patience, improvement } = plan;
		const sound =
			leastNoiseMultiplier > 0 &&
			firstNoiseMultiplier >= leastNoiseMultiplier &&
			firstNoiseMultiplier < Number.POSITIVE_INFINITY &&
			decay > 0 &&
			decay < 1 &&
			Number.isSafeInteger(patience) &&
			patience >= 1 &&
			improvement >= 0;
		if (!sound) {
			throw new AlthingError(
				"privacy.bad_plan",
				"An adaptive plan needs 0 < least <= first noise multiplier, a decay in (0, 1), a patience of at least 1 and an improvement of at least 0.",
			);
		}
		this.#plan = plan;
		this.#filter = new RdpFilter({ epsilonLimit: plan.epsilon, deltaLimit: plan.delta });
		this.#spent = new Float64Array(rdpOf(gaussian(1)).length);
		this.#noiseMultiplier = firstNoiseMultiplier;
	}

	/**
	 * Charges the next round and says with which noise it may be run: as wanted, or, where that no
	 * longer fits, the least noise that does; undefined when the budget allows no round below the
	 * first round's noise any more.
	 */
	next(): PrivacyEvent | undefined {
		const wanted = this.#noiseMultiplier;
		if (this.#take(wanted)) return this.#event(wanted);
		// The last of the budget: noisier than wanted, never noisier than the first round.
		let fits = this.#plan.firstNoiseMultiplier;
		if (!this.#filter.fits(this.#spent, rdpOf(this.#event(fits)))) return undefined;
		let tooLittle = wanted;
		for (let i = 0; i < 30; i++) {
			const middle = Math.sqrt(fits * tooLittle);
			if (this.#filter.fits(this.#spent, rdpOf(this.#event(middle)))) fits = middle;
			else tooLittle = middle;
		}
		return this.#take(fits) ? this.#event(fits) : undefined;
	}

	/** @param metric released by the round just run, already private; higher is better */
	measured(metric: number): void {
		if (metric > this.#best + this.#plan.improvement) {
			this.#best = metric;
			this.#stalled = 0;
			return;
		}
		this.#stalled += 1;
		if (this.#stalled < this.#plan.patience) return;
		this.#stalled = 0;
		this.#noiseMultiplier = Math.max(
			this.#plan.leastNoiseMultiplier,
			this.#noiseMultiplier * this.#plan.decay,
		);
	}

	/** What the filter states for all rounds taken: never above the plan's epsilon. */
	get epsilonSpent(): number {
		return this.#filter.epsilonOf(this.#spent);
	}

	#take(noiseMultiplier: number): boolean {
		const addition = rdpOf(this.#event(noiseMultiplier));
		if (!this.#filter.fits(this.#spent, addition)) return false;
		this.#spent = this.#spent.map((value, i) => value + addition[i]!);
		return true;
	}

	#event(noiseMultiplier: number): PrivacyEvent {
		const { samplingProbability } = this.#plan;
		const event = gaussian(noiseMultiplier);
		return samplingProbability === 1 ? event : poissonSampled(samplingProbability, event);
	}
}
