/** The frames that wait to leave on one link: channels share it evenly, and each may hold so much. */
import { AlthingError } from "../../../crypto/error.ts";
import { FairQueue } from "../../workers/fairQueue.ts";

/** What one channel may have waiting; a larger message is taken when none of the channel's waits. */
const MAX_CHANNEL_BYTES = 16 * 2 ** 20;
const KIB = 1024;

export class SendQueue {
	readonly #write: (frame: Uint8Array) => Promise<void>;
	readonly #frames = new FairQueue<Uint8Array>();
	readonly #waitingBytes = new Map<string, number>();
	#writing = false;

	/** @param write puts one frame on the wire; a failure must close the link, and later ones fail too */
	constructor(write: (frame: Uint8Array) => Promise<void>) {
		this.#write = write;
	}

	/**
	 * Queues a frame behind those of its channel.
	 * @throws AlthingError `network.busy` when the channel's frames that wait take too much: other
	 *   channels do not notice, and nothing was sent
	 */
	push(channel: string, frame: Uint8Array): void {
		const waiting = this.#waitingBytes.get(channel) ?? 0;
		if (waiting > 0 && waiting + frame.length > MAX_CHANNEL_BYTES) {
			throw new AlthingError(
				"network.busy",
				`${waiting} bytes on "${channel}" wait for this peer to take them; send again later.`,
				{ channel, waiting },
			);
		}
		this.#waitingBytes.set(channel, waiting + frame.length);
		this.#frames.push(channel, frame);
		if (!this.#writing) void this.#drain();
	}

	async #drain(): Promise<void> {
		this.#writing = true;
		try {
			for (let next = this.#frames.shift(); next !== undefined; next = this.#frames.shift()) {
				const { group, item, settle } = next;
				const left = (this.#waitingBytes.get(group) ?? 0) - item.length;
				if (left > 0) this.#waitingBytes.set(group, left);
				else this.#waitingBytes.delete(group);
				settle(item.length / KIB);
				await this.#write(item);
			}
		} finally {
			this.#writing = false;
		}
	}
}
