/**
 * What the rounds of a training job cost: the events that a site charges its own ledger, and what
 * is charged to delta beside them. One place, so that what runs and what is charged stay together
 * (src/privacy/README.md derives each).
 */
import { ROUNDING_TAIL } from "../compression/stochasticRounding.ts";
import { roundEvent } from "../privacy/accounting/calibration.ts";
import { composed, gaussian, type PrivacyEvent, selfComposed } from "../privacy/accounting/events.ts";
import type { Partition } from "../privacy/budget/records.ts";
import { eventKey } from "../privacy/budget/spending.ts";
import { slackDelta } from "../privacy/noiseShares.ts";
import { slackEpsilon } from "../privacy/slack.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { REPORTED_INTEGERS } from "./lossReports.ts";
import { levelOf } from "./noiseSchedule.ts";
import type { Participation, TrainingPlan } from "./plan.ts";
import { recordRate } from "./privacyChoice.ts";
import { SAMPLE_TAIL } from "./recordReach.ts";
import { isScreened } from "./robustUpdate.ts";

/** What releasing one round costs the records of one partition of the data set. */
export interface RoundCharge {
	readonly partition: Partition;
	readonly event: PrivacyEvent;
	/** Delta beside the accountant's: how far the noise is from its exact law, tails of samples. */
	readonly extraDelta: number;
	/** Never taken back, whatever becomes of the round: later rounds rely on it being paid, or it was shown. */
	readonly standing?: boolean;
}

/** How a site's contribution to a round came about: what its charge depends on beside the plan. */
export interface ContributionFacts {
	readonly round: number;
	/** Of noise, that the contribution was computed with; an index of the plan's. */
	readonly level: number;
	/** Total-variation distance per value of the noise drawn to its exact law. */
	readonly samplerDistance: number;
	/** Correlated noise: cycles whose participations this contribution is the first to show. */
	readonly newCycles: number;
}

/** What a site charges before its contribution to a round leaves; nothing for a job without privacy. */
export function trainingCharges(
	spec: ResolvedJobSpec,
	plan: TrainingPlan,
	who: Participation,
	facts: ContributionFacts,
): RoundCharge[] {
	const { privacy } = spec;
	if (privacy.mechanism === "none") return [];
	const { round, level } = facts;
	const { parameterSigma, metricSigma } = plan.noise[level]!;
	const slack = { samplerDistance: facts.samplerDistance, epsilon: slackEpsilon(privacy.epsilon) };
	const roundingTail = plan.compression === undefined ? 0 : ROUNDING_TAIL;
	const extraDelta =
		privacy.mechanism === "distributed_gaussian"
			? slackDelta({
					...slack,
					sigmaLocal: parameterSigma,
					length: plan.length,
					maximumContributors: who.participants,
				}) +
				SAMPLE_TAIL +
				roundingTail
			: slackDelta({
					...slack,
					sigmaLocal: metricSigma,
					length: (plan.length + (plan.publicValues ?? 0)) * plan.localSteps,
					maximumContributors: 1,
				}) +
				SAMPLE_TAIL * plan.localSteps;
	const train = {
		partition: "train" as const,
		event: trainingEvent(spec, plan, facts),
		extraDelta,
		// A cycle's participations are charged in one round and shown in the next ones, too.
		...(isShownBeforeVote(spec, plan) || plan.correlation !== undefined ? { standing: true } : {}),
	};
	const evaluation = evaluates(spec, round) ? evaluationEvent(plan, level) : undefined;
	// An organization's records are in both parts, so what is told about it is charged to both.
	if (isClientLevel(spec)) {
		const event = evaluation === undefined ? train.event : composed(train.event, evaluation);
		return [
			{ partition: "train", event, extraDelta },
			{ partition: "heldOut", event, extraDelta },
		];
	}
	const evaluations =
		evaluation === undefined ? [] : [{ partition: "heldOut" as const, event: evaluation, extraDelta }];
	return [train, ...evaluations, ...reportCharges(plan, slack)];
}

/**
 * Whether something of the update is seen before the survivors are voted on, dead attempt or not: all of it in
 * the clear, 16 projections or inner products of sketches where inputs are screened.
 */
function isShownBeforeVote(spec: ResolvedJobSpec, plan: TrainingPlan): boolean {
	return plan.publicValues !== undefined || isScreened(spec);
}

/** A report is seen by all as soon as it is sent, whatever becomes of the sum: its charge is never taken back. */
function reportCharges(
	{ report }: TrainingPlan,
	slack: { readonly samplerDistance: number; readonly epsilon: number },
): RoundCharge[] {
	if (report === undefined) return [];
	const extraDelta = slackDelta({
		...slack,
		sigmaLocal: report.sigma,
		length: REPORTED_INTEGERS,
		maximumContributors: 1,
	});
	return [{ partition: "heldOut", event: gaussian(report.noiseMultiplier), extraDelta, standing: true }];
}

/**
 * All rounds together, for whoever decides whether the job fits a budget. With adaptive noise those
 * of an even run: others cost as much of the job's epsilon, but an account's filter may weigh them otherwise.
 */
export function totalCharges(spec: ResolvedJobSpec, plan: TrainingPlan): Omit<RoundCharge, "extraDelta">[] {
	if (spec.privacy.mechanism === "none") return [];
	const { rounds } = spec.training;
	const separation = plan.correlation?.minimumSeparation;
	const training = new EventCounts();
	const evaluation = new EventCounts();
	for (let round = 0; round < rounds; round++) {
		const level = levelOf(round, rounds, plan.noise.length);
		const newCycles = separation !== undefined && round % separation === 0 ? 1 : 0;
		training.add(`${level}/${newCycles}`, () => trainingEvent(spec, plan, { level, newCycles }));
		if (evaluates(spec, round)) evaluation.add(`${level}`, () => evaluationEvent(plan, level));
	}
	if (isClientLevel(spec)) {
		const event = composed(...training.events(), ...evaluation.events());
		return [
			{ partition: "train", event },
			{ partition: "heldOut", event },
		];
	}
	const reports =
		plan.report === undefined ? [] : [selfComposed(gaussian(plan.report.noiseMultiplier), rounds)];
	return [
		{ partition: "train", event: composed(...training.events()) },
		{ partition: "heldOut", event: composed(...evaluation.events(), ...reports) },
	];
}

/** Equal events of many rounds, counted. */
class EventCounts {
	readonly #counts = new Map<string, { readonly event: PrivacyEvent; count: number }>();

	add(key: string, eventOf: () => PrivacyEvent): void {
		const known = this.#counts.get(key);
		if (known === undefined) this.#counts.set(key, { event: eventOf(), count: 1 });
		else known.count += 1;
	}

	events(): PrivacyEvent[] {
		return [...this.#counts.values()].map(({ event, count }) => selfComposed(event, count));
	}
}

/** What a round's update tells about one record of the training part, or about the organization. */
export function trainingEvent(
	spec: ResolvedJobSpec,
	plan: TrainingPlan,
	{ level, newCycles }: Pick<ContributionFacts, "level" | "newCycles">,
): PrivacyEvent {
	const { privacy } = spec;
	if (privacy.mechanism === "none") return composed();
	const { noiseMultiplier } = plan.noise[level]!;
	if (isClientLevel(spec)) return gaussian(noiseMultiplier);
	if (plan.correlation !== undefined) return selfComposed(gaussian(noiseMultiplier), newCycles);
	const step = roundEvent(recordRate(privacy), noiseMultiplier);
	return plan.localSteps > 0 ? selfComposed(step, plan.localSteps) : step;
}

/** Which level of adaptive noise a round ran at that was charged so; undefined where none is. */
export function levelCharged(
	spec: ResolvedJobSpec,
	plan: TrainingPlan,
	charges: readonly Pick<RoundCharge, "partition" | "event">[],
): number | undefined {
	const update = charges.find(({ partition }) => partition === "train");
	if (update === undefined) return undefined;
	const key = eventKey(update.event);
	const level = plan.noise.findIndex(
		(_, index) => eventKey(trainingEvent(spec, plan, { level: index, newCycles: 0 })) === key,
	);
	return level < 0 ? undefined : level;
}

/** What a round's evaluation tells about one held-out record, or about the organization. */
function evaluationEvent(plan: TrainingPlan, level: number): PrivacyEvent {
	return gaussian(plan.noise[level]!.evaluationMultiplier);
}

/** Whether a round releases an evaluation; in gossip each node's own stays at the node. */
function evaluates({ training }: ResolvedJobSpec, round: number): boolean {
	return training.schedule !== "gossip" && round % training.evaluateEveryRounds === 0;
}

function isClientLevel({ privacy }: ResolvedJobSpec): boolean {
	return privacy.mechanism === "distributed_gaussian" && privacy.unit === "client";
}
