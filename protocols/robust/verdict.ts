/**
 * Who passes a screening, worked out by everybody from the same signed statements.
 *
 * u states <R, y_u>, <R, PRG(b_u)> and <R, PRG(s_uv)> for each of its mates v, for 16 rows R of signs drawn
 * from the hash of all masked inputs. What is left when the masks are taken off is e_u = <R, x_u>. Of what
 * u may state falsely, a mate's mask contradicts the mate; its own mask, and masks towards members that
 * drop out, contradict what the certificate opens; its input contradicts the vector that the coordinator
 * holds and, should the coordinator look away, the opened sum. An input that is too long, stated truly, is
 * its author's own signed confession.
 */
import { equalBytes } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import { isPacked, type ModulusBits, packRing, unpackRing } from "../../crypto/ringPacking.ts";
import { centredResidue, SIGN_PROJECTIONS, SQUARES_LIMIT } from "../../crypto/signProjection.ts";
import { byBucket } from "../aggregation/bucketGraph.ts";
import { maskMates, type Sharing } from "../aggregation/cohort.ts";
import { type AggregationTask, runAggregationTask } from "../aggregation/masking.ts";
import type { Proposal, Screening, ScreenStatement, Sketch } from "../aggregation/messages.ts";
import { isEdgeSeed } from "../aggregation/opening.ts";
import { droppedOf, survivorsOf } from "../aggregation/proposal.ts";
import { canonical, isAuthentic } from "../aggregation/statements.ts";
import type { PeerId } from "../contract.ts";
import type { Offence, Offender, ScreeningOutcome, ScreeningRules } from "./outcome.ts";
import { alignmentOf, isPossible, leftOutByReputation, projectionsOf } from "./reputation.ts";
import { type OpenedBy, openedSketches, productsFlaw, sketchFlaw } from "./selection.ts";
import { combinationSeed, sketchSeed } from "./sketching.ts";

const DOMAIN = "althing/screening/1";

/** Whom each member of U2 is masked against, and in which place it states the mask. */
const graphs = new WeakMap<Sharing, ReadonlyMap<PeerId, ReadonlyMap<PeerId, number>>>();

function matesOf(sharing: Sharing, member: PeerId): ReadonlyMap<PeerId, number> {
	let graph = graphs.get(sharing);
	if (graph === undefined) {
		graph = new Map(
			sharing.cohort.map((u) => [u, new Map(maskMates(sharing, u).map((mate, place) => [mate, place]))]),
		);
		graphs.set(sharing, graph);
	}
	return graph.get(member) ?? new Map();
}

/** Binds the projections to every masked input: the hash of the signed metas. */
export function commitmentOf(sharing: Sharing, metas: Screening["metas"]): Uint8Array {
	return hashFields(
		`${DOMAIN}/commitment`,
		sharing.roster.sid,
		sharing.shareSetHash,
		...metas.map((meta) => canonical(meta)),
	);
}

/** The public rows that everybody's statement is about. */
export interface Basis {
	/** What they are drawn from; statements name it. */
	readonly hash: Uint8Array;
	readonly seed: Uint8Array;
	/** With a selection: the rows are combinations of the sketches' rows. */
	readonly combination?: Uint8Array | undefined;
}

/** @param sketches everybody's, with a selection; they are fixed before the combinations are drawn */
export function basisOf(
	commitment: Uint8Array,
	rules: ScreeningRules,
	sketches: readonly Sketch[] | undefined,
): Basis {
	if (rules.selection === undefined)
		return { hash: commitment, seed: hashFields(`${DOMAIN}/signs`, commitment) };
	const hash = hashFields(
		`${DOMAIN}/sketches`,
		commitment,
		...(sketches ?? []).map((sketch) => canonical(sketch)),
	);
	return { hash, seed: sketchSeed(commitment), combination: combinationSeed(hash) };
}

/** The work of projecting vectors, and the masks that keys expand to, on a basis. */
export function signsTask(
	{ rules, length, modulusBits }: Bench,
	{ seed, combination, hash }: Basis,
	vectors: readonly Uint8Array[],
	keys: readonly Uint8Array[],
): Extract<AggregationTask, { kind: "signs" }> {
	return {
		kind: "signs",
		seed,
		combination,
		direction: rules.reputation?.direction && {
			seed: hashFields(`${DOMAIN}/direction`, hash),
			values: rules.reputation.direction,
		},
		coordinates: rules.coordinates,
		vectors,
		keys,
		length,
		modulusBits,
	};
}

export function screeningHash(screening: Screening): Uint8Array {
	return hashFields(`${DOMAIN}/screening`, canonical(screening));
}

/** What one session's screening is judged by. */
export interface Bench {
	readonly sharing: Sharing;
	readonly rules: ScreeningRules;
	/** Everybody who votes; a reputation has a score of each. */
	readonly members: readonly PeerId[];
	readonly length: number;
	readonly modulusBits: ModulusBits;
	/** With a selection: what holders opened, by what they signed for. */
	readonly openedBy: OpenedBy;
}

/** Checks the metas that a screening is about; returns what is wrong, or undefined. */
export function metasFlaw(
	{ roster, cohort, shareSetHash }: Sharing,
	metas: Screening["metas"],
): string | undefined {
	for (const [i, meta] of metas.entries()) {
		if (i > 0 && (metas[i - 1] as { author: PeerId }).author >= meta.author)
			return "its inputs are not sorted";
		if (!cohort.includes(meta.author)) return `${meta.author} has no place in it`;
		if (!equalBytes(meta.sid, roster.sid) || !equalBytes(meta.shareSetHash, shareSetHash))
			return `the input of ${meta.author} was made for another session or share set`;
		if (!isAuthentic(meta)) return `the input of ${meta.author} is not signed by it`;
	}
	return undefined;
}

/** Checks a statement by itself; returns what is wrong, or undefined. */
export function statementFlaw(
	{ sharing, modulusBits, rules }: Pick<Bench, "sharing" | "modulusBits" | "rules">,
	basis: Uint8Array,
	statement: ScreenStatement,
): string | undefined {
	const { author, input, self, mates } = statement;
	if (!equalBytes(statement.sid, sharing.roster.sid)) return "it belongs to another session";
	if (!equalBytes(statement.commitment, basis)) return "it is about other inputs";
	const sound = (packed: Uint8Array) => isPacked(packed, modulusBits, projectionsOf(rules));
	const expected = matesOf(sharing, author).size;
	if (mates.length !== expected || ![input, self, ...mates].every(sound)) return "it has a wrong size";
	if (!isAuthentic(statement)) return "it is not signed by its author";
	return undefined;
}

/** Checks the form of a screening: what any coordinator can and must get right. Returns what is wrong, or undefined. */
export function screeningFlaw(bench: Bench, screening: Screening): string | undefined {
	const { sharing, rules } = bench;
	const { metas, statements, edges, sketches, products } = screening;
	const flaw = metasFlaw(sharing, metas);
	if (flaw !== undefined) return flaw;
	const commitment = commitmentOf(sharing, metas);
	const basis = basisOf(commitment, rules, sketches);
	const authors = metas.map(({ author }) => author);
	const selecting = rules.selection !== undefined;
	if ((sketches !== undefined) !== selecting || (products !== undefined) !== selecting)
		return "it has sketches where there is no selection, or none where there is one";
	for (const sketch of sketches ?? []) {
		const wrong = sketchFlaw(bench, commitment, sketch);
		if (wrong !== undefined) return `the sketch of ${sketch.author} is refused: ${wrong}`;
	}
	for (const one of products ?? []) {
		const wrong = productsFlaw(bench, basis.hash, sketches?.length ?? 0, one);
		if (wrong !== undefined) return `what ${one.author} opened is refused: ${wrong}`;
	}
	if (!isSubset(authors, sketches) || !isSubset(authors, products))
		return "its sketches or what was opened of them are not sorted, or of others than the inputs";
	for (const [i, statement] of statements.entries()) {
		if (i > 0 && (statements[i - 1] as ScreenStatement).author >= statement.author)
			return "its statements are not sorted";
		if (!metas.some(({ author }) => author === statement.author))
			return `${statement.author} states something about no input`;
		const wrong = statementFlaw(bench, basis.hash, statement);
		if (wrong !== undefined) return `the statement of ${statement.author} is refused: ${wrong}`;
	}
	const wrongEdge = edges.find(({ low, high, seed }) => low >= high || !isEdgeSeed(sharing, low, high, seed));
	return wrongEdge === undefined
		? undefined
		: `the seed between ${wrongEdge.low} and ${wrongEdge.high} is not the tagged one`;
}

export interface Verdict {
	/** Sorted; who may be in the sum. */
	readonly passed: readonly PeerId[];
	readonly offenders: readonly Offender[];
	/** Pairs that contradict each other without an opened seed. */
	readonly disputes: readonly (readonly [PeerId, PeerId])[];
	/** e_u by author. */
	readonly projections: ReadonlyMap<PeerId, Int32Array>;
	/** Estimated L2 norms by author. */
	readonly norms: ReadonlyMap<PeerId, number>;
	/** With a reputation: agreement of those within the bound. */
	readonly alignments: ReadonlyMap<PeerId, number>;
	/** With a reputation: sorted; who would have passed without it. */
	readonly leftOut: readonly PeerId[];
}

/** The verdict on a screening whose form was checked and, with a selection, all of whose openings are here. */
export function judge(bench: Bench, screening: Screening): Verdict {
	const { sharing, modulusBits, rules } = bench;
	const { metas, statements, edges, leftOut } = screening;
	const basis = basisOf(commitmentOf(sharing, metas), rules, screening.sketches);
	const opened = openedSketches(bench, screening, basis);
	const stated = new Map(statements.map((statement) => [statement.author, statement]));
	const offences = new Map<PeerId, Offence>();
	const norms = new Map<PeerId, number>();
	const projections = new Map<PeerId, Int32Array>();
	const limit = SQUARES_LIMIT * rules.normBound * rules.normBound;
	for (const statement of statements) {
		const projected = inputProjections(bench, statement);
		const { author } = statement;
		projections.set(author, projected);
		if (opened !== undefined) {
			const offence = opened.offenceOf(author, projected, rules.normBound, modulusBits);
			if (offence !== undefined) offences.set(author, offence);
			norms.set(author, opened.normOf(author));
			continue;
		}
		if (squaresOf(projected) > limit || !isPossible(projected, rules)) offences.set(author, "too_long");
		norms.set(author, Math.sqrt(squaresOf(projected) / (SIGN_PROJECTIONS / 2)));
	}
	const disputes: [PeerId, PeerId][] = [];
	for (const [low, high] of contradictions(sharing, stated)) {
		// Who lied once is out: what else it says of its masks is no evidence against anybody.
		if (offences.get(low) === "wrong_mask" || offences.get(high) === "wrong_mask") continue;
		const edge = edges.find((one) => one.low === low && one.high === high);
		if (edge === undefined) {
			disputes.push([low, high]);
			continue;
		}
		const result = runAggregationTask(signsTask(bench, basis, [], [edge.seed]));
		const truth = result.kind === "signs" ? (result.keys[0] as Uint8Array) : new Uint8Array();
		for (const [end, mate] of [
			[low, high],
			[high, low],
		] as const) {
			const claim = statedMask(sharing, stated.get(end) as ScreenStatement, mate);
			if (claim !== undefined && !equalBytes(claim, truth)) offences.set(end, "wrong_mask");
		}
	}
	const open = disputes.filter(
		([low, high]) => !liedAboutMasks(offences, low) && !liedAboutMasks(offences, high),
	);
	const doubted = new Set(open.flat());
	const out = new Set([...offences.keys(), ...doubted, ...leftOut]);
	const kept = [...stated.keys()].filter((peer) => !out.has(peer)).sort();
	const alignments = new Map<PeerId, number>();
	for (const peer of kept) {
		const alignment = alignmentOf(projections.get(peer) as Int32Array, rules);
		if (alignment !== undefined) alignments.set(peer, alignment);
	}
	const reputed = leftOutByReputation(bench.members, rules, kept, alignments, offences.size);
	return {
		passed:
			opened === undefined
				? openable(
						sharing,
						kept.filter((peer) => !reputed.includes(peer)),
						offences.size,
					)
				: opened.select(kept, offences.size),
		alignments,
		leftOut: reputed,
		offenders: sorted(offences),
		disputes: open,
		projections,
		norms,
	};
}

/** Those whose sums may be opened: everybody or, in buckets, of buckets that are full enough if enough are. */
function openable(
	{ roster: { graph } }: Sharing,
	kept: readonly PeerId[],
	proven: number,
): readonly PeerId[] {
	const left = graph.openable(kept);
	const buckets = new Set(left.map((peer) => graph.bucketOf(peer)));
	return buckets.size >= graph.leastBuckets(proven) ? left : [];
}

/** Edges whose two ends state different masks, in order. */
export function contradictions(
	sharing: Sharing,
	stated: ReadonlyMap<PeerId, ScreenStatement>,
): (readonly [PeerId, PeerId])[] {
	const found: (readonly [PeerId, PeerId])[] = [];
	for (const low of [...stated.keys()].sort()) {
		for (const [high, place] of matesOf(sharing, low)) {
			const other = low < high ? stated.get(high) : undefined;
			if (other === undefined) continue;
			const own = (stated.get(low) as ScreenStatement).mates[place] as Uint8Array;
			const theirs = statedMask(sharing, other, low);
			if (theirs === undefined || !equalBytes(own, theirs)) found.push([low, high]);
		}
	}
	return found;
}

/** What a statement says of the mask with a mate. */
export function statedMask(
	sharing: Sharing,
	statement: ScreenStatement,
	mate: PeerId,
): Uint8Array | undefined {
	return statement.mates[matesOf(sharing, statement.author).get(mate) ?? -1];
}

/** Projections of what the certificate opened: of self masks by survivor, of masks towards members that dropped out. */
export interface OpenedMasks {
	readonly self: ReadonlyMap<PeerId, Uint8Array>;
	/** By `${survivor} ${dropped}`. */
	readonly dropped: ReadonlyMap<string, Uint8Array>;
	/** Of each bucket's opened sum. */
	readonly sums: readonly Uint8Array[];
	/** L2 norms of these sums over the screened coordinates, as centred residues. */
	readonly sumNorms: readonly number[];
}

/** The outcome once the sum is opened: the same for everybody that has it. */
export function outcomeOf(
	bench: Bench,
	proposal: Proposal,
	screening: Screening,
	verdict: Verdict,
	opened: OpenedMasks,
): ScreeningOutcome {
	const { sharing, modulusBits, rules } = bench;
	const { graph } = sharing.roster;
	const survivors = survivorsOf(graph, proposal);
	const dropped = new Set(droppedOf(graph, proposal));
	const offences = new Map(verdict.offenders.map(({ peer, offence }) => [peer, offence]));
	const totals = Array.from({ length: graph.bucketCount }, () => new Uint32Array(projectionsOf(rules)));
	const sizes = byBucket(graph, survivors).map(({ length }) => length);
	let sound = true;
	const blame = (peer: PeerId, offence: Offence) => {
		offences.set(peer, offence);
		sound = false;
	};
	for (const statement of screening.statements) {
		const { author, self } = statement;
		if (!survivors.includes(author)) continue;
		if (!equalBytes(self, opened.self.get(author) ?? new Uint8Array())) blame(author, "wrong_self_mask");
		for (const gone of matesOf(sharing, author).keys()) {
			if (!dropped.has(gone)) continue;
			const claim = statedMask(sharing, statement, gone);
			const truth = opened.dropped.get(`${author} ${gone}`);
			if (claim === undefined || truth === undefined || !equalBytes(claim, truth))
				blame(author, "wrong_mask");
		}
		const total = totals[graph.bucketOf(author)] as Uint32Array;
		for (const [k, value] of (verdict.projections.get(author) as Int32Array).entries())
			total[k] = (total[k] as number) + value;
	}
	// All masks are true and mates agree: then only inputs can be stated falsely, which the proposer, who
	// holds them, has to notice.
	const differs = (total: Uint32Array, bucket: number) =>
		!equalBytes(packRing(total, modulusBits), opened.sums[bucket] ?? new Uint8Array());
	if (sound && totals.some(differs)) blame(proposal.proposer, "wrong_input");
	// Inputs that keep to the bound have a sum that does. One that passed by luck, with 2^-16 a try, can do no
	// more than void the round.
	if (opened.sumNorms.some((norm, bucket) => norm > (sizes[bucket] as number) * rules.normBound))
		sound = false;
	const norms = survivors.map((survivor) => verdict.norms.get(survivor) ?? 0);
	const { alignments, leftOut } = verdict;
	return {
		sound,
		offenders: sorted(offences),
		norms,
		...(rules.reputation === undefined ? {} : { alignments, leftOut }),
	};
}

/** e_u = <R, x_u>: what is left of a statement when its masks are taken off. */
function inputProjections({ sharing, modulusBits, rules }: Bench, statement: ScreenStatement): Int32Array {
	const count = projectionsOf(rules);
	const { author, input, self, mates } = statement;
	const values = unpackRing(input, modulusBits, count);
	const take = (packed: Uint8Array, sign: 1 | -1) => {
		for (const [k, value] of unpackRing(packed, modulusBits, count).entries())
			values[k] = (values[k] as number) + sign * value;
	};
	take(self, -1);
	// The author added the mask where it sorts first, else subtracted it.
	for (const [mate, place] of matesOf(sharing, author))
		take(mates[place] as Uint8Array, author < mate ? -1 : 1);
	return Int32Array.from(values, (value) => centredResidue(value, modulusBits));
}

function isSubset(authors: readonly PeerId[], of: readonly { readonly author: PeerId }[] = []): boolean {
	return of.every(
		({ author }, i) => authors.includes(author) && (i === 0 || (of[i - 1]?.author ?? "") < author),
	);
}

function squaresOf(projections: Int32Array): number {
	return projections.subarray(0, SIGN_PROJECTIONS).reduce((sum, value) => sum + value * value, 0);
}

function liedAboutMasks(offences: ReadonlyMap<PeerId, Offence>, peer: PeerId): boolean {
	return offences.get(peer) === "wrong_mask";
}

function sorted(offences: ReadonlyMap<PeerId, Offence>): Offender[] {
	return [...offences]
		.map(([peer, offence]) => ({ peer, offence }))
		.sort((a, b) => (a.peer < b.peer ? -1 : 1));
}
