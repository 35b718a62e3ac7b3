/** Reads the node's Server-Sent Events (WHATWG HTML, section 9.2.6; one `data` line for each event). */
import { AlthingError } from "../../crypto/error.ts";
import type { NodeEvent } from "./services.ts";

/** Far above any event; a stream that never ends a line is not ours. */
const MAX_EVENT_CHARS = 4 * 1024 * 1024;

export async function* sseEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<NodeEvent, void, void> {
	const decoder = new TextDecoder();
	let buffered = "";
	for await (const chunk of chunks) {
		buffered += decoder.decode(chunk, { stream: true });
		for (let end = buffered.indexOf("\n\n"); end !== -1; end = buffered.indexOf("\n\n")) {
			const data = buffered
				.slice(0, end)
				.split("\n")
				.find((line) => line.startsWith("data: "));
			buffered = buffered.slice(end + 2);
			if (data !== undefined) yield JSON.parse(data.slice("data: ".length)) as NodeEvent;
		}
		if (buffered.length > MAX_EVENT_CHARS) {
			throw new AlthingError("rpc.unexpected_answer", "The event stream holds an event without end.");
		}
	}
}
