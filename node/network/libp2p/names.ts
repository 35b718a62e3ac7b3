import { CID } from "multiformats/cid";
import * as Digest from "multiformats/hashes/digest";
import { AlthingError } from "../../../crypto/error.ts";
import { hashFields } from "../../../crypto/hash.ts";

/** The names a federation's nodes use on the wire; another federation's differ in all of them. */
export interface FederationNames {
	readonly tag: string;
	/**
	 * Mixed into the Noise handshake: a node of another federation fails in the handshake,
	 * at no cost and without a shared secret (pnet would take a third of the throughput).
	 */
	readonly prologue: Uint8Array;
	readonly control: string;
	readonly payload: string;
	readonly kad: string;
	/** Key of the DHT provider record under which the members find one another. */
	readonly provider: CID;
	topic(name: string): string;
}

const SHA2_256 = 0x12;
const RAW = 0x55;

/** Derives every name from the federation's id (hex SHA-256) and name. Throws `network.bad_federation`. */
export function federationNames(federationId: string, federationName: string): FederationNames {
	if (!/^[0-9a-f]{64}$/.test(federationId)) {
		throw new AlthingError(
			"network.bad_federation",
			"The federation id must be 64 lower-case hex digits, the SHA-256 of the founding charter.",
		);
	}
	const tag = federationId.slice(0, 16);
	return {
		tag,
		prologue: hashFields("althing/noise-prologue/1", federationId),
		control: `/althing/${tag}/control/1.0.0`,
		payload: `/althing/${tag}/payload/1.0.0`,
		kad: `/althing/${tag}/kad/1.0.0`,
		provider: CID.createV1(
			RAW,
			Digest.create(SHA2_256, hashFields("althing/federation", federationName, federationId)),
		),
		topic: (name) => `/althing/${tag}/${name}`,
	};
}
