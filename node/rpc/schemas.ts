/**
 * The shapes that cross the admin RPC, once: validation, TypeScript types (through
 * `z.infer` in `services.ts`) and the OpenAPI document all come from here.
 *
 * Times are ISO 8601 in UTC, sizes bytes, durations seconds unless the name says
 * otherwise. Parameters refuse unknown keys; results are parsed before they leave, so a
 * field nobody declared never reaches a client.
 */
import { z } from "zod";
import { modelFormats } from "./modelFormats.ts";
import { roles } from "./roles.ts";

export const role = z.enum(roles);

/** A name that people type and files carry: of a federation, data set or token. */
export const shortName = z
	.string()
	.regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, "must be 1-63 of a-z 0-9 . _ - and begin with a letter or digit");
export const peerId = z.string().min(1).max(128);
export const time = z.iso.datetime();
/** Any JSON object; its own schema lives with the protocol that reads it. */
export const jsonObject = z.record(z.string(), z.unknown());

const count = z.int().nonnegative();

export const nodeStatus = z.object({
	peer: peerId,
	organization: z.string(),
	version: z.string(),
	startedAt: time,
	dataDirectory: z.string(),
	/** Multiaddrs the node listens on. */
	addresses: z.array(z.string()),
	/** Training backend in use, e.g. `onnx`. */
	backend: z.string(),
	ready: z.boolean(),
	federation: z.object({ id: z.string(), name: z.string(), charterVersion: count }).nullable(),
	connectedPeers: count,
	runningJobs: count,
	/** Jobs that wait until others have ended, in order. */
	queuedJobs: z.array(z.string()),
	/** What running jobs take of the worker threads. */
	work: z.array(
		z.object({
			job: z.string(),
			/** Tasks handed to the threads and not finished. */
			outstanding: count,
			tasks: count,
			threadSeconds: z.number(),
			longestWaitSeconds: z.number(),
		}),
	),
});

export const doctorReport = z.object({
	healthy: z.boolean(),
	checks: z.array(
		z.object({
			name: z.string(),
			state: z.enum(["ok", "warning", "failed"]),
			detail: z.string(),
			/** What to do, where something is wrong. */
			remedy: z.string().optional(),
		}),
	),
});

export const pendingRequest = z.object({
	requestId: z.string(),
	kind: z.enum(["join", "leave", "expel", "amend"]),
	/** The peer the request is about. */
	subject: peerId,
	organization: z.string().optional(),
	requestedAt: time,
	expiresAt: time.optional(),
	approvals: z.array(peerId),
	rejections: z.array(peerId),
	/** Approvals needed for the next charter version: the quorum. */
	approvalsNeeded: count,
	declaration: jsonObject.optional(),
});

export const federationView = z.object({
	id: z.string(),
	name: z.string(),
	charterVersion: count,
	charterHash: z.string(),
	/** This node's standing: a candidate waits for approval. */
	standing: z.enum(["member", "candidate", "former"]),
	members: z.array(
		z.object({ peer: peerId, organization: z.string(), connected: z.boolean(), self: z.boolean() }),
	),
	/** Assumed number f of corrupt members. */
	corruption: count,
	/** q = floor((n + f) / 2) + 1. */
	quorum: count,
	/** How many members may be down while the rest still reaches a quorum: n - q. */
	mayBeDown: count,
	pending: z.array(pendingRequest),
	/** The charter's rules as agreed: minimum cohort, aggregation threshold, privacy floor, techniques. */
	rules: jsonObject,
});

export const dataset = z.object({
	name: shortName,
	path: z.string(),
	/** Name of the catalog description, or `inline`. */
	description: z.string(),
	rows: count,
	heldOutRows: count,
	features: count,
	/** Number of classes; absent for regression. */
	classes: count.optional(),
	/** Whether its records are read in passes and never held in memory. */
	streamed: z.boolean().optional(),
	addedAt: time,
});

export const datasetDetail = dataset.extend({
	/** It is being read for the first time: not registered yet, and counts are missing. */
	reading: z.boolean().optional(),
	columns: z.array(z.object({ name: z.string(), kind: z.string() })),
	jobs: z.array(z.string()),
});

export const jobState = z.enum([
	"proposed",
	/** Started, but this node runs as many jobs as it may: begins by itself. */
	"queued",
	"running",
	/** Too few participants or no quorum in reach: goes on by itself. */
	"waiting",
	"completed",
	"failed",
	"aborted",
	"rejected",
]);

export const jobSummary = z.object({
	id: z.string(),
	name: z.string(),
	technique: z.string(),
	state: jobState,
	/** This organization's decision. */
	decision: z.enum(["pending", "accepted", "rejected"]),
	proposer: peerId,
	createdAt: time,
	/** Rounds agreed so far, and planned. */
	round: count,
	rounds: count,
	/** Why it failed, waits or was rejected. */
	reason: z.string().optional(),
});

export const roundView = z.object({
	round: count,
	attempt: count,
	/** None in a job without a coordinator, whose cohort is this node and its neighbours. */
	term: count.optional(),
	coordinator: peerId.optional(),
	cohort: z.array(peerId),
	survivors: z.array(peerId),
	/** Proven, up to this round, to have broken the rules of its screening: out of the job's sums. */
	excluded: z.array(peerId).optional(),
	/** Robustness in the clear: survivors whose vectors the rule left out. */
	leftOut: z.array(peerId).optional(),
	trainingLoss: z.number().optional(),
	evaluationLoss: z.number().optional(),
	accuracy: z.number().min(0).max(1).optional(),
	/** Spent by the job so far at this organization. */
	epsilonSpent: z.number().nonnegative(),
	bytesSent: count,
	bytesReceived: count,
	seconds: z.number().nonnegative(),
	finishedAt: time,
});

export const jobDetail = jobSummary.extend({
	spec: jsonObject,
	term: count.optional(),
	coordinator: peerId.optional(),
	/** A job without a coordinator: whose models this node takes, with their weights. */
	neighbours: z.array(z.object({ peer: peerId, weight: z.number() })).optional(),
	/** Share by which an exchange brings all models together at least. */
	spectralGap: z.number().optional(),
	participants: z.array(
		z.object({
			peer: peerId,
			organization: z.string(),
			decision: z.enum(["pending", "accepted", "rejected"]),
			reason: z.string().optional(),
		}),
	),
	history: z.array(roundView),
	/** What its sums are secured by, computed from its participants; once it has begun here. */
	secureSum: z
		.object({
			participants: count,
			cohorts: count.optional(),
			assumedCorrupt: count,
			quorum: count,
			minimumSurvivors: count,
			graph: z.enum(["complete", "ring"]),
			shareHolders: count,
			threshold: count,
			maskedNeighbours: count,
			windowSurvivors: count.optional(),
		})
		.optional(),
	/** Id of the latest model, once a round has been agreed. */
	model: z.string().optional(),
	/** What a query found, once its round has been agreed. */
	answer: jsonObject.optional(),
});

export const modelFormat = z.enum(modelFormats);

export const modelSummary = z.object({
	id: z.string(),
	job: z.string(),
	name: z.string(),
	round: count,
	parameterCount: count,
	/** Canonical hash of the parameters, hex. */
	hash: z.string(),
	createdAt: time,
	evaluationLoss: z.number().optional(),
	accuracy: z.number().min(0).max(1).optional(),
	epsilon: z.number().nonnegative().optional(),
	delta: z.number().nonnegative().optional(),
});

/** On an organization's own records, without noise. */
const ownFigures = z.object({ loss: z.number().nonnegative(), accuracy: z.number().min(0).max(1) });

export const modelDetail = modelSummary.extend({
	/** The architecture as in the job spec. */
	architecture: jsonObject,
	/** Model card, Markdown. */
	card: z.string(),
	formats: z.array(modelFormat),
	/** This organization's own model, for a job with personalization, and how it does on its own held-out records. */
	personal: z
		.object({
			id: z.string(),
			/** Rounds that had made the common model it was evaluated beside. */
			rounds: count.optional(),
			records: count.optional(),
			personal: ownFigures.optional(),
			common: ownFigures.optional(),
		})
		.optional(),
});

export const modelFile = z.object({
	name: z.string(),
	mediaType: z.string(),
	sizeBytes: count,
	/** SHA-256, hex. */
	sha256: z.string(),
	/** Fetch with GET at this path. */
	path: z.string(),
});

export const predictions = z.object({
	/** One row of outputs (class probabilities, or the regression value) for each input row. */
	outputs: z.array(z.array(z.number())),
	/** The predicted class of each row, where the model classifies. */
	classes: z.array(z.union([z.string(), z.number()])).optional(),
});

const chargedForAnswer = z.object({ epsilon: z.number().nonnegative(), delta: z.number().nonnegative() });

export const localAnswer = z.object({
	/** Under which the charge stands in the budget. */
	id: z.string(),
	answer: jsonObject,
	/** What the answer costs by itself. */
	charged: chargedForAnswer,
});

/** A tuning of a job's settings on this organization's own records. */
export const tuningView = z.object({
	/** Under which the charge stands in the budget. */
	id: z.string(),
	dataset: z.string(),
	state: z.enum(["running", "done", "failed"]),
	charged: chargedForAnswer,
	/** Absent while it runs, and where no trial was made. */
	chosen: z.object({ index: z.int().nonnegative(), settings: jsonObject }).optional(),
	/** Of the chosen trial, noised. */
	score: z.number().optional(),
	/** Why it failed. */
	reason: z.string().optional(),
});

export const localRelease = z.object({
	id: z.string(),
	/** In the order asked. */
	answers: z.array(
		z.object({
			kind: z.string(),
			answer: z.union([z.number(), z.string()]),
			/** With 95 % probability the answer is no farther from the true one; ranks for a quantile, records for a mode. */
			error95: z.number(),
		}),
	),
	charged: chargedForAnswer,
});

export const peerView = z.object({
	peer: peerId,
	organization: z.string().optional(),
	member: z.boolean(),
	connected: z.boolean(),
	rttMs: z.number().nonnegative().optional(),
	lastSeenAt: time.optional(),
	addresses: z.array(z.string()),
	bytesIn: count,
	bytesOut: count,
});

export const tokenView = z.object({
	id: z.string(),
	name: z.string(),
	role,
	createdAt: time,
	/** `null`: does not expire (only the data directory's own admin token). */
	expiresAt: time.nullable(),
	revokedAt: time.nullable(),
});

/** RFC 9457 problem document, with the dotted error code and its facts beside it. */
export const problemDocument = z.object({
	type: z.string(),
	title: z.string(),
	status: z.int(),
	detail: z.string(),
	code: z.string(),
	facts: z.record(z.string(), z.unknown()),
});

/** One entry of the event stream. `id` grows by one; `type` is dotted, e.g. `job.round`. */
export const nodeEvent = z.object({
	id: count,
	at: time,
	type: z.string(),
	job: z.string().optional(),
	data: jsonObject,
});
