/** A whole hierarchy in the simulator: three cohorts of eight, with latency, dropout and liars. */
import { describe, expect, test } from "vitest";
import { randomBytes } from "../../../crypto/random.ts";
import {
	type AggregationTask,
	type AggregationTaskResult,
	runAggregationTask,
} from "../../../protocols/aggregation/index.ts";
import type { PeerId } from "../../../protocols/contract.ts";
import {
	dealCohorts,
	decodeHierarchyMessage,
	encodeHierarchyMessage,
	HierarchyMember,
	type HierarchyMessage,
	type HierarchyOutput,
} from "../../../protocols/hierarchy/index.ts";
import { MachineSimulation } from "../../../testnet/simulate/machines.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";

const LENGTH = 7;
const MODULUS_BITS = 16;
const MEMBERS = 24;

class Hierarchy {
	readonly keys = keysForTests(MEMBERS, 8);
	readonly peers = this.keys.map(({ peer }) => peer);
	readonly cohorts = dealCohorts({
		members: this.peers,
		corruption: 2,
		cohortSize: 8,
		toleratedDropout: 0.25,
		seed: new Uint8Array(32).fill(4),
	});
	readonly simulation = new MachineSimulation<
		HierarchyMessage,
		AggregationTask,
		AggregationTaskResult,
		HierarchyOutput
	>({
		seed: 1,
		encode: encodeHierarchyMessage,
		decode: decodeHierarchyMessage,
		runTask: runAggregationTask,
		latencyMs: [10, 120],
	});

	constructor(lost: (peer: PeerId) => boolean = () => false) {
		const machines = new Map<PeerId, HierarchyMember>();
		for (const self of this.keys) {
			const machine = new HierarchyMember({
				federationId: "cd".repeat(32),
				jobId: "job",
				round: 2,
				modelHash: new Uint8Array(32),
				configHash: new Uint8Array(32).fill(1),
				cohorts: this.cohorts,
				self,
				length: LENGTH,
				modulusBits: MODULUS_BITS,
				phaseTimeoutMs: 5000,
				combineTimeoutMs: 60_000,
				random: randomBytes,
			});
			machines.set(self.peer, machine);
			this.simulation.add(self.peer, machine);
		}
		this.simulation.onOutput((peer, output) => {
			if (output.kind !== "input_wanted") return;
			this.simulation.at(this.simulation.nowMs, () => {
				if (lost(peer)) this.simulation.crash(peer);
				else
					this.simulation.perform(
						peer,
						(machines.get(peer) as HierarchyMember).provideInput(this.input(peer), this.simulation.nowMs),
					);
			});
		});
	}

	input(peer: PeerId): Uint32Array {
		return Uint32Array.from(
			{ length: LENGTH },
			(_, i) => (this.peers.indexOf(peer) * 2711 + i * 97) % 65_536,
		);
	}

	released(peer: PeerId) {
		return this.simulation.outputs(peer).find((output) => output.kind === "released");
	}

	expected(peers: readonly PeerId[]): Uint32Array {
		return Uint32Array.from({ length: LENGTH }, (_, i) =>
			peers.reduce((total, peer) => (total + (this.input(peer)[i] as number)) % 65_536, 0),
		);
	}

	run(until: readonly PeerId[], untilMs = 200_000): void {
		this.simulation.run({ untilMs, until: () => until.every((peer) => this.released(peer) !== undefined) });
	}
}

describe("a hierarchy of three cohorts", () => {
	test("gives everybody the sum of all, and no sum of fewer than a cohort's survivors is ever sent", () => {
		const hierarchy = new Hierarchy();
		hierarchy.run(hierarchy.peers);
		for (const peer of hierarchy.peers) {
			expect(hierarchy.released(peer)).toEqual({
				kind: "released",
				sum: hierarchy.expected(hierarchy.peers),
				survivors: MEMBERS,
				included: [0, 1, 2],
			});
			expect(hierarchy.simulation.faults(peer)).toEqual([]);
		}
	});

	test("sums those that remain when some drop out of each", () => {
		const probe = new Hierarchy();
		const lost = new Set(
			probe.cohorts.map(({ electorate, coordinator }) =>
				electorate.members.find((peer) => peer !== coordinator),
			),
		);
		const hierarchy = new Hierarchy((peer) => lost.has(peer));
		const alive = hierarchy.peers.filter((peer) => !lost.has(peer));
		hierarchy.run(alive);
		for (const peer of alive) {
			expect(hierarchy.released(peer)).toMatchObject({
				sum: hierarchy.expected(alive),
				survivors: MEMBERS - 3,
				included: [0, 1, 2],
			});
		}
	});

	test("leaves a cohort out that cannot complete", () => {
		const probe = new Hierarchy();
		const dead = new Set(
			probe.cohorts[1]?.electorate.members
				.filter((peer) => peer !== probe.cohorts[1]?.coordinator)
				.slice(0, 3),
		);
		const hierarchy = new Hierarchy((peer) => dead.has(peer));
		const others = [0, 2].flatMap((index) => hierarchy.cohorts[index]?.electorate.members ?? []);
		hierarchy.run(others);
		for (const peer of others) {
			expect(hierarchy.released(peer)).toMatchObject({
				sum: hierarchy.expected(others),
				survivors: 16,
				included: [0, 2],
			});
		}
		for (const peer of hierarchy.cohorts[1]?.electorate.members ?? [])
			expect(hierarchy.released(peer)).toBeUndefined();
	});
});

describe("a malicious combiner", () => {
	test("that adds something else is refused and blamed by those who hold the parts", () => {
		const hierarchy = new Hierarchy();
		const combiner = hierarchy.cohorts[0]?.coordinator as PeerId;
		hierarchy.simulation.intercept((envelope) => {
			if (envelope.from !== combiner || envelope.message.kind !== "path" || envelope.blob === undefined)
				return undefined;
			return [{ ...envelope, blob: envelope.blob.map((byte, i) => (i === 3 ? byte ^ 1 : byte)) }];
		});
		hierarchy.simulation.run({ untilMs: 100_000 });
		for (const peer of hierarchy.peers.filter((one) => one !== combiner)) {
			expect(hierarchy.released(peer)).toBeUndefined();
			const codes = hierarchy.simulation.faults(peer).map(({ peer: blamed, code }) => [blamed, code]);
			expect(codes).toContainEqual([combiner, "hierarchy.wrong_addition"]);
		}
	});

	test("that leaves a certified cohort's sum out of what it shows that cohort gets no release", () => {
		const hierarchy = new Hierarchy();
		const combiner = hierarchy.cohorts[0]?.coordinator as PeerId;
		const victim = hierarchy.cohorts[2]?.coordinator as PeerId;
		hierarchy.simulation.intercept(({ from, message }) =>
			from === victim && message.kind === "rootCertificate" ? [] : undefined,
		);
		hierarchy.simulation.run({ untilMs: 100_000 });
		// Every included cohort has to certify the root: two of three do not suffice.
		for (const peer of hierarchy.peers) expect(hierarchy.released(peer)).toBeUndefined();
		expect(combiner).not.toBe(victim);
	});

	test("gets no sum past it that its cohort did not certify", () => {
		const hierarchy = new Hierarchy();
		const liar = hierarchy.cohorts[1]?.coordinator as PeerId;
		hierarchy.simulation.intercept((envelope) => {
			if (envelope.from !== liar || envelope.message.kind !== "cohortSum") return undefined;
			return [{ ...envelope, blob: envelope.blob?.map((byte) => byte ^ 1) }];
		});
		hierarchy.simulation.run({
			untilMs: 150_000,
			until: () => hierarchy.peers.some((peer) => hierarchy.released(peer) !== undefined),
		});
		const combiner = hierarchy.cohorts[0]?.coordinator as PeerId;
		expect(hierarchy.simulation.faults(combiner)[0]).toMatchObject({ peer: liar, code: "hierarchy.bad_sum" });
		const released = hierarchy.cohorts[0]?.electorate.members
			.map((peer) => hierarchy.released(peer))
			.find(Boolean);
		expect(released).toMatchObject({ included: [0, 2], survivors: 16 });
	});
});
