/**
 * Worker thread of the hierarchy bench: runs cohorts one after the other, each on a network of its own in virtual
 * time, until all that are left have their cohort's sum and its coordinator has passed it on.
 */
import { parentPort, workerData } from "node:worker_threads";
import { verification } from "../crypto/identity.ts";
import type { PeerId } from "../protocols/contract.ts";
import { decodePromise } from "../protocols/hierarchy/promises.ts";
import { HierarchyNetwork, type MemberOnNetwork } from "./hierarchyNetwork.ts";
import { type CohortReport, type HierarchySetting, memberOf } from "./hierarchySetting.ts";
import { SharedComputations } from "./secaggComputations.ts";
import { inputOf } from "./secaggSetting.ts";

const { setting, checkSeconds } = workerData as { setting: HierarchySetting; checkSeconds: number };
const port = parentPort;
if (port === null) throw new Error("this script runs as a worker thread");
const indexOf = new Map(setting.peers.map((peer, index) => [peer, index]));

port.on("message", (cohort: number) => port.postMessage(run(cohort)));

function run(cohort: number): CohortReport {
	const started = performance.now();
	const computedBefore = verification.computed;
	const dealt = setting.cohorts[cohort];
	if (dealt === undefined) throw new Error(`there is no cohort ${cohort}`);
	const { coordinator, electorate } = dealt;
	const lost = dropouts(electorate.members, coordinator, setting.dropout);
	const computations = new SharedComputations();
	const summed = new Map<PeerId, number>();
	let passedMs: number | undefined;
	let failure: Error | undefined;
	const base = usedBytes();
	let peak = 0;
	const network = new HierarchyNetwork({
		// A network of its own each, all from the one seed.
		seed: setting.seed * 1009 + cohort,
		speed: setting.speed,
		react: (member, output) => {
			if (output.kind === "failed") failure ??= output.error;
			if (output.kind === "cohort_summed") summed.set(member.peer, member.readyMs);
			if (output.kind !== "input_wanted") return;
			if (lost.has(member.peer)) {
				network.lose(member, electorate.members);
				return;
			}
			const values = inputOf(indexOf.get(member.peer) as number, setting);
			network.at(member.readyMs, () =>
				network.step(member, (machine) => machine.provideInput(values, network.nowMs)),
			);
		},
		depart: ({ from, kind }) => {
			if (kind === "cohortSum" && from === coordinator) passedMs ??= network.nowMs;
		},
	});
	for (const peer of electorate.members) {
		const index = indexOf.get(peer);
		if (index === undefined) throw new Error(`${peer} is no member`);
		network.add(peer, memberOf(setting, index, [], computations));
	}
	const remaining = electorate.members.length - lost.size;
	let events = 0;
	network.run(() => {
		if (++events % 256 === 0) peak = Math.max(peak, usedBytes());
		if (failure !== undefined) throw failure;
		return (passedMs !== undefined || isCombiner(network, coordinator)) && summed.size === remaining;
	});
	if (summed.size !== remaining)
		throw new Error(`cohort ${cohort}: only ${summed.size} of ${remaining} have a sum`);
	const survivors = [...network.members.values()].filter(({ machine }) => machine !== undefined);
	const others = survivors.filter(({ peer }) => peer !== coordinator);
	const own = network.members.get(coordinator) as MemberOnNetwork;
	const mean = (value: (member: MemberOnNetwork) => number) =>
		others.reduce((total, member) => total + value(member), 0) / others.length;
	const asked = [...network.members.values()].reduce((total, { verifications }) => total + verifications, 0);
	const spared =
		sparedSeconds(computations) + checkSeconds * (asked - (verification.computed - computedBefore));
	const recordsOf = ({ durable }: MemberOnNetwork, kind: "sum" | "ballot") =>
		durable.filter((record) => decodePromise(record).kind === kind);
	const [sumRecord] = recordsOf(own, "sum");
	if (sumRecord === undefined) throw new Error(`${coordinator} wrote no sum`);
	return {
		cohort,
		members: electorate.members.length,
		survivors: survivors.length,
		virtualMs: Math.max(passedMs ?? 0, ...summed.values()),
		wallSeconds: (performance.now() - started) / 1000,
		cpuSeconds: mean(({ cpuSeconds }) => cpuSeconds),
		aloneSeconds:
			mean(({ cpuSeconds, sharedSeconds }) => cpuSeconds + sharedSeconds) + spared / network.members.size,
		bytes: mean(({ sentBytes, receivedBytes }) => sentBytes + receivedBytes),
		coordinatorCpuSeconds: own.cpuSeconds,
		coordinatorBytes: own.sentBytes + own.receivedBytes,
		coordinatorPeakMiB: Math.max(0, peak - base) / 2 ** 20,
		faults: survivors.reduce((total, { faults }) => total + faults, 0),
		sumRecord,
		written: survivors.map((member) => ({
			peer: member.peer,
			ballots: recordsOf(member, "ballot"),
			summedMs: summed.get(member.peer) ?? 0,
		})),
	};
}

/** The combiner passes its own cohort's sum to itself: it never leaves. */
function isCombiner(network: HierarchyNetwork, coordinator: PeerId): boolean {
	return network.members.get(coordinator)?.timers.has("tree/combine") === true;
}

/** Spread over the cohort, its coordinator spared. */
function dropouts(members: readonly PeerId[], coordinator: PeerId, share: number): ReadonlySet<PeerId> {
	const count = Math.floor(share * members.length + 1e-9);
	const others = members.filter((peer) => peer !== coordinator);
	return new Set(
		Array.from({ length: count }, (_, i) => others[Math.floor((i * others.length) / count)] as PeerId),
	);
}

/** What all members together would have computed themselves, but for the signatures in it. */
function sparedSeconds({ asked, costs }: SharedComputations): number {
	let seconds = 0;
	for (const [kind, { computed, seconds: spent, signaturesChecked }] of costs) {
		const each = Math.max(0, spent - signaturesChecked * checkSeconds) / computed;
		seconds += each * ((asked.get(kind) ?? 0) - computed);
	}
	return seconds;
}

/** Of this thread. */
function usedBytes(): number {
	const { heapUsed, external } = process.memoryUsage();
	return heapUsed + external;
}
