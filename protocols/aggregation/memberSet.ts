/** Subsets of a cohort as one bit a member, in the cohort's own order: what messages say instead of lists. */
import type { QuorumCertificate, Slot } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";

/** Bit i, counted from the low end of byte i / 8, says whether `cohort[i]` belongs. */
export function encodeMembers(cohort: readonly PeerId[], subset: Iterable<PeerId>): Uint8Array {
	const chosen = new Set(subset);
	const bits = new Uint8Array(Math.ceil(cohort.length / 8));
	for (const [i, member] of cohort.entries()) {
		if (chosen.has(member)) bits[i >> 3] = (bits[i >> 3] as number) | (1 << (i & 7));
	}
	return bits;
}

/** The members in a set, in the cohort's order; undefined for bits of a wrong length or beyond the cohort. */
export function decodeMembers(cohort: readonly PeerId[], bits: Uint8Array): PeerId[] | undefined {
	if (bits.length !== Math.ceil(cohort.length / 8)) return undefined;
	const beyond = cohort.length % 8;
	if (beyond !== 0 && (bits.at(-1) as number) >> beyond !== 0) return undefined;
	return cohort.filter((_, i) => ((bits[i >> 3] as number) >> (i & 7)) & 1);
}

/** A certificate as it travels. @param electorate sorted */
export function packCertificate(
	electorate: readonly PeerId[],
	{ value, votes }: QuorumCertificate,
): { value: Uint8Array; voters: Uint8Array; signatures: Uint8Array } {
	const signatures = new Map(votes.map(({ voter, signature }) => [voter, signature]));
	const voters = electorate.filter((member) => signatures.has(member));
	return {
		value,
		voters: encodeMembers(electorate, voters),
		signatures: Buffer.concat(voters.map((voter) => signatures.get(voter) as Uint8Array)),
	};
}

/** Undoes {@link packCertificate}; undefined for what is none. The votes are not verified. */
export function unpackCertificate(
	electorate: readonly PeerId[],
	slot: Slot,
	{ value, voters: bits, signatures }: { value: Uint8Array; voters: Uint8Array; signatures: Uint8Array },
): QuorumCertificate | undefined {
	const voters = decodeMembers(electorate, bits);
	if (voters === undefined || signatures.length !== SIGNATURE_BYTES * voters.length) return undefined;
	const votes = voters.map((voter, i) => ({
		voter,
		signature: signatures.slice(i * SIGNATURE_BYTES, (i + 1) * SIGNATURE_BYTES),
	}));
	return { slot, value, votes };
}

const SIGNATURE_BYTES = 64;
