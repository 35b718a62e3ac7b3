/** Misbehaviour that the membership machine can name. */
import { encodeCanonical } from "../../crypto/encoding.ts";
import type { PeerId } from "../../crypto/identity.ts";
import type { Ballot } from "../certificate/index.ts";
import type { Fault } from "../contract.ts";
import type { ForkProof } from "./chain.ts";

/** What a peer sent over its authenticated link; proves nothing to others. */
export function blame(peer: PeerId, code: string, what: string): Fault {
	return { peer, code, message: `${peer} ${what}`.replace(/\.?$/, "."), proof: false };
}

/** Two ballots of one member in one slot. */
export function equivocation(ballots: readonly [Ballot, Ballot]): Fault {
	const { voter, slot } = ballots[0];
	return {
		peer: voter,
		code: "federation.equivocation",
		message: `${voter} cast two ballots for version ${slot.instance} of the charter.`,
		proof: true,
		evidence: ballots.map((ballot) => encodeCanonical(ballot as never)),
	};
}

/** Everybody whose signature stands under both sides of a fork. */
export function forkFaults(proof: ForkProof): Fault[] {
	return proof.suspects.map((peer) => ({
		peer,
		code: "federation.fork",
		message: `${peer} signed two different versions ${proof.version} of the charter.`,
		proof: true,
		evidence: proof.links.map((link) => encodeCanonical(link as never)),
	}));
}

/** The sentence of whatever was thrown. */
export function messageOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}
