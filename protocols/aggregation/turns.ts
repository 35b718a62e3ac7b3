/**
 * Whose turn it is to be sent what a stage asks. A sharing phase of a thousand members has hundreds of megabytes
 * to send; a coordinator that had them all under way at once would hold them all.
 */
import type { PeerId } from "../contract.ts";

/** Members whose answer is awaited at a time; smaller cohorts are asked all at once. */
const AT_ONCE = 64;

export class Turns {
	readonly #asked = new Set<PeerId>();
	#allowed = AT_ONCE;

	/** @param missing those whose answer is not here. @returns who of them is to be asked now */
	next(missing: readonly PeerId[]): PeerId[] {
		let unanswered = 0;
		for (const peer of missing) if (this.#asked.has(peer)) unanswered++;
		const chosen: PeerId[] = [];
		for (const peer of missing) {
			if (unanswered >= this.#allowed) break;
			if (this.#asked.has(peer)) continue;
			this.#asked.add(peer);
			chosen.push(peer);
			unanswered++;
		}
		return chosen;
	}

	/** Time has passed: those asked in vain are asked again, and others beside them, whom they must not hold up. */
	again(missing: readonly PeerId[]): PeerId[] {
		const silent = missing.filter((peer) => this.#asked.has(peer));
		this.#allowed = Math.max(this.#allowed, silent.length + AT_ONCE);
		return [...silent, ...this.next(missing)];
	}

	/** True while some of them were never asked. */
	isOpen(missing: readonly PeerId[]): boolean {
		return missing.some((peer) => !this.#asked.has(peer));
	}
}
