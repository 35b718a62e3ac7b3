import { z } from "zod";
import { decodeCanonical, encodeCanonical, equalBytes } from "../../../crypto/encoding.ts";
import { malformed } from "./frames.ts";

/**
 * A payload stream: sender's offer frame, receiver's answer frame, then from the sender a
 * {@link HEADER_BYTES}-byte header and the raw bytes from offset `have`, then the
 * receiver's verdict frame.
 */
export const HEADER_BYTES = 40;
export const MAX_OFFER_BYTES = 1024;
const HEADER_VERSION = 1;
const KIND_BLOB = 1;
const FLAG_RESUMED = 1;
/** A sender slower than this is cut off: 256 KiB/s. */
const MIN_BYTES_PER_SECOND = 256 * 1024;
const MIN_DEADLINE_MS = 10_000;

export function transferDeadlineMs(sizeBytes: number): number {
	return Math.max(MIN_DEADLINE_MS, Math.ceil((sizeBytes / MIN_BYTES_PER_SECOND) * 1000));
}

const bytes = (length: number) =>
	z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === length);

const offerSchema = z.strictObject({
	/** Random id that the message or response carries. */
	transfer: bytes(16),
	length: z.number().int().positive(),
	sha256: bytes(32),
	/** Id of the request of the receiver that this answers, or 0. */
	replyTo: z.number().int().nonnegative(),
});
export type Offer = z.infer<typeof offerSchema>;

const answerSchema = z.discriminatedUnion("kind", [
	/** Send on from offset `have`. */
	z.strictObject({ kind: z.literal("grant"), have: z.number().int().nonnegative() }),
	z.strictObject({ kind: z.literal("refused"), code: z.string().max(80), message: z.string().max(500) }),
]);
export type Answer = z.infer<typeof answerSchema>;

const verdictSchema = z.strictObject({ kind: z.enum(["whole", "corrupt"]) });
export type Verdict = z.infer<typeof verdictSchema>;

function prefixed(body: Uint8Array): Uint8Array {
	const bytes = new Uint8Array(4 + body.length);
	new DataView(bytes.buffer).setUint32(0, body.length);
	bytes.set(body, 4);
	return bytes;
}

function read<T>(schema: z.ZodType<T>, frame: Uint8Array, what: string): T {
	try {
		return schema.parse(decodeCanonical(frame, MAX_OFFER_BYTES));
	} catch {
		throw malformed(`a payload ${what} that cannot be read`);
	}
}

export const encodeOffer = (offer: Offer): Uint8Array => prefixed(encodeCanonical({ ...offer }));
export const readOffer = (frame: Uint8Array): Offer => read(offerSchema, frame, "offer");
export const encodeAnswer = (answer: Answer): Uint8Array => prefixed(encodeCanonical({ ...answer }));
export const readAnswer = (frame: Uint8Array): Answer => read(answerSchema, frame, "answer");
export const encodeVerdict = (verdict: Verdict): Uint8Array => prefixed(encodeCanonical({ ...verdict }));
export const readVerdict = (frame: Uint8Array): Verdict => read(verdictSchema, frame, "verdict");

/** `version u8 | kind u8 | flags u16 | length u32 | sha256`, big-endian. */
export function encodeHeader(length: number, sha256: Uint8Array, resumed: boolean): Uint8Array {
	const bytes = new Uint8Array(HEADER_BYTES);
	const view = new DataView(bytes.buffer);
	view.setUint8(0, HEADER_VERSION);
	view.setUint8(1, KIND_BLOB);
	view.setUint16(2, resumed ? FLAG_RESUMED : 0);
	view.setUint32(4, length);
	bytes.set(sha256, 8);
	return bytes;
}

/** Throws `network.malformed` unless the header is exactly what the granted offer promised. */
export function checkHeader(header: Uint8Array, offer: Offer, have: number): void {
	if (!equalBytes(header, encodeHeader(offer.length, offer.sha256, have > 0))) {
		throw malformed("a payload header that contradicts its offer");
	}
}
