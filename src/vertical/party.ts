/**
 * One organization's side of a vertical job: its rows in the common order, its own part of the
 * model, and its contribution to each round. What leaves is the vector returned, masked.
 */
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "../data/dataset.ts";
import type { DataDescription } from "../data/description.ts";
import { encodeToRing } from "../privacy/samplers/bulkEncoding.ts";
import { type GaussianSampler, tableGaussian } from "../privacy/samplers/tableGaussian.ts";
import { type Alignment, alignmentVector } from "./alignment.ts";
import { backward, clipRows, forward, initialPart, parameterCountOf, type Widths } from "./denseNetwork.ts";
import { errorsAtCut, scoreOf, type TopPart } from "./labelHolder.ts";
import type { OwnPart } from "./ownPart.ts";
import { StepNoise, stepped } from "./privateStep.ts";
import { errorsBefore, recordsOf, type Step, stepOf } from "./schedule.ts";
import {
	EVENTS_OF_FEATURES,
	EVENTS_OF_LABELS,
	GRADIENT,
	LARGEST_INTEGER,
	LARGEST_PART,
	LOSS_BOUND,
	type VerticalPlan,
} from "./verticalPlan.ts";
import type { VerticalJob } from "./verticalSpec.ts";
import type { VerticalState } from "./verticalState.ts";

export interface VerticalContribution {
	/** Mod 2^32, with this site's share of the noise. */
	readonly vector: Uint32Array;
	/** For the next round; durable before the vector leaves. */
	readonly part: OwnPart;
	/** Names of the events that the vector shows the results of. */
	readonly participations: readonly string[];
}

export interface PartyOptions {
	readonly spec: VerticalJob;
	readonly plan: VerticalPlan;
	/** This organization's columns, scaled by public bounds, every row of them. */
	readonly dataset: Dataset;
	readonly alignment: Alignment;
	/** Whether the labels are here. */
	readonly holdsLabels: boolean;
	/** 32 secret bytes for each call: the system's generator. */
	readonly random: (length: number) => Uint8Array;
}

/** Whether a data set has the labels of a job: its classes, in their order. */
export function hasClasses({ label }: Pick<DataDescription, "label">, classes: readonly string[]): boolean {
	return (
		label.kind === "class" &&
		label.classes.length === classes.length &&
		label.classes.every((name, i) => name === classes[i])
	);
}

const NOTHING = new Float64Array(0);

export class VerticalParty {
	readonly #options: PartyOptions;
	readonly #bottom: Widths;
	readonly #top: Widths | undefined;
	readonly #share: GaussianSampler | "none";
	readonly #bottomNoise: StepNoise | undefined;
	readonly #topNoise: StepNoise | undefined;

	/** @throws AlthingError `vertical.too_large` for an own part of too many parameters */
	constructor(options: PartyOptions) {
		this.#options = options;
		const { spec, plan, dataset, holdsLabels } = options;
		const { model, privacy, training, data } = spec;
		const inputs = dataset.columns.length;
		const outputs = data.classes.length === 2 ? 1 : data.classes.length;
		this.#bottom = model.kind === "split_network" ? [inputs, ...model.bottom, plan.cut] : [inputs, plan.cut];
		this.#top = model.kind === "split_network" && holdsLabels ? [plan.cut, ...model.top, outputs] : undefined;
		const parameters = parameterCountOf(this.#bottom);
		if (parameters > LARGEST_PART) {
			throw new AlthingError(
				"vertical.too_large",
				`This organization's part would have ${parameters} parameters, more than ${LARGEST_PART}: ask for fewer hidden units.`,
			);
		}
		if (privacy.mechanism === "none") {
			this.#share = "none";
			return;
		}
		const noise = (widths: Widths) =>
			new StepNoise(plan.noiseMultiplier, parameterCountOf(widths), privacy.gradientNorm, training.batch);
		this.#share = tableGaussian(plan.sigmaLocal);
		this.#bottomNoise = noise(this.#bottom);
		if (this.#top !== undefined) this.#topNoise = noise(this.#top);
	}

	/** Upper bound on the total-variation distance per value of any noise drawn here to its exact law. */
	get samplerDistance(): number {
		const share = this.#share === "none" ? 0 : this.#share.totalVariationDistance;
		return Math.max(share, this.#bottomNoise?.distance ?? 0, this.#topNoise?.distance ?? 0);
	}

	/**
	 * The vector for one round.
	 * @param part as the last contribution returned it; undefined before the first
	 */
	contribute(round: number, state: VerticalState, part: OwnPart | undefined): VerticalContribution {
		const { plan } = this.#options;
		const step = stepOf(plan.schedule, round);
		const before = part ?? this.#initial();
		const own = this.#caughtUp(before, state, errorsBefore(plan.schedule, round));
		// What moved the part may be of an epoch that this organization was away for until now.
		const moved =
			own.bottom === before.bottom
				? []
				: [`${GRADIENT}/${Math.floor((own.errorsTaken - 1) / plan.schedule.trainChunks)}`];
		const { participations, ...contribution } = this.#contribution(step, state, own);
		return { ...contribution, participations: [...new Set([...participations, ...moved])] };
	}

	#contribution(step: Step, state: VerticalState, own: OwnPart): VerticalContribution {
		const { holdsLabels } = this.#options;
		switch (step.kind) {
			case "align":
				return { vector: this.#alignment(), part: own, participations: [] };
			case "forward":
				return {
					vector: this.#encoded(this.#outputs(own, this.#rowsOf(state, step))),
					part: own,
					participations: EVENTS_OF_FEATURES.map((event) => `${event}/${step.epoch}`),
				};
			case "backward": {
				if (!holdsLabels) return { vector: this.#encoded(), part: own, participations: [] };
				const answered = this.#answered(own, state, step);
				return {
					vector: this.#encoded(answered.answered?.errors),
					part: answered,
					participations: EVENTS_OF_LABELS.map((event) => `${event}/${step.epoch}`),
				};
			}
			case "score":
				return {
					vector: this.#encoded(undefined, holdsLabels ? this.#score(own, state, step.epoch) : undefined),
					part: own,
					// Paid for with the epoch's errors, unless this organization was kept from sending any.
					participations: holdsLabels ? EVENTS_OF_LABELS.map((event) => `${event}/${step.epoch}`) : [],
				};
		}
	}

	#initial(): OwnPart {
		const { random } = this.#options;
		return {
			errorsTaken: 0,
			bottom: initialPart(this.#bottom, random(32)),
			...(this.#top === undefined ? {} : { top: initialPart(this.#top, random(32)) }),
		};
	}

	/**
	 * Takes in the errors that came back since. Errors of batches that this organization was away for
	 * are gone; they are passed by.
	 */
	#caughtUp(part: OwnPart, state: VerticalState, returned: number): OwnPart {
		if (part.errorsTaken >= returned) return part;
		const { spec, plan } = this.#options;
		const { errors } = state;
		const last = returned - 1;
		if (errors === undefined || errors.step !== last) return { ...part, errorsTaken: returned };
		const { trainChunks } = plan.schedule;
		const rows = this.#rowsOf(state, {
			kind: "forward",
			part: "train",
			epoch: Math.floor(last / trainChunks),
			chunk: last % trainChunks,
		});
		const pass = forward(this.#bottom, part.bottom, this.#features(rows), rows.length);
		const { sum } = backward(this.#bottom, part.bottom, pass, errors.values, this.#gradientNorm);
		this.#bottomNoise?.add(sum);
		const { batch, learningRate } = spec.training;
		return { ...part, errorsTaken: returned, bottom: stepped(part.bottom, sum, batch, learningRate) };
	}

	/** This organization's outputs for rows of its own table, in units of their norm. */
	#outputs({ bottom }: OwnPart, rows: Int32Array): Float64Array {
		const { spec, plan } = this.#options;
		const pass = forward(this.#bottom, bottom, this.#features(rows), rows.length);
		const outputs = pass.activations.at(-1)!;
		clipRows(outputs, plan.cut, spec.privacy.activationNorm);
		return outputs.map((value) => value / spec.privacy.activationNorm);
	}

	/** The label holder's errors for a batch, in units of their norm, and its part moved by them: once. */
	#answered(part: OwnPart, state: VerticalState, step: Extract<Step, { kind: "backward" }>): OwnPart {
		if (part.answered?.step === step.step) return part;
		const { spec, plan } = this.#options;
		const [sums] = state.activations;
		if (sums === undefined) {
			throw new AlthingError("vertical.bad_state", "The state holds no sums to answer with errors.");
		}
		const rows = this.#rowsOf(state, { ...step, kind: "forward", part: "train" });
		const top = this.#topOf(part);
		const norms = { error: spec.privacy.errorNorm, gradient: this.#gradientNorm };
		const { errors, topSum } = errorsAtCut(top, sums, this.#labels(rows), plan.cut, norms);
		const answered = {
			step: step.step,
			errors: errors.map((value) => value / spec.privacy.errorNorm),
		};
		if (top.widths === undefined) return { ...part, answered };
		this.#topNoise?.add(topSum);
		const { batch, learningRate, topLearningRate = learningRate } = spec.training;
		return { ...part, answered, top: stepped(top.parameters, topSum, batch, topLearningRate) };
	}

	#score(part: OwnPart, state: VerticalState, epoch: number): Float64Array {
		const { plan } = this.#options;
		let loss = 0;
		let right = 0;
		let count = 0;
		state.activations.forEach((sums, chunk) => {
			const rows = this.#rowsOf(state, { kind: "forward", part: "heldOut", epoch, chunk });
			const { lossSum, correct } = scoreOf(this.#topOf(part), sums, this.#labels(rows), plan.cut, LOSS_BOUND);
			loss += lossSum / LOSS_BOUND;
			right += correct;
			count += rows.length;
		});
		return Float64Array.of(loss, right, count).map((value) => value * plan.scoreUnit);
	}

	#topOf({ top = new Float64Array(0) }: OwnPart): TopPart {
		return { widths: this.#top, parameters: top };
	}

	get #gradientNorm(): number {
		const { privacy } = this.#options.spec;
		return privacy.mechanism === "none" ? Number.POSITIVE_INFINITY : privacy.gradientNorm;
	}

	/** Rows of this organization's own table for a chunk. */
	#rowsOf(state: VerticalState, step: Extract<Step, { kind: "forward" }>): Int32Array {
		const { plan, alignment } = this.#options;
		return recordsOf(plan.schedule, state.seed, step).map((record) => alignment.rows[record]!);
	}

	#features(rows: Int32Array): Float64Array {
		const { features, columns } = this.#options.dataset;
		const width = columns.length;
		const gathered = new Float64Array(rows.length * width);
		rows.forEach((row, i) => {
			gathered.set(features.subarray(row * width, (row + 1) * width), i * width);
		});
		return gathered;
	}

	#labels(rows: Int32Array): Float32Array {
		const { labels } = this.#options.dataset;
		return Float32Array.from(rows, (row) => labels[row]!);
	}

	/** Digests are compared exactly, without noise. */
	#alignment(): Uint32Array {
		const vector = new Uint32Array(this.#options.plan.length);
		vector.set(alignmentVector(this.#options.alignment.digest));
		return vector;
	}

	/** Values and score in units of their norms, zeros where there are none, with this site's share of the noise. */
	#encoded(values: Float64Array = NOTHING, score: Float64Array = NOTHING): Uint32Array {
		const { plan } = this.#options;
		const all = new Float64Array(plan.length);
		all.set(values);
		all.set(score, plan.score);
		const vector = new Uint32Array(plan.length);
		// The score is bounded by the records it counts, not by a record's norm.
		const wide = { ...plan.encoding, coordinateBound: LARGEST_INTEGER };
		encodeToRing(all.subarray(0, plan.score), plan.encoding, this.#share, vector.subarray(0, plan.score));
		encodeToRing(all.subarray(plan.score), wide, this.#share, vector.subarray(plan.score));
		return vector;
	}
}
