/**
 * Whole nodes as operating-system processes on loopback, for the tests of this folder.
 *
 * ```ts
 * const fleet = await Fleet.start(3);
 * await fleet.found();                       // node 0 founds, the others join
 * await fleet.addDigits();                   // an interleaved third of the digits each
 * const job = await fleet.node(0).call("job.submit", { spec: digitsJob({ rounds: 4 }) });
 * await fleet.node(1).untilJob(job.id, ({ state }) => state === "completed");
 * await fleet.end();
 * ```
 *
 * Nothing here sleeps: what a test waits for is checked again at every event that the
 * node's own event stream brings, until a deadline.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { stringify } from "yaml";
import { WEAK_PASSPHRASE_COST_FOR_TESTS } from "../../crypto/passphraseSealing.ts";
import { createKeystore } from "../../node/keystore/keystore.ts";
import { createRpcClient, type RpcClient } from "../../node/rpc/client.ts";
import type { MethodName, ParamsOf, ResultOf } from "../../node/rpc/methods/index.ts";
import type { FederationView, JobDetail, NodeEvent } from "../../node/rpc/services.ts";
import { loadCatalogDataset } from "../../src/data/catalog.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PROGRAM = join(ROOT, "bin", "althing.mjs");
const PASSPHRASE = "a passphrase for tests";
/** Far above what anything here takes, even on a busy machine with two cores. */
const DEADLINE_MS = 45_000;

type Json = Record<string, unknown>;
type LogLine = Json & { msg?: string };

export interface Ended {
	readonly code: number | null;
	readonly signal: NodeJS.Signals | null;
	readonly stderr: string;
}

/** Node configuration on top of the fixture's own. */
export interface NodeSettings {
	readonly organization?: string;
	readonly characteristics?: Json;
	readonly policy?: Json;
	readonly budgets?: Json;
	readonly jobs?: Json;
	readonly network?: Json;
	readonly health?: Json;
	/** A module that is loaded into the process and its threads before anything else: to make it misbehave. */
	readonly preload?: string;
}

export class FleetNode {
	readonly organization: string;
	readonly directory: string;
	readonly passphraseFile: string;
	readonly events: NodeEvent[] = [];
	readonly #wake = new Set<() => void>();
	readonly #wakeOnLog = new Set<() => void>();
	readonly #log: LogLine[] = [];
	#client: RpcClient | undefined;
	#child: ChildProcess | undefined;
	#ended: Promise<Ended> | undefined;
	#following = new AbortController();
	#peer = "";
	#port = 0;
	#preload: string | undefined;

	constructor(directory: string, organization: string) {
		this.directory = directory;
		this.organization = organization;
		this.passphraseFile = join(directory, "..", "passphrase");
	}

	/** A data directory with weakly sealed keys and a configuration with a free port of its own. */
	static async prepare(base: string, name: string, settings: NodeSettings = {}): Promise<FleetNode> {
		const node = new FleetNode(join(base, name), settings.organization ?? `Organization ${name}`);
		await mkdir(node.directory, { recursive: true, mode: 0o700 });
		await writeFile(node.passphraseFile, `${PASSPHRASE}\n`, { mode: 0o600 });
		const { peer } = await createKeystore({
			directory: node.directory,
			passphrase: PASSPHRASE,
			cost: WEAK_PASSPHRASE_COST_FOR_TESTS,
		});
		node.#peer = peer;
		node.#port = await freePort();
		node.#preload = settings.preload;
		await node.configure(settings);
		return node;
	}

	async configure(settings: NodeSettings): Promise<void> {
		const configuration = {
			organization: { name: this.organization, characteristics: settings.characteristics ?? {} },
			network: { listen: [`/ip4/127.0.0.1/tcp/${this.#port}`], ...settings.network },
			health: { port: 0, ...settings.health },
			policy: {
				autoApproveJobs: true,
				autoApproveMembers: true,
				maximumDelta: 1e-5,
				...settings.policy,
			},
			...(settings.budgets === undefined ? {} : { budgets: settings.budgets }),
			...(settings.jobs === undefined ? {} : { jobs: settings.jobs }),
			log: { level: "info" },
		};
		await writeFile(join(this.directory, "node.yaml"), stringify(configuration), { mode: 0o600 });
	}

	get peer(): string {
		return this.#peer;
	}

	get port(): number {
		return this.#port;
	}

	get healthPort(): number {
		const line = this.#log.findLast(({ msg }) => msg === "health endpoints");
		return Number(line?.port ?? 0);
	}

	get client(): RpcClient {
		if (this.#client === undefined) throw new Error(`${this.organization} has not been started`);
		return this.#client;
	}

	/** Starts the process and resolves once it serves its admin RPC; rejects with its output when it ends instead. */
	async start(): Promise<void> {
		const ended = this.launch();
		const running = this.untilLogged((line) => line.msg === "althing is running");
		const first = await Promise.race([running.then(() => undefined), ended]);
		if (first !== undefined)
			throw new Error(`${this.organization} ended with ${first.code}: ${first.stderr}`);
		this.#client = createRpcClient({
			endpoint: { socketPath: join(this.directory, "rpc.sock") },
			token: (await readFile(join(this.directory, "admin.token"), "utf8")).trim(),
		});
		this.#following = new AbortController();
		this.events.length = 0;
		void this.#follow(this.#client, this.#following.signal);
	}

	/** Starts the process only; for nodes that are expected to refuse. */
	launch(options: { passphraseFile?: string } = {}): Promise<Ended> {
		this.#log.length = 0;
		const child = spawn(
			process.execPath,
			[
				PROGRAM,
				"--data-dir",
				this.directory,
				"start",
				"--passphrase-file",
				options.passphraseFile ?? this.passphraseFile,
			],
			{
				stdio: ["ignore", "ignore", "pipe"],
				env: {
					PATH: process.env.PATH ?? "",
					HOME: "/nonexistent",
					...(this.#preload === undefined ? {} : { NODE_OPTIONS: `--import ${this.#preload}` }),
				},
			},
		);
		let stderr = "";
		createInterface({ input: child.stderr as NodeJS.ReadableStream }).on("line", (line) => {
			stderr += `${line}\n`;
			try {
				this.#log.push(JSON.parse(line) as LogLine);
			} catch {
				return;
			}
			for (const wake of this.#wakeOnLog) wake();
		});
		this.#child = child;
		this.#ended = once(child, "close").then(([code, signal]) => {
			return { code: code as number | null, signal: signal as NodeJS.Signals | null, stderr };
		});
		return this.#ended;
	}

	/** `kill -9`. */
	async kill(): Promise<void> {
		await this.#signal("SIGKILL");
	}

	/** SIGTERM; resolves when the process has ended. */
	async stop(): Promise<Ended> {
		return this.#signal("SIGTERM");
	}

	async #signal(name: NodeJS.Signals): Promise<Ended> {
		const ended = this.#ended;
		if (this.#child === undefined || ended === undefined) return { code: null, signal: null, stderr: "" };
		this.#following.abort();
		this.#child.kill(name);
		const outcome = await ended;
		this.#child = undefined;
		return outcome;
	}

	call<Name extends MethodName>(name: Name, params: ParamsOf<Name>): Promise<ResultOf<Name>> {
		return this.client.call(name, params);
	}

	/** Events of this run of the process, oldest first. */
	eventsOf(type: string, job?: string): NodeEvent[] {
		return this.events.filter((event) => event.type === type && (job === undefined || event.job === job));
	}

	/** Resolves with `look`'s first defined answer; asked now and after every event (`on`: or log line). */
	async until<T>(
		what: string,
		look: () => T | undefined | Promise<T | undefined>,
		on: Set<() => void> = this.#wake,
	): Promise<T> {
		const deadline = Date.now() + DEADLINE_MS;
		for (;;) {
			let timer: NodeJS.Timeout | undefined;
			const woken = Promise.withResolvers<boolean>();
			const wake = () => woken.resolve(true);
			on.add(wake);
			try {
				const found = await look();
				if (found !== undefined) return found;
				timer = setTimeout(() => woken.resolve(false), Math.max(0, deadline - Date.now()));
				if (!(await woken.promise)) {
					const tail = this.#log.slice(-12).map((line) => JSON.stringify(line).slice(0, 240));
					throw new Error(`${this.organization}: not in time: ${what}\n${tail.join("\n")}`);
				}
			} finally {
				on.delete(wake);
				clearTimeout(timer);
			}
		}
	}

	untilLogged(matches: (line: LogLine) => boolean): Promise<LogLine> {
		return this.until("a log line", () => this.#log.find(matches), this.#wakeOnLog);
	}

	untilEvent(type: string, matches: (event: NodeEvent) => boolean = () => true): Promise<NodeEvent> {
		return this.until(`event ${type}`, () =>
			this.events.find((event) => event.type === type && matches(event)),
		);
	}

	/** Waits until the job looks as wanted at this node; a job not known yet is waited for. */
	async untilJob(job: string, wanted: (detail: JobDetail) => boolean): Promise<JobDetail> {
		let last: JobDetail | undefined;
		try {
			return await this.until("the job", async () => {
				last = await this.call("job.show", { job }).catch((error: { code?: string }) => {
					if (error.code === "job.not_found" || error.code === "federation.not_member") return undefined;
					throw error;
				});
				return last !== undefined && wanted(last) ? last : undefined;
			});
		} catch (error) {
			const seen = last && { state: last.state, reason: last.reason, round: last.round };
			throw new Error(`${(error as Error).message}\njob here: ${JSON.stringify(seen)}`, { cause: error });
		}
	}

	untilFederation(what: string, wanted: (view: FederationView) => boolean): Promise<FederationView> {
		return this.until(what, async () => {
			const view = await this.call("federation.show", {}).catch((error: { code?: string }) => {
				if (error.code === "federation.none") return undefined;
				throw error;
			});
			return view !== undefined && wanted(view) ? view : undefined;
		});
	}

	/** Hash of the job's latest model here. */
	async modelHash(job: string): Promise<string> {
		return (await this.call("model.show", { job })).hash;
	}

	async health(path: string): Promise<{ status: number; body: string }> {
		const response = await new Promise<import("node:http").IncomingMessage>((resolve, reject) => {
			request({ host: "127.0.0.1", port: this.healthPort, path, agent: false }, resolve)
				.on("error", reject)
				.end();
		});
		let body = "";
		for await (const chunk of response) body += chunk;
		return { status: response.statusCode ?? 0, body };
	}

	async #follow(client: RpcClient, signal: AbortSignal): Promise<void> {
		try {
			for await (const event of client.events({ after: 0, signal })) {
				this.events.push(event);
				this.#notify();
			}
		} catch (error) {
			if (!signal.aborted && this.#child?.exitCode === null) throw error;
		}
	}

	#notify(): void {
		for (const wake of this.#wake) wake();
	}
}

export class Fleet {
	readonly base: string;
	readonly nodes: FleetNode[] = [];
	readonly passphrase = PASSPHRASE;

	private constructor(base: string) {
		this.base = base;
	}

	/** Starts `count` nodes; `settings` may differ from node to node. */
	static async start(count: number, settings: (index: number) => NodeSettings = () => ({})): Promise<Fleet> {
		const fleet = await Fleet.empty();
		try {
			await Promise.all(Array.from({ length: count }, (_, index) => fleet.add(settings(index))));
			await Promise.all(fleet.nodes.map((node) => node.start()));
			return fleet;
		} catch (error) {
			// Nobody else can: the caller never gets it.
			await fleet.end();
			throw error;
		}
	}

	static async empty(): Promise<Fleet> {
		return new Fleet(await mkdtemp(join(tmpdir(), "althing-fleet-")));
	}

	/** Prepares one more node; it is not started. */
	async add(settings: NodeSettings = {}): Promise<FleetNode> {
		const index = this.nodes.length;
		const placeholder = new FleetNode(join(this.base, `n${index}`), "");
		this.nodes.push(placeholder);
		const node = await FleetNode.prepare(this.base, `n${index}`, settings);
		this.nodes[index] = node;
		return node;
	}

	node(index: number): FleetNode {
		const node = this.nodes[index];
		if (node === undefined) throw new Error(`there is no node ${index}`);
		return node;
	}

	/** Node 0 founds a federation, the others join by ticket; resolves when all are connected to all. */
	async found(rules: Json = {}, members: readonly FleetNode[] = this.nodes): Promise<void> {
		const [founder, ...others] = members;
		if (founder === undefined) throw new Error("nobody founds");
		await founder.call("federation.create", { name: "fleet", rules });
		for (const node of others) await this.join(founder, node);
		await this.connected(members);
	}

	/** Invites and asks to join; returns the ticket. */
	async join(inviter: FleetNode, node: FleetNode): Promise<string> {
		const { ticket } = await inviter.call("federation.invite", { organization: node.organization });
		await node.call("federation.join", { ticket });
		return ticket;
	}

	/** Resolves when each of these nodes sees each other as a connected member, and nobody else as member. */
	async connected(members: readonly FleetNode[] = this.nodes): Promise<void> {
		await Promise.all(
			members.map((node) =>
				node.untilFederation(
					`${members.length} connected members`,
					(view) =>
						view.members.length === members.length && view.members.every(({ connected }) => connected),
				),
			),
		);
	}

	/** Gives every node its slice of the digits, one record in `nodes.length`. */
	async addDigits(nodes: readonly FleetNode[] = this.nodes): Promise<void> {
		await Promise.all(
			nodes.map(async (node, index) => {
				const path = join(node.directory, "digits.csv");
				await writeFile(path, digitsSlice(index, nodes.length));
				await node.call("data.add", { name: "digits-8x8", path, description: "digits-8x8" });
			}),
		);
	}

	/** Ends what still runs and removes the directories. */
	async end(): Promise<void> {
		await Promise.all(this.nodes.map((node) => node.kill()));
		await rm(this.base, { recursive: true, force: true });
	}
}

/**
 * A port that nobody listens on, below the range that systems give to outgoing connections:
 * a node must find it free again when it restarts, for its address is in the charter.
 */
export async function freePort(): Promise<number> {
	for (let attempt = 0; attempt < 50; attempt++) {
		const port = 20_000 + Math.floor(Math.random() * 10_000);
		const server = createServer();
		const free = await new Promise<boolean>((resolve) => {
			server.once("error", () => resolve(false));
			server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
		});
		if (free) return port;
	}
	throw new Error("no free port found");
}

/** Every `count`th row of the shipped digits, from row `index` on, as a CSV file. */
export function digitsSlice(index: number, count: number): string {
	const digits = loadCatalogDataset("digits-8x8", join(ROOT, "data"));
	const width = digits.columns.length;
	const lines = [[...digits.columns, "digit"].join(",")];
	for (let row = index; row < digits.rows; row += count) {
		const features = digits.features.subarray(row * width, (row + 1) * width);
		lines.push([...features, digits.labelNames?.[digits.labels[row] ?? 0]].join(","));
	}
	return `${lines.join("\n")}\n`;
}

/** A short private job on the digits. */
export function digitsJob(
	options: { name?: string; rounds?: number; epsilon?: number; set?: string; phaseTimeoutMs?: number } = {},
): Json {
	const { name = "digits", rounds = 4, epsilon = 6, set = "digits-8x8", phaseTimeoutMs = 1000 } = options;
	return {
		name,
		technique: "federated_learning",
		data: { set },
		model: { kind: "softmax_regression" },
		training: { algorithm: "fedsgd", rounds, serverLearningRate: 2, momentum: 0.5, expectedBatch: 600 },
		privacy: {
			mechanism: "distributed_gaussian",
			epsilon,
			delta: 1e-6,
			samplingRate: 0.4,
			clippingNorm: 1,
		},
		aggregation: { phaseTimeoutMs },
	};
}
