import { describe, expect, it } from "vitest";
import { signModel } from "../../../protocols/gossip/messages.ts";
import { float32ToBytes } from "../../../src/learning/littleEndian.ts";
import { GossipSimulation, LENGTH, targetOf } from "./gossipSimulation.ts";

/** Where all models would be if everybody's records were in one place. */
function meanTarget(members: number): number[] {
	return Array.from(
		{ length: LENGTH },
		(_, i) =>
			Array.from({ length: members }, (__, index) => targetOf(index)[i]!).reduce((a, b) => a + b) / members,
	);
}

describe("gossip among honest nodes", () => {
	it("without training brings all models together at the rate of the spectral gap, and keeps their mean", () => {
		const net = new GossipSimulation({ members: 12, rounds: 15 });
		const before = net.spread();
		net.run();
		expect(net.allDone()).toBe(true);
		expect(net.spread()).toBeLessThanOrEqual(before * (1.01 * (1 - net.topology.spectralGap)) ** 15 + 1e-5);
		meanTarget(12).forEach((value, i) => {
			expect(net.model(0)[i]).toBeCloseTo(value, 2);
		});
		net.checkPromises();
	});

	it("with training ends near the common optimum, one release and one charge a round", () => {
		const net = new GossipSimulation({
			members: 10,
			rounds: 60,
			step: 0.05,
			initial: () => new Float32Array(LENGTH),
		});
		net.run();
		for (let index = 0; index < 10; index++) {
			meanTarget(10).forEach((value, i) => {
				expect(Math.abs(net.model(index)[i]! - value)).toBeLessThan(0.15);
			});
			expect(net.charged.get(net.peer(index))).toEqual(Array.from({ length: 60 }, (_, round) => round));
			expect(
				net.outputs(index, "round").every(({ mixed }) => mixed.length === net.neighbours(index).length),
			).toBe(true);
			expect(net.faultCodes(index)).toEqual([]);
		}
	});

	it("survives lost messages: what is missing is asked for", () => {
		const net = new GossipSimulation({ members: 9, rounds: 12, lossProbability: 0.2, seed: 3 });
		const before = net.spread();
		net.run();
		expect(net.allDone()).toBe(true);
		expect(net.spread()).toBeLessThan(before / 10);
		net.checkPromises();
	});
});

describe("churn", () => {
	it("an absent neighbour's weight falls to the others' own models; the rest goes on without it", () => {
		const net = new GossipSimulation({ members: 8, rounds: 10 });
		net.crash(3);
		const others = [0, 1, 2, 4, 5, 6, 7];
		net.run(600_000, () => net.allDone(others));
		expect(net.allDone(others)).toBe(true);
		for (const index of others)
			for (const { mixed } of net.outputs(index, "round")) expect(mixed).not.toContain(net.peer(3));
	});

	it("a node that comes back goes on where most neighbours are, unpaid for what it missed", () => {
		const net = new GossipSimulation({ members: 8, rounds: 40, step: 0.05 });
		net.run(600_000, () => net.jobs.get(net.peer(0))!.round >= 5);
		net.crash(3);
		net.run(600_000, () => net.jobs.get(net.peer(0))!.round >= 15);
		net.restart(3);
		net.run();
		expect(net.allDone()).toBe(true);
		const [skipped] = net.outputs(3, "skipped");
		expect(skipped!.to - skipped!.from).toBeGreaterThan(5);
		const charged = net.charged.get(net.peer(3))!;
		expect(charged).not.toContain(10);
		expect(charged).toContain(39);
		net.checkPromises();
	});

	it("a node killed at any time in a round says nothing else afterwards", () => {
		for (const awayMs of [1, 2000]) {
			for (let kill = 0; kill < 12; kill++) {
				const net = new GossipSimulation({ members: 6, rounds: 6, step: 0.1, noise: 0.01, seed: kill + 1 });
				net.simulation.at(20 + 17 * kill, () => net.crash(2));
				net.simulation.at(20 + 17 * kill + awayMs, () => net.restart(2));
				net.run();
				expect(net.allDone()).toBe(true);
				net.checkPromises();
				for (const index of [0, 1, 3, 4, 5]) expect(net.faultCodes(index)).toEqual([]);
			}
		}
	});

	it("a node cut off waits instead of spending its budget alone, and ends when the others are back", () => {
		const net = new GossipSimulation({ members: 8, rounds: 12 });
		net.run(600_000, () => net.jobs.get(net.peer(0))!.round >= 3);
		net.partition([[0], [1, 2, 3, 4, 5, 6, 7]]);
		const at = net.jobs.get(net.peer(0))!.round;
		net.simulation.run({ untilMs: net.simulation.nowMs + 120_000 });
		expect(net.allDone([1, 2, 3, 4, 5, 6, 7])).toBe(true);
		expect(net.jobs.get(net.peer(0))!.round).toBeLessThanOrEqual(at + 1);
		expect(net.outputs(0, "isolated").length).toBe(1);
		net.heal();
		net.run();
		expect(net.jobs.get(net.peer(0))!.done).toBe(true);
		expect(net.charged.get(net.peer(0))!.length).toBeLessThan(12);
	});

	it("both sides of a partition go on, and come together again", () => {
		const net = new GossipSimulation({ members: 8, rounds: 60, degree: 4 });
		net.run(600_000, () => net.jobs.get(net.peer(0))!.round >= 2);
		net.partition([
			[0, 1, 2, 3],
			[4, 5, 6, 7],
		]);
		net.simulation.run({
			untilMs: net.simulation.nowMs + 60_000,
			until: () => net.jobs.get(net.peer(0))!.round >= 20,
		});
		net.heal();
		net.run();
		expect(net.allDone()).toBe(true);
		expect(net.spread()).toBeLessThan(0.05);
	});

	it("a node without budget releases nothing and takes its neighbours' models all the same", () => {
		const net = new GossipSimulation({ members: 8, rounds: 15 });
		net.broke.add(net.peer(1));
		net.run();
		expect(net.allDone()).toBe(true);
		expect(net.outputs(1, "withdrawn")[0]).toMatchObject({ round: 0, code: "budget.exceeded" });
		expect(net.outputs(1, "round").every(({ released, mixed }) => !released && mixed.length > 0)).toBe(true);
		for (const { mixed } of net.outputs(0, "round")) expect(mixed).not.toContain(net.peer(1));
	});
});

describe("a malicious neighbour", () => {
	const session = ({ options }: GossipSimulation) => {
		const { federationId, jobId, configHash } = options[0]!;
		return { federationId, jobId, configHash };
	};
	/** A run in which node 0 sends something else than its models, and what one of its neighbours makes of it. */
	function against(
		replace: (net: GossipSimulation, round: number) => { message: object; blob?: Uint8Array }[],
	) {
		const net = new GossipSimulation({ members: 8, rounds: 8, radius: 0.5 });
		const victim = net.peers.indexOf(net.neighbours(0)[0]!);
		net.simulation.intercept((envelope) => {
			if (envelope.from !== net.peer(0) || envelope.message.kind !== "model") return undefined;
			return replace(net, envelope.message.round).map(({ message, blob }) => ({
				...envelope,
				message: message as typeof envelope.message,
				blob,
			}));
		});
		const others = net.peers.map((_, index) => index).slice(1);
		net.run(600_000, () => net.allDone(others));
		expect(net.allDone(others)).toBe(true);
		return { net, victim };
	}
	const signed = (net: GossipSimulation, round: number, model: Uint8Array) => ({
		message: signModel(net.keys[0]!, session(net), round, model),
		blob: model,
	});
	const model = (...values: number[]) => float32ToBytes(Float32Array.from(values));

	it("moves nobody further than its weight times the radius in a round", () => {
		const { net, victim } = against((sim, round) => [signed(sim, round, model(1e30, -1e30, 1e30, 1e30))]);
		const { weight } = net.options[victim]!.neighbours[0]!;
		// Honest models lie within 2 of each other; 8 rounds move one by at most 8 x weight x radius beside them.
		for (const value of net.model(victim)) expect(Math.abs(value)).toBeLessThan(2 + 8 * weight * 0.5);
	});

	it.each([
		[
			"values that are no numbers",
			"gossip.bad_model",
			(net: GossipSimulation, round: number) => [signed(net, round, model(Number.NaN, 0, 0, 0))],
		],
		[
			"another length",
			"gossip.bad_model",
			(net: GossipSimulation, round: number) => [signed(net, round, model(1, 2))],
		],
		[
			"no model at all",
			"gossip.bad_model",
			(net: GossipSimulation, round: number) => [{ message: signed(net, round, model(1, 2, 3, 4)).message }],
		],
		[
			"another model than it signed",
			"gossip.bad_model",
			(net: GossipSimulation, round: number) => [
				{ ...signed(net, round, model(1, 2, 3, 4)), blob: model(4, 3, 2, 1) },
			],
		],
		[
			"a signature of another round",
			"gossip.bad_signature",
			(net: GossipSimulation, round: number) => [
				{
					...signed(net, round + 1, model(1, 2, 3, 4)),
					message: { ...signed(net, round + 1, model(1, 2, 3, 4)).message, round },
				},
			],
		],
		[
			"a signature for another job",
			"gossip.bad_signature",
			(net: GossipSimulation, round: number) => [
				{
					message: signModel(net.keys[0]!, { ...session(net), jobId: "other" }, round, model(1, 2, 3, 4)),
					blob: model(1, 2, 3, 4),
				},
			],
		],
		[
			"a round after the last",
			"gossip.bad_round",
			(net: GossipSimulation) => [signed(net, 8, model(1, 2, 3, 4))],
		],
	])("is named when it sends %s, and its model is not taken", (_, code, replace) => {
		const { net, victim } = against(replace);
		expect(net.faultCodes(victim)).toContain(code);
		for (const { mixed } of net.outputs(victim, "round")) expect(mixed).not.toContain(net.peer(0));
	});

	it("convicts itself by two models of one round; the first is kept", () => {
		const { net, victim } = against((sim, round) => [
			signed(sim, round, model(0, 0, 0, 0)),
			signed(sim, round, model(1, 1, 1, 1)),
		]);
		const proof = net.simulation.faults(net.peer(victim)).find(({ code }) => code === "gossip.equivocation");
		expect(proof).toMatchObject({ peer: net.peer(0), proof: true });
		expect(proof?.evidence?.length).toBe(2);
	});

	it("cannot replay an old model, nor make others leave rounds out by claiming to be far ahead", () => {
		const { net, victim } = against((sim, round) => [
			signed(sim, 0, model(9, 9, 9, 9)),
			{ message: { kind: "position", round: 8 } },
			...(round === 0 ? [] : [signed(sim, round - 1, model(9, 9, 9, 9))]),
		]);
		expect(net.outputs(victim, "skipped")).toEqual([]);
		expect(net.outputs(victim, "round").length).toBe(8);
	});

	it("that is no neighbour, or no participant, is not heard", () => {
		const net = new GossipSimulation({ members: 12, rounds: 3 });
		const outsider = net.peers.findIndex((peer, index) => index > 0 && !net.neighbours(0).includes(peer));
		const forged = model(5, 5, 5, 5);
		net.simulation.inject({
			from: net.peer(outsider),
			to: net.peer(0),
			message: signModel(net.keys[outsider]!, session(net), 0, forged),
			blob: forged,
		});
		net.run();
		expect(net.faultCodes(0)).toContain("gossip.stranger");
		expect(net.simulation.injectBytes(net.peer(1), net.peer(0), Uint8Array.of(1, 2, 3))).toMatchObject({
			code: "gossip.malformed",
		});
	});
});
