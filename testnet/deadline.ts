/** Waiting with an end: nothing in the testnet waits for ever. */
import { setTimeout as sleep } from "node:timers/promises";
import { AlthingError } from "../crypto/error.ts";

const PROBE_INTERVAL_MS = 100;

export interface Deadline {
	/** What is waited for, as the end of "waited 30 s for ...". */
	readonly what: string;
	readonly timeoutMs: number;
	readonly signal: AbortSignal;
}

/**
 * Asks `probe` again and again until it answers something else than undefined.
 * @param hint asked when time is up: what is known by then
 * @throws AlthingError `testnet.timeout`; what the probe throws; the signal's reason
 */
export async function until<T>(
	probe: () => Promise<T | undefined>,
	{ what, timeoutMs, signal }: Deadline,
	hint: () => string = () => "",
): Promise<T> {
	const end = performance.now() + timeoutMs;
	for (;;) {
		signal.throwIfAborted();
		const answer = await probe();
		if (answer !== undefined) return answer;
		if (performance.now() > end) throw late(what, timeoutMs, hint());
		await sleep(PROBE_INTERVAL_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
	}
}

/** The promise's value if it comes in time. @throws AlthingError `testnet.timeout`; the signal's reason */
export async function within<T>(promise: Promise<T>, { what, timeoutMs, signal }: Deadline): Promise<T> {
	const ended = new AbortController();
	const timer = sleep(timeoutMs, undefined, { signal: AbortSignal.any([signal, ended.signal]) }).then(
		() => {
			throw late(what, timeoutMs, "");
		},
		() => {
			signal.throwIfAborted();
			throw late(what, timeoutMs, "");
		},
	);
	// It also fails when the promise wins; then nobody listens any more.
	timer.catch(() => undefined);
	try {
		return await Promise.race([promise, timer]);
	} finally {
		ended.abort();
	}
}

function late(what: string, timeoutMs: number, hint: string): AlthingError {
	return new AlthingError(
		"testnet.timeout",
		`Waited ${timeoutMs / 1000} s for ${what}${hint === "" ? "" : `; ${hint}`}.`,
		{ timeoutMs },
	);
}
