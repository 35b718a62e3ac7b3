/**
 * Structured logs: one JSON object per line on stderr, through pino.
 *
 *     const log = createLogger({ level: "info" });
 *     log.child({ component: "network" }).warn({ peer: shortPeer(peer) }, "peer lost");
 *
 * Fields that may hold a secret are replaced whatever their depth (redaction.ts).
 */
import { type DestinationStream, destination, type Logger, pino } from "pino";
import { redact } from "./redaction.ts";

export type { Logger };

export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

/**
 * The daemon's root logger; parts take a `child({ component })` of it.
 * @param options.stream where lines go; stderr unless a test says otherwise. Writing is
 *   synchronous, so that the lines before a crash are there.
 */
export function createLogger(options: { level: LogLevel; stream?: DestinationStream }): Logger {
	const log = pino(
		{
			level: options.level,
			base: null,
			timestamp: pino.stdTimeFunctions.isoTime,
			// Errors are described by redact below, wherever they sit.
			serializers: { err: (error: unknown) => error },
			formatters: {
				level: (label) => ({ level: label }),
				log: (fields) => redact(fields),
			},
		},
		options.stream ?? destination({ dest: 2, sync: true }),
	);
	// pino runs no formatter over a child's bindings; children inherit this method.
	const child = log.child;
	log.child = function redactingChild(this: Logger, bindings, childOptions) {
		return child.call(this, redact(bindings), childOptions);
	} as Logger["child"];
	return log;
}

/** The end of a peer id, enough to tell members apart in a log: `…hJ3kPq9a`. */
export function shortPeer(peer: string): string {
	return peer.length <= 10 ? peer : `…${peer.slice(-8)}`;
}
