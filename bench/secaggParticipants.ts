/**
 * Worker thread of the secagg bench: some participants' sessions, driven by messages in bytes. Nothing waits
 * for a timer: a member that is gone is reported, as the network does.
 */
import { parentPort, Worker, workerData } from "node:worker_threads";
import { signingKeyFromSeed, verification } from "../crypto/identity.ts";
import { randomBytes } from "../crypto/random.ts";
import {
	type AggregationEffects,
	AggregationSession,
	type AggregationTask,
	type AggregationTaskResult,
	decodeMessage,
	encodeMessage,
	type PublicComputation,
} from "../protocols/aggregation/index.ts";
import type { PeerId } from "../protocols/contract.ts";
import { type ComputationCost, SharedComputations } from "./secaggComputations.ts";
import { inputOf, isSumOf, type Packet, type Setting, sessionConfig } from "./secaggSetting.ts";
import type { FromTasks, ToTasks } from "./secaggTasks.ts";

interface Participant {
	readonly index: number;
	readonly session: AggregationSession;
	readonly seconds: Map<string, number>;
	phase: string;
	sent: number;
	received: number;
	verifications: number;
	readonly asked: Map<PublicComputation, number>;
	gone: boolean;
	released: boolean;
	correct: boolean;
}

export type ToParticipants =
	| { readonly kind: "begin" }
	| { readonly kind: "deliver"; readonly packets: readonly Packet[] }
	| { readonly kind: "report" };
export type FromParticipants =
	/** The code is loaded, here and in the thread that works on vectors. */
	| { readonly kind: "ready" }
	| {
			readonly kind: "sent";
			readonly packets: readonly Packet[];
			readonly gone: readonly number[];
			readonly released: number;
	  }
	| { readonly kind: "report"; readonly rows: readonly ParticipantRow[]; readonly shared: SharedCost };

export interface ParticipantRow {
	readonly index: number;
	readonly seconds: Readonly<Record<string, number>>;
	readonly sent: number;
	readonly received: number;
	readonly verifications: number;
	readonly correct: boolean;
	/** Computations that may be shared, by kind. */
	readonly asked: Readonly<Partial<Record<PublicComputation, number>>>;
}

/** What was computed once for all participants of a thread. */
export interface SharedCost {
	readonly unmaskSeconds: number;
	readonly unmasked: number;
	readonly verificationsComputed: number;
	readonly computations: readonly (ComputationCost & { readonly kind: PublicComputation })[];
}

/** Packets that reach the coordinator together: as on a network, it is not handed hundreds of vectors at a time. */
const SENT_AT_ONCE = 8;

const { setting, indices } = workerData as { setting: Setting; indices: number[] };
const port = parentPort;
if (port === null) throw new Error("this script runs as a worker thread");

const computations = new SharedComputations();
const participants = new Map<PeerId, Participant>();
/** The unmasking of one certified sum is the same computation at every participant. */
interface Unmasking {
	result?: AggregationTaskResult;
	readonly waiting: ((result: AggregationTaskResult) => void)[];
}
const unmaskings = new Map<string, Unmasking>();
/** Vectors are worked on in a thread of their own, as in a node, where garbage is cheap to collect. */
const tasks = new Worker(new URL("./secaggTasks.ts", import.meta.url));
const underWay = new Map<number, (result: AggregationTaskResult, seconds: number) => void>();
let nextTask = 0;
const shared = { unmaskSeconds: 0, unmasked: 0 };
let expected: Uint32Array | undefined;
/** To participants of this thread: they get bytes like everybody. */
const local: Packet[] = [];
let outgoing: Packet[] = [];
let gone: number[] = [];
let released = 0;
const dropped = new Set(setting.dropped);

function begin(): void {
	for (const index of indices) {
		const self = signingKeyFromSeed(setting.seeds[index] as Uint8Array);
		const before = verification.asked;
		const participant: Participant = {
			index,
			session: new AggregationSession({ ...sessionConfig(setting, self, randomBytes), computations }),
			seconds: new Map(),
			phase: "start",
			sent: 0,
			received: 0,
			verifications: verification.asked - before,
			asked: new Map(),
			gone: false,
			released: false,
			correct: true,
		};
		participants.set(self.peer, participant);
		perform(self.peer, participant, participant.session.start(0));
	}
}

port.on("message", (message: ToParticipants) => {
	if (message.kind === "begin") {
		begin();
		return;
	}
	if (message.kind === "report") {
		const rows = [...participants.values()].map((one) => ({
			index: one.index,
			seconds: Object.fromEntries(one.seconds),
			sent: one.sent,
			received: one.received,
			verifications: one.verifications,
			correct: one.correct && (one.gone || one.released),
			asked: Object.fromEntries(one.asked),
		}));
		port.postMessage({
			kind: "report",
			rows,
			shared: {
				...shared,
				verificationsComputed: verification.computed,
				computations: [...computations.costs].map(([kind, cost]) => ({ kind, ...cost })),
			},
		} satisfies FromParticipants);
		return;
	}
	local.push(...message.packets);
	deliverAll();
});

tasks.on("message", (message: FromTasks) => {
	if (message === "ready") {
		port.postMessage({ kind: "ready" } satisfies FromParticipants);
		return;
	}
	const { id, result, seconds } = message;
	const then = underWay.get(id);
	underWay.delete(id);
	then?.(result, seconds);
	deliverAll();
});

function deliverAll(): void {
	// What is delivered may add to the list.
	for (let next = 0; next < local.length; next++) {
		deliver(local[next] as Packet);
		if (outgoing.length >= SENT_AT_ONCE) post();
	}
	local.length = 0;
	post();
}

/** Hands on what there is to send. */
function post(): void {
	if (outgoing.length + gone.length + released === 0) return;
	const sent: FromParticipants = { kind: "sent", packets: outgoing, gone, released };
	outgoing = [];
	gone = [];
	released = 0;
	port?.postMessage(sent);
}

function deliver({ from, to, body, blob }: Packet): void {
	const participant = participants.get(to);
	if (participant === undefined || participant.gone) return;
	participant.received += body.length + (blob?.length ?? 0);
	const verified = verification.asked;
	const asked = new Map(computations.asked);
	const effects = metered(participant, participant.phase, () => {
		const message = decodeMessage(body, computations);
		return participant.session.receive(from, message, 0, blob);
	});
	participant.verifications += verification.asked - verified;
	for (const [kind, count] of computations.asked)
		participant.asked.set(kind, (participant.asked.get(kind) ?? 0) + count - (asked.get(kind) ?? 0));
	perform(to, participant, effects);
}

function perform(peer: PeerId, participant: Participant, effects: AggregationEffects): void {
	for (const { to, message, blob } of effects.send ?? []) {
		const body = metered(participant, participant.phase, () => encodeMessage(message));
		participant.sent += body.length + (blob?.length ?? 0);
		const packet: Packet = { from: peer, to, body, blob };
		(participants.has(to) ? local : outgoing).push(packet);
	}
	for (const output of effects.output ?? []) {
		if (output.kind === "phase") participant.phase = output.phase;
		if (output.kind === "failed") throw output.error;
		if (output.kind === "released") {
			participant.released = true;
			released++;
			participant.correct = isExpected(output.sum);
		}
		if (output.kind !== "input_wanted") continue;
		if (dropped.has(participant.index)) {
			participant.gone = true;
			gone.push(participant.index);
			return;
		}
		const values = inputOf(participant.index, setting);
		perform(
			peer,
			participant,
			metered(participant, "input", () => participant.session.provideInput(values, 0)),
		);
	}
	for (const { id, task } of effects.work ?? []) work(peer, participant, id, task);
}

function completed(peer: PeerId, participant: Participant, id: string, result: AggregationTaskResult): void {
	perform(
		peer,
		participant,
		metered(participant, participant.phase, () => participant.session.completed(id, result, 0)),
	);
}

/** Has a task done; `then` follows when it is. */
function run(task: AggregationTask, then: (result: AggregationTaskResult, seconds: number) => void): void {
	const id = nextTask++;
	underWay.set(id, then);
	// The owner of an input has no further use for it.
	const moved = task.kind === "mask" ? [task.values.buffer as ArrayBuffer] : [];
	tasks.postMessage({ id, task } satisfies ToTasks, moved);
}

function work(peer: PeerId, participant: Participant, id: string, task: AggregationTask): void {
	if (task.kind !== "unmask" || task.masks === undefined) {
		run(task, (result, seconds) => {
			const kind = `work: ${task.kind}`;
			participant.seconds.set(kind, (participant.seconds.get(kind) ?? 0) + seconds);
			completed(peer, participant, id, result);
		});
		return;
	}
	const key = Buffer.from(task.seed).toString("hex");
	const known = unmaskings.get(key);
	if (known?.result !== undefined) completed(peer, participant, id, known.result);
	else if (known !== undefined) known.waiting.push((result) => completed(peer, participant, id, result));
	else {
		const unmasking: Unmasking = { waiting: [(result) => completed(peer, participant, id, result)] };
		unmaskings.set(key, unmasking);
		run(task, (result, seconds) => {
			shared.unmaskSeconds += seconds;
			shared.unmasked++;
			unmasking.result = result;
			for (const then of unmasking.waiting) then(result);
		});
	}
}

/** Compared once a thread, in full. */
function isExpected(sum: Uint32Array): boolean {
	if (expected === sum) return true;
	const survivors = setting.seeds.map((_, index) => index).filter((index) => !dropped.has(index));
	if (!isSumOf(survivors, sum, setting)) return false;
	expected = sum;
	return true;
}

function metered<T>(participant: Participant, kind: string, run: () => T): T {
	const before = process.threadCpuUsage();
	try {
		return run();
	} finally {
		participant.seconds.set(kind, (participant.seconds.get(kind) ?? 0) + secondsSince(before));
	}
}

function secondsSince(before: NodeJS.CpuUsage): number {
	const { user, system } = process.threadCpuUsage(before);
	return (user + system) / 1e6;
}
