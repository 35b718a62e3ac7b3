/**
 * A minimal daemon run as a real process by lifecycle.test.ts:
 * `daemonProcess.ts DIRECTORY BEHAVIOUR DEADLINE_MS`. Prints what happens, line by line.
 */
import { setTimeout as delay } from "node:timers/promises";
import { prepareDataDirectory } from "../../../node/lifecycle/dataDirectory.ts";
import { exitCodeOf } from "../../../node/lifecycle/exitCodes.ts";
import { acquireInstanceLock } from "../../../node/lifecycle/instanceLock.ts";
import { type Component, createLifecycle } from "../../../node/lifecycle/lifecycle.ts";
import { createLogger } from "../../../node/logging/logger.ts";

const [path = "", behaviour = "plain", deadline = ""] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);

function component(name: string, stop: () => Promise<unknown> = async () => undefined): Component {
	return {
		name,
		start: async () => say(`start ${name}`) as unknown as undefined,
		stop: async () => {
			await stop();
			say(`stop ${name}`);
		},
	};
}

try {
	const directory = await prepareDataDirectory(path);
	const lock = await acquireInstanceLock(directory);
	say(lock.tookOver ? "took over" : "locked");
	const lifecycle = createLifecycle({
		log: createLogger({ level: "error" }),
		drainDeadlineMs: Number(deadline),
	});
	lifecycle.handleSignals();
	const heartbeat = setInterval(() => undefined, 1000);
	const slow = behaviour === "hangs" ? () => new Promise(() => undefined) : () => delay(200);
	await lifecycle.start([
		component("lock", () => lock.release()),
		component("store"),
		component("network", slow),
	]);
	say("ready");
	if (behaviour === "throws") setImmediate(() => Promise.reject(new Error("a defect")));
	const code = await lifecycle.stopped;
	clearInterval(heartbeat);
	process.exit(code);
} catch (error) {
	say(`failed ${(error as { code?: string }).code} ${(error as Error).message}`);
	process.exit(exitCodeOf(error));
}
