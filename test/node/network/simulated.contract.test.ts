import { describe, expect, it } from "vitest";
import { realClock, SimulatedWorld, VirtualClock } from "../../../testnet/simulate/network.ts";
import { codeOf, MAX_BLOB_BYTES, networkContract } from "./contract.ts";
import { bytes, peerOf, string, TestMembership } from "./fixtures.ts";

const NAMES = ["a", "b", "c"] as const;

networkContract("simulated", async () => {
	const world = new SimulatedWorld({
		clock: realClock,
		seed: 1,
		latencyMs: [0, 3],
		maxBlobBytes: MAX_BLOB_BYTES,
	});
	const memberships = {
		a: new TestMembership(NAMES),
		b: new TestMembership(NAMES),
		c: new TestMembership(NAMES),
	};
	for (const membership of Object.values(memberships)) membership.onChange(() => world.changed());
	let c = world.join(peerOf("c"), memberships.c);
	return {
		a: world.join(peerOf("a"), memberships.a),
		b: world.join(peerOf("b"), memberships.b),
		c,
		memberships,
		joinAsOutsider: async (name) => world.join(peerOf(name), new TestMembership(NAMES)),
		crashC: async () => c.stop(),
		restartC: async () => {
			c = world.join(peerOf("c"), memberships.c);
			return c;
		},
	};
});

describe("simulated network in virtual time", () => {
	function pair(options: {
		seed?: number;
		lossRate?: number;
		latencyMs?: [number, number];
		bytesPerSecond?: number;
	}) {
		const clock = new VirtualClock();
		const world = new SimulatedWorld({ clock, seed: 1, ...options });
		const membership = new TestMembership(["a", "b"]);
		return {
			clock,
			world,
			a: world.join(peerOf("a"), membership),
			b: world.join(peerOf("b"), membership),
		};
	}

	it("spends latency and bandwidth, and no real time", async () => {
		const { clock, a, b } = pair({ latencyMs: [100, 100], bytesPerSecond: 1_000_000 });
		let arrivedMs = 0;
		b.onMessage("x", () => {
			arrivedMs = clock.nowMs();
		});
		const sent = a.send(b.self, "x", { body: bytes(""), blob: new Uint8Array(3_000_000) });
		await clock.advance(10_000);
		await sent;
		expect(arrivedMs).toBe(3_100);
		expect(a.peers()[0]?.rttMs).toBeCloseTo(3_200.016, 3);
	});

	it("repeats a run with its seed and differs with another", async () => {
		const run = async (seed: number): Promise<string> => {
			const { clock, a, b } = pair({ seed, lossRate: 0.3, latencyMs: [1, 50] });
			const log: string[] = [];
			b.onMessage("x", (_, __, packet) => void log.push(`${clock.nowMs()} ${string(packet.body)}`));
			const sends = Array.from({ length: 40 }, (_, index) =>
				codeOf(a.send(b.self, "x", { body: bytes(String(index)) })),
			);
			await clock.advance(1_000);
			return `${log.join()} ${(await Promise.all(sends)).join()}`;
		};
		expect(await run(7)).toBe(await run(7));
		expect(await run(7)).not.toBe(await run(8));
		expect(await run(7)).toContain("network.unreachable");
	});

	it("keeps order on a channel when latencies differ", async () => {
		const { clock, a, b } = pair({ latencyMs: [1, 500] });
		const order: string[] = [];
		b.onMessage("x", (_, __, packet) => void order.push(string(packet.body)));
		const sends = Array.from({ length: 20 }, (_, index) =>
			a.send(b.self, "x", { body: bytes(String(index)) }),
		);
		await clock.advance(20_000);
		await Promise.all(sends);
		expect(order).toEqual(Array.from({ length: 20 }, (_, index) => String(index)));
	});

	it("separates the sides of a partition, cutting what is under way, until it heals", async () => {
		const { clock, world, a, b } = pair({ latencyMs: [10, 10] });
		const changes: boolean[] = [];
		await clock.advance(1);
		a.onPeerChange((_, connected) => void changes.push(connected));
		b.onMessage("x", () => {});
		const underWay = codeOf(a.send(b.self, "x", { body: bytes("") }));
		await clock.advance(5);
		world.partition([a.self], [b.self]);
		await clock.advance(10);
		expect(await underWay).toBe("network.unreachable");
		expect(await codeOf(a.send(b.self, "x", { body: bytes("") }))).toBe("network.unreachable");
		world.heal();
		const after = a.send(b.self, "x", { body: bytes("") });
		await clock.advance(100);
		await after;
		expect(changes).toEqual([false, true]);
	});

	it("runs callbacks in the order of their time and leaves cancelled ones out", () => {
		const clock = new VirtualClock();
		const ran: number[] = [];
		const delays = [50, 10, 30, 10, 20, 40, 0];
		const cancels = delays.map((delay, index) => clock.after(delay, () => void ran.push(index)));
		cancels[2]?.();
		while (clock.step()) {
			expect(ran.length).toBeLessThanOrEqual(delays.length);
		}
		expect(ran).toEqual([6, 1, 3, 4, 5, 0]);
		expect(clock.nowMs()).toBe(50);
	});
});
