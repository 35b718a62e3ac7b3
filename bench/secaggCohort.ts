/**
 * Runs one aggregation of a whole cohort: the coordinator in this thread, everybody else in worker threads, with
 * the protocol's own bytes between them.
 */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { signingKeyFromSeed, verifySignature } from "../crypto/identity.ts";
import { randomBytes } from "../crypto/random.ts";
import {
	type AggregationEffects,
	AggregationSession,
	decodeMessage,
	encodeMessage,
	runAggregationTask,
} from "../protocols/aggregation/index.ts";
import type { PeerId } from "../protocols/contract.ts";
import type { FromParticipants, ParticipantRow, SharedCost, ToParticipants } from "./secaggParticipants.ts";
import { inputOf, type Packet, type Setting, sessionConfig } from "./secaggSetting.ts";

export interface CohortRun {
	readonly wallSeconds: number;
	readonly cpuSeconds: number;
	readonly rows: readonly ParticipantRow[];
	readonly shared: readonly SharedCost[];
	readonly coordinator: {
		readonly seconds: Readonly<Record<string, number>>;
		readonly sent: number;
		readonly received: number;
		/** Heap and buffers of the coordinator's thread above what it had before, at most. */
		readonly peakMiB: number;
	};
}

export async function runCohort(setting: Setting, threads: number): Promise<CohortRun> {
	const indices = setting.peers.map((_, index) => index).slice(1);
	const workers = Array.from({ length: Math.min(threads, indices.length) }, (_, thread) => {
		const own = indices.filter((_, place) => place % threads === thread);
		const url = new URL("./secaggParticipants.ts", import.meta.url);
		const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MIB };
		return { worker: new Worker(url, { workerData: { setting, indices: own }, resourceLimits }), own };
	});
	try {
		await Promise.all(workers.map(({ worker }) => ready(worker)));
		return await new Coordination(setting, workers).run();
	} finally {
		await Promise.all(workers.map(({ worker }) => worker.terminate()));
	}
}

/** A thread that plays hundreds of participants keeps hundreds of times what one keeps: fewer, longer collections. */
const YOUNG_MIB = 96;
/** Looks at the memory in use in the time that as many messages arrive as there are participants. */
const LOOKS = 3;

class Coordination {
	readonly #setting: Setting;
	readonly #workers: readonly { readonly worker: Worker; readonly own: readonly number[] }[];
	readonly #workerOf = new Map<PeerId, number>();
	readonly #session: AggregationSession;
	readonly #self: PeerId;
	readonly #seconds = new Map<string, number>();
	readonly #baseBytes: number;
	readonly #blobs = new WeakMap<Uint8Array, Uint8Array>();
	#outgoing: Packet[][];
	#phase = "start";
	#sent = 0;
	#received = 0;
	#peakBytes = 0;
	#routed = 0;
	#released = 0;
	#settle: { resolve: () => void; reject: (error: Error) => void } | undefined;

	constructor(
		setting: Setting,
		workers: readonly { readonly worker: Worker; readonly own: readonly number[] }[],
	) {
		this.#setting = setting;
		this.#workers = workers;
		for (const [thread, { own }] of workers.entries())
			for (const index of own) this.#workerOf.set(setting.peers[index] as PeerId, thread);
		this.#outgoing = workers.map(() => []);
		const self = signingKeyFromSeed(setting.seeds[0] as Uint8Array);
		this.#self = self.peer;
		this.#baseBytes = usedBytes();
		this.#session = new AggregationSession(sessionConfig(setting, self, randomBytes));
	}

	async run(): Promise<CohortRun> {
		const wallStart = performance.now();
		const cpuStart = process.cpuUsage();
		const survivors = this.#setting.peers.length - this.#setting.dropped.length;
		const finished = new Promise<void>((resolve, reject) => {
			this.#settle = { resolve, reject };
		});
		for (const { worker } of this.#workers) {
			worker.on("error", (error) => this.#settle?.reject(error as Error));
			worker.on("message", (message: FromParticipants) => {
				if (message.kind !== "sent") return;
				this.#released += message.released;
				for (const packet of message.packets) this.#route(packet);
				for (const index of message.gone) {
					const peer = this.#setting.peers[index] as PeerId;
					this.#perform(this.#metered(() => this.#session.connectivity(peer, false)));
				}
				this.#flush();
				if (this.#released === survivors) this.#settle?.resolve();
			});
		}
		for (const { worker } of this.#workers) worker.postMessage({ kind: "begin" } satisfies ToParticipants);
		this.#perform(this.#metered(() => this.#session.start(0)));
		this.#flush();
		await finished;
		const wallSeconds = (performance.now() - wallStart) / 1000;
		const { user, system } = process.cpuUsage(cpuStart);
		const reports = await Promise.all(this.#workers.map(({ worker }) => report(worker)));
		const rows = reports.flatMap((one) => one.rows);
		const wrong = rows.find(({ correct }) => !correct);
		if (wrong !== undefined) throw new Error(`participant ${wrong.index} has no sum, or a wrong one`);
		return {
			wallSeconds,
			cpuSeconds: (user + system) / 1e6,
			rows,
			shared: reports.map((one) => one.shared),
			coordinator: {
				seconds: Object.fromEntries(this.#seconds),
				sent: this.#sent,
				received: this.#received,
				peakMiB: (this.#peakBytes - this.#baseBytes) / 2 ** 20,
			},
		};
	}

	#route(packet: Packet): void {
		const thread = this.#workerOf.get(packet.to);
		if (thread !== undefined) {
			this.#outgoing[thread]?.push(packet);
			return;
		}
		const { from, body, blob } = packet;
		this.#received += body.length + (blob?.length ?? 0);
		this.#perform(this.#metered(() => this.#session.receive(from, decodeMessage(body), 0, blob)));
		if (this.#routed++ % Math.ceil(this.#setting.peers.length / LOOKS) === 0) this.#look();
	}

	#look(): void {
		const { used_heap_size, external_memory } = getHeapStatistics();
		// What is below the peak with its garbage is below it without.
		if (used_heap_size + external_memory > this.#peakBytes)
			this.#peakBytes = Math.max(this.#peakBytes, usedBytes());
	}

	#perform(effects: AggregationEffects): void {
		for (const { to, message, blob } of effects.send ?? []) {
			const body = this.#metered(() => encodeMessage(message));
			this.#sent += body.length + (blob?.length ?? 0);
			const packet = { from: this.#self, to, body, blob: blob && this.#sharedBetweenThreads(blob) };
			this.#outgoing[this.#workerOf.get(to) ?? 0]?.push(packet);
		}
		for (const output of effects.output ?? []) {
			if (output.kind === "phase") this.#phase = output.phase;
			if (output.kind === "failed") this.#settle?.reject(output.error);
			if (output.kind === "dead") this.#settle?.reject(new Error(`the attempt is dead: ${output.reason}`));
			if (output.kind === "released") this.#released++;
			if (output.kind !== "input_wanted") continue;
			const values = inputOf(0, this.#setting);
			this.#perform(this.#metered(() => this.#session.provideInput(values, 0)));
		}
		for (const { id, task } of effects.work ?? []) {
			const result = this.#metered(() => runAggregationTask(task), `work: ${task.kind}`);
			this.#perform(this.#metered(() => this.#session.completed(id, result, 0)));
		}
	}

	/** What goes to everybody is copied once, not for each thread and turn. */
	#sharedBetweenThreads(blob: Uint8Array): Uint8Array {
		const known = this.#blobs.get(blob);
		if (known !== undefined) return known;
		const shared = new Uint8Array(new SharedArrayBuffer(blob.length));
		shared.set(blob);
		this.#blobs.set(blob, shared);
		return shared;
	}

	#flush(): void {
		for (const [thread, packets] of this.#outgoing.entries()) {
			if (packets.length === 0) continue;
			this.#outgoing[thread] = [];
			this.#workers[thread]?.worker.postMessage({ kind: "deliver", packets } satisfies ToParticipants);
		}
	}

	#metered<T>(run: () => T, kind = this.#phase): T {
		const before = process.threadCpuUsage();
		const result = run();
		const { user, system } = process.threadCpuUsage(before);
		this.#seconds.set(kind, (this.#seconds.get(kind) ?? 0) + (user + system) / 1e6);
		return result;
	}
}

/** The clock starts when all threads have loaded their code. */
function ready(worker: Worker): Promise<void> {
	return new Promise((resolve, reject) => {
		worker.once("error", reject);
		worker.on("message", (message: FromParticipants) => message.kind === "ready" && resolve());
	});
}

function report(worker: Worker): Promise<Extract<FromParticipants, { kind: "report" }>> {
	return new Promise((resolve) => {
		worker.on("message", (message: FromParticipants) => message.kind === "report" && resolve(message));
		worker.postMessage({ kind: "report" } satisfies ToParticipants);
	});
}

setFlagsFromString("--expose-gc");
// All cores play participants: a collector with threads of its own would only take turns with them.
setFlagsFromString("--single-threaded-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** What this thread holds: garbage is collected first. */
function usedBytes(): number {
	collectGarbage();
	const { heapUsed, external } = process.memoryUsage();
	return heapUsed + external;
}

/** What one signature check costs on this machine now, in seconds. */
export function verificationSeconds(): number {
	const key = signingKeyFromSeed(randomBytes(32));
	const messages = Array.from({ length: 500 }, () => randomBytes(64));
	const signatures = messages.map((message) => key.sign(message));
	const before = process.cpuUsage();
	for (const [i, message] of messages.entries())
		verifySignature(key.peer, message, signatures[i] as Uint8Array);
	const { user, system } = process.cpuUsage(before);
	return (user + system) / 1e6 / messages.length;
}
