/** Secure sums of more members than one session holds: every member of a hierarchy, from its keys to the root. */
import { availableParallelism } from "node:os";
import { Worker } from "node:worker_threads";
import { signingKeyFromSeed, verification } from "../crypto/identity.ts";
import { randomBytes } from "../crypto/random.ts";
import { graphSeedOf } from "../protocols/aggregation/index.ts";
import { quorum } from "../protocols/certificate/index.ts";
import type { PeerId } from "../protocols/contract.ts";
import { rulesSchema } from "../protocols/federation/rules.ts";
import { combinersOf, dealCohorts } from "../protocols/hierarchy/index.ts";
import type { Bench, Table } from "./bench.ts";
import { HierarchyNetwork, type MemberOnNetwork } from "./hierarchyNetwork.ts";
import { type CohortReport, type HierarchySetting, memberOf } from "./hierarchySetting.ts";
import { verificationSeconds } from "./secaggCohort.ts";
import { SharedComputations } from "./secaggComputations.ts";
import { isSumOf } from "./secaggSetting.ts";

interface Options {
	readonly [name: string]: readonly number[];
	readonly participants: readonly number[];
	readonly cohort: readonly number[];
	readonly parameters: readonly number[];
	readonly dropout: readonly number[];
	readonly tolerated: readonly number[];
	readonly bits: readonly number[];
	readonly latency: readonly number[];
	readonly megabits: readonly number[];
	readonly seed: readonly number[];
	readonly threads: readonly number[];
}

const RULES = rulesSchema.parse({});
const MIB = 2 ** 20;

export const hierarchy: Bench<Options> = {
	name: "hierarchy",
	summary:
		"a secure sum of thousands, every member simulated from its keys to the root, with latency and dropout",
	options: {
		participants: { description: "members of the hierarchy", default: [10_000] },
		cohort: { description: "largest cohort, 3 to 1024", default: [200] },
		parameters: { description: "coordinates of the vector", default: [1000] },
		dropout: { description: "share of each cohort that is lost once it is masked against", default: [0.05] },
		tolerated: { description: "share of a cohort that may be missing, at least the dropout", default: [0.1] },
		bits: { description: "ring modulus, 8 to 32", default: [16] },
		latency: { description: "median one-way latency in ms, log-normal", default: [40] },
		megabits: { description: "every member's uplink in Mbit/s", default: [1000] },
		seed: { description: "seed of the latencies; keys and masks are the system's", default: [1] },
		threads: { description: "worker threads of cohorts", default: [availableParallelism()] },
	},
	libraries: ["cborg"],
	notes: [
		"Every member is a machine of its own: its session in its cohort, the certified cohort sum, the check of its way to the root, the check of all included cohorts' certificates, its vote, the decision. Every message is encoded, decoded, signed and verified.",
		"Virtual time: each message takes a latency and its share of the sender's uplink, each step its CPU time on this machine, a member one thing at a time. Cohorts run at the same virtual time, though one after the other here.",
		"When all of a cohort have its sum, their sessions are dropped; for the tree each member is built again from what it had written, as after a restart, and certifies the sum again.",
		"Computed once in a process instead of by every member, since the result is the same: checks of signatures and certificates that were checked before, the removal of the masks from a cohort's sum, the encoding of a message to many. `aloneSeconds` adds the first two for a member with a machine to itself, up to its cohort's sum; `checkAllSeconds` is what it pays for all certificates of the tree.",
		"Cohorts have to assume more corrupt members than their share: chance deals them unevenly, and no cohort may fall.",
	],
	async run(options) {
		const summary: Table["rows"][number][] = [];
		const cohorts: Table["rows"][number][] = [];
		for (const members of options.participants) {
			for (const size of options.cohort) {
				for (const length of options.parameters) {
					const rate = options.dropout[0] ?? 0;
					const setting = settingOf({
						members,
						size,
						length,
						dropout: rate,
						tolerated: Math.max(options.tolerated[0] ?? 0, rate),
						modulusBits: options.bits[0] ?? 16,
						latencyMs: options.latency[0] ?? 40,
						megabitsPerSecond: options.megabits[0] ?? 1000,
						seed: options.seed[0] ?? 1,
					});
					const measured = await measure(setting, Math.max(1, options.threads[0] ?? 1));
					cohorts.push(...measured.cohorts);
					summary.push(measured.whole);
				}
			}
		}
		return [
			{ title: "cohorts", rows: cohorts },
			{ title: "the whole hierarchy", rows: summary },
		];
	},
};

function settingOf(of: {
	readonly members: number;
	readonly size: number;
	readonly length: number;
	readonly dropout: number;
	readonly tolerated: number;
	readonly modulusBits: number;
	readonly latencyMs: number;
	readonly megabitsPerSecond: number;
	readonly seed: number;
}): HierarchySetting {
	const { members, size, length, dropout, tolerated, modulusBits, latencyMs, megabitsPerSecond, seed } = of;
	const keys = Array.from({ length: members }, () => {
		const secret = randomBytes(32);
		return { secret, peer: signingKeyFromSeed(secret).peer };
	}).sort((a, b) => (a.peer < b.peer ? -1 : 1));
	const peers = keys.map(({ peer }) => peer);
	return {
		seeds: keys.map(({ secret }) => secret),
		peers,
		cohorts: dealCohorts({
			members: peers,
			corruption: Math.floor(RULES.assumedCorruptFraction * members + 1e-9),
			cohortSize: size,
			toleratedDropout: tolerated,
			seed: graphSeedOf(randomBytes(32)),
		}),
		length,
		modulusBits,
		dropout,
		speed: { latencyMs, megabitsPerSecond },
		seed,
	};
}

async function measure(setting: HierarchySetting, threads: number) {
	const wallStart = performance.now();
	const cpuStart = process.cpuUsage();
	const checkSeconds = verificationSeconds();
	const reports = await runCohorts(setting, threads, checkSeconds);
	const cohortsWall = (performance.now() - wallStart) / 1000;
	const tree = climb(setting, reports);
	const { user, system } = process.cpuUsage(cpuStart);
	const signatures = setting.cohorts.reduce((total, { electorate }) => total + quorum(electorate), 0);
	const mean = (value: (report: CohortReport) => number) =>
		reports.reduce((total, report) => total + value(report), 0) / reports.length;
	return {
		cohorts: reports.map(rowOf(setting)),
		whole: {
			participants: setting.peers.length,
			cohorts: setting.cohorts.length,
			parameters: setting.length,
			dropped: setting.peers.length - reports.reduce((total, { survivors }) => total + survivors, 0),
			...tree.figures,
			wallSeconds: (performance.now() - wallStart) / 1000,
			cohortsWallSeconds: cohortsWall,
			cpuSeconds: (user + system) / 1e6,
			cpuSecondsPerParticipant: (user + system) / 1e6 / setting.peers.length,
			aloneSeconds: mean(({ aloneSeconds }) => aloneSeconds),
			checkAllSeconds: 1.5 * signatures * checkSeconds,
			bytesPerParticipant: mean(({ bytes }) => bytes) + tree.bytesPerMember,
			peakRssMiB: process.resourceUsage().maxRSS / 1024,
		},
	};
}

/** Each thread takes one cohort after the other. */
async function runCohorts(
	setting: HierarchySetting,
	threads: number,
	checkSeconds: number,
): Promise<CohortReport[]> {
	const reports: CohortReport[] = [];
	const waiting = setting.cohorts.map(({ index }) => index);
	const url = new URL("./hierarchyCohorts.ts", import.meta.url);
	await Promise.all(
		Array.from({ length: Math.min(threads, waiting.length) }, async () => {
			const worker = new Worker(url, { workerData: { setting, checkSeconds } });
			try {
				for (let next = waiting.shift(); next !== undefined; next = waiting.shift())
					reports.push(await runCohort(worker, next));
			} finally {
				await worker.terminate();
			}
		}),
	);
	return reports.sort((a, b) => a.cohort - b.cohort);
}

function runCohort(worker: Worker, cohort: number): Promise<CohortReport> {
	return new Promise((resolve, reject) => {
		worker.once("error", reject);
		worker.once("message", (report: CohortReport) => {
			worker.off("error", reject);
			resolve(report);
		});
		worker.postMessage(cohort);
	});
}

/** All members from their cohort's sum to the root. @throws Error when anybody gets no root, or a wrong one */
function climb(setting: HierarchySetting, reports: readonly CohortReport[]) {
	const indexOf = new Map(setting.peers.map((peer, index) => [peer, index]));
	const combiner = combinersOf(setting.cohorts, 0)[0] as PeerId;
	const survivors = reports.flatMap(({ written }) => written.map(({ peer }) => peer));
	const indices = survivors.map((peer) => indexOf.get(peer) as number);
	const computations = new SharedComputations();
	const releasedMs: number[] = [];
	let wrong: string | undefined;
	let peakBytes = 0;
	const network = new HierarchyNetwork({
		seed: setting.seed,
		speed: setting.speed,
		depart: () => {},
		react: (member, output) => {
			if (output.kind !== "released") return;
			releasedMs.push(member.readyMs);
			const exact = output.survivors === survivors.length && isSumOf(indices, output.sum, setting);
			if (!exact)
				wrong ??= `${member.peer} (${output.survivors} survivors of ${output.included.length} cohorts)`;
			// Ten thousand copies of one vector.
			member.outputs.length = 0;
		},
	});
	for (const { written, sumRecord } of reports)
		for (const { peer, ballots, summedMs } of written)
			network.add(
				peer,
				memberOf(setting, indexOf.get(peer) as number, [sumRecord, ...ballots], computations),
				summedMs,
			);
	const started = performance.now();
	const [asked, computed] = [verification.asked, verification.computed];
	let events = 0;
	network.run(() => {
		if (++events % 4096 === 0) peakBytes = Math.max(peakBytes, process.memoryUsage.rss());
		return releasedMs.length === survivors.length;
	});
	if (wrong !== undefined) throw new Error(`${wrong} released a wrong sum`);
	if (releasedMs.length !== survivors.length)
		throw new Error(`${releasedMs.length} of ${survivors.length} released the root`);
	const own = network.members.get(combiner) as MemberOnNetwork;
	const all = [...network.members.values()];
	const faults =
		all.reduce((total, one) => total + one.faults, 0) + reports.reduce((t, one) => t + one.faults, 0);
	const bytes = all.reduce((total, one) => total + one.sentBytes + one.receivedBytes, 0);
	return {
		bytesPerMember: bytes / all.length,
		figures: {
			releasedTheRoot: releasedMs.length,
			wrongSums: 0,
			faults,
			virtualSeconds: Math.max(...releasedMs) / 1000,
			slowestCohortVirtualSeconds: Math.max(...reports.map(({ virtualMs }) => virtualMs)) / 1000,
			treeWallSeconds: (performance.now() - started) / 1000,
			treeCpuSecondsPerParticipant: all.reduce((total, one) => total + one.cpuSeconds, 0) / all.length,
			combinerCpuSeconds: own.cpuSeconds,
			combinerMegabytes: (own.sentBytes + own.receivedBytes) / 1e6,
			certificateChecksAsked: verification.asked - asked,
			certificateChecksComputed: verification.computed - computed,
			treePeakRssMiB: peakBytes / MIB,
		},
	};
}

function rowOf({ cohorts }: HierarchySetting) {
	return (report: CohortReport): Table["rows"][number] => {
		const { electorate, parameters } = cohorts[report.cohort] as (typeof cohorts)[number];
		return {
			cohort: report.cohort,
			members: report.members,
			corrupt: electorate.corruption,
			shareHolders: parameters.graph === "ring" ? parameters.holders : report.members - 1,
			survivors: report.survivors,
			virtualSeconds: report.virtualMs / 1000,
			wallSeconds: report.wallSeconds,
			cpuSecondsPerParticipant: report.cpuSeconds,
			aloneSeconds: report.aloneSeconds,
			bytesPerParticipant: report.bytes,
			coordinatorCpuSeconds: report.coordinatorCpuSeconds,
			coordinatorMegabytes: report.coordinatorBytes / 1e6,
			threadPeakMiB: report.coordinatorPeakMiB,
		};
	};
}
