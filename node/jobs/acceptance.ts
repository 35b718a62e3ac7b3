/**
 * Whether this organization takes part in a proposed job: the charter's privacy floor, the
 * organization's own policy, its data and its budget, in that order.
 */
import { encodeCanonical, equalBytes } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId } from "../../crypto/identity.ts";
import type { Charter } from "../../protocols/federation/index.ts";
import type { DataDescription } from "../../src/data/description.ts";
import type { JobPlan, JobWork } from "../../src/jobs/jobPlan.ts";
import { traitsOf } from "../../src/jobs/jobTraits.ts";
import { privacyPromiseOf, type ResolvedSpecification } from "../../src/jobs/specification.ts";
import type { BudgetLedger } from "../../src/privacy/budget/ledger.ts";
import { footprintBytes } from "../../src/training/footprint.ts";
import type { Participation } from "../../src/training/plan.ts";
import { fitsPublicBatch } from "../../src/training/recordReach.ts";
import { hasClasses } from "../../src/vertical/party.ts";
import type { VerticalJob } from "../../src/vertical/verticalSpec.ts";
import { cohortSecurityOf } from "./cohortSecurity.ts";
import { charterMinimumOf, participationOf } from "./selection.ts";

/** The organization's limits, from its configuration. */
export interface JobPolicy {
	readonly maximumEpsilon: number;
	readonly maximumDelta: number;
	readonly techniques: readonly string[];
	/** Data sets it lends. */
	readonly dataSets: "all" | readonly string[];
	readonly maximumParameters: number;
	readonly maximumMemoryMiB: number;
	readonly autoApproveJobs: boolean;
}

export type Acceptance =
	| { readonly decision: "accept" | "ask" }
	| { readonly decision: "refuse"; readonly reason: string; readonly code: string };

/**
 * Checks a specification against the charter's floor: a job that breaks it is refused by
 * everybody, so its submitter is told at once.
 * @returns who the job is to be planned for: every member, taking part
 * @throws AlthingError `job.below_privacy_floor`, `job.cohort_too_small`, `aggregation.no_parameters`
 */
export function requireCharter(spec: ResolvedSpecification, charter: Charter): Participation {
	const { privacyFloor } = charter.rules;
	const refuse = (why: string): never => {
		throw new AlthingError(
			"job.below_privacy_floor",
			`the federation's charter does not allow this job: ${why}`,
		);
	};
	const promise = privacyPromiseOf(spec);
	if (promise === undefined) {
		if (privacyFloor.requireDifferentialPrivacy) refuse("it requires differential privacy");
	} else {
		if (promise.epsilon > privacyFloor.maximumEpsilon) {
			refuse(`epsilon ${promise.epsilon} is above the allowed ${privacyFloor.maximumEpsilon}`);
		}
		if (promise.delta > privacyFloor.maximumDelta) {
			refuse(`delta ${promise.delta} is above the allowed ${privacyFloor.maximumDelta}`);
		}
	}
	const mechanism = promise?.mechanism ?? "none";
	if (!privacyFloor.techniques.includes(mechanism)) {
		refuse(`technique ${mechanism} is not among ${privacyFloor.techniques.join(", ")}`);
	}
	const minimum = spec.aggregation.minimumSurvivors;
	const charterMinimum = charterMinimumOf(spec, charter, charter.members.length);
	if (minimum !== undefined && minimum > charter.members.length)
		refuse(`it asks for ${minimum} survivors of ${charter.members.length} members`);
	// A smaller sum tells more about each of its parts: the charter's threshold is a floor.
	if (minimum !== undefined && minimum < charterMinimum)
		refuse(`it would open sums of ${minimum} sites, the charter asks for ${charterMinimum}`);
	const who = participationOf(spec, charter, charter.members.length);
	// A large cohort needs a graph that its numbers allow: better refused now than at the first round.
	cohortSecurityOf(spec, who);
	return who;
}

function sameDescription(one: DataDescription, other: DataDescription): boolean {
	return equalBytes(encodeCanonical(one as never), encodeCanonical(other as never));
}

/** Sizes a job's noise for its participants, away from the event loop. @throws AlthingError as `planJob` does */
export type Planner = (spec: ResolvedSpecification, who: Participation) => Promise<JobPlan>;

interface Judgement {
	readonly spec: ResolvedSpecification;
	readonly charter: Charter;
	readonly policy: JobPolicy;
	readonly ledger: BudgetLedger;
	readonly plan: Planner;
	/** A registered data set; undefined where there is none of that name. */
	readonly dataset: (name: string) =>
		| {
				readonly trainingRows: number;
				readonly heldOutRows: number;
				readonly description: DataDescription;
				/** Of a set whose records are read in passes. */
				readonly stream?: {
					/** Memory that a job takes for them. */
					readonly bytes: number;
					/** Why a job's rounds cannot be fed that way, if they cannot. */
					refusal(work: JobWork): AlthingError | undefined;
				};
		  }
		| undefined;
	readonly jobId: string;
	readonly submitter: PeerId;
	readonly self: PeerId;
}

type Refusal = Extract<Acceptance, { decision: "refuse" }>;

function refuse(code: string, reason: string): Refusal {
	return { decision: "refuse", code, reason };
}

function refusalBy(error: unknown, code: string): Refusal {
	return refuse(
		error instanceof AlthingError ? error.code : code,
		error instanceof Error ? error.message : String(error),
	);
}

/**
 * This organization's answer. `submitter` is asked no second time for its own job. What costs time is
 * done last: a proposal is anybody's, and most that are refused need no plan.
 */
export async function judgeJob(input: Judgement): Promise<Acceptance> {
	const { spec, charter, policy, ledger } = input;
	let plan: JobPlan;
	try {
		const who = requireCharter(spec, charter);
		const refusal = refusalByPolicy(spec, policy) ?? refusalByData(input);
		if (refusal !== undefined) return refusal;
		plan = await input.plan(spec, who);
		const tooLarge = refusalByMemory(input, plan, who);
		if (tooLarge !== undefined) return tooLarge;
	} catch (error) {
		return refusalBy(error, "job.invalid");
	}
	const dataset = spec.data.set;
	try {
		const costs = plan.total.map((cost) => ({ ...cost, extraDelta: 0 }));
		if (!ledger.affords(dataset, costs, { jobId: input.jobId, analyst: input.submitter })) {
			const limit = ledger.account(dataset)?.limits.epsilon;
			return refuse(
				"budget.exceeded",
				`this job does not fit what is left of the privacy budget of data set ${dataset}, whose limit is epsilon ${limit}`,
			);
		}
	} catch (error) {
		return refuse("budget.no_account", error instanceof Error ? error.message : String(error));
	}
	return { decision: policy.autoApproveJobs || input.submitter === input.self ? "accept" : "ask" };
}

/** @throws AlthingError `job.model_mismatch` */
function refusalByPolicy(spec: ResolvedSpecification, policy: JobPolicy): Refusal | undefined {
	const promise = privacyPromiseOf(spec);
	if (promise !== undefined) {
		if (promise.epsilon > policy.maximumEpsilon)
			return refuse("policy.epsilon", `our policy allows epsilon up to ${policy.maximumEpsilon}`);
		if (promise.delta > policy.maximumDelta)
			return refuse("policy.delta", `our policy allows delta up to ${policy.maximumDelta}`);
	}
	if (!policy.techniques.includes(spec.technique)) {
		return refuse("policy.technique", `our policy does not allow ${spec.technique}`);
	}
	if (policy.dataSets !== "all" && !policy.dataSets.includes(spec.data.set))
		return refuse("policy.data", `our policy does not lend data set ${spec.data.set}`);
	const parameters = traitsOf(spec).parameters();
	if (parameters > policy.maximumParameters) {
		return refuse(
			"policy.model_size",
			`the model has ${parameters} parameters, our policy allows ${policy.maximumParameters}`,
		);
	}
	return undefined;
}

function refusalByMemory(
	{ spec, policy, dataset: registered }: Pick<Judgement, "spec" | "policy" | "dataset">,
	{ work }: JobPlan,
	{ participants }: Participation,
): Refusal | undefined {
	const { trainingRows = 0, heldOutRows = 0, stream, description } = registered(spec.data.set) ?? {};
	const unfed = stream?.refusal(work);
	if (unfed !== undefined) return refusalBy(unfed, "data.cannot_stream");
	const rows = stream === undefined ? trainingRows + heldOutRows : 0;
	const columns = description?.features.count ?? 0;
	const bytes = footprintBytes(work, { rows, columns, participants }) + (stream?.bytes ?? 0);
	const allowed = policy.maximumMemoryMiB * 2 ** 20;
	if (bytes <= allowed) return undefined;
	return refuse(
		"policy.memory",
		`the job would take ${Math.ceil(bytes / 2 ** 20)} MiB of memory here, our policy allows ${policy.maximumMemoryMiB}`,
	);
}

function refusalByData({
	spec,
	charter,
	dataset: registered,
	submitter,
	self,
}: Pick<Judgement, "spec" | "charter" | "dataset" | "submitter" | "self">): Refusal | undefined {
	const { data } = spec;
	const dataset = registered(data.set);
	if (dataset === undefined) return refuse("policy.no_data", `we have no data set named ${data.set}`);
	// Reading our file by a description of somebody else's choice could fail on a single record, and
	// our dropping out would tell of it, unpaid for.
	const unfit =
		spec.technique === "vertical_learning"
			? refusalOfColumns(spec, dataset, submitter === self)
			: sameDescription(spec.data.description, dataset.description)
				? undefined
				: refuse(
						"policy.other_description",
						`data set ${data.set} is registered here under another description than the job's; agree on one`,
					);
	if (unfit !== undefined) return unfit;
	const rows = dataset.trainingRows;
	const { minimumRecords } = charter.rules.dataRequirements;
	if (rows < minimumRecords)
		return refuse("policy.few_records", `the charter asks for ${minimumRecords} records, we have fewer`);
	if (spec.technique === "federated_learning" && !fitsPublicBatch(spec, rows))
		return refuse("job.batch_too_small", "this site alone samples more than the job's public batch size");
	return undefined;
}

/** Vertical learning: every organization has its own columns, of the same records. */
function refusalOfColumns(
	{ data }: VerticalJob,
	{ description, trainingRows, heldOutRows }: NonNullable<ReturnType<Judgement["dataset"]>>,
	holdsLabels: boolean,
): Refusal | undefined {
	if (description.key === undefined)
		return refuse("vertical.no_key", `data set ${data.set} is registered here without a key column`);
	if (trainingRows + heldOutRows !== data.records)
		return refuse(
			"vertical.record_count",
			`data set ${data.set} has another number of records here than the ${data.records} of the job`,
		);
	if (holdsLabels && !hasClasses(description, data.classes))
		return refuse(
			"vertical.other_classes",
			`data set ${data.set} does not have the job's classes here; who submits the job has the labels`,
		);
	return undefined;
}
