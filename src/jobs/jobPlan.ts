/**
 * What the node's rounds need to know of a job, whatever its technique: how long the aggregated
 * vector is, how many rounds there are, what the common state starts as, and what each round
 * charges. A pure function of the specification and its participants, so every organization
 * derives the same plan; its hash is part of every session id.
 */
import { hashFields } from "../../crypto/hash.ts";
import { initialParameters } from "../learning/model.ts";
import { initialOptimizerState } from "../learning/optimizer.ts";
import type { PrivacyEvent } from "../privacy/accounting/events.ts";
import type { Partition } from "../privacy/budget/records.ts";
import { slackDelta } from "../privacy/noiseShares.ts";
import { encodeCommonState } from "../training/commonState.ts";
import { jobSpecHash, type ResolvedJobSpec } from "../training/jobSpec.ts";
import { type Participation, planHash, planTraining, type TrainingPlan } from "../training/plan.ts";

/** What releasing one round costs the records of one partition of the data set. */
export interface RoundCharge {
	readonly partition: Partition;
	readonly event: PrivacyEvent;
	/** Delta beside the accountant's: how far the noise is from its exact law, tails of samples. */
	readonly extraDelta: number;
}

export interface JobPlan {
	readonly rounds: number;
	/** Coordinates of the aggregated vector, and bits of the ring. */
	readonly length: number;
	readonly modulusBits: 16 | 24 | 32;
	/** All that participants must agree on beyond the common state. */
	readonly hash: Uint8Array;
	/** Present for a technique that trains a model. */
	readonly training?: TrainingPlan;
	/** The common state before the first round. @param seed beacon of the job's start */
	initialState(jobId: string, seed: Uint8Array): Uint8Array;
	/**
	 * What a site charges its own ledger before its contribution to a round leaves.
	 * @param samplerDistance total-variation distance per value of the noise drawn to its exact law
	 */
	charges(round: number, samplerDistance: number): readonly RoundCharge[];
}

/** The largest sample's tail probability (src/training/plan.ts), charged beside the accountant. */
const SUMMATION_TAIL = 1e-13;

/** @throws AlthingError as {@link planTraining} does: the job cannot be run with these participants */
export function planJob(spec: ResolvedJobSpec, who: Participation): JobPlan {
	const plan = planTraining(spec, who);
	const { serverLearningRate: learningRate, momentum } = spec.training;
	return {
		rounds: spec.training.rounds,
		length: plan.length,
		modulusBits: plan.encoding.modulusBits,
		hash: planHash(jobSpecHash(spec), plan, who),
		training: plan,
		initialState: (jobId, seed) =>
			encodeCommonState({
				parameters: initialParameters(plan.model, hashFields("althing/initial-model/1", jobId, seed)),
				optimizer: initialOptimizerState({ learningRate, momentum }, plan.parameterCount),
			}),
		charges: (round, samplerDistance) => trainingCharges(spec, plan, who, round, samplerDistance),
	};
}

/** Training records, and in a round that evaluates the held-out ones. */
function trainingCharges(
	spec: ResolvedJobSpec,
	plan: TrainingPlan,
	who: Participation,
	round: number,
	samplerDistance: number,
): RoundCharge[] {
	const { privacy, training } = spec;
	if (plan.trainingEvent === undefined || plan.evaluationEvent === undefined || privacy.mechanism === "none")
		return [];
	const extraDelta =
		plan.parameterSigma > 0
			? slackDelta({
					sigmaLocal: plan.parameterSigma,
					length: plan.length,
					maximumContributors: who.participants,
					samplerDistance,
					epsilon: privacy.epsilon,
				}) + SUMMATION_TAIL
			: slackDelta({
					sigmaLocal: plan.metricSigma,
					length: plan.length * plan.localSteps,
					maximumContributors: 1,
					samplerDistance,
					epsilon: privacy.epsilon,
				}) +
				SUMMATION_TAIL * plan.localSteps;
	const train: RoundCharge = { partition: "train", event: plan.trainingEvent, extraDelta };
	if (round % training.evaluateEveryRounds !== 0) return [train];
	return [train, { partition: "heldOut", event: plan.evaluationEvent, extraDelta }];
}
