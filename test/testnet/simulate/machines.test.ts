import { describe, expect, test } from "vitest";
import type { Effects, Machine } from "../../../protocols/contract.ts";
import { MachineSimulation } from "../../../testnet/simulate/machines.ts";

type Ping = { n: number };
type PingEffects = Effects<Ping, number, string>;

/** Sends pings to a peer on a timer; doubles what it receives in a work task; persists each ping. */
class Pinger implements Machine<Ping, number, number, string> {
	readonly #to: string;
	readonly #restored: number;
	#sent = 0;

	constructor(to: string, restored = 0) {
		this.#to = to;
		this.#restored = restored;
	}

	start(): PingEffects {
		return { setTimer: [{ id: "tick", afterMs: 100 }], output: [`started with ${this.#restored}`] };
	}

	receive(from: string, message: Ping): PingEffects {
		return { work: [{ id: from, task: message.n }] };
	}

	expired(): PingEffects {
		this.#sent++;
		return {
			persist: [Uint8Array.of(this.#sent)],
			send: [{ to: this.#to, message: { n: this.#sent } }],
			setTimer: [{ id: "tick", afterMs: this.#sent < 20 ? 100 : null }],
		};
	}

	completed(id: string, result: number | Error): PingEffects {
		return { output: [result instanceof Error ? result.message : `${id} ${result}`] };
	}
}

function pingPair(seed: number, lossProbability = 0) {
	const simulation = new MachineSimulation<Ping, number, number, string>({
		seed,
		lossProbability,
		encode: ({ n }) => Uint8Array.of(n),
		decode: (bytes) => {
			if (bytes.length !== 1) throw new Error("not a ping");
			return { n: bytes[0] as number };
		},
		runTask: (n) => {
			if (n === 13) throw new Error("unlucky");
			return n * 2;
		},
	});
	simulation.add("a", new Pinger("b"));
	simulation.add("b", new Pinger("a"));
	return simulation;
}

describe("the machine simulator", () => {
	test("delivers in order, runs tasks and hands their errors back", () => {
		const simulation = pingPair(1);
		simulation.run({ untilMs: 60_000 });
		const doubled = Array.from({ length: 20 }, (_, i) => (i + 1 === 13 ? "unlucky" : `a ${2 * (i + 1)}`));
		expect(simulation.outputs("b")).toEqual(["started with 0", ...doubled]);
		expect(simulation.durable("a")).toHaveLength(20);
	});

	test("repeats itself for one seed and differs for another", () => {
		const runs = [5, 5, 6].map((seed) => {
			const simulation = pingPair(seed, 0.3);
			simulation.run({ untilMs: 60_000 });
			return simulation.outputs("b");
		});
		expect(runs[0]).toEqual(runs[1]);
		expect(runs[0]).not.toEqual(runs[2]);
		expect(runs[0]?.length).toBeLessThan(21);
	});

	test("a partition cuts both ways until it heals", () => {
		const simulation = pingPair(1);
		simulation.at(450, () => simulation.partition([["a"], ["b"]]));
		simulation.at(1050, () => simulation.heal());
		simulation.run({ untilMs: 60_000 });
		for (const [peer, from] of [
			["a", "b"],
			["b", "a"],
		] as const) {
			expect(simulation.outputs(peer)).toContain(`${from} 8`);
			expect(simulation.outputs(peer)).not.toContain(`${from} 12`);
			expect(simulation.outputs(peer)).toContain(`${from} 40`);
		}
	});

	test("a crash loses timers, work and messages under way; a restart gets the durable records", () => {
		const simulation = pingPair(1);
		simulation.at(350, () => simulation.crash("b"));
		simulation.at(1050, () => simulation.restart("b", (durable) => new Pinger("a", durable.length)));
		simulation.run({ untilMs: 900 });
		expect(simulation.isRunning("b")).toBe(false);
		const before = simulation.outputs("b").length;
		simulation.run({ untilMs: 60_000 });
		expect(simulation.outputs("b")[before]).toBe("started with 3");
		expect(simulation.outputs("b")).not.toContain("a 14");
		expect(simulation.outputs("b")).toContain("a 40");
	});

	test("hooks change, drop and multiply messages", () => {
		const simulation = pingPair(1);
		simulation.intercept((envelope) => {
			if (envelope.from !== "a") return undefined;
			if (envelope.message.n === 1) return [];
			if (envelope.message.n === 2) return [envelope, { ...envelope, message: { n: 100 } }];
			return undefined;
		});
		simulation.run({ untilMs: 390 });
		expect(simulation.outputs("b")).toEqual(["started with 0", "a 4", "a 200", "a 6"]);
	});

	test("reports bytes the codec refuses, and stops a run that never rests", () => {
		const simulation = pingPair(1);
		expect(simulation.injectBytes("a", "b", new Uint8Array(2))).toMatchObject({ message: "not a ping" });
		expect(() => simulation.run({ untilMs: 60_000, maxEvents: 5 })).toThrow(/does not come to rest/);
		expect(() => simulation.crash("nobody")).toThrow(/not part of the simulation/);
	});
});
