/** The event stream as Server-Sent Events (WHATWG HTML, section 9.2). */
import type { NodeEvent } from "./services.ts";

/** Keeps idle connections open and finds dead ones. */
const KEEP_ALIVE_MS = 15_000;

/** One event in wire form. JSON has no raw line break, so `data` is one line. */
export function encodeEvent(event: NodeEvent): string {
	return `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

/**
 * Streams events until they end or the client goes away.
 * @param mayContinue asked before each event and keep-alive: false ends the stream (revoked or expired token)
 * @param onEnd called once, however the stream ends
 */
export function eventStreamResponse(options: {
	events: AsyncGenerator<NodeEvent, void, void>;
	mayContinue: () => boolean;
	onEnd: () => void;
}): Response {
	const { events, mayContinue, onEnd } = options;
	const encoder = new TextEncoder();
	let pending: Promise<IteratorResult<NodeEvent, void>> | undefined;
	let ended = false;
	let cancelled = false;
	const end = () => {
		if (!ended) onEnd();
		ended = true;
	};
	const body = new ReadableStream<Uint8Array>({
		start(controller) {
			// Sends the headers at once and tells the client how soon to come back.
			controller.enqueue(encoder.encode("retry: 1000\n\n"));
		},
		async pull(controller) {
			pending ??= events.next();
			const timer = Promise.withResolvers<"idle">();
			const timeout = setTimeout(() => timer.resolve("idle"), KEEP_ALIVE_MS);
			const next = await Promise.race([pending, timer.promise]);
			clearTimeout(timeout);
			if (!mayContinue() || (next !== "idle" && next.done === true)) {
				end();
				if (!cancelled) controller.close();
				return;
			}
			if (cancelled) return;
			if (next === "idle") {
				controller.enqueue(encoder.encode(": keep-alive\n\n"));
				return;
			}
			pending = undefined;
			controller.enqueue(encoder.encode(encodeEvent(next.value as NodeEvent)));
		},
		cancel() {
			cancelled = true;
			end();
		},
	});
	return new Response(body, {
		headers: { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" },
	});
}
