/** What robustness adds to a secure aggregation: whole cohorts of real sessions in one process. */
import { encodeCanonical } from "../crypto/encoding.ts";
import { signingKeyFromSeed } from "../crypto/identity.ts";
import { randomBytes } from "../crypto/random.ts";
import {
	type AggregationMessage,
	type AggregationOutput,
	AggregationSession,
	type AggregationTask,
	type AggregationTaskResult,
	decodeMessage,
	encodeMessage,
	runAggregationTask,
} from "../protocols/aggregation/index.ts";
import type { PeerId } from "../protocols/contract.ts";
import type { ScreeningRules } from "../protocols/robust/outcome.ts";
import { MachineSimulation } from "../testnet/simulate/machines.ts";
import type { Bench, Table } from "./bench.ts";

interface Options {
	readonly [name: string]: readonly number[];
	readonly participants: readonly number[];
	readonly parameters: readonly number[];
}

/** A screening's attackers: a fifth of the cohort, and what still leaves one holder to spare. */
const attackersOf = (members: number) => Math.max(1, Math.floor((members - 2) / 5));

export const screening: Bench<Options> = {
	name: "screening",
	summary: "CPU and bytes that robustness adds to one secure aggregation: plain, norm_bound, strict",
	options: {
		participants: { description: "cohort sizes, 10 to 101", default: [10, 25, 50] },
		parameters: { description: "coordinates of the vector", default: [10_000, 100_000] },
	},
	libraries: [],
	notes: [
		"Every session is a real one; all of a cohort share one thread and virtual time.",
		"CPU is the whole process's, divided by the cohort: a participant's share, the coordinator's included in the mean.",
		"Bytes are those of encoded messages and of vectors beside them, without transport.",
	],
	async run({ participants, parameters }) {
		const rows: Table["rows"][number][] = [];
		for (const members of participants) {
			for (const length of parameters) {
				const bound = { coordinates: length, normBound: 100 * Math.sqrt(length) };
				const modes: readonly (readonly [string, ScreeningRules | undefined])[] = [
					["plain", undefined],
					["norm_bound", bound],
					["strict", { ...bound, selection: { attackers: attackersOf(members) } }],
				];
				for (const [mode, rules] of modes)
					rows.push({ participants: members, parameters: length, mode, ...measure(members, length, rules) });
			}
		}
		return [{ title: "one aggregation", rows }];
	},
};

function measure(members: number, length: number, rules: ScreeningRules | undefined) {
	const keys = Array.from({ length: members }, () => signingKeyFromSeed(randomBytes(32))).sort((a, b) =>
		a.peer < b.peer ? -1 : 1,
	);
	const peers = keys.map(({ peer }) => peer);
	const simulation = new MachineSimulation<
		AggregationMessage,
		AggregationTask,
		AggregationTaskResult,
		AggregationOutput
	>({ seed: 1, encode: encodeMessage, decode: decodeMessage, runTask: runAggregationTask });
	const values = Uint32Array.from({ length }, (_, i) => (i * 2654435761) % 100);
	const sessions = new Map<PeerId, AggregationSession>();
	for (const self of keys) {
		const session = new AggregationSession({
			federationId: "ab".repeat(32),
			jobId: "bench",
			round: 0,
			attempt: 0,
			modelHash: new Uint8Array(32),
			configHash: new Uint8Array(32),
			electorate: { members: peers, corruption: attackersOf(members) },
			coordinator: peers[0] as PeerId,
			term: 0,
			self,
			minimumSurvivors: Math.max(2, 2 * attackersOf(members)),
			length,
			modulusBits: 32,
			phaseTimeoutMs: 60_000,
			cohort: { graph: "complete" },
			graphSeed: new Uint8Array(32),
			screening: rules,
			precedingDead: [],
			promises: [],
			random: randomBytes,
		});
		sessions.set(self.peer, session);
		simulation.add(self.peer, session);
	}
	const sent = new Map<PeerId, number>(peers.map((peer) => [peer, 0]));
	let largest = 0;
	simulation.intercept(({ from, message, blob }) => {
		const size = encodeCanonical(message as never).length;
		largest = Math.max(largest, size);
		sent.set(from, (sent.get(from) ?? 0) + size + (blob?.length ?? 0));
		return undefined;
	});
	simulation.onOutput((peer, output) => {
		if (output.kind !== "input_wanted") return;
		const session = sessions.get(peer) as AggregationSession;
		simulation.at(simulation.nowMs, () =>
			simulation.perform(peer, session.provideInput(values, simulation.nowMs)),
		);
	});
	const before = process.cpuUsage();
	simulation.run({
		untilMs: 600_000,
		until: () => peers.every((peer) => sessions.get(peer)?.ended === true),
	});
	const { user, system } = process.cpuUsage(before);
	const others = peers.slice(1).map((peer) => sent.get(peer) ?? 0);
	return {
		cpuMsPerParticipant: (user + system) / 1000 / members,
		sentKiBPerParticipant: others.reduce((a, b) => a + b, 0) / others.length / 1024,
		coordinatorSentMiB: (sent.get(peers[0] as PeerId) ?? 0) / 2 ** 20,
		largestMessageKiB: largest / 1024,
	};
}
