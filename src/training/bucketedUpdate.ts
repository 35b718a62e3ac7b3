/**
 * Jobs whose sums are opened by bucket (robustness.mode bucketed): how participants are dealt, when a job
 * cannot be run so, and the public step from the buckets' sums to a robust mean.
 */
import { AlthingError } from "../../crypto/error.ts";
import { decode, fromRing } from "../privacy/fixedPoint.ts";
import { leastVectors } from "../robustness/breakdown.ts";
import { coordinateMedian, trimmedMean } from "../robustness/coordinates.ts";
import { alignment, excludedByReputation, nextReputations } from "../robustness/directionReputation.ts";
import { geometricMedian } from "../robustness/geometricMedian.ts";
import type { BucketedChoice } from "../robustness/robustnessChoice.ts";
import type { Vectors } from "../robustness/vectors.ts";
import type { CommonState } from "./commonState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import type { Participation, TrainingPlan } from "./plan.ts";
import { siteNormBound } from "./robustUpdate.ts";

type Choice = Pick<ResolvedJobSpec, "robustness">;

export function bucketedChoiceOf({ robustness }: Choice): BucketedChoice | undefined {
	return robustness?.mode === "bucketed" ? robustness : undefined;
}

/** How a round's members are dealt to buckets, and how few may be left. */
export interface BucketDealing {
	/** Members of a bucket, or one more of some. */
	readonly size: number;
	/** Of a bucket with fewer survivors nothing is opened. */
	readonly survivors: number;
	/** f: without 2 f + 1 buckets a round has no sum. */
	readonly attackers: number;
}

/** Honest vectors in a sum that is opened, whoever is corrupt, at least: one alone would be told. */
const LEAST_HONEST = 2;

/**
 * @param proven attackers that are out of the job, so that fewer are left
 * @returns undefined for a job without buckets
 */
export function bucketDealing(
	spec: Choice,
	{ corruption }: Pick<Participation, "corruption">,
	proven: number,
): BucketDealing | undefined {
	const choice = bucketedChoiceOf(spec);
	if (choice === undefined) return undefined;
	return {
		size: choice.bucketSize,
		survivors: corruption + LEAST_HONEST,
		attackers: Math.max(0, choice.attackers - proven),
	};
}

/**
 * Refuses buckets that colluders could take apart, that the attackers could be in most of, or that would be
 * too few once attackers are found out and left out, with the others of the buckets that they leave too small.
 * @throws AlthingError `job.invalid`
 */
export function requireBuckets(spec: Choice, who: Participation): void {
	const choice = bucketedChoiceOf(spec);
	const dealing = bucketDealing(spec, who, 0);
	if (choice === undefined || dealing === undefined) return;
	const { attackers, bucketSize, rule } = choice;
	const { participants, minimumSurvivors, corruption } = who;
	const { survivors } = dealing;
	const refuse = (why: string): never => {
		throw new AlthingError("job.invalid", `robustness.mode bucketed ${why}`, { ...who });
	};
	if (bucketSize < survivors)
		refuse(
			`opens the sums of buckets of ${bucketSize}, of which the ${corruption} participants who may be corrupt, by the federation's charter, could take their own vectors off; set robustness.bucketSize to ${survivors} or more`,
		);
	const buckets = Math.floor(participants / bucketSize);
	const least = leastVectors(rule, attackers);
	if (buckets < least)
		refuse(
			`against ${attackers} attackers needs ${least} buckets, and ${participants} participants fill ${buckets} of ${bucketSize}; use smaller buckets, fewer robustness.attackers, more participants, or norm_bound`,
		);
	// So many have to be missing of one bucket before nothing of it is opened.
	const spoiling = bucketSize - survivors + 1;
	const lostWith = Math.ceil(participants / buckets) - spoiling;
	const left = participants - attackers - Math.floor(attackers / spoiling) * lostWith;
	if (left < minimumSurvivors)
		refuse(
			`against ${attackers} attackers sums ${left} of ${participants} participants when they are found out, without the rest of their buckets of ${bucketSize}, fewer than the ${minimumSurvivors} that have to survive; use larger buckets, or lower aggregation.minimumSurvivors or the charter's minimumSurvivorFraction`,
		);
}

/** Why a job cannot have buckets beside its other keys; undefined where it can. */
export function bucketedContradiction(
	spec: Pick<ResolvedJobSpec, "robustness" | "selection">,
): string | undefined {
	if (bucketedChoiceOf(spec) === undefined || spec.selection === undefined) return undefined;
	return "robustness.mode bucketed deals all participants to buckets: it does not go with selection, which may ask too few for them";
}

/** The sum of all buckets, mod 2^modulusBits: what is not judged by bucket is taken from it. */
export function totalOfBuckets(sums: Uint32Array, length: number): Uint32Array {
	const total = new Uint32Array(length);
	for (let i = 0; i < sums.length; i++) total[i % length]! += sums[i]!;
	return total;
}

/** A bucket of which something was opened. */
interface OpenedBucket {
	readonly members: readonly number[];
	readonly mean: Float64Array;
}

export interface BucketedMean {
	readonly mean: Float64Array;
	/** For the next common state: the history that {@link setAsideFrom} looks at. */
	readonly kept: Pick<CommonState, "reputations" | "lastAggregate">;
}

/**
 * The rule over the means of the buckets of which something was opened. Each has one voice, whatever its
 * size. And the participants' history: how far the means of the buckets that each was in agreed with the
 * aggregate before (src/robustness/directionReputation.ts), which costs nothing, for these means are public.
 * @param sums one after the other, as released
 * @param buckets survivors of each, as places among the participants
 */
export function bucketedMean(
	spec: Pick<ResolvedJobSpec, "robustness" | "aggregation">,
	{
		length,
		layout,
		encoding,
		participants,
	}: Pick<TrainingPlan, "length" | "layout" | "encoding" | "participants">,
	state: Pick<CommonState, "normBound" | "reputations" | "lastAggregate">,
	sums: Uint32Array,
	buckets: readonly (readonly number[])[],
): BucketedMean {
	const choice = bucketedChoiceOf(spec)!;
	const opened = buckets.flatMap((members, bucket): OpenedBucket[] => {
		if (members.length === 0) return [];
		const sum = sums.subarray(bucket * length, bucket * length + layout.update);
		const values = decode(fromRing(sum, encoding.modulusBits), encoding);
		return [{ members, mean: Float64Array.from(values, (value) => value / members.length) }];
	});
	const mean = ruledMean(
		choice,
		opened.map((bucket) => bucket.mean),
	);
	const last = state.lastAggregate ?? new Float64Array(mean.length);
	const bound = siteNormBound(spec, state);
	const alignments = new Array<number | undefined>(participants).fill(undefined);
	for (const bucket of opened)
		for (const member of bucket.members) alignments[member] = alignment(bucket.mean, last, bound);
	const before = state.reputations ?? new Float64Array(participants);
	return { mean, kept: { reputations: nextReputations(before, alignments), lastAggregate: mean.slice() } };
}

function ruledMean({ rule, attackers }: BucketedChoice, means: Vectors): Float64Array {
	// With attackers out of the job fewer buckets may be left, and fewer attackers are.
	const left = Math.min(attackers, Math.floor((means.length - 1) / 2));
	switch (rule) {
		case "coordinate_median":
			return coordinateMedian(means, left);
		case "trimmed_mean":
			return trimmedMean(means, left);
		case "geometric_median":
			return geometricMedian(means, left);
	}
}

/**
 * Who is not asked any more, because the buckets it was in kept standing out: at most f, those that are
 * excluded counted, and as long as the others fill enough buckets. Nobody is accused of anything.
 * @param excluded participants that are out of the job, as places
 * @returns sorted places
 */
export function setAsideFrom(
	spec: Choice,
	{ reputations }: Pick<CommonState, "reputations">,
	excluded: readonly number[],
): number[] {
	const choice = bucketedChoiceOf(spec);
	if (choice === undefined || reputations === undefined) return [];
	const left = Math.max(0, choice.attackers - excluded.length);
	const judged = [...reputations.keys()].filter((place) => !excluded.includes(place));
	const spare = judged.length - choice.bucketSize * leastVectors(choice.rule, left);
	const most = Math.min(left, Math.max(0, spare));
	const scores = Float64Array.from(judged, (place) => reputations[place]!);
	return excludedByReputation(scores, most).map((index) => judged[index]!);
}
