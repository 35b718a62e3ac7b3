/** Notices a coordinator that signs two different rosters, share sets or proposals. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import type { PeerId } from "../contract.ts";
import type { Header } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { canonical, isAuthentic } from "./statements.ts";

export class HeaderLog {
	readonly #seen = new Map<string, Header>();
	readonly #blamed = new Set<PeerId>();

	/** Headers seen, at most `limit`: shown to others so that an equivocation meets itself. */
	recent(limit: number): Header[] {
		return [...this.#seen.values()].slice(-limit);
	}

	/**
	 * Takes note of a header that concerns this session. Two of one author for the same
	 * thing are a transferable proof, reported once.
	 * @returns false when the signature is wrong or the header contradicts an earlier one
	 */
	note(header: Header, sidPre: Uint8Array, members: readonly PeerId[], out: Outbox): boolean {
		if (header.kind !== "shareSet" && !equalBytes(header.sidPre, sidPre)) return false;
		if (!members.includes(header.author) || !isAuthentic(header)) return false;
		const about = header.kind === "shareSet" ? toHex(header.sid) : "";
		const key = `${header.kind} ${header.author} ${header.term} ${about}`;
		const first = this.#seen.get(key);
		if (first === undefined) {
			// Bounds what a flood of signed headers can occupy.
			if (this.#seen.size < 3 * members.length) this.#seen.set(key, header);
			return true;
		}
		if (equalBytes(canonical(first), canonical(header))) return true;
		if (!this.#blamed.has(header.author)) {
			this.#blamed.add(header.author);
			out.fault(
				header.author,
				"equivocation",
				`${header.author} signed two different ${header.kind} statements in term ${header.term}.`,
				[canonical(first), canonical(header)],
			);
		}
		return false;
	}
}
