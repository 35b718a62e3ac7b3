/** The coordinator's part in a screening: collects statements, checks them against the inputs it holds, settles disputes. */
import { equalBytes } from "../../crypto/encoding.ts";
import type { PeerId } from "../contract.ts";
import {
	type Bench,
	commitmentOf,
	judge,
	screeningHash,
	signSeed,
	statementFlaw,
	type Verdict,
} from "../robust/verdict.ts";
import { canonical } from "./cohort.ts";
import type { Context } from "./context.ts";
import type { AggregationTask, AggregationTaskResult } from "./masking.ts";
import {
	type InputMeta,
	MAX_DISPUTES,
	type MessageOf,
	type ScreenHeader,
	type Screening,
	type ScreenStatement,
	signStatement,
} from "./messages.ts";
import { isEdgeSeed } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import { contradicting } from "./screener.ts";

export class Examination {
	readonly #bench: Bench;
	readonly #metas: readonly InputMeta[];
	readonly #inputs: ReadonlyMap<PeerId, Uint8Array>;
	readonly #commitment: Uint8Array;
	readonly #statements = new Map<PeerId, ScreenStatement>();
	readonly #edges = new Map<string, Screening["edges"][number]>();
	readonly #answered = new Set<PeerId>();
	readonly #checked: PeerId[] = [];
	/** Their statement is not about the input that the coordinator holds. */
	readonly #liars = new Set<PeerId>();
	#verdict: Verdict | undefined;
	readonly request: MessageOf<"screen">;

	constructor(
		context: Context,
		bench: Bench,
		metas: readonly InputMeta[],
		inputs: ReadonlyMap<PeerId, Uint8Array>,
	) {
		this.#bench = bench;
		this.#metas = metas;
		this.#inputs = inputs;
		this.#commitment = commitmentOf(bench.sharing, [...metas]);
		const header = signStatement<ScreenHeader>(context.config.self, {
			kind: "screen",
			sid: bench.sharing.roster.sid,
			term: context.term,
			commitment: this.#commitment,
		});
		this.request = { kind: "screen", header, metas: [...metas] };
	}

	silent(): PeerId[] {
		return this.#metas.map(({ author }) => author).filter((author) => !this.#statements.has(author));
	}

	add(statement: ScreenStatement, from: PeerId, out: Outbox): void {
		if (!this.#metas.some(({ author }) => author === from)) return;
		const flaw =
			statement.author === from
				? statementFlaw(this.#bench, this.#commitment, statement)
				: "it was signed by another";
		const known = this.#statements.get(from);
		if (flaw !== undefined) out.fault(from, "bad_statement", `The statement of ${from} is refused: ${flaw}.`);
		else if (known === undefined) this.#statements.set(from, statement);
		else if (!equalBytes(canonical(known), canonical(statement)))
			out.fault(from, "equivocation", `${from} signed two different statements about one set of inputs.`, [
				canonical(known),
				canonical(statement),
			]);
	}

	/** The work that compares statements with the inputs themselves. */
	task(): AggregationTask {
		const { rules, length, modulusBits } = this.#bench;
		this.#checked.splice(0, Number.POSITIVE_INFINITY, ...this.#statements.keys());
		return {
			kind: "signs",
			seed: signSeed(this.#commitment),
			coordinates: rules.coordinates,
			vectors: this.#checked.map((peer) => this.#inputs.get(peer) as Uint8Array),
			keys: [],
			length,
			modulusBits,
		};
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
		const statements = [...this.#statements.values()].sort((a, b) => (a.author < b.author ? -1 : 1));
		return { metas: [...this.#metas], statements, edges: [...this.#edges.values()] };
	}

	get hash(): Uint8Array {
		return screeningHash(this.screening());
	}

	/** Inputs that may be summed. */
	passed(): InputMeta[] {
		const passed = this.#verdict?.passed ?? [];
		return this.#metas.filter(({ author }) => passed.includes(author) && !this.#liars.has(author));
	}
}
