/** Secure sums of more members than one session holds: every cohort of a hierarchy in turn, then their tree. */
import { availableParallelism } from "node:os";
import { signingKeyFromSeed } from "../crypto/identity.ts";
import { randomBytes } from "../crypto/random.ts";
import { packedSize, packRing } from "../crypto/ringPacking.ts";
import { graphSeedOf } from "../protocols/aggregation/index.ts";
import { quorum, signBallot, verifyQuorumCertificate } from "../protocols/certificate/index.ts";
import { rulesSchema } from "../protocols/federation/rules.ts";
import { combine, nameOf, pathFlaw, rootSlot, rootValue } from "../protocols/hierarchy/combination.ts";
import { type DealtCohort, dealCohorts, dealingHash } from "../protocols/hierarchy/index.ts";
import type { Bench, Table } from "./bench.ts";
import { type CohortRun, runCohort } from "./secaggCohort.ts";
import { inputValue, type Setting } from "./secaggSetting.ts";

interface Options {
	readonly [name: string]: readonly number[];
	readonly participants: readonly number[];
	readonly cohort: readonly number[];
	readonly parameters: readonly number[];
	readonly dropout: readonly number[];
	readonly tolerated: readonly number[];
	readonly bits: readonly number[];
	readonly threads: readonly number[];
}

const RULES = rulesSchema.parse({});

export const hierarchy: Bench<Options> = {
	name: "hierarchy",
	summary: "secure sums of thousands through certified cohorts and a tree over their sums",
	options: {
		participants: { description: "members of the hierarchy", default: [10_000] },
		cohort: { description: "largest cohort, 3 to 1024", default: [1000] },
		parameters: { description: "coordinates of the vector", default: [1000] },
		dropout: { description: "share of each cohort that is lost once it is masked against", default: [0.05] },
		tolerated: { description: "share of a cohort that may be missing, at least the dropout", default: [0.1] },
		bits: { description: "ring modulus, 8 to 32", default: [16] },
		threads: { description: "worker threads of participants", default: [availableParallelism()] },
	},
	libraries: ["cborg"],
	notes: [
		"Every cohort runs its session with real messages as in the secagg bench, one after the other on this machine; a federation runs them at once, so its time is that of the slowest cohort and the tree.",
		"The tree: additions with 128 projections each, the check of one cohort's way to the root, and the check of the certificates of all included cohorts, which every member makes once.",
		"Cohorts have to assume more corrupt members than their share: chance deals them unevenly, and no cohort may fall.",
	],
	async run({ participants, cohort, parameters, dropout, tolerated, bits, threads }) {
		const cohorts: Table["rows"][number][] = [];
		const trees: Table["rows"][number][] = [];
		for (const members of participants) {
			for (const size of cohort) {
				for (const length of parameters) {
					const rate = dropout[0] ?? 0;
					const measured = await measure({
						members,
						size,
						length,
						rate,
						tolerated: Math.max(tolerated[0] ?? 0, rate),
						modulusBits: bits[0] ?? 16,
						threads: Math.max(1, threads[0] ?? 1),
					});
					cohorts.push(...measured.cohorts);
					trees.push(measured.tree);
				}
			}
		}
		return [
			{ title: "cohorts", rows: cohorts },
			{ title: "the tree over their certified sums", rows: trees },
		];
	},
};

async function measure(of: {
	readonly members: number;
	readonly size: number;
	readonly length: number;
	readonly rate: number;
	readonly tolerated: number;
	readonly modulusBits: number;
	readonly threads: number;
}) {
	const { members, size, length, rate, tolerated, modulusBits, threads } = of;
	const keys = Array.from({ length: members }, () => {
		const seed = randomBytes(32);
		return { seed, key: signingKeyFromSeed(seed) };
	}).sort((a, b) => (a.key.peer < b.key.peer ? -1 : 1));
	const byPeer = new Map(keys.map((one) => [one.key.peer, one]));
	const dealt = dealCohorts({
		members: keys.map(({ key }) => key.peer),
		corruption: Math.floor(RULES.assumedCorruptFraction * members + 1e-9),
		cohortSize: size,
		toleratedDropout: tolerated,
		seed: graphSeedOf(randomBytes(32)),
	});
	const rows: Table["rows"][number][] = [];
	const sums: { readonly packed: Uint8Array; readonly survivors: number }[] = [];
	for (const one of dealt) {
		const peers = [...one.electorate.members];
		const setting: Setting = {
			seeds: peers.map((peer) => byPeer.get(peer)?.seed as Uint8Array),
			peers,
			corruption: one.electorate.corruption,
			minimumSurvivors: one.minimumSurvivors,
			cohort: one.parameters,
			graphSeed: one.graphSeed,
			length,
			modulusBits,
			dropped: lost(peers.length, rate),
		};
		const run = await runCohort(setting, threads);
		rows.push(rowOf(one, setting, run));
		sums.push({ packed: sumOf(setting), survivors: peers.length - setting.dropped.length });
	}
	const adding = process.cpuUsage();
	const root = combine(sums, { length, modulusBits });
	const addSeconds = secondsSince(adding);
	const checking = process.cpuUsage();
	const flaw = pathFlaw(sums[0] as (typeof sums)[number], root.paths[0] ?? [], { length, modulusBits });
	if (flaw !== undefined) throw new Error(`the tree is wrong: ${flaw}`);
	const pathSeconds = secondsSince(checking);
	const { signatures, seconds } = certify(dealt, byPeer, root);
	return {
		cohorts: rows,
		tree: {
			participants: members,
			cohorts: dealt.length,
			parameters: length,
			survivors: root.survivors,
			levels: root.paths[0]?.length ?? 0,
			addSeconds,
			pathCheckSeconds: pathSeconds,
			signatures,
			certificateCheckSeconds: seconds,
			pathBytes: (root.paths[0] ?? []).reduce(
				(total, { addition, packed }) =>
					total + packed.length + (addition.parts.length + 1) * packedSize(128, modulusBits),
				0,
			),
			certificateBytes: 64 * signatures,
			slowestCohortWallSeconds: Math.max(...rows.map((row) => Number(row.wallSeconds))),
		},
	};
}

/** Every included cohort's quorum votes for the root; what checking all of it costs a member. */
function certify(
	dealt: readonly DealtCohort[],
	byPeer: ReadonlyMap<string, { readonly key: ReturnType<typeof signingKeyFromSeed> }>,
	root: { readonly packed: Uint8Array; readonly survivors: number },
): { signatures: number; seconds: number } {
	const included = dealt.map(({ index }) => index);
	const value = rootValue(dealingHash(dealt), nameOf(root.packed, root.survivors), included);
	let signatures = 0;
	let seconds = 0;
	for (const { electorate, index } of dealt) {
		const slot = rootSlot("be".repeat(32), "bench", 0, index);
		const needed = quorum(electorate);
		signatures += needed;
		const votes = electorate.members.slice(0, needed).map((peer) => {
			const { key } = byPeer.get(peer) as { key: ReturnType<typeof signingKeyFromSeed> };
			return { voter: peer, signature: signBallot(key, slot, value).signature };
		});
		const before = process.cpuUsage();
		if (!verifyQuorumCertificate(electorate, { slot, value, votes }))
			throw new Error("a certificate is wrong");
		seconds += secondsSince(before);
	}
	return { signatures, seconds };
}

function lost(members: number, rate: number): number[] {
	const count = Math.floor(rate * members + 1e-9);
	return Array.from({ length: count }, (_, i) => members - 1 - Math.floor((i * (members - 1)) / count));
}

function sumOf({ peers, dropped, length, modulusBits }: Setting): Uint8Array {
	const gone = new Set(dropped);
	const sum = new Uint32Array(length);
	for (const index of peers.keys()) {
		if (gone.has(index)) continue;
		for (let i = 0; i < length; i++) sum[i] = (sum[i] as number) + inputValue(index, i, modulusBits);
	}
	return packRing(sum, modulusBits);
}

function rowOf({ index, parameters, electorate }: DealtCohort, setting: Setting, run: CohortRun) {
	const gone = new Set(setting.dropped);
	const rows = run.rows.filter((row) => !gone.has(row.index));
	const mean = (value: (row: CohortRun["rows"][number]) => number) =>
		rows.reduce((total, row) => total + value(row), 0) / rows.length;
	const sparse = parameters.graph === "ring" ? parameters : undefined;
	return {
		cohort: index,
		members: setting.peers.length,
		corrupt: electorate.corruption,
		shareHolders: sparse?.holders ?? setting.peers.length - 1,
		maskedNeighbours: sparse?.mates ?? setting.peers.length - 1,
		wallSeconds: run.wallSeconds,
		cpuSecondsInAll: run.cpuSeconds,
		cpuSecondsPerParticipant: mean(({ seconds }) => Object.values(seconds).reduce((a, b) => a + b, 0)),
		bytesPerParticipant: mean(({ sent, received }) => sent + received),
		coordinatorPeakMiB: run.coordinator.peakMiB,
	};
}

function secondsSince(before: NodeJS.CpuUsage): number {
	const { user, system } = process.cpuUsage(before);
	return (user + system) / 1e6;
}
