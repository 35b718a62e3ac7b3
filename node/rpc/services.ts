/**
 * What the admin RPC needs from the daemon: one interface for each area.
 *
 * The daemon implements them, tests pass small objects. Parameters arrive validated;
 * an implementation answers with the shapes of `schemas.ts` or throws an
 * {@link AlthingError}, whose code decides the HTTP status (`problems.ts`). Tokens and
 * the event stream belong to the RPC itself (`tokens.ts`, `events.ts`).
 */
import type { z } from "zod";
import type * as budgetSchemas from "./budgetSchemas.ts";
import type * as privacy from "./privacySchemas.ts";
import type * as schemas from "./schemas.ts";

export type Role = z.infer<typeof schemas.role>;
export type JsonObject = z.infer<typeof schemas.jsonObject>;
export type NodeStatus = z.infer<typeof schemas.nodeStatus>;
export type DoctorReport = z.infer<typeof schemas.doctorReport>;
export type PendingRequest = z.infer<typeof schemas.pendingRequest>;
export type FederationView = z.infer<typeof schemas.federationView>;
export type Dataset = z.infer<typeof schemas.dataset>;
export type DatasetDetail = z.infer<typeof schemas.datasetDetail>;
export type JobState = z.infer<typeof schemas.jobState>;
export type JobSummary = z.infer<typeof schemas.jobSummary>;
export type JobDetail = z.infer<typeof schemas.jobDetail>;
export type RoundView = z.infer<typeof schemas.roundView>;
export type ModelFormat = z.infer<typeof schemas.modelFormat>;
export type ModelSummary = z.infer<typeof schemas.modelSummary>;
export type ModelDetail = z.infer<typeof schemas.modelDetail>;
export type Predictions = z.infer<typeof schemas.predictions>;
export type LocalRelease = z.infer<typeof schemas.localRelease>;
export type LocalAnswer = z.infer<typeof schemas.localAnswer>;
export type TuningView = z.infer<typeof schemas.tuningView>;
export type BudgetAccount = z.infer<typeof budgetSchemas.budgetAccount>;
export type Budget = z.infer<typeof budgetSchemas.budget>;
export type BudgetLimits = z.infer<typeof budgetSchemas.budgetLimits>;
export type BudgetOpening = z.infer<typeof budgetSchemas.budgetOpening>;
export type BudgetTransfer = z.infer<typeof budgetSchemas.budgetTransfer>;
export type BudgetReportQuery = z.infer<typeof budgetSchemas.budgetReportQuery>;
export type BudgetReport = z.infer<typeof budgetSchemas.budgetReport>;
export type BudgetAudit = z.infer<typeof budgetSchemas.budgetAudit>;
export type PeerView = z.infer<typeof schemas.peerView>;
export type TokenView = z.infer<typeof schemas.tokenView>;
export type ProblemDocument = z.infer<typeof schemas.problemDocument>;
export type NodeEvent = z.infer<typeof schemas.nodeEvent>;

/** Who calls, for decisions and the audit log. Never holds the token itself. */
export interface Caller {
	readonly tokenId: string;
	readonly tokenName: string;
	readonly role: Role;
}

/** Travels with every call. `signal` aborts when the time limit passes or the client goes away. */
export interface CallContext {
	readonly caller: Caller;
	readonly signal: AbortSignal;
}

export interface NodeService {
	status(context: CallContext): Promise<NodeStatus>;
	/** Online preflight: ports, clock, disk, keys, backend, reachability of peers. */
	doctor(context: CallContext): Promise<DoctorReport>;
}

export interface FederationService {
	/** `rules` are checked by the federation protocol; missing ones take its defaults. */
	create(params: { name: string; rules: JsonObject }, context: CallContext): Promise<FederationView>;
	/** Returns the ticket as text; it works once and until `expiresAt`. */
	invite(
		params: { organization: string; expiresInHours: number },
		context: CallContext,
	): Promise<{ ticket: string; expiresAt: string }>;
	/** Asks for admission; membership begins with the charter version that names this node. */
	join(
		params: { ticket: string; declaration: JsonObject },
		context: CallContext,
	): Promise<{ requestId: string }>;
	pending(context: CallContext): Promise<PendingRequest[]>;
	approve(params: { requestId: string }, context: CallContext): Promise<PendingRequest>;
	reject(
		params: { requestId: string; reason?: string | undefined },
		context: CallContext,
	): Promise<PendingRequest>;
	/** Throws `federation.none` when this node belongs to no federation. */
	show(context: CallContext): Promise<FederationView>;
	leave(context: CallContext): Promise<{ requestId: string }>;
	expel(params: { peer: string; reason: string }, context: CallContext): Promise<{ requestId: string }>;
}

export interface DataService {
	/** `description` is a catalog name or the description itself. Reads the file once to check it. */
	add(
		params: { name: string; path: string; description: string | JsonObject },
		context: CallContext,
	): Promise<DatasetDetail>;
	list(context: CallContext): Promise<Dataset[]>;
	/** Throws `data.not_found`, as `remove` does. */
	show(params: { name: string }, context: CallContext): Promise<DatasetDetail>;
	/** Forgets the data set, never the file; what was spent of its budget stays on record. */
	remove(params: { name: string }, context: CallContext): Promise<void>;
}

export interface JobService {
	/** Throws `job.invalid` naming the key for a spec that does not validate; unknown keys are refused. */
	submit(params: { spec: JsonObject }, context: CallContext): Promise<JobSummary>;
	list(context: CallContext): Promise<JobSummary[]>;
	/** Throws `job.not_found`, as every method below does. `job` is the id or an unambiguous prefix. */
	show(params: { job: string }, context: CallContext): Promise<JobDetail>;
	approve(params: { job: string }, context: CallContext): Promise<JobSummary>;
	reject(params: { job: string; reason?: string | undefined }, context: CallContext): Promise<JobSummary>;
	abort(params: { job: string; reason?: string | undefined }, context: CallContext): Promise<JobSummary>;
	resume(params: { job: string }, context: CallContext): Promise<JobSummary>;
}

/** One file of a model in some format; the first of a format is the one that names the others. */
export interface ModelArtifact {
	readonly name: string;
	readonly mediaType: string;
	readonly bytes: Uint8Array;
}

export interface ModelService {
	list(context: CallContext): Promise<ModelSummary[]>;
	/** Throws `model.not_found`, as the methods below do. `job` is a job's id; its latest model answers. */
	show(params: { job: string }, context: CallContext): Promise<ModelDetail>;
	/** All files of the format, the main one first (e.g. tfjs: model.json, then weights.bin). `model` is a model's id, or that and `-personal`. */
	artifacts(
		params: { model: string; format: ModelFormat },
		context: CallContext,
	): Promise<readonly ModelArtifact[]>;
	/**
	 * Inputs as the model's description orders them; throws `model.bad_input` naming row and column,
	 * `model.no_personal` or `model.clustered` as `artifacts` does.
	 */
	predict(
		params: { job: string; rows: number[][]; personal?: boolean | undefined },
		context: CallContext,
	): Promise<Predictions>;
}

export interface QueryService {
	/** Charges the data set's budget, then answers. Throws `query.invalid`, `data.not_found`, `budget.exceeded`. */
	ask(params: { dataset: string; query: JsonObject }, context: CallContext): Promise<LocalAnswer>;
	/** Several queries by the exponential mechanism, one epsilon divided over them. Throws as `ask` does. */
	release(params: { dataset: string; release: JsonObject }, context: CallContext): Promise<LocalRelease>;
}

export interface TuningService {
	/** Throws `job.invalid`, `tuning.unsupported`, `tuning.unreachable_target`, `data.not_found`, `budget.exceeded`. */
	start(params: { spec: JsonObject; tuning: JsonObject }, context: CallContext): Promise<TuningView>;
	/** Throws `tuning.not_found`. */
	show(params: { tuning: string }): Promise<TuningView>;
}

export interface BudgetService {
	/** All data sets', or one account's with its charges. Throws `budget.not_found`. */
	show(params: { dataset?: string | undefined }, context: CallContext): Promise<Budget[]>;
	/** Every account, each after the one above it. */
	tree(context: CallContext): Promise<BudgetAccount[]>;
	/** Throws `budget.below_spent` when the new limit is under what is spent. */
	set(params: BudgetLimits, context: CallContext): Promise<Budget>;
	/** The changes below throw `budget.not_found` for an unknown account, and where a rule of the tree forbids them. */
	open(params: BudgetOpening, context: CallContext): Promise<BudgetAccount>;
	place(params: { account: string; parent: string }, context: CallContext): Promise<BudgetAccount>;
	delegate(
		params: { account: string; epsilon: number; delta: number },
		context: CallContext,
	): Promise<BudgetAccount>;
	transfer(params: BudgetTransfer, context: CallContext): Promise<BudgetAccount[]>;
	freeze(params: { account: string; reason: string }, context: CallContext): Promise<BudgetAccount>;
	unfreeze(params: { account: string }, context: CallContext): Promise<BudgetAccount>;
	expire(params: { account: string; expiresAt: string }, context: CallContext): Promise<BudgetAccount>;
	renew(params: { account: string }, context: CallContext): Promise<BudgetAccount>;
	/** Without `epsilon` the analyst's limit is lifted. */
	limit(
		params: { account: string; analyst: string; epsilon?: number | undefined },
		context: CallContext,
	): Promise<BudgetAccount>;
	report(params: BudgetReportQuery, context: CallContext): Promise<BudgetReport>;
	/** Replays the journal against what was executed. */
	audit(context: CallContext): Promise<BudgetAudit>;
}

/** Planning and auditing: computed on a worker thread, nothing charged. */
export interface PrivacyService {
	plan(
		params: z.output<typeof privacy.planRequest>,
		context: CallContext,
	): Promise<z.input<typeof privacy.allocation>>;
	/** Throws `data.not_found`, as `forecast` and `audit` do. */
	cost(
		params: z.output<typeof privacy.roundsRequest>,
		context: CallContext,
	): Promise<z.input<typeof privacy.cost>>;
	forecast(
		params: z.output<typeof privacy.forecastRequest>,
		context: CallContext,
	): Promise<z.input<typeof privacy.forecastView>>;
	optimize(
		params: z.output<typeof privacy.optimizeRequest>,
		context: CallContext,
	): Promise<z.input<typeof privacy.optimization>>;
	/** Throws `job.invalid`, `audit.unsupported`; a violation is a result, not an error. */
	audit(
		params: z.output<typeof privacy.auditRequest>,
		context: CallContext,
	): Promise<z.input<typeof privacy.auditView>>;
}

export interface PeerService {
	list(context: CallContext): Promise<PeerView[]>;
}

/** Everything the daemon brings to `createRpcServer`. */
export interface Services {
	readonly node: NodeService;
	readonly federation: FederationService;
	readonly data: DataService;
	readonly jobs: JobService;
	readonly models: ModelService;
	readonly queries: QueryService;
	readonly budgets: BudgetService;
	readonly privacy: PrivacyService;
	readonly tuning: TuningService;
	readonly peers: PeerService;
}
