/**
 * One site's contribution to a round: sampled, clipped, summed, evaluated, encoded, noised.
 * What leaves the site is the integer vector that this module returns, masked; the un-noised sum
 * exists nowhere else, but with correlated noise in the history that the site keeps in memory.
 */
import { AlthingError } from "../../crypto/error.ts";
import { roundAtRandom } from "../compression/stochasticRounding.ts";
import type { Dataset } from "../data/dataset.ts";
import type { Trainer } from "../learning/trainer.ts";
import { type CorrelationHistory, combine } from "../privacy/correlatedNoise/encoder.ts";
import { participationSlots } from "../privacy/correlatedNoise/participation.ts";
import { encodeToRing } from "../privacy/samplers/bulkEncoding.ts";
import { type FillWords, systemWords } from "../privacy/samplers/randomWords.ts";
import { type GaussianSampler, tableGaussian } from "../privacy/samplers/tableGaussian.ts";
import { clearChoiceOf, encodePublicPart } from "./clearUpdate.ts";
import type { CommonState } from "./commonState.ts";
import { putFigures } from "./figures.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { finishedPersonal, personalRound } from "./personalModel.ts";
import { METRICS, noiseLevelOf, type RoundNoise, type TrainingPlan } from "./plan.ts";
import { robustUpdate } from "./robustUpdate.ts";
import { rootDataOf } from "./rootData.ts";
import { roundCompression } from "./roundCompression.ts";
import type { SiteData } from "./siteData.ts";
import { localStepNoise } from "./siteNoisePlan.ts";
import { NEW_SITE, type SiteState } from "./siteState.ts";
import { type ModelHere, modelHere, plainSteps, type Site, siteSteps } from "./siteSteps.ts";
import type { StreamedRound } from "./streamedRound.ts";
import {
	clientUpdate,
	type LocalNoise,
	privateLocalUpdate,
	type RoundSite,
	recordUpdate,
	type SiteUpdate,
	unprotectedUpdate,
} from "./updates.ts";

export interface Contribution {
	/** Mod 2^modulusBits, with this site's share of the noise. */
	readonly vector: Uint32Array;
	/** Robustness in the clear: the site's update, which everybody sees. */
	readonly publicPart?: Uint8Array;
	/** Of noise, an index of the plan's: what is charged depends on it. */
	readonly level: number;
	/** Correlated noise: the participations in the vector (see CombinedSum). Otherwise empty. */
	readonly participations: readonly string[];
	/** Correlated noise: for the next round. It holds un-noised sums and never leaves the process. */
	readonly history?: CorrelationHistory;
	/** Error feedback: what was not sent, for the next round once this one is in a sum. It never leaves the process. */
	readonly unsent?: Float32Array;
	/** Momentum of the site's own updates, with this one. */
	readonly momentum?: Float32Array;
	/** What the site keeps for itself if the round is certified with this vector in its sum. */
	readonly own: SiteState;
}

/** What a site keeps from its earlier contributions to the job. */
export interface Memory {
	readonly history?: CorrelationHistory | undefined;
	/** See {@link Contribution.unsent}: of the last round whose sum this site is in. */
	readonly unsent?: Float32Array | undefined;
	/** Of the last round whose sum this site is in. */
	readonly momentum?: Float32Array | undefined;
	/** See {@link Contribution.own}: of the last round whose sum this site is in. */
	readonly own?: SiteState | undefined;
}

/** Computes the contributions of one site to one job; keeps the noise tables between rounds. */
export class Contributor {
	readonly #spec: ResolvedJobSpec;
	readonly #plan: TrainingPlan;
	readonly #data: SiteData;
	readonly #site: Site;
	readonly #roundingWords: FillWords;
	readonly #samplers = new Map<number, GaussianSampler>();
	readonly #localNoise: LocalNoise | undefined;
	/** Correlated noise: place of each training record in the cycle. */
	readonly #slots: Uint32Array | undefined;
	#root: Dataset | undefined;

	constructor(input: {
		readonly spec: ResolvedJobSpec;
		readonly plan: TrainingPlan;
		readonly data: SiteData;
		readonly trainer: Trainer;
		/** The site's secret 32-byte key for the data set; needed with correlated noise alone. */
		readonly participationKey?: Uint8Array;
		/** Of rounding at random; the system's unless a test compares contributions. */
		readonly roundingWords?: FillWords;
		/** See {@link Site}. */
		readonly random?: Site["random"];
	}) {
		const { spec, plan, data } = input;
		this.#spec = spec;
		this.#plan = plan;
		this.#data = data;
		this.#site = { spec, plan, train: data.train, trainer: input.trainer, random: input.random };
		this.#roundingWords = input.roundingWords ?? systemWords;
		if (spec.privacy.mechanism === "site_gaussian") {
			const { grid, sigma } = localStepNoise(plan, spec.privacy.clippingNorm, spec.training.localBatch);
			this.#localNoise = { grid, sampler: this.#sampler(sigma) };
		}
		this.#slots = slotsOf(plan, data, input.participationKey);
		// Tables are built now, not in the first round.
		for (const { parameterSigma, metricSigma } of plan.noise) {
			this.#share(parameterSigma);
			this.#share(metricSigma);
		}
	}

	/** Upper bound on the total-variation distance per value of the noise to its exact law; charged to delta. */
	get samplerDistance(): number {
		return Math.max(0, ...[...this.#samplers.values()].map((sampler) => sampler.totalVariationDistance));
	}

	/**
	 * The vector for one round.
	 * @param streamed in place of the records, where they do not fit in memory
	 * @throws AlthingError `job.batch_too_small` when this site samples more records than the
	 *   job's public expected batch allows for, `learning.*`
	 */
	async contribute(
		round: number,
		state: CommonState,
		memory: Memory = {},
		streamed?: StreamedRound,
	): Promise<Contribution> {
		const { layout, length, encoding, compression } = this.#plan;
		const { evaluateEveryRounds, rounds } = this.#spec.training;
		const level = noiseLevelOf(this.#plan, round, rounds, state);
		const noise = this.#plan.noise[level]!;
		const { publicValues } = this.#plan;
		const values = new Float64Array(publicValues ?? layout.update);
		const compressed =
			compression === undefined ? undefined : roundCompression(compression, state.compression, round);
		const own = memory.own ?? NEW_SITE;
		const site = { ...this.#site, compression: compressed, unsent: memory.unsent, own, streamed };
		const { weights, ...rest } = await this.#fillUpdate(site, round, values, state, memory);
		const evaluates = round % evaluateEveryRounds === 0;
		const metrics = evaluates
			? await this.#metrics(await modelHere(site, round, state, own), noise, streamed)
			: new Float64Array(METRICS);
		const vector = new Uint32Array(length);
		const update = vector.subarray(0, layout.update);
		// With this site's share of the noise, before anything is masked.
		const share = this.#share(noise.parameterSigma);
		if (publicValues !== undefined) await this.#addRootUpdate(values, round, state);
		else if (compressed === undefined) encodeToRing(values, encoding, share, update);
		else {
			compressed.spread(values);
			roundAtRandom(values, encoding.scale, this.#roundingWords);
			encodeToRing(values, { ...encoding, scale: 1 }, share, update);
		}
		putFigures(this.#plan, metrics, weights, this.#share(noise.metricSigma), vector);
		const { heldOut } = this.#data;
		return {
			vector,
			level,
			...rest,
			...(publicValues === undefined ? {} : { publicPart: encodePublicPart(values) }),
			own: await personalRound(this.#site, heldOut, { round, evaluates }, state, rest.own),
		};
	}

	/**
	 * What is left to be done for the site's own model when the job's rounds are over.
	 * @throws AlthingError `learning.*`
	 */
	async finish(rounds: number, state: CommonState, own: SiteState): Promise<SiteState> {
		return await finishedPersonal(this.#site, this.#data.heldOut, rounds, state, own);
	}

	/**
	 * Gossip: this site's own model after the round's local training, bounded, and private as the job
	 * says; and what its held-out records say of the state the round starts from, which stays at the site.
	 * @throws AlthingError as {@link contribute}
	 */
	async ownModel(
		round: number,
		state: CommonState,
		streamed?: StreamedRound,
	): Promise<{ readonly parameters: Float32Array; readonly metrics: Readonly<Record<string, number>> }> {
		const { training, aggregation } = this.#spec;
		const site = { ...this.#site, compression: undefined, unsent: undefined, own: NEW_SITE, streamed };
		const { update, weights } = await this.#siteUpdate(site, round, state);
		// Without privacy the update comes times the site's weight, which an average of equals leaves out.
		const share = (weights[0] ?? 0) / aggregation.updateNormBound;
		const step = training.serverLearningRate / (share === 0 ? 1 : share);
		const parameters = state.parameters.map((value, i) => value - step * update[i]!);
		if (round % training.evaluateEveryRounds !== 0) return { parameters, metrics: {} };
		const { lossBound, model } = this.#plan;
		const { lossSum, correct, examples } =
			streamed?.evaluation ??
			(await this.#site.trainer.evaluate(state.parameters, this.#data.heldOut, lossBound));
		if (examples === 0) return { parameters, metrics: {} };
		const loss = lossSum / examples;
		return {
			parameters,
			metrics: model.task === "regression" ? { loss } : { loss, accuracy: correct / examples },
		};
	}

	/** Trust score: what the root data give, behind this site's own update. */
	async #addRootUpdate(values: Float64Array, round: number, state: CommonState): Promise<void> {
		const choice = clearChoiceOf(this.#spec);
		if (choice?.rule !== "trust_score") return;
		this.#root ??= rootDataOf(choice, this.#spec.data.description);
		const site = { ...this.#site, train: this.#root };
		const { direction } = await siteSteps(site, round, state, NEW_SITE, plainSteps(site));
		values.set(direction, this.#plan.whole.length);
	}

	/** Writes the update. */
	async #fillUpdate(
		site: RoundSite,
		round: number,
		values: Float64Array,
		state: CommonState,
		{ history, momentum }: Memory,
	): Promise<Omit<Contribution, "vector" | "level"> & Pick<SiteUpdate, "weights">> {
		const { correlation, whole } = this.#plan;
		const { privacy } = this.#spec;
		const { own } = site;
		if (privacy.mechanism === "distributed_gaussian" && privacy.unit === "record") {
			const rest = { own, weights: new Float64Array(whole.weights) };
			const sum = await recordUpdate(site, privacy, state, round, this.#slots);
			if (correlation === undefined) {
				values.set(sum);
				return { ...INDEPENDENT, ...rest };
			}
			const combined = combine(correlation, history, round, sum);
			values.set(combined.values);
			return { participations: combined.participations, history: combined.history, ...rest };
		}
		const { unsent, weights, own: after, ...sent } = await this.#siteUpdate(site, round, state);
		const { update, weight, ...rest } = robustUpdate(
			this.#spec,
			state,
			{ ...sent, weight: weights[0]! },
			momentum,
		);
		weights[0] = weight;
		values.set(update);
		return { ...INDEPENDENT, ...rest, weights, own: after, ...(unsent === undefined ? {} : { unsent }) };
	}

	#siteUpdate(site: RoundSite, round: number, state: CommonState): Promise<SiteUpdate> {
		const { privacy } = this.#spec;
		switch (privacy.mechanism) {
			case "none":
				return unprotectedUpdate(site, round, state);
			case "site_gaussian":
				return privateLocalUpdate(site, privacy, round, state, this.#localNoise!);
			case "distributed_gaussian":
				return clientUpdate(site, privacy, round, state);
		}
	}

	/** Bounded loss, correct answers and number of the held-out records; with unit client their means, and one. */
	async #metrics(
		{ parameters }: ModelHere,
		{ metricUnit }: RoundNoise,
		streamed: StreamedRound | undefined,
	): Promise<Float64Array> {
		const { lossBound } = this.#plan;
		const { privacy } = this.#spec;
		const { heldOut } = this.#data;
		const { trainer } = this.#site;
		const { lossSum, correct, examples } =
			streamed?.evaluation ?? (await trainer.evaluate(parameters, heldOut, lossBound));
		const perSite = "unit" in privacy && privacy.unit === "client";
		const unit = perSite ? metricUnit / Math.max(1, examples) : metricUnit;
		return Float64Array.of((lossSum / lossBound) * unit, correct * unit, examples * unit);
	}

	#share(sigma: number): GaussianSampler | "none" {
		return sigma === 0 ? "none" : this.#sampler(sigma);
	}

	#sampler(sigma: number): GaussianSampler {
		const sampler = this.#samplers.get(sigma) ?? tableGaussian(sigma);
		this.#samplers.set(sigma, sampler);
		return sampler;
	}
}

const INDEPENDENT = { participations: [] };

function slotsOf(
	{ correlation }: TrainingPlan,
	{ train }: SiteData,
	key: Uint8Array | undefined,
): Uint32Array | undefined {
	if (correlation === undefined) return undefined;
	if (key === undefined)
		throw new AlthingError(
			"privacy.misuse",
			"a job with correlated noise needs the site's participation key",
		);
	return participationSlots(train, key, correlation.minimumSeparation);
}
