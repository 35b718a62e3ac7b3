/**
 * Parts of inputs that everybody is to see, beside what is masked: for rules that need every single
 * vector. Each is signed for by its hash in the author's meta, so that the certified survivor set fixes
 * them; nobody votes without holding all of them, so that any voter can give them to who lacks one.
 */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import type { PeerId } from "../contract.ts";
import type { Context } from "./context.ts";
import type { InputMeta } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { vectorHash } from "./sessionId.ts";

export class PublicParts {
	readonly #context: Context;
	/** By author what it sent of itself: one each. */
	readonly #sent = new Map<PeerId, { readonly hash: Uint8Array; readonly part: Uint8Array }>();
	/** What was asked for, by hex of its hash. */
	readonly #fetched = new Map<string, Uint8Array>();
	readonly #wanted = new Set<string>();
	#requests = 0;

	constructor(context: Context) {
		this.#context = context;
	}

	/** Keeps an author's part, the first one, or one that was asked for. @returns true when it was of use */
	keep(author: PeerId, from: PeerId, part: Uint8Array, out: Outbox): boolean {
		const { publicBytes } = this.#context.config;
		if (publicBytes === undefined) return false;
		if (part.length !== publicBytes) {
			out.fault(from, "bad_public_part", `${from} sent ${part.length} bytes for a part of ${publicBytes}.`);
			return false;
		}
		const hash = vectorHash(part);
		const key = toHex(hash);
		if (this.#wanted.delete(key)) {
			this.#fetched.set(key, part);
			return true;
		}
		if (author !== from || this.#sent.has(author) || !this.#context.selected.includes(author)) return false;
		this.#sent.set(author, { hash, part });
		return true;
	}

	/** The part that a meta signs for, if it is here. */
	partOf({ author, publicHash }: InputMeta): Uint8Array | undefined {
		if (publicHash === undefined) return undefined;
		const sent = this.#sent.get(author);
		return sent !== undefined && equalBytes(sent.hash, publicHash)
			? sent.part
			: this.#fetched.get(toHex(publicHash));
	}

	/** True when nothing that the meta signs for is missing. */
	holds(meta: InputMeta): boolean {
		return this.#context.config.publicBytes === undefined || this.partOf(meta) !== undefined;
	}

	/** In the order of the metas; undefined while one is missing. */
	partsOf(metas: readonly InputMeta[]): Uint8Array[] | undefined {
		const parts = metas.map((meta) => this.partOf(meta));
		return parts.every((part) => part !== undefined) ? parts : undefined;
	}

	/**
	 * Asks one member for what survivors' metas sign for and is not here: the coordinator first, then one
	 * after the other.
	 * @returns true when nothing is missing
	 */
	complete(metas: readonly InputMeta[], out: Outbox): boolean {
		const missing = metas.filter((meta) => !this.holds(meta));
		if (missing.length === 0) return true;
		const { coordinator, members, self } = this.#context;
		const order = [coordinator, ...members].filter((peer) => peer !== self);
		const holder = order[this.#requests++ % order.length] as PeerId;
		for (const { author, publicHash } of missing) {
			if (publicHash === undefined) continue;
			this.#wanted.add(toHex(publicHash));
			out.send(holder, { kind: "publicPartRequest", author, hash: publicHash });
		}
		return false;
	}

	/** Answers a request. */
	serve(author: PeerId, hash: Uint8Array, to: PeerId, out: Outbox): void {
		const sent = this.#sent.get(author);
		const part =
			sent !== undefined && equalBytes(sent.hash, hash) ? sent.part : this.#fetched.get(toHex(hash));
		if (part !== undefined) out.send(to, { kind: "publicPart", author }, part);
	}
}
