/** A participant's part in a selection: shares the sketch of its input, and opens what may be opened of everybody's. */
import { merkleRoot, verifyMerkleProof } from "../../crypto/merkle.ts";
import { checkVectorShare, heldVectors, type SharingShape, shareVector } from "../../crypto/vectorSharing.ts";
import type { PeerId } from "../contract.ts";
import {
	confirmationFlaw,
	decodeShare,
	encodeShare,
	residueBytes,
	residuesOf,
	responseFlaw,
	sealedSketchData,
	sketchContext,
	sketchFlaw,
} from "../robust/selection.ts";
import { type HeldSketch, openShares, sketchShape } from "../robust/sketching.ts";
import { type Basis, type Bench, basisOf } from "../robust/verdict.ts";
import type { Context } from "./context.ts";
import type { Contributor } from "./contributor.ts";
import type { Confirmation, InputMeta, MessageOf, Products, Sketch } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { vectorHash } from "./sessionId.ts";
import { signStatement } from "./statements.ts";

export class Sketcher {
	readonly #context: Context;
	readonly #contributor: Contributor;
	readonly #bench: Bench;
	readonly #commitment: Uint8Array;
	/** Everybody that sent an input: dealers and holders, in the order of their places. */
	readonly #authors: readonly PeerId[];
	/** This node's own sharing as it travels. */
	dealt: MessageOf<"sketch"> | undefined;
	/** The one set of sketches that this node goes by. */
	confirmation: Confirmation | undefined;
	/** What this node opened of it, once. */
	products: Products | undefined;
	/** The shares that it signed for. */
	opened: Uint8Array | undefined;
	#basis: Basis | undefined;
	/** By the dealers' places in the set. */
	#held: readonly (HeldSketch & { readonly dealer: PeerId })[] = [];

	constructor(
		context: Context,
		contributor: Contributor,
		bench: Bench,
		commitment: Uint8Array,
		metas: readonly InputMeta[],
	) {
		this.#context = context;
		this.#contributor = contributor;
		this.#bench = bench;
		this.#commitment = commitment;
		this.#authors = metas.map(({ author }) => author);
	}

	get #shape(): SharingShape {
		return sketchShape(this.#authors.length, this.#bench.rules.selection?.attackers ?? 0);
	}

	/** Shares the sketch. */
	deal(sketch: Float64Array): void {
		const { config, self } = this.#context;
		const sharing = shareVector({
			vector: sketch,
			shape: this.#shape,
			context: sketchContext(this.#commitment, self),
			random: config.random,
		});
		const sealed = this.#authors.map((holder, place) => {
			const plain = encodeShare(sharing.shares[place] as (typeof sharing.shares)[number]);
			return this.#contributor.sealSketch(holder, plain, sealedSketchData(this.#commitment, self, holder));
		});
		const response = residueBytes(sharing.response);
		const signed = signStatement<Sketch>(config.self, {
			kind: "sketch",
			sid: this.#bench.sharing.roster.sid,
			commitment: this.#commitment,
			root: sharing.root,
			responseHash: vectorHash(response),
			sealedRoot: merkleRoot(sealed),
		});
		this.dealt = { kind: "sketch", sketch: signed, response, sealed };
	}

	/**
	 * Checks this node's shares of everybody's sketches, and signs that it goes by this set of them and no
	 * other. A dealer whose share is bad is refused; it hurts nobody but itself.
	 */
	take(dealt: MessageOf<"sketches">["dealt"], out: Outbox): void {
		if (this.#basis !== undefined) return;
		const { config, coordinator, self } = this.#context;
		const place = this.#authors.indexOf(self);
		for (const [i, { sketch, response, sealed, path }] of dealt.entries()) {
			const { author } = sketch;
			const flaw =
				(this.#authors.includes(author) && (i === 0 || (dealt[i - 1]?.sketch.author ?? "") < author)
					? undefined
					: "it is in a wrong place") ??
				sketchFlaw(this.#bench, this.#commitment, sketch) ??
				responseFlaw(this.#bench, this.#authors.length, sketch, response) ??
				// Not what the dealer sealed: refusing it would be held against the dealer.
				(verifyMerkleProof(sketch.sealedRoot, sealed, place, this.#authors.length, path)
					? undefined
					: "its share for this node was changed");
			if (flaw === undefined) continue;
			out.fault(coordinator, "bad_sketches", `${coordinator} passed on a bad sketch of ${author}: ${flaw}.`);
			return;
		}
		const sketches = dealt.map(({ sketch }) => sketch);
		const basis = basisOf(this.#commitment, this.#bench.rules, sketches);
		this.#basis = basis;
		this.#held = dealt.map((one) => ({ ...this.#heldOf(one, place, out), dealer: one.sketch.author }));
		this.confirmation = signStatement<Confirmation>(config.self, {
			kind: "confirmation",
			sid: this.#bench.sharing.roster.sid,
			basis: basis.hash,
		});
	}

	/**
	 * Opens this node's shares of what is computed of the sketches, of dealers that have confirmed the very set
	 * that this node goes by. A coordinator could show each holder another set: f colluders and one holder
	 * decode the combinations drawn for it, and after 16 sets the whole sketch.
	 * @returns the rows that its own statement is to be about; undefined when nothing was opened
	 */
	open(confirmations: readonly Confirmation[]): Basis | undefined {
		const { config, self } = this.#context;
		const basis = this.#basis;
		if (this.products !== undefined || basis?.combination === undefined) return undefined;
		const confirmed = new Set([self]);
		for (const one of confirmations)
			if (confirmationFlaw(this.#bench, basis.hash, one) === undefined) confirmed.add(one.author);
		const held = this.#held.map(({ place, held: share, dealer }) => ({
			place,
			held: confirmed.has(dealer) ? share : undefined,
		}));
		this.opened = residueBytes(openShares(held, basis.combination));
		this.products = signStatement<Products>(config.self, {
			kind: "products",
			sid: this.#bench.sharing.roster.sid,
			basis: basis.hash,
			refused: held.flatMap(({ held: share }, i) => (share === undefined ? [i] : [])),
			opened: vectorHash(this.opened),
		});
		return basis;
	}

	#heldOf(
		{ sketch, response, sealed }: MessageOf<"sketches">["dealt"][number],
		place: number,
		out: Outbox,
	): HeldSketch {
		const { author } = sketch;
		const { self } = this.#context;
		const of = { place: this.#authors.indexOf(author) };
		const shape = this.#shape;
		try {
			const data = sealedSketchData(this.#commitment, author, self);
			const share = decodeShare(this.#contributor.openSketch(author, sealed, data), place + 1);
			const claim = {
				shape,
				context: sketchContext(this.#commitment, author),
				root: sketch.root,
				response: residuesOf(response),
				share,
			};
			if (checkVectorShare(claim)) return { ...of, held: heldVectors(shape, share) };
		} catch {
			// Whatever a dealer put inside, the outcome is the same: no share.
		}
		out.fault(author, "bad_sketch_share", `${author} sealed a share of its sketch that does not verify.`);
		return { ...of, held: undefined };
	}
}
