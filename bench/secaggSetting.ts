/** One measured aggregation: what every thread of it agrees on. */
import { type SigningKey, signingKeyFromSeed } from "../crypto/identity.ts";
import {
	type AggregationConfig,
	type CohortParameters,
	cohortParameters,
	graphSeedOf,
} from "../protocols/aggregation/index.ts";
import type { PeerId, RandomBytes } from "../protocols/contract.ts";

export interface Packet {
	readonly from: PeerId;
	readonly to: PeerId;
	readonly body: Uint8Array;
	readonly blob?: Uint8Array | undefined;
}

export interface Setting {
	/** Identity seeds, in the order of their peer ids; the first coordinates. */
	readonly seeds: readonly Uint8Array[];
	readonly peers: readonly PeerId[];
	readonly corruption: number;
	readonly minimumSurvivors: number;
	readonly cohort: CohortParameters;
	readonly graphSeed: Uint8Array;
	readonly length: number;
	readonly modulusBits: number;
	/** Indices of members that are lost once they are masked against. */
	readonly dropped: readonly number[];
}

/** @param tolerated fraction of the members that may be missing from the sum */
export function settingOf(options: {
	readonly members: number;
	readonly corruptFraction: number;
	readonly tolerated: number;
	readonly dropout: number;
	readonly length: number;
	readonly modulusBits: number;
	readonly random: RandomBytes;
}): Setting {
	const { members, corruptFraction, tolerated, dropout, length, modulusBits, random } = options;
	const keyed = Array.from({ length: members }, () => {
		const seed = random(32);
		return { seed, peer: signingKeyFromSeed(seed).peer };
	}).sort((a, b) => (a.peer < b.peer ? -1 : 1));
	const corruption = Math.floor(corruptFraction * members + 1e-9);
	const minimumSurvivors = Math.max(2, members - Math.floor(tolerated * members + 1e-9));
	const cohort = cohortParameters({ members, corruption, dropped: members - minimumSurvivors });
	const beacon = random(32);
	// Every k-th, so that the coordinator stays and nobody loses a whole neighbourhood.
	const lost = Math.floor(dropout * members + 1e-9);
	const dropped = Array.from(
		{ length: lost },
		(_, i) => members - 1 - Math.floor((i * (members - 1)) / lost),
	);
	return {
		seeds: keyed.map(({ seed }) => seed),
		peers: keyed.map(({ peer }) => peer),
		corruption,
		minimumSurvivors,
		cohort,
		graphSeed: cohort.graph === "ring" ? graphSeedOf(beacon) : beacon,
		length,
		modulusBits,
		dropped,
	};
}

const sharedElectorates = new WeakMap<Setting, AggregationConfig["electorate"]>();

export function sessionConfig(setting: Setting, self: SigningKey, random: RandomBytes): AggregationConfig {
	const electorate = sharedElectorates.get(setting) ?? {
		members: setting.peers,
		corruption: setting.corruption,
	};
	sharedElectorates.set(setting, electorate);
	return {
		federationId: "be".repeat(32),
		jobId: "bench",
		round: 0,
		attempt: 0,
		modelHash: new Uint8Array(32),
		configHash: new Uint8Array(32),
		electorate,
		coordinator: setting.peers[0] as PeerId,
		term: 0,
		self,
		minimumSurvivors: setting.minimumSurvivors,
		cohort: setting.cohort,
		graphSeed: setting.graphSeed,
		length: setting.length,
		modulusBits: setting.modulusBits,
		phaseTimeoutMs: 60_000,
		precedingDead: [],
		promises: [],
		random,
	};
}

/** One value of a member's input. */
export function inputValue(index: number, coordinate: number, modulusBits: number): number {
	return (
		((Math.imul(coordinate + 1, 2_654_435_761) + Math.imul(index + 1, 40_503)) & lowBits(modulusBits)) >>> 0
	);
}

/** A member's input: anybody can tell what the sum has to be ({@link isSumOf}). */
export function inputOf(
	index: number,
	{ length, modulusBits }: Pick<Setting, "length" | "modulusBits">,
): Uint32Array {
	const mask = lowBits(modulusBits);
	const offset = Math.imul(index + 1, 40_503);
	const values = new Uint32Array(length);
	for (let i = 0; i < length; i++) values[i] = (Math.imul(i + 1, 2_654_435_761) + offset) & mask;
	return values;
}

/** True for the sum of the inputs of these members. */
export function isSumOf(
	indices: readonly number[],
	sum: Uint32Array,
	{ length, modulusBits }: Pick<Setting, "length" | "modulusBits">,
): boolean {
	const mask = lowBits(modulusBits);
	const offsets = indices.reduce((total, index) => (total + Math.imul(index + 1, 40_503)) | 0, 0);
	if (sum.length !== length) return false;
	for (let i = 0; i < length; i++) {
		const total = Math.imul(Math.imul(i + 1, 2_654_435_761), indices.length) + offsets;
		if ((((total & mask) ^ (sum[i] as number)) & mask) !== 0) return false;
	}
	return true;
}

function lowBits(modulusBits: number): number {
	return modulusBits === 32 ? -1 : 2 ** modulusBits - 1;
}
