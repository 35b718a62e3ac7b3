import type { Stream } from "@libp2p/interface";
import { FrameCutter } from "./frames.ts";

/** Smaller slices only cost CPU: 6.5 s/GB at 16 KiB, 2.4 s/GB at 4 MiB (measured). */
export const SLICE_BYTES = 4 * 1024 * 1024;
/** A write that the remote does not take for this long fails the stream. */
const STALL_MS = 30_000;

/**
 * Resolves when the stream's write buffer has gone out far enough to take the next slice.
 *
 * `stream.onDrain()` is not used: @libp2p/utils 7.4.1 resolves its promise once and never
 * replaces it, so that every wait after the first returns at once and the buffer grows
 * without bound (49.5 MB of 50 measured). We wait for the `drain` and `idle` events and
 * look at the buffer, since a drain may leave a rest of an earlier slice behind.
 */
export function waitDrain(stream: Stream, signal?: AbortSignal): Promise<void> {
	return new Promise((resolve, reject) => {
		const finish = (error?: unknown): void => {
			clearTimeout(stall);
			stream.removeEventListener("drain", onDrain);
			stream.removeEventListener("idle", onDrain);
			stream.removeEventListener("close", onClose);
			signal?.removeEventListener("abort", onAbort);
			if (error === undefined) resolve();
			else reject(error);
		};
		const clear = (): boolean => !stream.writableNeedsDrain && stream.writeBufferLength === 0;
		// The stream's own drain listener sends the rest in a microtask; look after it has.
		const onDrain = (): void => {
			setImmediate(() => {
				if (stream.status !== "open") onClose();
				else if (clear()) finish();
			});
		};
		const onClose = (): void => finish(new Error("the stream closed while data was waiting to be sent"));
		const onAbort = (): void => finish(signal?.reason ?? new Error("aborted"));
		const stall = setTimeout(() => finish(new Error(`the peer took no data for ${STALL_MS} ms`)), STALL_MS);
		stream.addEventListener("drain", onDrain);
		stream.addEventListener("idle", onDrain);
		stream.addEventListener("close", onClose);
		signal?.addEventListener("abort", onAbort);
		if (signal?.aborted) onAbort();
		else if (stream.status !== "open") onClose();
		else if (clear()) finish();
	});
}

export interface WireEvents {
	/** One frame without its length. A throw aborts the stream. */
	onFrame(frame: Uint8Array): void;
	/** Called once, whichever side ended the stream. */
	onEnd(error: Error | undefined): void;
}

/**
 * A libp2p stream as frames, or as raw bytes once {@link Wire.raw} is called.
 *
 * Nothing thrown while reading leaves the listener: js-libp2p 3 lets an exception in a
 * `message` listener become an uncaughtException of the process, by which one malformed
 * frame would stop the daemon.
 */
export class Wire {
	readonly stream: Stream;
	readonly #cutter: FrameCutter;
	#events: WireEvents | undefined;
	#raw: ((chunk: Uint8Array) => void) | undefined;
	#writing: Promise<void> = Promise.resolve();

	constructor(stream: Stream, maxFrameBytes: number, events: WireEvents) {
		this.stream = stream;
		this.#cutter = new FrameCutter(maxFrameBytes);
		this.#events = events;
		const end = (error?: Error): void => {
			const events = this.#events;
			this.#events = undefined;
			try {
				events?.onEnd(error);
			} catch {
				// An observer's fault must not reach the stream's event loop (see above).
			}
		};
		stream.addEventListener("message", (event) => {
			try {
				const data = event.data;
				for (const chunk of data instanceof Uint8Array ? [data] : data) this.#take(chunk);
			} catch (error) {
				this.abort(error as Error);
				end(error as Error);
			}
		});
		stream.addEventListener("close", (event) => end(event.error));
		stream.addEventListener("remoteCloseWrite", () => {
			end(undefined);
			if (stream.status === "open") stream.close().catch(() => stream.abort(new Error("could not close")));
		});
		if (stream.status !== "open") queueMicrotask(() => end(new Error(`the stream is ${stream.status}`)));
	}

	/** From now on hands every byte to `sink` instead of cutting frames. */
	raw(sink: (chunk: Uint8Array) => void): void {
		this.#raw = sink;
	}

	/** Writes after all earlier writes, and resolves when the stream can take more. */
	write(bytes: Uint8Array, signal?: AbortSignal): Promise<void> {
		const turn = this.#writing.then(async () => {
			for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
				signal?.throwIfAborted();
				// send() throws synchronously on a closed stream; here that rejects the turn.
				if (!this.stream.send(bytes.subarray(at, at + SLICE_BYTES))) {
					await waitDrain(this.stream, signal);
				}
			}
		});
		this.#writing = turn.catch(() => {});
		return turn;
	}

	abort(error: Error): void {
		this.stream.abort(error);
	}

	async close(): Promise<void> {
		await this.#writing;
		await this.stream.close({ signal: AbortSignal.timeout(2_000) }).catch((error) => this.abort(error));
	}

	#take(chunk: Uint8Array): void {
		if (this.#events === undefined) return;
		if (this.#raw !== undefined) {
			this.#raw(chunk);
			return;
		}
		const rest = this.#cutter.push(chunk, (frame) => {
			this.#events?.onFrame(frame);
			return this.#raw === undefined && this.#events !== undefined;
		});
		if (rest.length > 0) this.#take(rest);
	}
}
