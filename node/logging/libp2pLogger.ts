/** Lets libp2p log through the node's logger. */
import { format } from "node:util";
import type { ComponentLogger, Logger as Libp2pLogger } from "@libp2p/interface";
import type { Logger } from "./logger.ts";

/**
 * A `ComponentLogger` for `createLibp2p({ logger })`. libp2p's errors are mostly the
 * network's ordinary weather (a peer hung up), so its `error` is our `debug` and the rest
 * our `trace`; what matters is logged by node/network in its own words.
 */
export function libp2pLogger(log: Logger): ComponentLogger {
	return { forComponent: (name) => scope(log, name) };
}

function scope(log: Logger, name: string): Libp2pLogger {
	const child = log.child({ component: name });
	const trace = (formatter: unknown, ...values: unknown[]) => write(child, "trace", formatter, values);
	return Object.assign(trace, {
		error: (formatter: unknown, ...values: unknown[]) => write(child, "debug", formatter, values),
		trace,
		// Read once by callers that skip costly arguments.
		enabled: child.isLevelEnabled("trace"),
		newScope: (inner: string) => scope(log, `${name}:${inner}`),
	});
}

function write(log: Logger, level: "debug" | "trace", formatter: unknown, values: readonly unknown[]): void {
	if (!log.isLevelEnabled(level)) return;
	if (formatter instanceof Error) log[level]({ err: formatter }, formatter.message);
	else log[level](formatMessage(String(formatter), values));
}

/** libp2p's own placeholders (%p peer, %a address, %b bytes, %e error, ...) become text; %s %d %o %j are node's. */
function formatMessage(formatter: string, values: readonly unknown[]): string {
	let at = 0;
	const rendered: unknown[] = [];
	const plain = formatter.replace(/%%|%([a-zA-Z])/g, (whole, letter: string | undefined) => {
		if (letter === undefined) return whole;
		const value = values[at++];
		if ("sdifjoOc".includes(letter)) {
			rendered.push(value);
			return whole;
		}
		rendered.push(text(value));
		return "%s";
	});
	return format(plain, ...rendered, ...values.slice(at).map(text));
}

function text(value: unknown): string {
	if (value instanceof Error) return value.message;
	if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
	return String(value);
}
