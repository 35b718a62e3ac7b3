/**
 * Starts the daemon's parts in order and stops them in reverse, within a deadline.
 *
 *     const lifecycle = createLifecycle({ log });
 *     lifecycle.handleSignals();
 *     await lifecycle.start([store, network, jobs, rpc]);
 *     process.exit(await lifecycle.stopped);
 */
import { AlthingError } from "../../crypto/error.ts";
import type { Logger } from "../logging/logger.ts";
import { EXIT, type ExitCode, exitCodeOf } from "./exitCodes.ts";

/** A part of the daemon. `stop` finishes what is under way; it is called only after `start` resolved. */
export interface Component {
	readonly name: string;
	start(): Promise<void>;
	stop(): Promise<void>;
}

export interface Lifecycle {
	/** True from the last component's start to the first sign of stopping. */
	readonly ready: boolean;
	/** Resolves with the process's exit code once everything stopped or was given up. */
	readonly stopped: Promise<ExitCode>;
	/**
	 * Starts the components in order. When one fails, those before it are stopped again and
	 * its error is thrown. Throws `lifecycle.stopping` when asked to stop meanwhile.
	 */
	start(components: readonly Component[]): Promise<void>;
	/** Stops in reverse order; after the deadline the rest is given up. Calling it again changes nothing. */
	stop(reason: string): Promise<ExitCode>;
	/** Ends because of an error no part can recover from (a failed journal): stops, with the error's exit code. */
	fail(error: unknown): Promise<ExitCode>;
	/**
	 * SIGTERM and SIGINT stop; a second one exits at once with code 1. An uncaught exception
	 * or rejection is logged and exits with code 70: the process's state is unknown then, and
	 * the journal makes an abrupt end safe.
	 */
	handleSignals(): void;
}

export const DRAIN_DEADLINE_MS = 10_000;

export function createLifecycle(options: { log: Logger; drainDeadlineMs?: number }): Lifecycle {
	return new OrderedLifecycle(options.log, options.drainDeadlineMs ?? DRAIN_DEADLINE_MS);
}

class OrderedLifecycle implements Lifecycle {
	readonly stopped: Promise<ExitCode>;
	readonly #resolveStopped: (code: ExitCode) => void;
	readonly #log: Logger;
	readonly #drainDeadlineMs: number;
	readonly #started: Component[] = [];
	#starting: Promise<void> = Promise.resolve();
	#stopping: Promise<ExitCode> | undefined;
	#ready = false;

	constructor(log: Logger, drainDeadlineMs: number) {
		this.#log = log;
		this.#drainDeadlineMs = drainDeadlineMs;
		const { promise, resolve } = Promise.withResolvers<ExitCode>();
		this.stopped = promise;
		this.#resolveStopped = resolve;
	}

	get ready(): boolean {
		return this.#ready;
	}

	async start(components: readonly Component[]): Promise<void> {
		for (const component of components) {
			if (this.#stopping) throw this.#interrupted();
			const begun = component.start();
			// A stop that comes now waits until the component has settled, then stops it too.
			this.#starting = begun.catch(() => undefined);
			try {
				await begun;
			} catch (error) {
				this.#log.error({ err: error, component: component.name }, "could not start");
				await this.#stopOnce(`${component.name} could not start`, exitCodeOf(error));
				throw error;
			}
			this.#started.push(component);
			this.#log.debug({ component: component.name }, "started");
		}
		if (this.#stopping) throw this.#interrupted();
		this.#ready = true;
	}

	stop(reason: string): Promise<ExitCode> {
		return this.#stopOnce(reason, EXIT.stopped);
	}

	fail(error: unknown): Promise<ExitCode> {
		this.#log.fatal({ err: error }, "the node cannot go on");
		return this.#stopOnce("an error", exitCodeOf(error));
	}

	handleSignals(): void {
		for (const signal of ["SIGTERM", "SIGINT"] as const) {
			process.on(signal, () => {
				if (this.#stopping) {
					this.#log.warn({ signal }, "second signal: exiting at once");
					process.exit(EXIT.forced);
				}
				void this.stop(signal);
			});
		}
		process.on("uncaughtException", (error, origin) => {
			this.#log.fatal({ err: error, origin }, "uncaught: exiting");
			process.exit(EXIT.internalError);
		});
	}

	#stopOnce(reason: string, code: ExitCode): Promise<ExitCode> {
		this.#stopping ??= this.#stopAll(reason, code);
		return this.#stopping;
	}

	async #stopAll(reason: string, code: ExitCode): Promise<ExitCode> {
		this.#ready = false;
		this.#log.info({ reason }, "stopping");
		let timer: NodeJS.Timeout | undefined;
		const deadline = new Promise<"late">((resolve) => {
			timer = setTimeout(() => resolve("late"), this.#drainDeadlineMs);
		});
		const outcome = await Promise.race([this.#drain(), deadline]);
		clearTimeout(timer);
		if (outcome === "late") {
			this.#log.error(
				{ deadlineMs: this.#drainDeadlineMs, waitingFor: this.#started.at(-1)?.name },
				"not drained in time: giving up",
			);
		}
		const exitCode = code === EXIT.stopped && outcome !== "drained" ? EXIT.forced : code;
		this.#resolveStopped(exitCode);
		return exitCode;
	}

	async #drain(): Promise<"drained" | "failed"> {
		await this.#starting;
		// Lets `start` note the component that has just settled.
		await new Promise(setImmediate);
		let outcome: "drained" | "failed" = "drained";
		for (let component = this.#started.at(-1); component; component = this.#started.at(-1)) {
			try {
				await component.stop();
				this.#log.debug({ component: component.name }, "stopped");
			} catch (error) {
				outcome = "failed";
				this.#log.error({ err: error, component: component.name }, "could not stop cleanly");
			}
			this.#started.pop();
		}
		return outcome;
	}

	#interrupted(): AlthingError {
		return new AlthingError("lifecycle.stopping", "The node was asked to stop while it started.");
	}
}
