import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { prepareDataDirectory } from "../../../node/lifecycle/dataDirectory.ts";
import { EXIT, exitCodeOf } from "../../../node/lifecycle/exitCodes.ts";
import { acquireInstanceLock } from "../../../node/lifecycle/instanceLock.ts";
import { type Component, createLifecycle, DRAIN_DEADLINE_MS } from "../../../node/lifecycle/lifecycle.ts";
import { createLogger } from "../../../node/logging/logger.ts";

let directory: string;
const log = createLogger({ level: "silent" });
const children: ChildProcess[] = [];

beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-lifecycle-"));
});
afterEach(async () => {
	for (const child of children.splice(0)) child.kill("SIGKILL");
	await rm(directory, { recursive: true });
});

/** Starts the test daemon; `until` waits for a line, `ended` for the exit. */
function daemon(behaviour = "plain", deadlineMs = DRAIN_DEADLINE_MS) {
	const script = new URL("./daemonProcess.ts", import.meta.url).pathname;
	const child = spawn(process.execPath, [script, directory, behaviour, String(deadlineMs)], {
		stdio: ["ignore", "pipe", "ignore"],
	});
	children.push(child);
	const lines: string[] = [];
	const reader = createInterface({ input: child.stdout });
	const waiting = new Map<string, () => void>();
	reader.on("line", (line) => {
		lines.push(line);
		waiting.get(line)?.();
	});
	const closed = once(reader, "close");
	const exited = once(child, "exit");
	return {
		child,
		lines,
		until: (line: string) =>
			lines.includes(line) ? Promise.resolve() : new Promise<void>((resolve) => waiting.set(line, resolve)),
		ended: async () => {
			const [code, signal] = await exited;
			await closed;
			return code ?? signal;
		},
	};
}

describe("as a process", () => {
	test("SIGTERM stops the parts in reverse order, drained, with code 0 and no lock left", async () => {
		const running = daemon();
		await running.until("ready");
		running.child.kill("SIGTERM");
		expect(await running.ended()).toBe(EXIT.stopped);
		expect(running.lines).toEqual([
			...["locked", "start lock", "start store", "start network", "ready"],
			...["stop network", "stop store", "stop lock"],
		]);
		expect(await readdir(directory)).toEqual([]);
	});

	test("a part that never stops is given up after the deadline, with code 1", async () => {
		expect(DRAIN_DEADLINE_MS).toBe(10_000);
		const running = daemon("hangs", 300);
		await running.until("ready");
		running.child.kill("SIGTERM");
		expect(await running.ended()).toBe(EXIT.forced);
		expect(running.lines).not.toContain("stop store");
	});

	test("a second signal exits at once", async () => {
		// The test's own time limit is shorter than this deadline.
		const running = daemon("hangs", 600_000);
		await running.until("ready");
		running.child.kill("SIGTERM");
		running.child.kill("SIGINT");
		expect(await running.ended()).toBe(EXIT.forced);
	});

	test("an uncaught rejection exits with code 70", async () => {
		const running = daemon("throws");
		expect(await running.ended()).toBe(EXIT.internalError);
	});

	test("a second instance is refused by pid and directory; after kill -9 the next one takes over", async () => {
		const first = daemon();
		await first.until("ready");
		const second = daemon();
		expect(await second.ended()).toBe(EXIT.busy);
		expect(second.lines[0]).toContain("failed lifecycle.already_running");
		expect(second.lines[0]).toContain(`${directory} is running already as process ${first.child.pid}`);
		first.child.kill("SIGKILL");
		await first.ended();
		const third = daemon();
		await third.until("ready");
		expect(third.lines[0]).toBe("took over");
	});
});

describe("instance lock", () => {
	test("of many starters at once over a stale lock exactly one wins", async () => {
		await writeFile(
			join(directory, "daemon.lock"),
			JSON.stringify({ pid: 2 ** 22 + 1, started: null, token: "x" }),
		);
		const outcomes = await Promise.allSettled(
			Array.from({ length: 8 }, () => acquireInstanceLock(directory)),
		);
		const won = outcomes.filter((outcome) => outcome.status === "fulfilled");
		expect(won.length).toBe(1);
		for (const outcome of outcomes) {
			if (outcome.status === "rejected")
				expect(outcome.reason).toMatchObject({ code: "lifecycle.already_running" });
		}
		expect(await readdir(directory)).toEqual(["daemon.lock"]);
		await won[0]!.value.release();
		expect(await readdir(directory)).toEqual([]);
	});

	test.each([
		[
			"an earlier process with our id",
			() => JSON.stringify({ pid: process.pid, started: "another/1", token: "x" }),
		],
		["an empty file", () => ""],
		["garbage", () => "{"],
	])("%s does not hold it", async (_what, content) => {
		await writeFile(join(directory, "daemon.lock"), content());
		const lock = await acquireInstanceLock(directory);
		expect(lock.tookOver).toBe(true);
		await lock.release();
	});

	test("releasing does not remove a lock that is another's by now", async () => {
		const lock = await acquireInstanceLock(directory);
		await writeFile(lock.path, JSON.stringify({ pid: 1, started: null, token: "other" }));
		await lock.release();
		expect(await readdir(directory)).toEqual(["daemon.lock"]);
	});
});

describe("start and stop in order", () => {
	const events: string[] = [];
	const part = (name: string, overrides: Partial<Component> = {}): Component => ({
		name,
		start: async () => void events.push(`start ${name}`),
		stop: async () => void events.push(`stop ${name}`),
		...overrides,
	});
	beforeEach(() => {
		events.length = 0;
	});

	test("a part that cannot start brings down those before it, with its exit code", async () => {
		const lifecycle = createLifecycle({ log });
		const failing = part("c", {
			start: async () => {
				throw new AlthingError("network.port_taken", "taken");
			},
		});
		await expect(lifecycle.start([part("a"), part("b"), failing, part("d")])).rejects.toThrow("taken");
		expect(events).toEqual(["start a", "start b", "stop b", "stop a"]);
		expect(await lifecycle.stopped).toBe(EXIT.busy);
		expect(lifecycle.ready).toBe(false);
	});

	test("a part that fails to stop does not keep the others from stopping", async () => {
		const lifecycle = createLifecycle({ log });
		const failing = part("b", {
			stop: async () => {
				throw new Error("no");
			},
		});
		await lifecycle.start([part("a"), failing]);
		expect(lifecycle.ready).toBe(true);
		expect(await lifecycle.stop("test")).toBe(EXIT.forced);
		expect(events).toEqual(["start a", "start b", "stop a"]);
	});

	test("a stop during the start waits for the part that is starting and stops it", async () => {
		const lifecycle = createLifecycle({ log });
		const { promise, resolve } = Promise.withResolvers<void>();
		const starting = lifecycle.start([part("a"), part("b", { start: () => promise }), part("c")]);
		const outcome = expect(starting).rejects.toMatchObject({ code: "lifecycle.stopping" });
		await new Promise(setImmediate);
		const stopped = lifecycle.stop("test");
		resolve();
		await outcome;
		expect(await stopped).toBe(EXIT.stopped);
		expect(events).toEqual(["start a", "stop b", "stop a"]);
	});

	test("a failure nothing recovers from ends with its exit code, once", async () => {
		const lifecycle = createLifecycle({ log });
		await lifecycle.start([part("a")]);
		expect(await lifecycle.fail(new AlthingError("store.journal_failed", "disk full"))).toBe(EXIT.storage);
		expect(await lifecycle.stop("again")).toBe(EXIT.storage);
		expect(events).toEqual(["start a", "stop a"]);
	});
});

describe("data directory", () => {
	test("is made with mode 0700, and a mode too open is tightened", async () => {
		const path = join(directory, "a", "b");
		expect(await prepareDataDirectory(path)).toBe(path);
		await chmod(path, 0o755);
		await prepareDataDirectory(path);
		expect((await stat(path)).mode & 0o777).toBe(0o700);
	});

	test("a path that cannot be one is named", async () => {
		const path = join(directory, "file");
		await writeFile(path, "");
		await expect(prepareDataDirectory(join(path, "inside"))).rejects.toMatchObject({
			code: "lifecycle.data_directory",
			facts: { directory: join(path, "inside") },
		});
		await mkdir(join(directory, "x"));
	});
});

test("exit codes tell scripts what kind of error it was", () => {
	const codes = [
		"config.invalid",
		"keystore.wrong_passphrase",
		"store.corrupt",
		"store.locked",
		"rpc.tls_required",
	];
	expect(codes.map((code) => exitCodeOf(new AlthingError(code, "")))).toEqual([78, 77, 74, 75, 78]);
	expect(exitCodeOf(new TypeError("x"))).toBe(70);
	expect(exitCodeOf(undefined)).toBe(70);
});
