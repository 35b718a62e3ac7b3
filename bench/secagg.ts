/** Secure aggregation: a whole cohort's sessions in one process, with and without dropout. */
import { generateIdentitySeed, signingKeyFromSeed } from "../crypto/identity.ts";
import { randomBytes } from "../crypto/random.ts";
import type { ModulusBits } from "../crypto/ringPacking.ts";
import {
	type AggregationMessage,
	type AggregationOutput,
	AggregationSession,
	type AggregationTask,
	type AggregationTaskResult,
	cohortParameters,
	decodeMessage,
	encodeMessage,
	runAggregationTask,
} from "../protocols/aggregation/index.ts";
import type { PeerId } from "../protocols/contract.ts";
import { rulesSchema } from "../protocols/federation/rules.ts";
import { MachineSimulation } from "../testnet/simulate/machines.ts";
import type { Bench, Table } from "./bench.ts";
import { MeteredMachine } from "./meteredMachine.ts";

interface Options {
	readonly [name: string]: readonly number[];
	readonly participants: readonly number[];
	readonly parameters: readonly number[];
	readonly dropout: readonly number[];
	readonly bits: readonly number[];
}

/** A new charter's: what a federation runs with unless it agrees on something else. */
const RULES = rulesSchema.parse({});
/** Virtual time; nothing waits for it. */
const PHASE_TIMEOUT_MS = 5000;

type Row = Table["rows"][number];

export const secagg: Bench<Options> = {
	name: "secagg",
	summary: "CPU and bytes of one secure aggregation, whole cohort in one process",
	options: {
		participants: { description: "cohort sizes, 2 to 64", default: [5, 12, 32, 64] },
		parameters: { description: "coordinates of the vector", default: [100_000] },
		dropout: { description: "share of the cohort that is lost once it is masked against", default: [0, 0.2] },
		bits: { description: "ring modulus: 8 to 32", default: [24] },
	},
	libraries: ["cborg"],
	notes: [
		"CPU is that of one thread executing every participant in turn; wall is the same run from start to the last verified sum, with no network in it (latency is virtual).",
		"Participants drop out after the cohort is masked against each other and before they send their input, which is the dearest moment: their pairwise masks must be recovered.",
		"Per-participant figures are means over the survivors that do not coordinate; the coordinator stands beside them. Naive bytes are 4 per parameter, sent once in the clear.",
		"Phases sum a participant's own steps by the phase it was in, and its vector work by kind; both belong to its total, and message encoding is shown apart. The thread's CPU clock moves with the scheduler's ticks, so figures of a few milliseconds are coarse.",
		"One small aggregation runs before the first measured one.",
	],
	async run({ participants, parameters, dropout, bits }) {
		const costs: Row[] = [];
		const phases: Row[] = [];
		measure({ members: 5, length: 1000, rate: 0, modulusBits: 24 });
		for (const length of parameters) {
			for (const modulusBits of bits) {
				for (const members of participants) {
					for (const rate of dropout) {
						const measured = measure({ members, length, rate, modulusBits });
						costs.push(measured.cost);
						phases.push(measured.phases);
					}
				}
			}
		}
		return [
			{ title: "one aggregation", rows: costs },
			{ title: "CPU milliseconds of one participant by phase and by kind of vector work", rows: phases },
		];
	},
};

function measure(setting: { members: number; length: number; rate: number; modulusBits: ModulusBits }) {
	const { members, length, rate, modulusBits } = setting;
	const keys = Array.from({ length: members }, () => signingKeyFromSeed(generateIdentitySeed()));
	keys.sort((a, b) => (a.peer < b.peer ? -1 : 1));
	const peers = keys.map(({ peer }) => peer);
	const coordinator = peers[0] as PeerId;
	const dropped = new Set(peers.slice(members - Math.floor(rate * members)));
	const mask = 2 ** modulusBits - 1;
	const inputs = new Map(
		peers.map((peer) => {
			const words = new Uint32Array(randomBytes(4 * length).slice().buffer);
			return [peer, words.map((word) => (word & mask) >>> 0)];
		}),
	);

	const corruption = Math.floor(RULES.assumedCorruptFraction * members + 1e-9);
	const minimumSurvivors = Math.max(2, Math.ceil(RULES.minimumSurvivorFraction * members - 1e-9));
	const machines = new Map<PeerId, MeteredMachine>();
	const wire = { encodeSeconds: 0, decodeSeconds: 0 };
	let sender: PeerId = coordinator;
	const simulation = new MachineSimulation<
		AggregationMessage,
		AggregationTask,
		AggregationTaskResult,
		AggregationOutput
	>({
		seed: 1,
		encode: (message) => {
			const before = process.threadCpuUsage();
			const bytes = encodeMessage(message);
			wire.encodeSeconds += secondsSince(before);
			machines.get(sender)?.sent(bytes.length);
			return bytes;
		},
		decode: (bytes) => {
			const before = process.threadCpuUsage();
			const message = decodeMessage(bytes);
			wire.decodeSeconds += secondsSince(before);
			MeteredMachine.arriving = bytes.length;
			return message;
		},
		runTask: (task) => {
			const before = process.threadCpuUsage();
			const result = runAggregationTask(task);
			MeteredMachine.worked = { kind: task.kind, seconds: secondsSince(before) };
			return result;
		},
	});
	// The simulation encodes a message right after its hooks have seen it.
	simulation.intercept(({ from, blob }) => {
		sender = from;
		machines.get(from)?.sent(blob?.length ?? 0);
		return undefined;
	});

	const wallStart = performance.now();
	const cpuStart = process.cpuUsage();
	for (const self of keys) {
		const session = new AggregationSession({
			federationId: "be".repeat(32),
			jobId: "bench",
			round: 0,
			attempt: 0,
			modelHash: new Uint8Array(32),
			configHash: new Uint8Array(32),
			electorate: { members: peers, corruption },
			coordinator,
			term: 0,
			self,
			minimumSurvivors,
			cohort: cohortParameters({ members, corruption, dropped: members - minimumSurvivors }),
			graphSeed: new Uint8Array(32),
			length,
			modulusBits,
			phaseTimeoutMs: PHASE_TIMEOUT_MS,
			precedingDead: [],
			promises: [],
			random: randomBytes,
		});
		const machine = new MeteredMachine(session);
		machines.set(self.peer, machine);
		simulation.add(self.peer, machine);
	}
	const sums = new Map<PeerId, Uint32Array>();
	simulation.onOutput((peer, output) => {
		if (output.kind === "released") sums.set(peer, output.sum);
		if (output.kind === "failed") throw output.error;
		if (output.kind !== "input_wanted") return;
		const act = () =>
			dropped.has(peer)
				? simulation.crash(peer)
				: simulation.perform(
						peer,
						machines.get(peer)?.provideInput(inputs.get(peer) as Uint32Array, simulation.nowMs) ?? {},
					);
		simulation.at(simulation.nowMs, act);
	});
	const survivors = peers.filter((peer) => !dropped.has(peer));
	simulation.run({ untilMs: 600_000, until: () => sums.size === survivors.length, maxEvents: 10_000_000 });
	const wallSeconds = (performance.now() - wallStart) / 1000;
	const { user, system } = process.cpuUsage(cpuStart);
	checkSums(sums, survivors, inputs, mask);

	const ordinary = survivors.slice(1).map((peer) => machines.get(peer) as MeteredMachine);
	const leading = machines.get(coordinator) as MeteredMachine;
	const mean = (value: (machine: MeteredMachine) => number) =>
		ordinary.reduce((total, machine) => total + value(machine), 0) / ordinary.length;
	const label = { participants: members, dropout: rate, parameters: length, bits: modulusBits };
	const naive = 4 * length;
	const kinds = [...new Set(ordinary.flatMap((machine) => [...machine.seconds.keys()]))];
	return {
		cost: {
			...label,
			survivors: survivors.length,
			wallSeconds,
			cpuSecondsInAll: (user + system) / 1e6,
			cpuSecondsPerParticipant: mean((machine) => machine.totalSeconds),
			coordinatorCpuSeconds: leading.totalSeconds,
			bytesSent: mean((machine) => machine.bytesSent),
			bytesReceived: mean((machine) => machine.bytesReceived),
			naiveBytes: naive,
			sentOverNaive: mean((machine) => machine.bytesSent) / naive,
			coordinatorBytesSent: leading.bytesSent,
			coordinatorBytesReceived: leading.bytesReceived,
		},
		phases: {
			...label,
			...Object.fromEntries(
				kinds.map((kind) => [kind, 1000 * mean((machine) => machine.seconds.get(kind) ?? 0)]),
			),
			"encoding (of all)": (1000 * wire.encodeSeconds) / members,
			"decoding (of all)": (1000 * wire.decodeSeconds) / members,
		},
	};
}

/** A benchmark of a wrong sum would be worth nothing. */
function checkSums(
	sums: ReadonlyMap<PeerId, Uint32Array>,
	survivors: readonly PeerId[],
	inputs: ReadonlyMap<PeerId, Uint32Array>,
	mask: number,
): void {
	if (sums.size !== survivors.length) {
		throw new Error(`only ${sums.size} of ${survivors.length} survivors reached the sum`);
	}
	const expected = new Uint32Array(inputs.get(survivors[0] as PeerId)?.length ?? 0);
	for (const peer of survivors) {
		for (const [i, value] of inputs.get(peer)?.entries() ?? []) expected[i] = (expected[i] as number) + value;
	}
	for (const [peer, sum] of sums) {
		if (sum.some((value, i) => value !== ((expected[i] as number) & mask) >>> 0)) {
			throw new Error(`${peer} released a wrong sum`);
		}
	}
}

function secondsSince(before: NodeJS.CpuUsage): number {
	const { user, system } = process.threadCpuUsage(before);
	return (user + system) / 1e6;
}
