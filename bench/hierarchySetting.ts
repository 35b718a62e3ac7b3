/** One measured hierarchy: what every thread of it agrees on. */
import { type SigningKey, signingKeyFromSeed } from "../crypto/identity.ts";
import { randomBytes } from "../crypto/random.ts";
import type { PublicComputations } from "../protocols/aggregation/index.ts";
import type { PeerId } from "../protocols/contract.ts";
import { type DealtCohort, HierarchyMember } from "../protocols/hierarchy/index.ts";
import type { LinkSpeed } from "./hierarchyNetwork.ts";

export interface HierarchySetting {
	/** Identity seeds, in the order of their peer ids. */
	readonly seeds: readonly Uint8Array[];
	readonly peers: readonly PeerId[];
	readonly cohorts: readonly DealtCohort[];
	readonly length: number;
	readonly modulusBits: number;
	/** Share of each cohort that is lost once it is masked against. */
	readonly dropout: number;
	readonly speed: LinkSpeed;
	readonly seed: number;
}

/** What a thread reports of a cohort. */
export interface CohortReport {
	readonly cohort: number;
	readonly members: number;
	readonly survivors: number;
	/** Virtual time at which the coordinator had its certified sum on the way. */
	readonly virtualMs: number;
	readonly wallSeconds: number;
	/** Means over the survivors, and the coordinator's. */
	readonly cpuSeconds: number;
	readonly aloneSeconds: number;
	readonly bytes: number;
	readonly coordinatorCpuSeconds: number;
	readonly coordinatorBytes: number;
	readonly coordinatorPeakMiB: number;
	readonly faults: number;
	/** What each survivor wrote, but for what all wrote alike, and when it had its sum. */
	readonly written: readonly {
		readonly peer: PeerId;
		readonly ballots: readonly Uint8Array[];
		readonly summedMs: number;
	}[];
	/** The record of the verified sum, equal at all of them. */
	readonly sumRecord: Uint8Array;
}

export function keyOf(setting: HierarchySetting, index: number): SigningKey {
	return signingKeyFromSeed(setting.seeds[index] as Uint8Array);
}

export function memberOf(
	setting: HierarchySetting,
	index: number,
	promises: readonly Uint8Array[],
	computations: PublicComputations,
): HierarchyMember {
	return new HierarchyMember({
		federationId: "be".repeat(32),
		jobId: "bench",
		round: 0,
		modelHash: new Uint8Array(32),
		configHash: new Uint8Array(32),
		cohorts: setting.cohorts,
		self: keyOf(setting, index),
		length: setting.length,
		modulusBits: setting.modulusBits,
		phaseTimeoutMs: 60_000,
		combineTimeoutMs: 60_000,
		promises,
		random: randomBytes,
		computations,
	});
}
