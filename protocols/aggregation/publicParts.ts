/**
 * What everybody is to hold beside the messages of a session: parts of inputs that are not masked, for rules
 * that need every single vector, and what holders opened of shared sketches. Each is signed for by its hash,
 * so that what was signed fixes it; nobody votes without holding all of it, so that any voter can give it to
 * who lacks some.
 */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import type { PeerId } from "../contract.ts";
import type { Context } from "./context.ts";
import type { InputMeta, MessageOf } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { vectorHash } from "./sessionId.ts";

/** What an author signed for by its hash. */
export interface PartClaim {
	readonly author: PeerId;
	readonly hash: Uint8Array;
}

/** The part that an input has beside what is masked; none where nothing is shown. */
export function claimsOf(metas: readonly InputMeta[]): PartClaim[] {
	return metas.flatMap(({ author, publicHash }) =>
		publicHash === undefined ? [] : [{ author, hash: publicHash }],
	);
}

export class PublicParts {
	readonly #context: Context;
	readonly #of: MessageOf<"publicPart">["of"];
	readonly #fits: (sizeBytes: number) => boolean;
	/** By author what it sent of itself: one each. */
	readonly #sent = new Map<PeerId, { readonly hash: Uint8Array; readonly part: Uint8Array }>();
	/** What was asked for, by hex of its hash. */
	readonly #fetched = new Map<string, Uint8Array>();
	readonly #wanted = new Map<string, PartClaim>();
	#requests = 0;
	/** Who was asked last. */
	#asked: PeerId | undefined;

	/**
	 * @param of what the parts are, as messages about them say
	 * @param fits whether a part may have a size
	 */
	constructor(context: Context, of: MessageOf<"publicPart">["of"], fits: (sizeBytes: number) => boolean) {
		this.#context = context;
		this.#of = of;
		this.#fits = fits;
	}

	/** Keeps an author's part, the first one, or one that was asked for. @returns true when it was of use */
	keep(author: PeerId, from: PeerId, part: Uint8Array, out: Outbox): boolean {
		if (!this.#fits(part.length)) {
			out.fault(from, "bad_public_part", `${from} sent a part of ${part.length} bytes, which none has here.`);
			return false;
		}
		const hash = vectorHash(part);
		const key = toHex(hash);
		if (this.#wanted.delete(key)) {
			this.#fetched.set(key, part);
			return true;
		}
		// Not what was asked for: the next one may have it.
		if (author !== from && from === this.#asked) this.#ask(out);
		if (author !== from || this.#sent.has(author) || !this.#context.selected.includes(author)) return false;
		this.#sent.set(author, { hash, part });
		return true;
	}

	/** Keeps a part that its author signed for, whatever it sent before. @returns false when it is another */
	take({ hash }: PartClaim, part: Uint8Array): boolean {
		if (!this.#fits(part.length) || !equalBytes(vectorHash(part), hash)) return false;
		this.#fetched.set(toHex(hash), part);
		return true;
	}

	/** The part that was signed for, if it is here. */
	partOf({ author, hash }: PartClaim): Uint8Array | undefined {
		const sent = this.#sent.get(author);
		return sent !== undefined && equalBytes(sent.hash, hash) ? sent.part : this.#fetched.get(toHex(hash));
	}

	/** True when nothing that was signed for is missing. */
	holds(claims: readonly PartClaim[]): boolean {
		return claims.every((claim) => this.partOf(claim) !== undefined);
	}

	/** In the order of the claims; undefined while one is missing. */
	partsOf(claims: readonly PartClaim[]): Uint8Array[] | undefined {
		const parts = claims.map((claim) => this.partOf(claim));
		return parts.every((part) => part !== undefined) ? parts : undefined;
	}

	/**
	 * Asks one member for what was signed for and is not here: the coordinator first, then one after the other.
	 * @returns true when nothing is missing
	 */
	complete(claims: readonly PartClaim[], out: Outbox): boolean {
		const missing = claims.filter((claim) => this.partOf(claim) === undefined);
		if (missing.length === 0) return true;
		this.#wanted.clear();
		for (const claim of missing) this.#wanted.set(toHex(claim.hash), claim);
		this.#ask(out);
		return false;
	}

	#ask(out: Outbox): void {
		const { coordinator, members, self } = this.#context;
		const order = [coordinator, ...members.filter((peer) => peer !== coordinator)].filter(
			(peer) => peer !== self,
		);
		const holder = order[this.#requests++ % order.length] as PeerId;
		this.#asked = holder;
		for (const { author, hash } of this.#wanted.values())
			out.send(holder, { kind: "publicPartRequest", of: this.#of, author, hash });
	}

	/** Answers a request. */
	serve(claim: PartClaim, to: PeerId, out: Outbox): void {
		const part = this.partOf(claim);
		if (part !== undefined) out.send(to, { kind: "publicPart", of: this.#of, author: claim.author }, part);
	}
}
