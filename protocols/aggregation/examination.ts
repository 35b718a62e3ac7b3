/** The coordinator's part in a screening: collects statements, checks them against the inputs it holds, settles disputes. */
import { equalBytes } from "../../crypto/encoding.ts";
import { type MerkleTree, merkleRoot, merkleTree } from "../../crypto/merkle.ts";
import type { PeerId } from "../contract.ts";
import { confirmationFlaw, productsFlaw, responseFlaw, sharesFlaw, sketchFlaw } from "../robust/selection.ts";
import {
	type Basis,
	type Bench,
	basisOf,
	commitmentOf,
	judge,
	signsTask,
	statementFlaw,
	type Verdict,
} from "../robust/verdict.ts";
import type { Context } from "./context.ts";
import type { AggregationTask, AggregationTaskResult } from "./masking.ts";
import {
	type Confirmation,
	type InputMeta,
	MAX_DISPUTES,
	type MessageOf,
	type Products,
	type ScreenHeader,
	type Screening,
	type ScreenStatement,
} from "./messages.ts";
import { isEdgeSeed } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import type { PublicParts } from "./publicParts.ts";
import { contradicting } from "./screener.ts";
import { canonical, signStatement } from "./statements.ts";

export class Examination {
	readonly #bench: Bench;
	readonly #openings: PublicParts;
	readonly #metas: readonly InputMeta[];
	readonly #inputs: ReadonlyMap<PeerId, Uint8Array>;
	readonly #commitment: Uint8Array;
	/** With a selection: everybody's sketches, until they are passed on. */
	readonly #sketches = new Map<PeerId, MessageOf<"sketch">>();
	readonly #products = new Map<PeerId, Products>();
	/** What confirmations and statements are about; undefined as long as sketches are collected. */
	#basis: Basis | undefined;
	/** In what everybody is sent. */
	#fixed: readonly MessageOf<"sketch">[] = [];
	/** Who goes by these sketches. */
	readonly #confirmations = new Map<PeerId, Confirmation>();
	/** What is being collected. */
	#collecting: "sketches" | "confirmations" | "statements";
	readonly #paths = new Map<PeerId, MerkleTree>();
	readonly #statements = new Map<PeerId, ScreenStatement>();
	readonly #edges = new Map<string, Screening["edges"][number]>();
	readonly #answered = new Set<PeerId>();
	readonly #checked: PeerId[] = [];
	/** Their statement is not about the input that the coordinator holds. */
	readonly #liars = new Set<PeerId>();
	#verdict: Verdict | undefined;
	readonly #request: MessageOf<"screen">;

	constructor(
		context: Context,
		bench: Bench,
		metas: readonly InputMeta[],
		inputs: ReadonlyMap<PeerId, Uint8Array>,
	) {
		this.#bench = bench;
		this.#openings = context.openings;
		this.#metas = metas;
		this.#inputs = inputs;
		this.#commitment = commitmentOf(bench.sharing, [...metas]);
		const header = signStatement<ScreenHeader>(context.config.self, {
			kind: "screen",
			sid: bench.sharing.roster.sid,
			term: context.term,
			commitment: this.#commitment,
		});
		const selecting = bench.rules.selection !== undefined;
		this.#collecting = selecting ? "sketches" : "statements";
		if (!selecting) this.#basis = basisOf(this.#commitment, bench.rules, undefined);
		this.#request = { kind: "screen", header, metas: [...metas] };
	}

	/** Those whose sketch, then whose confirmation, then whose statement, is missing. */
	silent(): PeerId[] {
		const authors = this.#metas.map(({ author }) => author);
		switch (this.#collecting) {
			case "sketches":
				return authors.filter((author) => !this.#sketches.has(author));
			case "confirmations":
				return authors.filter((author) => !this.#confirmations.has(author));
			case "statements": {
				// Who has not confirmed opens nothing and is no candidate: nobody waits for it.
				const selecting = this.#bench.rules.selection !== undefined;
				const asked = selecting ? [...this.#confirmations.keys()] : authors;
				return asked.filter((author) => !this.#statements.has(author));
			}
		}
	}

	/** What a member is asked now. */
	requestTo(member: PeerId): MessageOf<"screen"> | MessageOf<"sketches"> | MessageOf<"confirmed"> {
		if (this.#fixed.length === 0) return this.#request;
		if (this.#collecting === "statements")
			return { kind: "confirmed", confirmations: sorted(this.#confirmations) };
		const place = this.#metas.findIndex(({ author }) => author === member);
		const dealt = this.#fixed.map(({ sketch, response, sealed }) => ({
			sketch,
			response,
			sealed: sealed[place] as Uint8Array,
			path: (this.#paths.get(sketch.author) as MerkleTree).proof(place),
		}));
		return { kind: "sketches", dealt };
	}

	/** Ends what is collected. @returns true when there is more to collect */
	goOn(): boolean {
		switch (this.#collecting) {
			case "sketches":
				this.#fixSketches();
				this.#collecting = "confirmations";
				return true;
			case "confirmations":
				this.#collecting = "statements";
				return true;
			case "statements":
				return false;
		}
	}

	#fixSketches(): void {
		this.#fixed = [...this.#sketches.values()].sort((a, b) => (a.sketch.author < b.sketch.author ? -1 : 1));
		for (const { sketch, sealed } of this.#fixed) this.#paths.set(sketch.author, merkleTree(sealed));
		const sketches = this.#fixed.map(({ sketch }) => sketch);
		this.#basis = basisOf(this.#commitment, this.#bench.rules, sketches);
	}

	addConfirmation({ confirmation }: MessageOf<"confirm">, from: PeerId, out: Outbox): void {
		const basis = this.#basis;
		const awaited = this.#collecting === "confirmations" && this.#metas.some(({ author }) => author === from);
		if (basis === undefined || !awaited) return;
		const flaw =
			confirmation.author === from
				? confirmationFlaw(this.#bench, basis.hash, confirmation)
				: "it was signed by another";
		if (flaw === undefined) this.#confirmations.set(from, confirmation);
		else out.fault(from, "bad_statement", `The confirmation of ${from} is refused: ${flaw}.`);
	}

	addSketch(message: MessageOf<"sketch">, from: PeerId, out: Outbox): void {
		const { sketch, response, sealed } = message;
		if (this.#collecting !== "sketches" || !this.#metas.some(({ author }) => author === from)) return;
		const size = this.#metas.length;
		const flaw =
			sketch.author !== from
				? "it was signed by another"
				: (sketchFlaw(this.#bench, this.#commitment, sketch) ??
					responseFlaw(this.#bench, size, sketch, response) ??
					(sealed.length !== size || !equalBytes(merkleRoot(sealed), sketch.sealedRoot)
						? "its sealed shares are not the signed ones"
						: undefined));
		if (flaw !== undefined) out.fault(from, "bad_sketch", `The sketch of ${from} is refused: ${flaw}.`);
		else if (!this.#sketches.has(from)) this.#sketches.set(from, message);
	}

	/** @param opened what the member opened of the sketches, if there are any */
	add(
		{ statement, products }: MessageOf<"statement">,
		from: PeerId,
		opened: Uint8Array | undefined,
		out: Outbox,
	): void {
		const basis = this.#basis;
		const awaited = this.#collecting === "statements" && this.#metas.some(({ author }) => author === from);
		if (basis === undefined || !awaited) return;
		const flaw =
			statement.author === from
				? (statementFlaw(this.#bench, basis.hash, statement) ??
					this.#openedFlaw(products, from, opened, basis))
				: "it was signed by another";
		const known = this.#statements.get(from);
		if (flaw !== undefined) out.fault(from, "bad_statement", `The statement of ${from} is refused: ${flaw}.`);
		else if (known === undefined) {
			this.#statements.set(from, statement);
			if (products !== undefined) this.#products.set(from, products);
		} else if (!equalBytes(canonical(known), canonical(statement)))
			out.fault(from, "equivocation", `${from} signed two different statements about one set of inputs.`, [
				canonical(known),
				canonical(statement),
			]);
	}

	#openedFlaw(
		products: Products | undefined,
		from: PeerId,
		opened: Uint8Array | undefined,
		{ hash }: Basis,
	): string | undefined {
		if (this.#bench.rules.selection === undefined)
			return products === undefined ? undefined : "nothing was asked to be opened";
		if (products?.author !== from) return "it opens nothing of the sketches";
		const dealers = this.#fixed.length;
		const flaw = productsFlaw(this.#bench, hash, dealers, products);
		if (flaw !== undefined) return flaw;
		if (opened === undefined) return "it comes without the shares that it signs for";
		const wrong = sharesFlaw(dealers, opened);
		// One answer each is kept, whatever else a member signs.
		if (wrong !== undefined || this.#products.has(from)) return wrong;
		return this.#openings.take({ author: from, hash: products.opened }, opened)
			? undefined
			: "it comes with other shares than it signs for";
	}

	/** The work that compares statements with the inputs themselves. */
	task(): AggregationTask {
		this.#checked.splice(0, Number.POSITIVE_INFINITY, ...this.#statements.keys());
		const vectors = this.#checked.map((peer) => this.#inputs.get(peer) as Uint8Array);
		return signsTask(this.#bench, this.#basis as Basis, vectors, []);
	}

	/** Leaves out who stated something else than its input; then settles what the statements say of each other. */
	compared(result: Extract<AggregationTaskResult, { kind: "signs" }>, out: Outbox): void {
		for (const [i, peer] of this.#checked.entries()) {
			const statement = this.#statements.get(peer) as ScreenStatement;
			if (equalBytes(statement.input, result.vectors[i] as Uint8Array)) continue;
			this.#liars.add(peer);
			out.fault(peer, "wrong_statement", `${peer} stated projections that are not its masked input's.`);
		}
		this.#judge();
	}

	#judge(): void {
		this.#verdict = judge(this.#bench, this.screening());
	}

	/** Members whose answer could settle a dispute, with the statements that contradict theirs. */
	disputants(): ReadonlyMap<PeerId, MessageOf<"disputed">> {
		const disputes = this.#verdict?.disputes ?? [];
		const ends = [...new Set(disputes.flat())].filter((peer) => !this.#answered.has(peer));
		return new Map(
			ends.map((peer) => [
				peer,
				{ kind: "disputed", statements: contradicting(disputes, peer, this.#statements) },
			]),
		);
	}

	/** Takes the seeds of disputed edges; wrong ones are ignored, since the tags tell them. */
	addSeeds({ sid, edges }: MessageOf<"edgeSeeds">, from: PeerId): void {
		const { sharing } = this.#bench;
		if (!equalBytes(sid, sharing.roster.sid) || !this.disputants().has(from)) return;
		this.#answered.add(from);
		for (const { peer, seed } of edges) {
			const [low, high] = from < peer ? [from, peer] : [peer, from];
			const disputed = this.#verdict?.disputes.some(([a, b]) => a === low && b === high);
			if (disputed === true && this.#edges.size < MAX_DISPUTES && isEdgeSeed(sharing, low, high, seed))
				this.#edges.set(`${low} ${high}`, { low, high, seed });
		}
		this.#judge();
	}

	/** What goes to the voters. */
	screening(): Screening {
		const selecting = this.#bench.rules.selection !== undefined;
		const sketches = this.#fixed.map(({ sketch }) => sketch);
		return {
			metas: [...this.#metas],
			...(selecting ? { sketches, products: sorted(this.#products) } : {}),
			statements: sorted(this.#statements),
			leftOut: [...this.#liars].sort(),
			edges: [...this.#edges.values()],
		};
	}

	/** Inputs that are to be summed. */
	passed(): InputMeta[] {
		const passed = this.#verdict?.passed ?? [];
		return this.#metas.filter(({ author }) => passed.includes(author));
	}
}

function sorted<T extends { readonly author: PeerId }>(statements: ReadonlyMap<PeerId, T>): T[] {
	return [...statements.values()].sort((a, b) => (a.author < b.author ? -1 : 1));
}
