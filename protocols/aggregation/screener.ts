/** A participant's part in a screening: states its projections once, and keeps the screenings it has judged. */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import type { ModulusBits } from "../../crypto/ringPacking.ts";
import { centredResidue } from "../../crypto/signProjection.ts";
import type { PeerId } from "../contract.ts";
import type { ScreeningOutcome } from "../robust/outcome.ts";
import { sketchSeed } from "../robust/sketching.ts";
import {
	type Basis,
	type Bench,
	basisOf,
	commitmentOf,
	judge,
	metasFlaw,
	type OpenedMasks,
	outcomeOf,
	screeningFlaw,
	screeningHash,
	signsTask,
	statedMask,
	statementFlaw,
	type Verdict,
} from "../robust/verdict.ts";
import { sumsByBucket } from "./bucketSums.ts";
import { cohortTree, maskMates, metaLeaf } from "./cohort.ts";
import type { Context } from "./context.ts";
import type { Contributor } from "./contributor.ts";
import {
	type AggregationTask,
	type AggregationTaskResult,
	droppedMaskKeys,
	type MaskRemoval,
	selfMaskKeys,
} from "./masking.ts";
import type { MessageOf, Proposal, Screening, ScreenStatement } from "./messages.ts";
import { observedSharing, type ShownSession } from "./observedSession.ts";
import type { Outbox } from "./outbox.ts";
import { survivorsOf } from "./proposal.ts";
import type { PartClaim } from "./publicParts.ts";
import { selfMaskKey } from "./sessionId.ts";
import { Sketcher } from "./sketcher.ts";
import { isAuthentic, signStatement } from "./statements.ts";

export const STATE_WORK = "state";
export const SKETCH_WORK = "sketch";

/** Distinct screenings kept; an honest coordinator makes one. */
const MAX_SCREENINGS = 4;

interface Judged {
	readonly screening: Screening;
	readonly verdict: Verdict;
}

export class Screener {
	readonly #context: Context;
	readonly #contributor: Contributor;
	/** The one set of inputs that this node answers for. */
	#commitment: Uint8Array | undefined;
	/** What its statement is about. */
	#basis: Uint8Array | undefined;
	#sketching: Sketcher | undefined;
	#statement: ScreenStatement | undefined;
	#openedSent = false;
	/** By hash, judged or not: to pass on. */
	readonly #known = new Map<string, Screening>();
	/** Hashes of those whose form is sound. */
	readonly #sound = new Set<string>();
	readonly #judged = new Map<string, Judged>();
	/** A coordinator's view of the share set, if it takes no part itself. */
	#given: Bench | undefined;

	constructor(context: Context, contributor: Contributor) {
		this.#context = context;
		this.#contributor = contributor;
	}

	/** What screenings are judged by; undefined where inputs are not screened, or without a view of the share set. */
	get bench(): Bench | undefined {
		return benchOf(this.#context, this.#contributor.sharing) ?? this.#given;
	}

	/** A coordinator knows the share set though it may not be in it: excluded, or not asked to contribute. */
	judgeBy(bench: Bench): void {
		this.#given = bench;
	}

	/** A member without a part in the session is shown what the proposal's screening is judged by. */
	observe(proposal: Proposal, shown: ShownSession): void {
		const sharing = observedSharing(this.#context, proposal, shown);
		const bench = benchOf(this.#context, sharing);
		if (bench !== undefined) this.#given = bench;
	}

	/**
	 * Answers for one set of inputs only: other sets would have other projections, and each tells 16 scalars
	 * of the input. With a selection the sketch is shared first.
	 */
	state({ header, metas }: MessageOf<"screen">, out: Outbox): void {
		const { config, coordinator, self } = this.#context;
		const { bench } = this;
		const { packed, meta } = this.#contributor;
		if (bench === undefined || packed === undefined || meta === undefined) return;
		const { sharing, rules, length, modulusBits } = bench;
		const commitment = commitmentOf(sharing, metas);
		if (header.author !== coordinator || !equalBytes(header.sid, sharing.roster.sid) || !isAuthentic(header))
			return;
		const own = metas.find(({ author }) => author === self);
		const flaw = equalBytes(header.commitment, commitment)
			? metasFlaw(sharing, metas)
			: "it is not the one that was signed";
		if (flaw !== undefined || metas.length < config.minimumSurvivors) {
			const why = flaw ?? "it is about too few inputs";
			out.fault(
				coordinator,
				"bad_screening",
				`${coordinator} asked to screen an unacceptable set of inputs: ${why}.`,
			);
			return;
		}
		if (own === undefined || !equalBytes(own.inputHash, meta.inputHash)) return;
		if (this.#commitment !== undefined) {
			if (equalBytes(this.#commitment, commitment)) this.#sendAgain(out);
			return;
		}
		this.#commitment = commitment;
		if (rules.selection === undefined) {
			this.#project(basisOf(commitment, rules, undefined), out);
			return;
		}
		const { values } = this.#contributor;
		if (values === undefined) return;
		this.#sketching = new Sketcher(this.#context, this.#contributor, bench, commitment, metas);
		const seed = sketchSeed(commitment);
		const { coordinates } = rules;
		out.work(SKETCH_WORK, { kind: "sketch", values, seed, coordinates, length, modulusBits });
	}

	/** Takes this node's shares of everybody's sketches, and says by which set it goes. */
	takeSketches({ dealt }: MessageOf<"sketches">, out: Outbox): void {
		this.#sketching?.take(dealt, out);
		this.#sendAgain(out);
	}

	/** Opens what may be opened of the sketches whose dealers go by the same set as this node. */
	takeConfirmed({ confirmations }: MessageOf<"confirmed">, out: Outbox): void {
		const basis = this.#sketching?.open(confirmations);
		if (basis !== undefined) this.#project(basis, out);
		else this.#sendAgain(out);
	}

	#project(basis: Basis, out: Outbox): void {
		const { bench } = this;
		const { packed, selfSeed } = this.#contributor;
		if (bench === undefined || packed === undefined || selfSeed === undefined) return;
		this.#basis = basis.hash;
		const { sid } = bench.sharing.roster;
		const mates = maskMates(bench.sharing, this.#context.self);
		const pairSeeds = mates.map((mate) => this.#contributor.pairSeedTo(mate) as Uint8Array);
		const keys = [selfMaskKey(sid, selfSeed), ...pairSeeds];
		out.work(STATE_WORK, signsTask(bench, basis, [packed], keys));
	}

	completed(result: AggregationTaskResult, out: Outbox): void {
		const sharing = this.#contributor.sharing;
		if (result.kind === "sketch") {
			this.#sketching?.deal(result.sketch);
			this.#sendAgain(out);
		}
		if (result.kind !== "signs" || sharing === undefined || this.#basis === undefined) return;
		const [self, ...mates] = result.keys as [Uint8Array, ...Uint8Array[]];
		this.#statement = signStatement<ScreenStatement>(this.#context.config.self, {
			kind: "statement",
			sid: sharing.roster.sid,
			commitment: this.#basis,
			input: result.vectors[0] as Uint8Array,
			self,
			mates,
		});
		this.#sendAgain(out);
	}

	#sendAgain(out: Outbox): void {
		const { coordinator, members, self } = this.#context;
		if (this.#statement !== undefined) {
			const products = this.#sketching?.products;
			const opened = this.#sketching?.opened;
			out.send(coordinator, { kind: "statement", statement: this.#statement, products }, opened);
			// To everybody once; who misses it asks for it.
			if (opened === undefined || this.#openedSent) return;
			this.#openedSent = true;
			for (const peer of members)
				if (peer !== coordinator && peer !== self)
					out.send(peer, { kind: "publicPart", of: "products", author: self }, opened);
			return;
		}
		const { confirmation, dealt } = this.#sketching ?? {};
		if (confirmation !== undefined) out.send(coordinator, { kind: "confirm", confirmation });
		else if (dealt !== undefined) out.send(coordinator, dealt);
	}

	/**
	 * Opens the seeds of edges whose other end stated another mask than this node did: it lied, hence it is
	 * corrupt, and knows the seed anyway. Nothing is opened for an unsigned claim.
	 */
	openDisputed({ statements }: MessageOf<"disputed">, out: Outbox): void {
		const { bench } = this;
		const own = this.#statement;
		if (bench === undefined || own === undefined) return;
		const { sharing } = bench;
		const edges = statements.flatMap((theirs) => {
			if (theirs.author === own.author || statementFlaw(bench, own.commitment, theirs) !== undefined)
				return [];
			const mine = statedMask(sharing, own, theirs.author);
			const other = statedMask(sharing, theirs, own.author);
			const seed = this.#contributor.pairSeedTo(theirs.author);
			if (mine === undefined || other === undefined || seed === undefined || equalBytes(mine, other))
				return [];
			return [{ peer: theirs.author, seed }];
		});
		out.send(this.#context.coordinator, { kind: "edgeSeeds", sid: sharing.roster.sid, edges });
	}

	/**
	 * Keeps a screening, and judges it if this node can.
	 * @returns what is wrong with its form, or undefined
	 */
	learn(screening: Screening): string | undefined {
		const { bench } = this;
		const key = toHex(screeningHash(screening));
		if (this.#known.size < MAX_SCREENINGS) this.#known.set(key, screening);
		if (bench === undefined) return undefined;
		if (this.#judged.has(key) || this.#judged.size >= MAX_SCREENINGS) return undefined;
		const flaw = screeningFlaw(bench, screening);
		if (flaw === undefined) {
			this.#sound.add(key);
			this.#judge(key);
		}
		return flaw;
	}

	/** Judges a screening of sound form once everything that was opened for it is here. */
	#judge(key: string): void {
		const { bench } = this;
		const screening = this.#known.get(key);
		if (bench === undefined || screening === undefined || !this.#sound.has(key) || this.#judged.has(key))
			return;
		if (!this.#context.openings.holds(openedClaims(screening))) return;
		this.#judged.set(key, { screening, verdict: judge(bench, screening) });
	}

	/** Whether all that holders opened for a proposal's screening is here, as far as this node would judge it. */
	holdsAll({ screening }: Proposal): boolean {
		const key = screening && toHex(screening);
		const known = key === undefined || !this.#sound.has(key) ? undefined : this.#known.get(key);
		return known === undefined || this.#context.openings.holds(openedClaims(known));
	}

	/**
	 * Judges a proposal's screening, or asks somebody for what was opened for it and is not here.
	 * @returns false while something is missing
	 */
	complete(proposal: Proposal, out: Outbox): boolean {
		const key = proposal.screening && toHex(proposal.screening);
		const known = key === undefined || !this.#sound.has(key) ? undefined : this.#known.get(key);
		if (key === undefined || known === undefined || this.#judged.has(key)) return true;
		if (!this.#context.openings.complete(openedClaims(known), out)) return false;
		this.#judge(key);
		return true;
	}

	/** The screening that a proposal names, if this node knows it. */
	screeningOf({ screening }: Proposal): Screening | undefined {
		return screening && this.#known.get(toHex(screening));
	}

	/** Whether this node can tell what becomes of the sum: it knows the screening and the share set. */
	hasJudged({ screening }: Proposal): boolean {
		return screening !== undefined && this.#judged.has(toHex(screening));
	}

	/** What is wrong with a proposal's survivors by the screening it names, or undefined. */
	survivorsFlaw(proposal: Proposal): string | undefined {
		if (this.#context.config.screening === undefined)
			return proposal.screening === undefined ? undefined : "it names a screening where there is none";
		const judged = proposal.screening && this.#judged.get(toHex(proposal.screening));
		if (judged === undefined) return "it comes without the screening of its inputs";
		const { passed } = judged.verdict;
		const { graph } = this.#context;
		const survivors = survivorsOf(graph, proposal);
		const unscreened = survivors.find((survivor) => !passed.includes(survivor));
		if (unscreened !== undefined) return `the input of ${unscreened} did not pass its screening`;
		if (survivors.length < passed.length) return "it leaves out an input that passed its screening";
		const screened = judged.screening.metas.filter(({ author }) => survivors.includes(author));
		const tree = cohortTree(graph, new Map(screened.map((meta) => [meta.author, meta])), metaLeaf);
		return equalBytes(tree.root, proposal.metaTree) ? undefined : "its inputs are not the screened ones";
	}

	/** True when a known screening left this node's input out. */
	leftOut({ screening }: Proposal): boolean {
		const judged = screening && this.#judged.get(toHex(screening));
		return judged !== undefined && !judged.verdict.passed.includes(this.#context.self);
	}

	/** The work that shows what the statements said of masks that are open now, and of each bucket's sum. */
	openedTask(
		proposal: Proposal,
		masks: MaskRemoval,
		packedSums: readonly Uint8Array[],
	): AggregationTask | undefined {
		const { bench } = this;
		const screening = this.screeningOf(proposal);
		if (bench === undefined || screening === undefined) return undefined;
		const commitment = commitmentOf(bench.sharing, screening.metas);
		const basis = basisOf(commitment, bench.rules, screening.sketches);
		const dropped = [...droppedMaskKeys(masks)].map(({ key }) => key);
		return signsTask(bench, basis, packedSums, [...selfMaskKeys(masks), ...dropped]);
	}

	/** The outcome, from the answer to {@link openedTask}. */
	outcome(
		proposal: Proposal,
		masks: MaskRemoval,
		result: AggregationTaskResult,
		sum: Uint32Array,
	): ScreeningOutcome | undefined {
		const { bench } = this;
		const judged = proposal.screening && this.#judged.get(toHex(proposal.screening));
		if (bench === undefined || judged === undefined || result.kind !== "signs") return undefined;
		const survivors = survivorsOf(this.#context.graph, proposal);
		const opened: OpenedMasks = {
			self: new Map(survivors.map((peer, i) => [peer, result.keys[i] as Uint8Array])),
			dropped: new Map(
				[...droppedMaskKeys(masks)].map(({ survivor, gone }, i) => [
					`${survivor} ${gone}`,
					result.keys[survivors.length + i] as Uint8Array,
				]),
			),
			sums: result.vectors,
			sumNorms: sumsByBucket(this.#context, sum).map((one) =>
				normOf(one.subarray(0, bench.rules.coordinates), bench.modulusBits),
			),
		};
		return outcomeOf(bench, proposal, judged.screening, judged.verdict, opened);
	}
}

/** L2 norm of centred residues. */
function normOf(values: Uint32Array, modulusBits: ModulusBits): number {
	let squares = 0;
	for (const value of values) {
		const centred = centredResidue(value, modulusBits);
		squares += centred * centred;
	}
	return Math.sqrt(squares);
}

/** What a node judges screenings by. */
export function benchOf(
	{ config, openings }: Context,
	sharing: Bench["sharing"] | undefined,
): Bench | undefined {
	const { screening: rules, length, modulusBits } = config;
	if (rules === undefined || sharing === undefined) return undefined;
	const { members } = config.electorate;
	return { sharing, rules, members, length, modulusBits, openedBy: (claim) => openings.partOf(claim) };
}

/** What holders signed for in a screening's selection. */
function openedClaims({ products }: Screening): PartClaim[] {
	return (products ?? []).map(({ author, opened }) => ({ author, hash: opened }));
}

/** The statements of mates that contradict a member's own, for it to answer. */
export function contradicting(
	disputes: Verdict["disputes"],
	member: PeerId,
	statements: ReadonlyMap<PeerId, ScreenStatement>,
): ScreenStatement[] {
	return disputes.flatMap((ends) => {
		if (!ends.includes(member)) return [];
		const mate = ends.find((end) => end !== member) as PeerId;
		return [statements.get(mate) as ScreenStatement];
	});
}
