/** Small stand-ins for the daemon's services: enough state to be asked about, nothing behind it. */
import { AlthingError } from "../../../crypto/error.ts";
import type {
	Budget,
	BudgetAccount,
	BudgetAudit,
	BudgetReport,
	CallContext,
	DatasetDetail,
	FederationView,
	JobDetail,
	JobSummary,
	PendingRequest,
	Services,
	TuningView,
} from "../../../node/rpc/services.ts";

const at = "2026-01-02T03:04:05.000Z";
export const modelBytes = new Uint8Array([1, 2, 3, 250]);

const pending: PendingRequest = {
	requestId: "request-1",
	kind: "join",
	subject: "12D3KooWCandidate",
	organization: "Clinic \u001b[31mC",
	requestedAt: at,
	approvals: [],
	rejections: [],
	approvalsNeeded: 3,
};

const federation: FederationView = {
	id: "f1",
	name: "demo",
	charterVersion: 2,
	charterHash: "ab12",
	standing: "member",
	members: [{ peer: "12D3KooWSelf", organization: "Clinic A", connected: true, self: true }],
	corruption: 0,
	quorum: 1,
	mayBeDown: 0,
	pending: [pending],
	rules: { minimumCohort: 3 },
};

const account: BudgetAccount = {
	account: "digits",
	kind: "dataset",
	epsilon: 8,
	delta: 1e-6,
	composition: "adaptive",
	children: "sequential",
	epsilonSpent: 1.5,
	method: "rdp-filter",
	epsilonDelegated: 0,
	epsilonRemaining: 6.5,
	epsilonLifetime: 1.5,
	period: { number: 0, startedAt: at },
	delegated: false,
	analysts: [],
	openedAt: at,
};

const tuning: TuningView = {
	id: "tuning-1",
	dataset: "digits",
	state: "done",
	charged: { epsilon: 2, delta: 1e-6 },
	chosen: { index: 1, settings: { serverLearningRate: 0.5 } },
	score: 320.5,
};

const budget: Budget = {
	...account,
	dataset: "digits",
	chargeCount: 1,
	charges: [
		{
			at,
			job: "job-0001",
			round: 1,
			mechanism: "sampled gaussian",
			partition: "train",
			state: "released",
			epsilonAfter: 1.5,
		},
	],
};

const auditOfBudgets: BudgetAudit = {
	charges: { total: 1, released: 1, refunded: 0, wasted: 0, open: 0 },
	releases: 1,
	deadAttempts: 0,
	executions: 1,
	differences: [],
	overdrawn: [],
};

const reportOfBudgets: BudgetReport = {
	rows: [
		{
			dataset: "digits",
			job: "job-0001",
			mechanism: "sampled gaussian",
			partition: "train",
			charges: 3,
			released: 2,
			held: 0,
			refunded: 1,
			firstAt: at,
			lastAt: at,
			epsilon: 1.25,
			method: "pld",
			delta: 1e-6,
			executions: 2,
			durationMs: 1500,
			metrics: { accuracy: 0.9 },
		},
	],
	totals: [{ dataset: "digits", epsilonSpent: 1.5, method: "rdp-filter", epsilonPlanned: 1.25, delta: 1e-6 }],
};

const dataset: DatasetDetail = {
	name: "digits",
	path: "/data/digits.csv",
	description: "digits-8x8",
	rows: 100,
	heldOutRows: 20,
	features: 64,
	classes: 10,
	addedAt: at,
	columns: [{ name: "pixel0", kind: "number" }],
	jobs: [],
};

/** A job as the fakes show it at first. */
export function sampleJob(): JobDetail {
	return {
		id: "job-0001",
		name: "digits",
		technique: "federated_learning",
		state: "running",
		decision: "accepted",
		proposer: "12D3KooWSelf",
		createdAt: at,
		round: 0,
		rounds: 2,
		spec: { name: "digits" },
		participants: [{ peer: "12D3KooWSelf", organization: "Clinic A", decision: "accepted" }],
		history: [],
	};
}

const notFound = (area: string, name: string) =>
	new AlthingError(`${area}.not_found`, `There is no "${name}".`, { name });

export interface Fakes {
	readonly services: Services;
	/** The one job; a test moves it on. */
	job: JobDetail;
	/** What the ledger's audit finds. */
	budgetAudit: BudgetAudit;
	/** `method: arguments` of each call that changes something. */
	readonly calls: { method: string; params: unknown; context: CallContext }[];
}

export function fakeServices(): Fakes {
	const fakes: Fakes = {
		services: undefined as unknown as Services,
		job: sampleJob(),
		budgetAudit: auditOfBudgets,
		calls: [],
	};
	const note = <Params>(method: string, params: Params, context: CallContext) => {
		fakes.calls.push({ method, params, context });
		return params;
	};
	const find = (id: string): JobDetail => {
		if (!fakes.job.id.startsWith(id)) throw notFound("job", id);
		return fakes.job;
	};
	const change =
		(method: string) =>
		async (params: { job: string }, context: CallContext): Promise<JobSummary> => {
			note(method, params, context);
			return find(params.job);
		};
	const budgetChange =
		(method: string) =>
		async (params: { account: string }, context: CallContext): Promise<BudgetAccount> => {
			note(method, params, context);
			if (params.account !== account.account) throw notFound("budget", params.account);
			return account;
		};
	const services: Services = {
		node: {
			status: async () =>
				({
					peer: "12D3KooWSelf",
					organization: "Clinic A",
					version: "0.1.0",
					startedAt: at,
					dataDirectory: "/var/lib/althing",
					addresses: ["/ip4/127.0.0.1/tcp/4001"],
					backend: "onnx",
					ready: true,
					federation: null,
					connectedPeers: 0,
					runningJobs: 0,
					queuedJobs: [],
					work: [],
					// Declared nowhere: must not reach a client.
					identitySeed: "secret",
				}) as Awaited<ReturnType<Services["node"]["status"]>>,
			doctor: async () => ({ healthy: true, checks: [{ name: "clock", state: "ok", detail: "in step" }] }),
		},
		federation: {
			create: async (params, context) => {
				note("create", params, context);
				return federation;
			},
			invite: async (params, context) => {
				note("invite", params, context);
				return { ticket: "ticket-text", expiresAt: at };
			},
			join: async (params, context) => {
				if (params.ticket === "bad")
					throw new AlthingError("federation.invalid_ticket", "The ticket is damaged.");
				note("join", params, context);
				return { requestId: "request-2" };
			},
			pending: async () => [pending],
			approve: async ({ requestId }, context) => {
				note("approve", requestId, context);
				if (requestId !== pending.requestId) throw notFound("federation", requestId);
				return pending;
			},
			reject: async () => pending,
			show: async () => federation,
			leave: async () => ({ requestId: "request-3" }),
			expel: async () => ({ requestId: "request-4" }),
		},
		data: {
			add: async (params, context) => {
				note("data.add", params, context);
				return dataset;
			},
			list: async () => [dataset],
			show: async ({ name }) => {
				if (name !== dataset.name) throw notFound("data", name);
				return dataset;
			},
			remove: async () => undefined,
		},
		jobs: {
			submit: async ({ spec }, context) => {
				note("submit", spec, context);
				if (spec.name === "costly") {
					throw new AlthingError("policy.refused", "Epsilon 1000 is over this organization's limit of 8.", {
						limit: 8,
					});
				}
				return fakes.job;
			},
			list: async () => [fakes.job],
			show: async ({ job }) => find(job),
			approve: change("approve"),
			reject: change("reject"),
			abort: change("abort"),
			resume: async () => {
				throw new AlthingError("budget.exceeded", "The next round would spend more than is left.", {
					left: 0.1,
				});
			},
		},
		models: {
			list: async () => [],
			show: async ({ job }) => {
				if (!"job-0001".startsWith(job)) throw notFound("model", job);
				return {
					id: "model-1",
					job: "job-0001",
					name: "digits",
					round: 2,
					parameterCount: 650,
					hash: "00ff",
					createdAt: at,
					architecture: { kind: "softmax" },
					card: "# digits",
					formats: ["onnx", "tfjs"],
				};
			},
			artifacts: async ({ model, format }) => {
				if (model !== "model-1") throw notFound("model", model);
				const main = { name: `model.${format}`, mediaType: "application/octet-stream", bytes: modelBytes };
				return format === "tfjs"
					? [main, { ...main, name: "weights.bin", bytes: new Uint8Array([9]) }]
					: [main];
			},
			predict: async ({ rows }) => ({ outputs: rows.map(() => [0.25, 0.75]), classes: rows.map(() => 1) }),
		},
		queries: {
			ask: async ({ dataset }) => {
				if (dataset !== budget.dataset) throw notFound("data", dataset);
				const count = { value: 12, standardError: 2, interval: [8, 16] };
				return { id: "query-1", answer: { kind: "count", count }, charged: { epsilon: 1, delta: 0 } };
			},
			release: async () => ({
				id: "query-2",
				answers: [{ kind: "mode", answer: "3", error95: 4 }],
				charged: { epsilon: 1, delta: 0 },
			}),
		},
		tuning: {
			start: async () => tuning,
			show: async ({ tuning: id }) => {
				if (id !== tuning.id) throw notFound("tuning", id);
				return tuning;
			},
		},
		budgets: {
			show: async ({ dataset: name }) => {
				if (name !== undefined && name !== budget.dataset) throw notFound("budget", name);
				return [budget];
			},
			set: async (limits) => ({ ...budget, ...limits }),
			tree: async () => [
				{ ...account, account: "clinic", kind: "organization" },
				{ ...account, parent: "clinic", frozen: "inquiry" },
			],
			open: async (params, context) => {
				note("budget.open", params, context);
				return { ...account, account: params.account, kind: params.kind };
			},
			place: budgetChange("budget.place"),
			delegate: budgetChange("budget.delegate"),
			transfer: async (params, context) => {
				note("budget.transfer", params, context);
				return [account, { ...account, account: params.to }];
			},
			freeze: budgetChange("budget.freeze"),
			unfreeze: budgetChange("budget.unfreeze"),
			expire: budgetChange("budget.expire"),
			renew: budgetChange("budget.renew"),
			limit: budgetChange("budget.limit"),
			report: async (params, context) => {
				note("budget.report", params, context);
				return reportOfBudgets;
			},
			audit: async () => fakes.budgetAudit,
		},
		privacy: {
			plan: async ({ epsilon, delta, phases }) => ({
				phases: phases.map(({ name, rounds, sensitivity }) => ({
					name,
					rounds,
					noiseMultiplier: 2,
					sigma: 2 * sensitivity,
					epsilonAlone: epsilon / 2,
				})),
				epsilon,
				delta,
				loss: 4,
			}),
			cost: async ({ rounds }) => ({
				before: 1,
				after: 2,
				cost: 1,
				fits: rounds <= 100,
				largestRounds: 100,
			}),
			forecast: async () => ({
				epsilonLimit: 8,
				epsilonSpent: 1.5,
				recentCharges: 3,
				exhaustedAt: at,
				course: [{ at, epsilon: 1.5 }],
			}),
			optimize: async ({ records, parameters }) => {
				const best = {
					samplingProbability: 0.1,
					rounds: 100,
					clippingNorm: 1,
					noiseMultiplier: 1.5,
					noiseToSignal: Math.sqrt(parameters) / records,
				};
				return { best, meetsLimit: false, excess: 2, wouldMeet: { records: 2 * records }, frontier: [] };
			},
			// Claims of epsilon 1 do not hold here, others do.
			audit: async ({ spec, canaries, significance }) => {
				const { epsilon } = spec.privacy as { epsilon: number };
				const rate = { measured: 0.5, lower: 0.4, upper: 0.6 };
				return {
					canaries,
					rounds: 2,
					significance,
					delta: 1e-6,
					claimedEpsilon: epsilon,
					epsilonLower: 2,
					violated: epsilon < 2,
					oneRun: { guesses: 100, correct: 90, epsilonLower: 2, refutesClaim: epsilon < 2 },
					independent: {
						epsilonLower: 1,
						gaussianEpsilonLower: 2,
						refutesClaim: epsilon < 2,
						truePositiveRate: rate,
						falsePositiveRate: rate,
					},
				};
			},
		},
		peers: { list: async () => [] },
	};
	return Object.assign(fakes, { services });
}
