/**
 * The models that certified rounds produced: one current model for each job, its files in
 * open formats, its card and its predictions.
 *
 * A job's record is replaced in one write, so a crash leaves either the old model or the new
 * one. The state of the round before stays as well, since a restart may vote again on it.
 */
import { toHex } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import {
	createModelCard,
	type ModelCardFacts,
	modelCardMarkdown,
} from "../../src/learning/formats/modelCard.ts";
import type { TrainedModel } from "../../src/learning/formats/trainedModel.ts";
import { parameterCount, parametersHash } from "../../src/learning/model.ts";
import { decodeCommonState } from "../../src/training/commonState.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../../src/training/jobSpec.ts";
import { clustersOf } from "../../src/training/personalizationChoice.ts";
import { modelOf } from "../../src/training/plan.ts";
import { modelFormats } from "../rpc/modelFormats.ts";
import type {
	JsonObject,
	ModelArtifact,
	ModelDetail,
	ModelFormat,
	ModelService,
	ModelSummary,
	Predictions,
} from "../rpc/services.ts";
import type { Collection, Model, Store } from "../store/index.ts";
import { artifactsOf } from "./artifacts.ts";
import { cardFacts } from "./card.ts";
import { commonModelLimits, type PersonalModel, personalCardFacts, personalModelOf } from "./personal.ts";
import { factsOf, type ModelJob, modelJobSchema, recordedFacts } from "./records.ts";
import { featuresOf, predictionsOf } from "./rows.ts";

/** A certified round, as the daemon reports it once the round's state is among the blobs. */
export interface FinishedRound {
	readonly jobId: string;
	/** The job's name. */
	readonly name: string;
	readonly spec: ResolvedJobSpec;
	/** Number of the round as its certified result counts it: the first one is 0. */
	readonly round: number;
	/** Hex SHA-256 of the encoded common state, under which the blobs hold it. */
	readonly stateHash: string;
	/** Hex hash of the certified result. */
	readonly resultHash: string;
	/** Evaluation of the model that the round started from; empty when it was not a round to evaluate. */
	readonly metrics: { readonly loss?: number; readonly accuracy?: number };
	/** The federation's name. */
	readonly federation: string;
	/** How many sites the job has. */
	readonly participants: number;
	/** What computed, as `Trainer.backend` says. */
	readonly backend: string;
	/** Spent by the job at this organization so far; left out without privacy. */
	readonly epsilonSpent?: number;
	readonly delta?: number;
}

export interface ModelsOptions {
	readonly store: Pick<Store, "models" | "blobs" | "collection">;
	/** Outputs of the job's model with these parameters for scaled features; the worker pool computes it. */
	readonly predict: (
		spec: ResolvedJobSpec,
		parameters: Float32Array,
		features: Float32Array,
	) => Promise<Float32Array>;
	/** What this organization keeps of a job for itself, encoded. */
	readonly own: (jobId: string) => Promise<Uint8Array | undefined>;
	readonly nowMs?: () => number;
}

interface LoadedModel {
	readonly record: Model;
	readonly job: ModelJob;
	readonly spec: ResolvedJobSpec;
}

/** Fewest characters of a job's id that stand for it, as in the RPC's own parameters. */
const SHORTEST_PREFIX = 4;

export class Models implements ModelService {
	readonly #store: ModelsOptions["store"];
	readonly #predict: ModelsOptions["predict"];
	readonly #own: ModelsOptions["own"];
	readonly #nowMs: () => number;
	readonly #jobs: Collection<ModelJob>;
	/**
	 * The files written last. A client asks for their names first and then for one after the
	 * other; meanwhile a running job may have gone on, and they must belong together.
	 */
	#latest: { readonly key: string; readonly artifacts: readonly ModelArtifact[] } | undefined;

	constructor({ store, predict, own, nowMs = Date.now }: ModelsOptions) {
		this.#own = own;
		this.#store = store;
		this.#predict = predict;
		this.#nowMs = nowMs;
		this.#jobs = store.collection("model-jobs", modelJobSchema);
	}

	/**
	 * Makes the state of a certified round the job's current model. Reporting a round again,
	 * or an earlier one, as a restarted node may, changes nothing.
	 * @throws AlthingError `model.missing_state` when the blobs do not hold the state,
	 *   `model.conflicting_round` when the same round was recorded with another state, `training.bad_state`
	 */
	async record(finished: FinishedRound): Promise<void> {
		const { jobId, spec, stateHash } = finished;
		const rounds = finished.round + 1;
		const before = await this.#store.models.get(jobId);
		if (before !== undefined && before.round >= rounds) {
			if (before.round === rounds && before.parametersHash !== stateHash) {
				throw new AlthingError(
					"model.conflicting_round",
					`Round ${finished.round} of job ${jobId} was certified with two different states: the federation has more corrupt members than its charter assumes. Stop the job and compare the members' journals.`,
					{ job: jobId, round: finished.round, recorded: before.parametersHash, reported: stateHash },
				);
			}
			return;
		}
		const common = await this.#common(spec, stateHash);
		const known = before === undefined ? undefined : factsOf(before);
		const { loss, accuracy } = finished.metrics;
		const evaluated = loss !== undefined || accuracy !== undefined;
		const facts = recordedFacts({
			...(evaluated
				? { loss, accuracy, evaluatedRounds: finished.round }
				: { loss: known?.loss, accuracy: known?.accuracy, evaluatedRounds: known?.evaluatedRounds }),
			epsilonSpent: finished.epsilonSpent,
			delta: finished.delta,
			participants: finished.participants,
			parameterCount: parameterCount(modelOf(spec)),
			canonicalHash: toHex(canonicalHash(common)),
			resultHash: finished.resultHash,
			previousState: before?.parametersHash,
		});
		await this.#recordJob(finished);
		// Deleted before the record that names it goes, so that a crash in between leaves no orphan.
		const dropped = known?.previousState;
		if (dropped !== undefined && dropped !== before?.parametersHash && dropped !== stateHash) {
			await this.#store.blobs.delete(dropped);
		}
		await this.#store.models.put(jobId, {
			id: `${jobId.slice(0, 12)}-r${rounds}`,
			jobId,
			round: rounds,
			parametersHash: stateHash,
			architecture: JSON.parse(JSON.stringify(spec.model)),
			metrics: facts,
			createdAt: new Date(this.#nowMs()).toISOString(),
		});
	}

	/** Newest first. */
	async list(): Promise<ModelSummary[]> {
		const records = await this.#store.models.list();
		records.sort((a, b) => (a.createdAt < b.createdAt ? 1 : a.createdAt > b.createdAt ? -1 : 0));
		return await Promise.all(records.map(async (record) => summaryOf(await this.#load(record))));
	}

	/** @param params.job the job's id, an unambiguous prefix of it, or the model's id */
	async show({ job }: { job: string }): Promise<ModelDetail> {
		const loaded = await this.#find(job);
		const { record, spec } = loaded;
		const [trained] = await this.#common(spec, record.parametersHash);
		const personal = await this.#personal(loaded);
		return {
			...summaryOf(loaded),
			architecture: record.architecture as JsonObject,
			card: modelCardMarkdown(createModelCard(trained, factsFor(loaded, undefined, {}))),
			formats: [...modelFormats],
			...(personal === undefined ? {} : { personal: { id: personalId(record), ...personal.evaluation } }),
		};
	}

	/**
	 * @param params.model the model's id, its job's id or an unambiguous prefix of that; behind it
	 *   `-personal` for this organization's own model
	 * @throws AlthingError `model.not_found`; `model.no_personal` where there is no model of its own,
	 *   `model.clustered` where there is no one common model
	 */
	async artifacts(params: { model: string; format: ModelFormat }): Promise<readonly ModelArtifact[]> {
		const { model, format } = params;
		if (this.#latest?.key === `${model}/${format}`) return this.#latest.artifacts;
		const asked = model.endsWith(PERSONAL);
		const loaded = await this.#find(asked ? model.slice(0, -PERSONAL.length) : model);
		const personal = asked ? await this.#requirePersonal(loaded) : undefined;
		const key = `${loaded.record.id}${asked ? PERSONAL : ""}/${format}`;
		// A personal model may change without a new common one, when the job is over.
		if (!asked && this.#latest?.key === key) return this.#latest.artifacts;
		const trained = personal?.trained ?? (await this.#onlyCommon(loaded));
		const artifacts = artifactsOf(trained, format, (files) => factsFor(loaded, personal, files));
		this.#latest = { key, artifacts };
		return artifacts;
	}

	/** @param params.personal by this organization's own model; as {@link artifacts} otherwise */
	async predict({
		job,
		rows,
		personal = false,
	}: {
		job: string;
		rows: number[][];
		personal?: boolean | undefined;
	}): Promise<Predictions> {
		const loaded = await this.#find(job);
		const { spec } = loaded;
		const { description } = spec.data;
		const features = featuresOf(rows, description);
		const { parameters } = personal
			? (await this.#requirePersonal(loaded)).trained
			: await this.#onlyCommon(loaded);
		return predictionsOf(await this.#predict(spec, parameters, features), rows.length, description);
	}

	async #personal({ record, spec }: LoadedModel): Promise<PersonalModel | undefined> {
		if (spec.personalization === undefined) return undefined;
		const own = await this.#own(record.jobId);
		if (own === undefined) return undefined;
		const models = await this.#common(spec, record.parametersHash);
		const common = new Float32Array(models.length * models[0].parameters.length);
		models.forEach(({ parameters }, i) => {
			common.set(parameters, i * parameters.length);
		});
		return personalModelOf(spec, common, own);
	}

	async #requirePersonal(loaded: LoadedModel): Promise<PersonalModel> {
		const personal = await this.#personal(loaded);
		if (personal !== undefined) return personal;
		const why =
			loaded.spec.personalization === undefined
				? "its file asks for none (personalization.method)"
				: "it has not got that far: no round with this organization's part in it is finished, or with fine_tuning the job is not";
		throw new AlthingError(
			"model.no_personal",
			`Job ${loaded.record.jobId} has no personal model here: ${why}.`,
			{
				job: loaded.record.jobId,
			},
		);
	}

	async #onlyCommon({ record, spec }: LoadedModel): Promise<TrainedModel> {
		const [only, ...others] = await this.#common(spec, record.parametersHash);
		if (others.length === 0) return only;
		throw new AlthingError(
			"model.clustered",
			`Job ${record.jobId} trains ${others.length + 1} common models: ask for the one that fits this organization's records with --personal.`,
			{ job: record.jobId },
		);
	}

	async #recordJob({ jobId, name, federation, backend, spec }: FinishedRound): Promise<void> {
		const known = await this.#jobs.get(jobId);
		if (known !== undefined && known.federation === federation && known.backend === backend) return;
		await this.#jobs.put(jobId, { jobId, name, federation, backend, spec: JSON.parse(JSON.stringify(spec)) });
	}

	async #find(name: string): Promise<LoadedModel> {
		const models = await this.#store.models.list();
		const exact = models.find((model) => model.jobId === name || model.id === name);
		if (exact !== undefined) return await this.#load(exact);
		const matches = name.length < SHORTEST_PREFIX ? [] : models.filter(({ jobId }) => jobId.startsWith(name));
		const [only] = matches;
		if (only !== undefined && matches.length === 1) return await this.#load(only);
		const why =
			matches.length > 1
				? `"${name}" begins the ids of ${matches.length} jobs with a model: give more of it`
				: `There is no model of "${name}": no round of such a job is finished here, or a newer model took its place. See model.list`;
		throw new AlthingError("model.not_found", `${why}.`, { model: name });
	}

	async #load(record: Model): Promise<LoadedModel> {
		const job = await this.#jobs.get(record.jobId);
		if (job === undefined) {
			throw new AlthingError(
				"store.corrupt_record",
				`The model ${record.id} is recorded without its job. Restore the data directory from a backup.`,
				{ collection: "model-jobs", record: record.jobId },
			);
		}
		return { record, job, spec: resolveJobSpec(checkJobSpec(job.spec)) };
	}

	async #state(hash: string): Promise<Uint8Array> {
		const state = await this.#store.blobs.get(hash);
		if (state !== undefined) return state;
		throw new AlthingError(
			"model.missing_state",
			`The model's state ${hash} is not stored here any more: a newer one took its place just now, try again; if it happens again, fetch the job's state from another member.`,
			{ state: hash },
		);
	}

	/** The common models of a state: one, unless the job is clustered. */
	async #common(spec: ResolvedJobSpec, stateHash: string): Promise<CommonModels> {
		const model = modelOf(spec);
		const clusters = clustersOf(spec.personalization);
		const count = parameterCount(model);
		const { parameters } = decodeCommonState(await this.#state(stateHash), clusters * count);
		return Array.from({ length: clusters }, (_, cluster) => ({
			model,
			parameters: parameters.slice(cluster * count, (cluster + 1) * count),
		})) as [TrainedModel, ...TrainedModel[]];
	}
}

/** Behind a model's id: this organization's own model. */
const PERSONAL = "-personal";

function personalId({ id }: Model): string {
	return `${id}${PERSONAL}`;
}

function factsFor(
	{ record, job, spec }: LoadedModel,
	personal: PersonalModel | undefined,
	files: Record<string, string>,
): ModelCardFacts {
	const facts = cardFacts(job, spec, record.round, factsOf(record), files);
	if (personal !== undefined) return personalCardFacts(spec, facts, personal.evaluation);
	return { ...facts, limits: [...facts.limits, ...commonModelLimits(spec)] };
}

type CommonModels = readonly [TrainedModel, ...TrainedModel[]];

function canonicalHash(models: CommonModels): Uint8Array {
	const hashes = models.map(({ model, parameters }) => parametersHash(model, parameters)) as [Uint8Array];
	return hashes.length === 1 ? hashes[0] : hashFields("althing/model/clusters/v1", ...hashes);
}

function summaryOf({ record, job }: LoadedModel): ModelSummary {
	const { loss, accuracy, epsilonSpent, delta, parameterCount: parameters, canonicalHash } = factsOf(record);
	return {
		id: record.id,
		job: record.jobId,
		name: job.name,
		round: record.round,
		parameterCount: parameters,
		hash: canonicalHash,
		createdAt: record.createdAt,
		...(loss === undefined ? {} : { evaluationLoss: loss }),
		...(accuracy === undefined ? {} : { accuracy }),
		...(epsilonSpent === undefined ? {} : { epsilon: epsilonSpent }),
		...(delta === undefined ? {} : { delta }),
	};
}
