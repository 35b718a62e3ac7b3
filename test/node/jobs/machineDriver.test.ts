import { describe, expect, it } from "vitest";
import { type DriverOptions, MachineDriver } from "../../../node/jobs/machineDriver.ts";
import type { Effects } from "../../../protocols/contract.ts";

type Step = Effects<string, string, string, string>;

function driver(overrides: Partial<DriverOptions<string, string, string, string, string>> = {}) {
	const log: string[] = [];
	const done = Promise.withResolvers<void>();
	const machine = {
		expired: (id: string): Step => ({ output: [`expired ${id}`] }),
		completed: (id: string, result: string | Error): Step => ({
			output: [`${id}: ${result instanceof Error ? `failed ${result.message}` : result}`, "end"],
		}),
	};
	const made = new MachineDriver<string, string, string, string, string>(machine, {
		persist: async (record) => {
			await Promise.resolve();
			log.push(`persisted ${record}`);
		},
		send: async (to, message) => {
			log.push(`sent ${message} to ${to}`);
		},
		execute: async (task) => `did ${task}`,
		onOutput: (output) => {
			log.push(output);
			if (output === "end" || output.startsWith("expired")) done.resolve();
		},
		onFault: (fault) => log.push(`fault ${fault.code}`),
		onFatal: (error) => {
			log.push(`fatal ${error instanceof Error ? error.message : error}`);
			done.resolve();
		},
		nowMs: () => 7,
		...overrides,
	});
	return { made, log, done: done.promise };
}

describe("the machine driver", () => {
	it("makes a step's promises durable before anything of it leaves, in the order of the steps", async () => {
		const { made, log } = driver();
		made.step(() => ({ send: [{ to: "a", message: "1" }], persist: ["p1"] }));
		made.step((nowMs) => ({ send: [{ to: "a", message: `2 at ${nowMs}` }] }));
		await made.idle();
		expect(log).toEqual(["persisted p1", "sent 1 to a", "sent 2 at 7 to a"]);
	});

	it("says nothing more when a promise cannot be written", async () => {
		const { made, log } = driver({ persist: () => Promise.reject(new Error("disk full")) });
		made.step(() => ({ persist: ["p"], send: [{ to: "a", message: "lie" }] }));
		await made.idle();
		made.step(() => ({ send: [{ to: "a", message: "another" }] }));
		await made.idle();
		expect(log).toEqual(["fatal disk full"]);
	});

	it("gives work's results and failures back to the machine", async () => {
		const works = driver();
		works.made.step(() => ({ work: [{ id: "w", task: "sum" }] }));
		await works.done;
		expect(works.log).toContain("w: did sum");
		const fails = driver({ execute: () => Promise.reject(new Error("boom")) });
		fails.made.step(() => ({ work: [{ id: "w", task: "sum" }] }));
		await fails.done;
		expect(fails.log).toContain("w: failed boom");
	});

	it("goes on when a message cannot be delivered", async () => {
		const lost: string[] = [];
		const { made, log } = driver({
			send: () => Promise.reject(new Error("gone")),
			onUndelivered: (to) => lost.push(to),
		});
		made.step(() => ({ send: [{ to: "b", message: "x" }], output: ["still here"] }));
		await made.idle();
		expect(lost).toEqual(["b"]);
		expect(log).toEqual(["still here"]);
	});

	it("replaces, fires and cancels timers, and drops them when stopped", async () => {
		const { made, log, done } = driver();
		made.step(() => ({ setTimer: [{ id: "t", afterMs: 60_000 }] }));
		made.step(() => ({
			setTimer: [
				{ id: "t", afterMs: 1 },
				{ id: "never", afterMs: 1 },
				{ id: "never", afterMs: null },
			],
		}));
		await done;
		expect(log).toEqual(["expired t"]);
		made.step(() => ({ setTimer: [{ id: "later", afterMs: 1 }] }));
		await made.stop();
		made.step(() => ({ output: ["after the end"] }));
		await made.idle();
		expect(log).toEqual(["expired t"]);
	});

	it("treats a machine that throws as fatal, not as an answer", () => {
		const { made, log } = driver();
		made.step(() => {
			throw new Error("broken invariant");
		});
		expect(log).toEqual(["fatal broken invariant"]);
	});

	it("lets messages wait while too much work is under way, in order, and refuses what finds no room", async () => {
		const gates: PromiseWithResolvers<string>[] = [];
		const { made, log } = driver({
			maximumUnderWay: 2,
			maximumInboxBytes: 100,
			execute: () => {
				const gate = Promise.withResolvers<string>();
				gates.push(gate);
				return gate.promise;
			},
			onOutput: (output) => void log.push(output),
		});
		const taken: number[] = [];
		const message = (index: number, sizeBytes: number, work = false) =>
			made.deliver(sizeBytes, () => {
				taken.push(index);
				return work ? { work: [{ id: `w${index}`, task: "t" }] } : {};
			});
		expect(message(0, 10, true)).toBe(true);
		await made.idle();
		expect(message(1, 10, true)).toBe(true);
		await made.idle();
		expect(taken).toEqual([0, 1]);
		// Two pieces of work are under way: the first waiting message is always taken, the rest while there is room.
		expect([message(2, 1000), message(3, 10), message(4, 10)]).toEqual([true, false, false]);
		expect(made.load).toEqual({ underWay: 2, inboxBytes: 1000 });
		// Timers and the machine's own steps do not wait behind messages.
		made.step(() => ({ output: ["own step"] }));
		await made.idle();
		expect(log).toEqual(["own step"]);
		gates[0]?.resolve("done");
		await gates[0]?.promise;
		await new Promise((resolve) => setImmediate(resolve));
		await made.idle();
		expect(taken).toEqual([0, 1, 2]);
		expect(made.load.inboxBytes).toBe(0);
		expect([message(5, 60), message(6, 60)]).toEqual([true, true]);
		gates[1]?.resolve("done");
		await new Promise((resolve) => setImmediate(resolve));
		await made.idle();
		expect(taken).toEqual([0, 1, 2, 5, 6]);
		expect(made.load).toEqual({ underWay: 0, inboxBytes: 0 });
	});
});
