/**
 * The daemon: opens the keys and the store, joins the federation's network, runs jobs, and
 * serves the admin RPC. One per organization and data directory.
 */
import { join, resolve } from "node:path";
import { Registry } from "prom-client";
import { type SigningKey, signingKeyFromSeed } from "../crypto/identity.ts";
import { DEFAULT_TIMING } from "../protocols/training/index.ts";
import { privacyPromiseOf } from "../src/jobs/specification.ts";
import { BudgetOffice } from "./budget/budgetService.ts";
import { BUDGET_KIND, Budgets } from "./budget/budgets.ts";
import { createTightAccountant } from "./budget/tightAccounting.ts";
import { loadConfig } from "./config/loadConfig.ts";
import type { NodeConfig } from "./config/schema.ts";
import { Datasets } from "./data/datasets.ts";
import { examineNode } from "./doctor.ts";
import { Federation } from "./federation/federation.ts";
import { Jobs } from "./jobs/jobs.ts";
import { JobsUnlessMember } from "./jobs/jobsUnlessMember.ts";
import { SiteStates } from "./jobs/siteStates.ts";
import { answerOf, type WorkerResult, type WorkerTask } from "./jobs/trainingTasks.ts";
import { WARM_BYTES } from "./jobs/warmSites.ts";
import { openKeystore } from "./keystore/keystore.ts";
import { prepareDataDirectory } from "./lifecycle/dataDirectory.ts";
import { createHealthServer } from "./lifecycle/healthServer.ts";
import { acquireInstanceLock } from "./lifecycle/instanceLock.ts";
import { type Component, createLifecycle } from "./lifecycle/lifecycle.ts";
import { createLogger, type Logger } from "./logging/logger.ts";
import { declareLoad, declareMetrics } from "./metrics.ts";
import { Models } from "./models/models.ts";
import type { Libp2pNetwork } from "./network/libp2p/index.ts";
import { Privacy } from "./privacy/privacyService.ts";
import { Queries } from "./queries/queries.ts";
import { EventHub } from "./rpc/events.ts";
import { createRpcServer } from "./rpc/server.ts";
import type { NodeStatus, PeerView, Services } from "./rpc/services.ts";
import { openTokenStore } from "./rpc/tokens.ts";
import { openStore, type Store } from "./store/index.ts";
import { Tunings } from "./tuning/tunings.ts";
import { SOFTWARE, VERSION } from "./version.ts";
import { createWorkerPool, type WorkerPool } from "./workers/workerPool.ts";

export interface DaemonOptions {
	readonly dataDirectory: string;
	/** Default `node.yaml` in the data directory. */
	readonly configFile?: string;
	readonly passphrase: string;
}

/** How long a job waits for members that have not answered, once enough have accepted. */
const GATHER_MS = 5_000;
const MiB = 1024 * 1024;

/**
 * Starts everything and resolves when the node is ready; `stopped` resolves with the exit
 * code (node/lifecycle/exitCodes.ts) after SIGTERM or a failure that no part can survive.
 * @throws AlthingError `lifecycle.already_running`, `keystore.*`, `config.*`, `store.*`, `network.*`, `rpc.*`
 */
export async function startDaemon(options: DaemonOptions): Promise<{ stopped: Promise<number> }> {
	const directory = await prepareDataDirectory(options.dataDirectory);
	const config = await loadConfig(options.configFile ?? join(directory, "node.yaml"));
	const log = createLogger({ level: config.log.level });
	const lock = await acquireInstanceLock(directory);
	const lifecycle = createLifecycle({ log });
	lifecycle.handleSignals();
	try {
		const keys = await openKeystore({ directory, passphrase: options.passphrase });
		const daemon = new Daemon({ directory, config, log, keys, fail: (error) => void lifecycle.fail(error) });
		await lifecycle.start([
			{ name: "lock", start: async () => {}, stop: () => lock.release() },
			...daemon.components(),
		]);
		log.info({ peer: keys.peer, addresses: daemon.addresses() }, "althing is running");
	} catch (error) {
		await lock.release();
		throw error;
	}
	return { stopped: lifecycle.stopped };
}

interface DaemonParts {
	readonly directory: string;
	readonly config: NodeConfig;
	readonly log: Logger;
	readonly keys: { readonly identitySeed: Uint8Array; readonly storeKey: Uint8Array };
	readonly fail: (error: unknown) => void;
}

/** Wires the parts together; each is opened by its component, in order. */
class Daemon {
	readonly #parts: DaemonParts;
	readonly #self: SigningKey;
	readonly #startedAt = new Date().toISOString();
	readonly #registry = new Registry();
	readonly #metrics = declareMetrics(this.#registry);
	readonly #wallClock = { nowMs: () => Date.now() };
	readonly #events = new EventHub({ clock: this.#wallClock });
	readonly #tightAccountant = createTightAccountant();
	#store: Store | undefined;
	#records = new Map<string, Uint8Array[]>();
	#pool: WorkerPool<WorkerTask, WorkerResult> | undefined;
	#budgets: Budgets | undefined;
	#datasets: Datasets | undefined;
	#models: Models | undefined;
	#siteStates: SiteStates | undefined;
	#privacy: Privacy | undefined;
	#tunings: Tunings | undefined;
	#federation: Federation | undefined;
	#jobs: Jobs | undefined;

	constructor(parts: DaemonParts) {
		this.#parts = parts;
		this.#self = signingKeyFromSeed(parts.keys.identitySeed);
		declareLoad(this.#registry, () => this.#jobs?.load() ?? { uses: [], queued: [] });
	}

	addresses(): string[] {
		return this.#federation?.network?.addresses() ?? [];
	}

	components(): Component[] {
		const { config, directory, log } = this.#parts;
		const health = createHealthServer({
			port: config.health.port,
			registry: this.#registry,
			ready: () => ({
				store: this.#store !== undefined || "not open",
				federation: this.#federation?.isMember || "no member of a federation yet",
			}),
		});
		return [
			{ name: "store", start: () => this.#openStore(), stop: async () => this.#store?.close() },
			{ name: "workers", start: async () => this.#startWorkers(), stop: async () => this.#pool?.stop() },
			{
				name: "data",
				start: () => this.#openData(),
				stop: async () => {
					await this.#datasets?.streams.stop();
					await this.#tunings?.stop();
					await this.#tightAccountant.stop();
				},
			},
			{
				name: "federation",
				start: () => this.#openFederation(),
				stop: async () => {
					await this.#jobs?.stop();
					await this.#federation?.stop();
				},
			},
			this.#rpc(directory),
			{
				name: "health",
				start: async () => {
					await health.start();
					log.info({ port: health.port }, "health endpoints");
				},
				stop: () => health.stop(),
			},
		];
	}

	async #openStore(): Promise<void> {
		const { directory, keys, log, fail } = this.#parts;
		const store = await openStore({ directory: join(directory, "store"), key: keys.storeKey });
		this.#store = store;
		store.journal.failed.then(fail, fail);
		log.info({ ...store.recovery }, "store open");
		for await (const { kind, body } of store.journal.replay()) {
			const known = this.#records.get(kind);
			if (known === undefined) this.#records.set(kind, [body]);
			else known.push(body);
		}
	}

	#startWorkers(): void {
		this.#pool = createWorkerPool<WorkerTask, WorkerResult>({
			script: new URL("./jobs/trainingWorker.ts", import.meta.url),
			threads: this.#parts.config.training.threads,
			// Beside its own task a thread keeps what other trainings and vertical jobs will want again.
			maximumMemoryMiB: this.#parts.config.policy.maximumMemoryMiB + (2 * WARM_BYTES) / MiB,
		});
	}

	async #openData(): Promise<void> {
		const { config } = this.#parts;
		const store = this.#openedStore();
		const budgets = new Budgets({
			journal: store.journal,
			records: this.#records.get(BUDGET_KIND) ?? [],
			defaults: config.budgets,
			tight: (question, group) => this.#tightAccountant.run(question, { group }),
		});
		this.#budgets = budgets;
		this.#datasets = await Datasets.open(
			store,
			(dataset) => budgets.openAccount(dataset),
			(dataset) => this.#jobs?.using(dataset) ?? [],
			config.data.streaming,
		);
		this.#privacy = new Privacy({
			ledger: budgets.ledger,
			datasets: this.#datasets,
			engine: { backend: config.training.backend, threads: 1 },
			nowMs: () => Date.now(),
		});
		this.#tunings = new Tunings({
			store,
			datasets: this.#datasets,
			budgets,
			backend: config.training.backend,
			log: this.#parts.log.child({ component: "tuning" }),
		});
		this.#siteStates = new SiteStates(store, this.#self.peer);
		this.#models = new Models({
			store,
			own: (jobId) => this.#openedSiteStates().latest(jobId),
			predict: async (spec, parameters, features) => {
				const answer = await this.#openedPool().run({ kind: "predict", spec, parameters, features });
				return answerOf(answer, "predictions").outputs;
			},
		});
	}

	async #openFederation(): Promise<void> {
		const { config, directory, keys, log, fail } = this.#parts;
		const { network } = config;
		this.#federation = await Federation.open({
			self: this.#self,
			identitySeed: keys.identitySeed,
			organization: config.organization.name,
			software: SOFTWARE,
			store: this.#openedStore(),
			records: this.#records,
			autoApproveMembers: config.policy.autoApproveMembers,
			network: {
				listen: [...network.listen, ...network.webSocket.listen],
				...(network.announce.length > 0 ? { announce: network.announce } : {}),
				bootstrap: network.bootstrap,
				limits: {
					maxBlobBytes: network.limits.maximumPayloadMiB * MiB,
					payloadPermits: network.limits.payloadsInMemory,
					messagesPerSecond: network.limits.messagesPerSecond,
					memberBytesPerSecond: network.limits.megabytesPerSecond * MiB,
					maxConnections: network.limits.maximumConnections,
				},
				relay: network.relay,
				dataDirectory: directory,
				metrics: this.#registry,
			},
			declaredRecords: () => this.#openedDatasets().totalRecords(),
			log: log.child({ component: "federation" }),
			nowMs: () => performance.now(),
			publish: (event) => this.#events.publish(event),
			onCharter: (version) => this.#metrics.charterVersion.set(version),
			onMember: (net, federation) => this.#startJobs(net, federation),
			onLeft: async () => {
				await this.#jobs?.stop();
				this.#jobs = undefined;
			},
			onFatal: fail,
		});
	}

	/** Jobs exist only while this node is a member: their messages go to members alone. */
	async #startJobs(network: Libp2pNetwork, federation: Federation): Promise<void> {
		const { config, log, fail } = this.#parts;
		const { policy, training } = config;
		const chain = federation.chain;
		if (chain === undefined) return;
		const models = this.#models;
		const budgets = this.#budgets;
		if (models === undefined || budgets === undefined) return;
		// Loading the engine takes a second or two: better now than in the first round.
		this.#openedPool()
			.run({ kind: "warm", backend: training.backend })
			.catch((error: unknown) => log.warn({ err: error }, "the training engine did not load"));
		this.#jobs = await Jobs.open({
			self: this.#self,
			network,
			store: this.#openedStore(),
			pool: this.#openedPool(),
			datasets: this.#openedDatasets(),
			budgets,
			siteStates: this.#openedSiteStates(),
			policy,
			characteristics: config.organization.characteristics,
			backend: training.backend,
			limits: config.jobs,
			timing: DEFAULT_TIMING,
			gatherMs: GATHER_MS,
			federationId: chain.federationId,
			charter: () => federation.chain?.head ?? chain.head,
			charterByHash: (hash) => federation.charterByHash(hash),
			records: this.#records,
			log: log.child({ component: "jobs" }),
			nowMs: () => performance.now(),
			metrics: this.#metrics,
			publish: (event) => this.#events.publish(event),
			onRound: async (job, content, stateHash, resultHash) => {
				const { spec } = job;
				if (spec.technique !== "federated_learning") return;
				const { privacy } = spec;
				await models.record({
					jobId: job.jobId,
					name: spec.name,
					spec,
					round: content.round,
					stateHash,
					resultHash,
					metrics: { ...content.metrics },
					federation: chain.head.federation,
					...(privacy.mechanism === "none"
						? {}
						: {
								epsilonSpent: await budgets.spentBy(spec.data.set, job.jobId, privacyPromiseOf(spec)),
								delta: privacy.delta,
							}),
					participants: job.participants?.length ?? 0,
					backend: training.backend,
				});
			},
			onFatal: fail,
		});
	}

	#rpc(directory: string): Component {
		const { config, log } = this.#parts;
		let stop = async (): Promise<void> => {};
		return {
			name: "rpc",
			start: async () => {
				const tokens = await openTokenStore({ directory, clock: this.#wallClock });
				const socketPath =
					config.rpc.socket === undefined
						? join(directory, "rpc.sock")
						: resolve(directory, config.rpc.socket);
				const server = createRpcServer({
					services: this.#services(),
					tokens,
					events: this.#events,
					socketPath,
					http: config.rpc.http,
					version: VERSION,
					log,
					clock: this.#wallClock,
				});
				await server.start();
				stop = () => server.stop();
				log.info({ ...server.addresses }, "admin RPC");
			},
			stop: () => stop(),
		};
	}

	#services(): Services {
		const federation = this.#federation as Federation;
		return {
			node: {
				status: () => this.#status(),
				doctor: () =>
					examineNode({
						directory: this.#parts.directory,
						config: this.#parts.config,
						federation,
						journalRecords: this.#openedStore().journal.lastSequence,
					}),
			},
			federation,
			data: this.#openedDatasets(),
			jobs: new JobsUnlessMember(() => this.#jobs),
			models: this.#models as Models,
			queries: new Queries({
				store: this.#openedStore(),
				pool: () => this.#openedPool(),
				datasets: this.#openedDatasets(),
				budgets: this.#budgets as Budgets,
			}),
			budgets: new BudgetOffice({
				budgets: this.#budgets as Budgets,
				store: this.#openedStore(),
				self: this.#self.peer,
			}),
			privacy: this.#privacy as Privacy,
			tuning: this.#tunings as Tunings,
			peers: { list: async () => this.#peers() },
		};
	}

	async #status(): Promise<NodeStatus> {
		const federation = this.#federation;
		const chain = federation?.chain;
		return {
			peer: this.#self.peer,
			organization: this.#parts.config.organization.name,
			version: VERSION,
			startedAt: this.#startedAt,
			dataDirectory: this.#parts.directory,
			addresses: this.addresses(),
			backend: this.#parts.config.training.backend,
			ready: federation?.isMember ?? false,
			federation:
				chain === undefined
					? null
					: { id: chain.federationId, name: chain.head.federation, charterVersion: chain.head.version },
			connectedPeers: (federation?.network?.peers() ?? []).filter(({ connected }) => connected).length,
			runningJobs: this.#jobs?.running ?? 0,
			queuedJobs: [...(this.#jobs?.load().queued ?? [])],
			work: [...(this.#jobs?.load().uses ?? [])],
		};
	}

	#peers(): PeerView[] {
		const chain = this.#federation?.chain;
		const sinceMs = Date.now() - performance.now();
		return (this.#federation?.network?.peers() ?? []).map((state) => {
			const member = chain?.head.members.find(({ peer }) => peer === state.peer);
			return {
				peer: state.peer,
				...(member === undefined ? {} : { organization: member.organization }),
				member: member !== undefined,
				connected: state.connected,
				...(state.rttMs === undefined ? {} : { rttMs: state.rttMs }),
				...(state.lastSeenMs === undefined
					? {}
					: { lastSeenAt: new Date(sinceMs + state.lastSeenMs).toISOString() }),
				addresses: [...state.addresses],
				bytesIn: state.bytesIn,
				bytesOut: state.bytesOut,
			};
		});
	}

	#openedStore(): Store {
		if (this.#store === undefined) throw new Error("the store is not open");
		return this.#store;
	}

	#openedPool(): WorkerPool<WorkerTask, WorkerResult> {
		if (this.#pool === undefined) throw new Error("the workers are not started");
		return this.#pool;
	}

	#openedSiteStates(): SiteStates {
		if (this.#siteStates === undefined) throw new Error("the store is not open");
		return this.#siteStates;
	}

	#openedDatasets(): Datasets {
		if (this.#datasets === undefined) throw new Error("the data sets are not open");
		return this.#datasets;
	}
}
