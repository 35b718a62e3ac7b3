/**
 * What the node's rounds need to know of a job, whatever its technique: how long the aggregated
 * vector is, how many rounds there are, what the common state starts as, and what each round
 * charges. A pure function of the specification and its participants, so every organization
 * derives the same plan; its hash is part of every session id.
 */
import { encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { ModulusBits } from "../../crypto/ringPacking.ts";
import { PARTITIONS } from "../privacy/budget/records.ts";
import { slackDelta } from "../privacy/noiseShares.ts";
import { slackEpsilon } from "../privacy/slack.ts";
import { planQuery, type QueryPlan } from "../queries/plan.ts";
import type { FederatedQuery } from "../queries/spec.ts";
import { type BucketDealing, bucketDealing, setAsideFrom } from "../training/bucketedUpdate.ts";
import {
	type ContributionFacts,
	type RoundCharge,
	totalCharges,
	trainingCharges,
} from "../training/charges.ts";
import { publicBytesOf } from "../training/clearUpdate.ts";
import { decodeCommonState, encodeCommonState, initialState } from "../training/commonState.ts";
import { jobSpecHash, type ResolvedJobSpec } from "../training/jobSpec.ts";
import { type Participation, planHash, planTraining, type TrainingPlan } from "../training/plan.ts";
import { isScreened, screeningRules } from "../training/robustUpdate.ts";
import {
	planVertical,
	totalVerticalCharges,
	type VerticalPlan,
	verticalCharges,
	verticalPlanHash,
} from "../vertical/verticalPlan.ts";
import type { VerticalJob } from "../vertical/verticalSpec.ts";
import { encodeVerticalState } from "../vertical/verticalState.ts";
import { UNANSWERED } from "./queryRound.ts";
import { type ResolvedQueryJob, type ResolvedSpecification, specificationHash } from "./specification.ts";

/** A technique's own specification and plan. */
export type JobWork =
	| { readonly kind: "training"; readonly spec: ResolvedJobSpec; readonly plan: TrainingPlan }
	| { readonly kind: "query"; readonly spec: FederatedQuery; readonly plan: QueryPlan }
	| { readonly kind: "vertical"; readonly spec: VerticalJob; readonly plan: VerticalPlan };

export interface JobPlan {
	readonly rounds: number;
	/** Coordinates of the aggregated vector, and bits of the ring. */
	readonly length: number;
	readonly modulusBits: ModulusBits;
	/** All that participants must agree on beyond the common state. */
	readonly hash: Uint8Array;
	/** What the rounds compute. */
	readonly work: JobWork;
	/** The common state before the first round. @param seed beacon of the job's start */
	initialState(jobId: string, seed: Uint8Array): Uint8Array;
	/** Bytes that every participant shows of its update; absent where nothing is shown. */
	readonly publicBytes?: number | undefined;
	/** What the inputs of the round that starts from a common state are screened by; absent where none are. */
	screening?(state: Uint8Array): ReturnType<typeof screeningRules>;
	/** How a round's members are dealt to buckets whose sums are opened; absent where there is one sum. @param proven attackers that are out */
	buckets?(proven: number): BucketDealing;
	/** Who is not asked in the round that starts from a common state, though it is not excluded; absent where nobody ever is. Places. */
	setAside?(state: Uint8Array, excluded: readonly number[]): readonly number[];
	/** What a site charges its own ledger before its contribution to a round leaves. */
	charges(facts: ContributionFacts): readonly RoundCharge[];
	/** All rounds together, for whoever decides whether the job fits a budget. */
	readonly total: readonly Omit<RoundCharge, "extraDelta">[];
}

/**
 * @throws AlthingError as {@link planTraining} and {@link planQuery} do: the job cannot be run
 *   with these participants
 */
export function planJob(spec: ResolvedSpecification, who: Participation): JobPlan {
	return jobPlanOf(spec, who, planWork(spec, who));
}

/**
 * The part of planning that can take seconds, sizing the noise: not for a thread that serves others.
 * Its result is plain data, which may be sent between threads.
 * @throws AlthingError as {@link planJob}
 */
export function planWork(spec: ResolvedSpecification, who: Participation): JobWork {
	switch (spec.technique) {
		case "query":
			return { kind: "query", spec: spec.query, plan: planQuery(spec.query, who) };
		case "vertical_learning":
			return { kind: "vertical", spec, plan: planVertical(spec, who) };
		case "federated_learning":
			return { kind: "training", spec, plan: planTraining(spec, who) };
	}
}

/** The rest of {@link planJob}. @param work of the same specification and participants */
export function jobPlanOf(spec: ResolvedSpecification, who: Participation, work: JobWork): JobPlan {
	if (spec.technique === "query" && work.kind === "query") return queryJobPlan(spec, who, work.plan);
	if (spec.technique === "federated_learning" && work.kind === "training")
		return trainingJobPlan(spec, who, work.plan);
	if (spec.technique === "vertical_learning" && work.kind === "vertical")
		return verticalJobPlan(spec, who, work.plan);
	throw new AlthingError("job.invalid", `a plan of a ${work.kind} is none of a ${spec.technique} job`);
}

function queryJobPlan(spec: ResolvedQueryJob, who: Participation, plan: QueryPlan): JobPlan {
	const { length, event } = plan;
	// Exact numbers that its square roots and fractions give alike on every processor: no exponentials.
	const { scale, modulusBits, coordinateBound, sensitivity } = plan.encoding;
	return {
		rounds: 1,
		length,
		modulusBits,
		hash: hashFields(
			"althing/query-plan/1",
			specificationHash(spec),
			encodeCanonical({
				...who,
				length,
				encoding: { scale, modulusBits, coordinateBound, sensitivity },
				unitsPerRecord: plan.unitsPerRecord,
				sigmaLocal: plan.sigmaLocal,
			}),
		),
		work: { kind: "query", spec: spec.query, plan },
		initialState: () => UNANSWERED,
		charges: ({ samplerDistance }) => {
			const extraDelta = slackDelta({
				sigmaLocal: plan.sigmaLocal,
				length,
				maximumContributors: who.participants,
				samplerDistance,
				epsilon: slackEpsilon(spec.query.privacy.epsilon),
			});
			return PARTITIONS.map((partition) => ({ partition, event, extraDelta }));
		},
		total: PARTITIONS.map((partition) => ({ partition, event })),
	};
}

function verticalJobPlan(spec: VerticalJob, who: Participation, plan: VerticalPlan): JobPlan {
	return {
		rounds: plan.schedule.rounds,
		length: plan.length,
		modulusBits: plan.encoding.modulusBits,
		hash: verticalPlanHash(spec, plan, who),
		work: { kind: "vertical", spec, plan },
		initialState: (jobId, seed) =>
			encodeVerticalState({ seed: hashFields("althing/vertical-job-seed/1", jobId, seed), activations: [] }),
		charges: (facts) => verticalCharges(spec, plan, who, facts),
		total: totalVerticalCharges(spec, plan),
	};
}

function trainingJobPlan(spec: ResolvedJobSpec, who: Participation, plan: TrainingPlan): JobPlan {
	return {
		rounds: spec.training.rounds,
		length: plan.length,
		modulusBits: plan.encoding.modulusBits,
		hash: planHash(jobSpecHash(spec), plan, who),
		work: { kind: "training", spec, plan },
		initialState: (jobId, seed) => encodeCommonState(initialState(spec, plan, jobId, seed)),
		publicBytes: publicBytesOf(plan),
		...(isScreened(spec)
			? {
					screening: (state: Uint8Array) =>
						screeningRules(spec, plan, decodeCommonState(state, plan.parameterCount)),
				}
			: {}),
		...(bucketDealing(spec, who, 0) === undefined
			? {}
			: {
					buckets: (proven: number) => bucketDealing(spec, who, proven) as BucketDealing,
					setAside: (state: Uint8Array, excluded: readonly number[]) =>
						setAsideFrom(spec, decodeCommonState(state, plan.parameterCount), excluded),
				}),
		charges: (facts) => trainingCharges(spec, plan, who, facts),
		total: totalCharges(spec, plan),
	};
}
