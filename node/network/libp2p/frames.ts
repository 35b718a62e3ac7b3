import { fromHex, toHex } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import { MAX_MESSAGE_BYTES } from "../port.ts";

/**
 * Control frames: `u32 length | u8 type | u32 id | u8 nameLength | u8 transferLength |
 * name | transfer id | body`, integers big-endian, length counting what follows it.
 */
export const FRAME = {
	hello: 1,
	helloAnswer: 2,
	refused: 3,
	message: 4,
	acknowledge: 5,
	request: 6,
	response: 7,
	failure: 8,
	ping: 9,
	pong: 10,
} as const;

export type FrameType = (typeof FRAME)[keyof typeof FRAME];

export interface Frame {
	readonly type: FrameType;
	/** Chosen by the side that asks; the answer repeats it. */
	readonly id: number;
	/** Channel or method; empty otherwise. */
	readonly name: string;
	/** Hex id of the payload transfer that belongs to the frame, or empty. */
	readonly transfer: string;
	readonly body: Uint8Array;
}

const HEADER_BYTES = 11;
export const MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + 1024;
const TYPES: ReadonlySet<number> = new Set(Object.values(FRAME));
const EMPTY = new Uint8Array(0);

export function encodeFrame(
	type: FrameType,
	id: number,
	fields: { name?: string; transfer?: string; body?: Uint8Array } = {},
): Uint8Array {
	const name = new TextEncoder().encode(fields.name ?? "");
	const transfer = fields.transfer ? fromHex(fields.transfer) : EMPTY;
	const body = fields.body ?? EMPTY;
	const bytes = new Uint8Array(HEADER_BYTES + name.length + transfer.length + body.length);
	const view = new DataView(bytes.buffer);
	view.setUint32(0, bytes.length - 4);
	bytes[4] = type;
	view.setUint32(5, id);
	bytes[9] = name.length;
	bytes[10] = transfer.length;
	bytes.set(name, HEADER_BYTES);
	bytes.set(transfer, HEADER_BYTES + name.length);
	bytes.set(body, HEADER_BYTES + name.length + transfer.length);
	return bytes;
}

/** Decodes what follows the length. Throws `network.malformed`. */
export function decodeFrame(bytes: Uint8Array): Frame {
	const fixed = HEADER_BYTES - 4;
	const [type, nameLength, transferLength] = [bytes[0], bytes[5], bytes[6]];
	if (type === undefined || nameLength === undefined || transferLength === undefined || !TYPES.has(type)) {
		throw malformed(`a control frame of ${bytes.length} bytes and type ${type}`);
	}
	const bodyAt = fixed + nameLength + transferLength;
	if (bodyAt > bytes.length) {
		throw malformed("a control frame whose fields are longer than itself");
	}
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	return {
		type: type as FrameType,
		id: view.getUint32(1),
		name: new TextDecoder().decode(bytes.subarray(fixed, fixed + nameLength)),
		transfer: toHex(bytes.subarray(fixed + nameLength, bodyAt)),
		body: bytes.subarray(bodyAt),
	};
}

export function malformed(what: string): AlthingError {
	return new AlthingError("network.malformed", `The peer sent ${what}; it is faulty or of another version.`);
}

/** Cuts a byte stream into length-prefixed frames; holds at most one incomplete frame. */
export class FrameCutter {
	readonly #maxBytes: number;
	readonly #length = new Uint8Array(4);
	#lengthFill = 0;
	#frame: Uint8Array | undefined;
	#fill = 0;

	constructor(maxBytes: number) {
		this.#maxBytes = maxBytes;
	}

	/**
	 * Takes `chunk` and calls `onFrame` for each complete frame until the chunk is used up
	 * or `onFrame` answers false; returns the unused rest. Throws `network.too_large`
	 * before it allocates anything for a frame that announces too much.
	 */
	push(chunk: Uint8Array, onFrame: (frame: Uint8Array) => boolean): Uint8Array {
		let at = 0;
		while (at < chunk.length) {
			if (this.#frame === undefined) {
				const take = Math.min(4 - this.#lengthFill, chunk.length - at);
				this.#length.set(chunk.subarray(at, at + take), this.#lengthFill);
				this.#lengthFill += take;
				at += take;
				if (this.#lengthFill < 4) break;
				const length = new DataView(this.#length.buffer).getUint32(0);
				if (length > this.#maxBytes) {
					throw new AlthingError(
						"network.too_large",
						`The peer announced a frame of ${length} bytes; at most ${this.#maxBytes} are allowed.`,
						{ sizeBytes: length, limitBytes: this.#maxBytes },
					);
				}
				this.#frame = new Uint8Array(length);
				this.#fill = 0;
			}
			const take = Math.min(this.#frame.length - this.#fill, chunk.length - at);
			this.#frame.set(chunk.subarray(at, at + take), this.#fill);
			this.#fill += take;
			at += take;
			if (this.#fill < this.#frame.length) break;
			const frame = this.#frame;
			this.#frame = undefined;
			this.#lengthFill = 0;
			if (!onFrame(frame)) break;
		}
		return chunk.subarray(at);
	}
}
