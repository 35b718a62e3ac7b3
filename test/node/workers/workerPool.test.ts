import { afterEach, beforeEach, expect, test } from "vitest";
import { createWorkerPool, type WorkerPool } from "../../../node/workers/workerPool.ts";
import type { EchoTask } from "./echoWorker.ts";

const script = new URL("./echoWorker.ts", import.meta.url);
let pool: WorkerPool<EchoTask, unknown>;

beforeEach(() => {
	// A clock that stands still: all tasks cost the same, however busy the machine is.
	pool = createWorkerPool({ script, threads: 1, maximumWaiting: 10, nowMs: () => 0 });
});
afterEach(() => pool.stop());

const echo = (value: unknown): EchoTask => ({ kind: "echo", value });

/** Occupies the pool's only thread until opened. */
function gate() {
	const buffer = new SharedArrayBuffer(4);
	const done = pool.run({ kind: "wait", gate: buffer });
	return {
		done,
		open: () => {
			Atomics.store(new Int32Array(buffer), 0, 1);
			Atomics.notify(new Int32Array(buffer), 0);
		},
	};
}

test("runs tasks and moves buffers both ways", async () => {
	expect(await pool.run(echo({ a: [1, "x"] }))).toEqual({ a: [1, "x"] });
	const values = new Float64Array([1, 2, 3]);
	const doubled = await pool.run({ kind: "double", values }, { transfer: [values.buffer] });
	expect(doubled).toEqual(new Float64Array([2, 4, 6]));
	expect(values.length).toBe(0);
});

test("several threads work at once", async () => {
	const two = createWorkerPool<EchoTask, unknown>({ script, threads: 2 });
	const buffer = new SharedArrayBuffer(4);
	const held = two.run({ kind: "wait", gate: buffer });
	expect(await two.run(echo("meanwhile"))).toBe("meanwhile");
	Atomics.store(new Int32Array(buffer), 0, 1);
	Atomics.notify(new Int32Array(buffer), 0);
	expect(await held).toBe("opened");
	await two.stop();
});

test("a task's error crosses with code, message and facts, and the worker lives on", async () => {
	await expect(pool.run({ kind: "refuse" })).rejects.toMatchObject({
		name: "AlthingError",
		code: "learning.bad_shape",
		message: "The shape is wrong.",
		facts: { layer: 3 },
	});
	await expect(pool.run({ kind: "throw" })).rejects.toMatchObject({
		code: "workers.task_failed",
		message: expect.stringContaining("unexpected"),
	});
	expect(await pool.run(echo(1))).toBe(1);
});

test.each(["exit", "throwLater"] as const)(
	"a crash (%s) rejects its task alone; a fresh worker goes on",
	async (kind) => {
		const crash = pool.run({ kind });
		const next = pool.run(echo("after"));
		await expect(crash).rejects.toMatchObject({ code: "workers.crashed" });
		expect(await next).toBe("after");
	},
);

test("a task over its time is ended", async () => {
	await expect(pool.run({ kind: "spin" }, { timeoutMs: 50, group: "job-1" })).rejects.toMatchObject({
		code: "workers.timeout",
		facts: { timeoutMs: 50, group: "job-1" },
	});
	expect(await pool.run(echo("after"))).toBe("after");
});

test("a task that keeps more memory than a thread may is ended; the others live on", async () => {
	const limited = createWorkerPool<EchoTask, unknown>({ script, threads: 2, maximumMemoryMiB: 192 });
	for (const as of ["buffers", "objects"] as const) {
		const greedy = limited.run({ kind: "hold", mib: 280, as }, { group: "greedy" });
		const beside = limited.run({ kind: "echo", value: as }, { group: "modest" });
		await expect(greedy).rejects.toMatchObject({
			code: "workers.memory",
			facts: { maximumMemoryMiB: 192, group: "greedy" },
		});
		expect(await beside).toBe(as);
		expect(await limited.run({ kind: "echo", value: "after" }, { group: "greedy" })).toBe("after");
	}
	await limited.stop();
});

test("groups take turns, whatever the burst of one of them", async () => {
	const held = gate();
	const order: string[] = [];
	const runs = ["a1", "a2", "a3", "a4", "b1", "c1", "b2"].map((name) =>
		pool.run(echo(name), { group: name[0]! }).then((done) => order.push(String(done))),
	);
	expect(pool.load()).toEqual({ waiting: 7, running: 1 });
	held.open();
	await Promise.all([held.done, ...runs]);
	expect(order).toEqual(["a1", "b1", "c1", "a2", "b2", "a3", "a4"]);
});

test("each group's queue is bounded, and full for itself alone", async () => {
	const held = gate();
	const waiting = Array.from({ length: 10 }, (_, i) => pool.run(echo(i), { group: "flood" }));
	await expect(pool.run(echo("too many"), { group: "flood" })).rejects.toMatchObject({
		code: "workers.queue_full",
		facts: { group: "flood" },
	});
	const other = pool.run(echo("other"), { group: "light" });
	held.open();
	expect(await other).toBe("other");
	expect(await Promise.all(waiting)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
	await held.done;
});

test("aborting takes a waiting task out and ends a running one", async () => {
	const held = gate();
	const waitingAbort = new AbortController();
	const waiting = pool.run(echo(1), { signal: waitingAbort.signal });
	waitingAbort.abort();
	await expect(waiting).rejects.toMatchObject({ code: "workers.aborted" });
	held.open();
	await held.done;
	const runningAbort = new AbortController();
	const running = pool.run({ kind: "spin" }, { signal: runningAbort.signal });
	runningAbort.abort();
	await expect(running).rejects.toMatchObject({ code: "workers.aborted" });
	await expect(pool.run(echo(1), { signal: runningAbort.signal })).rejects.toMatchObject({
		code: "workers.aborted",
	});
	expect(await pool.run(echo("after"))).toBe("after");
});

test("stopping rejects what waits and runs, and everything later", async () => {
	const running = pool.run({ kind: "spin" });
	const waiting = pool.run(echo(1));
	const outcomes = Promise.allSettled([running, waiting]);
	await pool.stop();
	for (const outcome of await outcomes)
		expect(outcome).toMatchObject({ reason: { code: "workers.stopped" } });
	await expect(pool.run(echo(1))).rejects.toMatchObject({ code: "workers.stopped" });
});

test("a task that cannot be cloned, a script that is not there, no threads", async () => {
	await expect(pool.run(echo(() => 1))).rejects.toMatchObject({ code: "workers.not_transferable" });
	expect(await pool.run(echo(1))).toBe(1);
	const missing = createWorkerPool({ script: new URL("./none.ts", import.meta.url), threads: 1 });
	await expect(missing.run(1)).rejects.toMatchObject({ code: "workers.crashed" });
	await missing.stop();
	expect(() => createWorkerPool({ script, threads: 0 })).toThrowError(/at least one/);
});

test("a group whose task hangs has used that time: others go first, and it is told what it took", async () => {
	let nowMs = 0;
	const timed = createWorkerPool<EchoTask, unknown>({ script, threads: 1, nowMs: () => nowMs });
	const order: string[] = [];
	const note = (name: string) => (done: unknown) => order.push(done instanceof Error ? `${name}!` : name);
	const measured: unknown[] = [];
	const hung = timed
		.run({ kind: "spin" }, { group: "hangs", timeoutMs: 50, onMeasured: (times) => measured.push(times) })
		.catch((error: Error) => error)
		.then(note("hung"));
	nowMs = 500;
	const runs = [
		timed.run(echo(0), { group: "hangs" }).then(note("hangs")),
		...["a", "a", "b"].map((group) => timed.run(echo(0), { group }).then(note(group))),
	];
	await Promise.all([hung, ...runs]);
	expect(order).toEqual(["hung!", "a", "b", "a", "hangs"]);
	expect(measured).toEqual([{ waitedMs: 0, ranMs: 500 }]);
	await timed.stop();
});

test("a notice reaches every thread that has started, beside its task, and answers nobody", async () => {
	const two = createWorkerPool<EchoTask, unknown>({ script, threads: 2 });
	const counter = new SharedArrayBuffer(4);
	const gates = Array.from({ length: 4 }, () => new SharedArrayBuffer(4));
	const open = (gate: SharedArrayBuffer) => {
		Atomics.store(new Int32Array(gate), 0, 1);
		Atomics.notify(new Int32Array(gate), 0);
	};
	two.tell({ kind: "count", counter });
	const [first, second, ...after] = gates.map((gate) => two.run({ kind: "wait", gate }));
	two.tell({ kind: "count", counter });
	gates.slice(0, 2).forEach(open);
	expect(await Promise.all([first, second])).toEqual(["opened", "opened"]);
	// Each thread now holds one more task, behind the notice: a thread takes its messages in order.
	gates.slice(2).forEach(open);
	expect(await Promise.all(after)).toEqual(["opened", "opened"]);
	await two.stop();
	expect(new Int32Array(counter)[0]).toBe(2);
});
