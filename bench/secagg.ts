/** Secure aggregation at every scale: whole cohorts with real protocol messages, on all cores. */
import { availableParallelism } from "node:os";
import { randomBytes } from "../crypto/random.ts";
import { rulesSchema } from "../protocols/federation/rules.ts";
import type { Bench, Table } from "./bench.ts";
import { type CohortRun, runCohort, verificationSeconds } from "./secaggCohort.ts";
import { type Setting, settingOf } from "./secaggSetting.ts";

interface Options {
	readonly [name: string]: readonly number[];
	readonly participants: readonly number[];
	readonly parameters: readonly number[];
	readonly dropout: readonly number[];
	readonly tolerated: readonly number[];
	readonly bits: readonly number[];
	readonly threads: readonly number[];
}

/** A new charter's: what a federation runs with unless it agrees on something else. */
const RULES = rulesSchema.parse({});
const MIB = 2 ** 20;

type Row = Table["rows"][number];

export const secagg: Bench<Options> = {
	name: "secagg",
	summary: "CPU, bytes, memory and critical path of one secure aggregation, a whole cohort in one process",
	options: {
		participants: { description: "cohort sizes, 3 to 1024", default: [10, 50, 100, 300, 1000] },
		parameters: { description: "coordinates of the vector", default: [10_000, 100_000, 1_000_000] },
		dropout: {
			description: "share of the cohort that is lost once it is masked against",
			default: [0, 0.05, 0.3],
		},
		tolerated: {
			description: "share that may be missing from the sum, at least the dropout",
			default: [0.1],
		},
		bits: { description: "ring modulus, 8 to 32", default: [16] },
		threads: { description: "worker threads of participants", default: [availableParallelism()] },
	},
	libraries: ["cborg"],
	notes: [
		"The coordinator runs in one thread, everybody else in the others; every message is encoded, decoded, signed and verified as on a network, and has no latency.",
		"Participants drop out after the cohort is masked against each other and before they send their input, which is the dearest moment: their masks must be recovered and removed.",
		"Computed once a thread instead of by every participant, since the bytes and so the result are the same: checks of signatures (of adverts, sharings, inputs, projections, votes), decoding and hashing of statements that the coordinator passes on to many (adverts, sharings, signed inputs), the check of the survivors' certificate, the check of the opening, the removal of the masks from the sum; parsed public keys and the order of the ring. `aloneSeconds` adds them all but the last two: what a participant on a machine of its own computes. Nothing else is shared. The columns `spared` say what each would have been.",
		"Per-participant figures are means over the survivors that do not coordinate, and the largest where it says so; bytes are sent and received together. Naive bytes are 4 per parameter, sent once in the clear.",
		"coordinatorPeakMiB is the most that heap and buffers of the coordinator's thread held above those before, looked at three times a stage after collecting garbage: what it keeps of everybody, its part as a participant, and encoded messages on their way. It sums inputs as they come.",
		"criticalSeconds is the CPU on the longest path if every participant had a machine: the coordinator's, and in each phase the slowest participant's with the median's share of what was computed once.",
		"Phases sum a participant's own steps by the phase it was in, encoding and decoding included, and its vector work by kind. The thread's CPU clock moves with the scheduler's ticks, so figures of a few milliseconds are coarse.",
	],
	async run({ participants, parameters, dropout, tolerated, bits, threads }) {
		const costs: Row[] = [];
		const phases: Row[] = [];
		const graphs: Row[] = [];
		const checkSeconds = verificationSeconds();
		for (const members of participants) {
			for (const rate of dropout) {
				for (const most of tolerated) {
					for (const length of parameters) {
						for (const modulusBits of bits) {
							const setting = settingOf({
								members,
								corruptFraction: RULES.assumedCorruptFraction,
								tolerated: Math.max(most, rate),
								dropout: rate,
								length,
								modulusBits,
								random: randomBytes,
							});
							const run = await runCohort(setting, Math.max(1, threads[0] ?? 1));
							const label = { participants: members, dropout: rate, parameters: length, bits: modulusBits };
							costs.push({ ...label, ...costOf(setting, run, checkSeconds) });
							phases.push({ ...label, ...phasesOf(setting, run, checkSeconds) });
							if (graphs.every((row) => row.participants !== members || row.dropout !== rate))
								graphs.push(graphOf(setting, rate));
						}
					}
				}
			}
		}
		return [
			{ title: "one aggregation", rows: costs },
			{ title: "CPU milliseconds of one participant by phase and by kind of vector work", rows: phases },
			{ title: "graphs, at 40 bits of statistical security", rows: graphs },
		];
	},
};

function survivorsIn(setting: Setting, run: CohortRun): CohortRun["rows"] {
	const dropped = new Set(setting.dropped);
	return run.rows.filter(({ index }) => !dropped.has(index));
}

function costOf(setting: Setting, run: CohortRun, checkSeconds: number): Row {
	const rows = survivorsIn(setting, run);
	const mean = (value: (row: CohortRun["rows"][number]) => number) =>
		rows.reduce((total, row) => total + value(row), 0) / rows.length;
	const secondsOf = (row: CohortRun["rows"][number]) => Object.values(row.seconds).reduce((a, b) => a + b, 0);
	const unmasked = run.shared.reduce((total, { unmasked: count }) => total + count, 0);
	const unmaskSeconds = run.shared.reduce((total, shared) => total + shared.unmaskSeconds, 0) / unmasked;
	const shared = sharedSeconds(run, rows, checkSeconds);
	const alone = mean(secondsOf) + unmaskSeconds + Object.values(shared).reduce((a, b) => a + b, 0);
	const bytes = rows.map(({ sent, received }) => sent + received);
	const coordinator = Object.values(run.coordinator.seconds).reduce((a, b) => a + b, 0);
	const kinds = [...new Set(rows.flatMap((row) => Object.keys(row.seconds)))];
	const slowest = kinds.reduce(
		(total, kind) => total + Math.max(...rows.map(({ seconds }) => seconds[kind] ?? 0)),
		0,
	);
	const naiveBytes = 4 * setting.length;
	return {
		survivors: setting.peers.length - setting.dropped.length,
		wallSeconds: run.wallSeconds,
		cpuSecondsInAll: run.cpuSeconds,
		cpuSecondsPerParticipant: mean(secondsOf),
		aloneSeconds: alone,
		coordinatorCpuSeconds: coordinator,
		criticalSeconds: coordinator + slowest + (alone - mean(secondsOf)),
		bytesSent: mean(({ sent }) => sent),
		bytesPerParticipant: mean(({ sent, received }) => sent + received),
		mostBytes: Math.max(...bytes),
		naiveBytes,
		coordinatorBytesSent: run.coordinator.sent,
		coordinatorBytesReceived: run.coordinator.received,
		coordinatorPeakMiB: run.coordinator.peakMiB,
		vectorMiB: (setting.length * setting.modulusBits) / 8 / MIB,
	};
}

/** Seconds that a participant was spared because another of its thread had computed the same, by kind. */
function sharedSeconds(
	run: CohortRun,
	rows: CohortRun["rows"],
	checkSeconds: number,
): Record<string, number> {
	const mean = (value: (row: CohortRun["rows"][number]) => number) =>
		rows.reduce((total, row) => total + value(row), 0) / rows.length;
	const checked = run.shared.reduce((total, shared) => total + shared.verificationsComputed, 0);
	const spared: Record<string, number> = {
		signatures: checkSeconds * Math.max(0, mean((row) => row.verifications) - checked / rows.length),
	};
	const costs = run.shared.flatMap(({ computations }) => computations);
	for (const kind of new Set(costs.map((cost) => cost.kind))) {
		const of = costs.filter((cost) => cost.kind === kind);
		const sum = (value: (cost: (typeof of)[number]) => number) =>
			of.reduce((total, cost) => total + value(cost), 0);
		const computed = sum((cost) => cost.computed);
		const each =
			(sum((cost) => cost.seconds) - checkSeconds * sum((cost) => cost.signaturesChecked)) / computed;
		spared[kind] =
			Math.max(0, each) * Math.max(0, mean((row) => row.asked[kind] ?? 0) - computed / rows.length);
	}
	return spared;
}

function phasesOf(setting: Setting, run: CohortRun, checkSeconds: number): Row {
	const rows = survivorsIn(setting, run);
	const kinds = [...new Set(rows.flatMap((row) => Object.keys(row.seconds)))];
	const mean = (kind: string) =>
		(1000 * rows.reduce((total, { seconds }) => total + (seconds[kind] ?? 0), 0)) / rows.length;
	const unmask = run.shared.reduce((total, { unmaskSeconds }) => total + unmaskSeconds, 0);
	return {
		...Object.fromEntries(kinds.map((kind) => [kind, mean(kind)])),
		"work: unmask (once a thread)": (1000 * unmask) / run.shared.length,
		...Object.fromEntries(
			Object.entries(sharedSeconds(run, rows, checkSeconds)).map(([kind, seconds]) => [
				`spared: ${kind}`,
				1000 * seconds,
			]),
		),
	};
}

function graphOf({ peers, corruption, minimumSurvivors, cohort }: Setting, dropout: number): Row {
	const sizes = { participants: peers.length, dropout, corrupt: corruption, minimumSurvivors };
	if (cohort.graph === "complete")
		return {
			...sizes,
			graph: "complete",
			shareHolders: peers.length - 1,
			maskedNeighbours: peers.length - 1,
		};
	const { holders, threshold, mates, windowSurvivors } = cohort;
	return {
		...sizes,
		graph: "ring",
		shareHolders: holders,
		maskedNeighbours: mates,
		threshold,
		windowSurvivors,
	};
}
