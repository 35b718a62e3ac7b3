import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import { malformed } from "./frames.ts";

/** Version of the control and payload protocols; nodes of different versions refuse each other. */
export const PROTOCOL_VERSION = 1;

/** What each side of a link tells the other before anything else. */
export interface Hello {
	readonly protocolVersion: number;
	readonly softwareVersion: string;
	readonly federation: string;
	/** Height of the newest charter the node knows. */
	readonly charterVersion: number;
	/** What the node accepts, so that the other can keep within it. */
	readonly messagesPerSecond: number;
	readonly maxBlobBytes: number;
}

const helloSchema = z.strictObject({
	protocolVersion: z.number().int().nonnegative(),
	softwareVersion: z.string().max(64),
	federation: z.string().max(64),
	charterVersion: z.number().int().nonnegative(),
	messagesPerSecond: z.number().positive(),
	maxBlobBytes: z.number().int().positive(),
});

// Only this must be readable in every version, so that a mismatch can be explained.
const versionSchema = z.looseObject({ protocolVersion: z.number().int().nonnegative() });

export function encodeHello(hello: Hello): Uint8Array {
	return encodeCanonical({ ...hello });
}

/**
 * Reads a peer's hello and holds it against ours. Throws `network.version_mismatch`
 * (naming the older side), `network.other_federation` or `network.malformed`.
 */
export function readHello(bytes: Uint8Array, ours: Hello): Hello {
	const decoded = decodeOrThrow(bytes);
	const version = versionSchema.safeParse(decoded);
	if (!version.success) throw malformed("a hello that cannot be read");
	checkVersion(version.data.protocolVersion, ours);
	const hello = helloSchema.safeParse(decoded);
	if (!hello.success) throw malformed("a hello that cannot be read");
	if (hello.data.federation !== ours.federation) {
		throw new AlthingError(
			"network.other_federation",
			`The peer belongs to federation ${hello.data.federation}, this node to ${ours.federation}.`,
		);
	}
	return hello.data;
}

function decodeOrThrow(bytes: Uint8Array): unknown {
	try {
		return decodeCanonical(bytes, 4096);
	} catch (cause) {
		throw new AlthingError(
			"network.malformed",
			"The peer sent a hello that is not canonical CBOR.",
			{},
			{ cause },
		);
	}
}

function checkVersion(theirs: number, ours: Hello): void {
	if (theirs === ours.protocolVersion) return;
	const older =
		theirs < ours.protocolVersion
			? "the peer is older and must be updated"
			: "this node is older and must be updated";
	throw new AlthingError(
		"network.version_mismatch",
		`The peer speaks network protocol version ${theirs}, this node version ${ours.protocolVersion}: ${older}.`,
		{ theirs, ours: ours.protocolVersion },
	);
}

const refusalSchema = z.object({
	code: z.string().max(80),
	message: z.string().max(1000),
	handler: z.boolean(),
});

/** Why a peer refused something; `handler` when its request handler threw. */
export type Refusal = z.infer<typeof refusalSchema>;

export function encodeRefusal(refusal: Refusal): Uint8Array {
	return encodeCanonical({ ...refusal, message: refusal.message.slice(0, 500) });
}

export function readRefusal(bytes: Uint8Array): Refusal {
	try {
		return refusalSchema.parse(decodeCanonical(bytes, 4096));
	} catch {
		throw malformed("a refusal that cannot be read");
	}
}
