/** What the coordinator collects in phases 0 to 2, each piece checked as it arrives. */
import { equalBytes } from "../../crypto/encoding.ts";
import type { MerkleTree } from "../../crypto/merkle.ts";
import { isPacked, packedSize } from "../../crypto/ringPacking.ts";
import { SEALED_SHARE_BYTES, SHARE_LEAF_BYTES, sharingTree } from "../../crypto/verifiableSharing.ts";
import type { PeerId } from "../contract.ts";
import { fillBuffer } from "./admission.ts";
import { BucketSums } from "./bucketSums.ts";
import {
	advertFlaw,
	bundleFlaw,
	bundleLeaf,
	cohortTree,
	metaLeaf,
	neighbourhoodOf,
	partOfTree,
	type Roster,
	rosterOf,
	type Sharing,
	shareSetHashOf,
	smallestRoster,
} from "./cohort.ts";
import type { Context } from "./context.ts";
import { soundOpenedShare } from "./contributor.ts";
import { encodeMembers } from "./memberSet.ts";
import type { Advert, Bundle, Complaint, Evidence, InputMeta, MessageOf, OpenedShare } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import { claimsOf } from "./publicParts.ts";
import { SealedShares } from "./sealedShares.ts";
import { vectorHash } from "./sessionId.ts";
import { canonical, isAuthentic } from "./statements.ts";

export class Collection {
	readonly #context: Context;
	readonly #adverts = new Map<PeerId, Advert>();
	readonly #bundles = new Map<PeerId, Bundle>();
	/** Until U2 is fixed. */
	readonly #sealed = new SealedShares();
	readonly #acknowledged = new Set<PeerId>();
	/** Complaints not answered yet, by dealer and holder. */
	readonly #complaints = new Map<PeerId, Map<PeerId, Complaint>>();
	readonly #opened: OpenedShare[] = [];
	readonly #disproved = new Set<PeerId>();
	readonly #metas = new Map<PeerId, InputMeta>();
	/** The masked inputs added up so far. */
	readonly sum: BucketSums;
	/** Where some may yet be left out (screened, or without their public part), the masked inputs themselves. */
	readonly inputs = new Map<PeerId, Uint8Array>();
	roster: Roster | undefined;
	sharing: Sharing | undefined;
	#rosterTree: MerkleTree | undefined;
	#shareTree: MerkleTree | undefined;
	#metaTree: MerkleTree | undefined;

	/** @param sumWorkId names the additions of inputs */
	constructor(context: Context, sumWorkId: string) {
		this.#context = context;
		this.sum = new BucketSums(context, sumWorkId);
	}

	// Phase 0

	withoutAdvert(): PeerId[] {
		return this.#context.selected.filter((member) => !this.#adverts.has(member));
	}

	/** True when nothing is gained by waiting for further adverts: everybody answered, or the buffer is full. */
	get rosterComplete(): boolean {
		const { buffer } = this.#context.config;
		if (buffer !== undefined) return this.#adverts.size >= buffer.capacity;
		return this.#context.awaited(this.withoutAdvert()).length === 0;
	}

	/** Whether the adverts here make a roster. */
	get rosterPossible(): boolean {
		return this.#adverts.size >= smallestRoster(this.#context.config.minimumSurvivors);
	}

	/** A later advert replaces an earlier one: its author restarted before the roster was fixed. */
	addAdvert(advert: Advert, from: PeerId, out: Outbox): void {
		const { sidPre, admission } = this.#context;
		const flaw = advert.author === from ? advertFlaw(advert, sidPre, admission) : "it was signed by another";
		if (flaw === undefined) this.#adverts.set(from, advert);
		else out.fault(from, "bad_advert", `The session keys of ${from} are refused: ${flaw}.`);
	}

	/** @throws AlthingError `aggregation.bad_roster` when too few answered */
	fixRoster(): Roster {
		const { config, sidPre, graph } = this.#context;
		const { capacity = this.#adverts.size } = config.buffer ?? {};
		const taken = fillBuffer([...this.#adverts.values()], sidPre, capacity);
		const adverts = new Map(taken.map((advert) => [advert.author, advert]));
		const { roster, tree } = rosterOf(adverts, graph, sidPre, config.minimumSurvivors);
		this.#rosterTree = tree;
		this.roster = roster;
		return roster;
	}

	/** What `member` is shown of the roster. */
	rosterFor(member: PeerId): Omit<MessageOf<"roster">, "kind" | "header"> {
		const { graph } = this.#context;
		const around = neighbourhoodOf(graph, member);
		const { root, proof } = partOfTree(graph, this.#rosterTree as MerkleTree, around);
		return {
			members: encodeMembers(graph.members, this.roster?.members ?? []),
			root,
			adverts: around.flatMap((peer) => this.roster?.adverts.get(peer) ?? []),
			proof: [...proof],
		};
	}

	// Phase 1

	withoutBundle(): PeerId[] {
		return this.roster?.members.filter((member) => !this.#bundles.has(member)) ?? [];
	}

	addBundle({ bundle, leaves, sealed }: MessageOf<"bundle">, from: PeerId, out: Outbox): void {
		const roster = this.roster;
		if (roster === undefined) return;
		const known = this.#bundles.get(from);
		if (known !== undefined) {
			if (bundle.author === from && isAuthentic(bundle) && !equalBytes(canonical(known), canonical(bundle))) {
				out.fault(from, "equivocation", `${from} signed two different sharings.`, [
					canonical(known),
					canonical(bundle),
				]);
			}
			return;
		}
		const holders = roster.graph.holdersOf(from).length;
		const flaw =
			bundle.author !== from
				? "it was signed by another"
				: (bundleFlaw(bundle, roster) ??
					(leaves.length !== holders * SHARE_LEAF_BYTES ||
					sealed.length !== holders * SEALED_SHARE_BYTES ||
					!equalBytes(sharingTree(leaves, sealed).root, bundle.root)
						? "its sealed shares are not the signed ones"
						: undefined));
		if (flaw !== undefined) {
			out.fault(from, "bad_bundle", `The sharing of ${from} is refused: ${flaw}.`);
			return;
		}
		this.#bundles.set(from, bundle);
		this.#sealed.keep(from, { leaves, sealed });
	}

	/** What `holder` needs of every neighbour's sharing. */
	sharesFor(holder: PeerId): MessageOf<"shares">["dealt"] {
		const { graph } = this.#context;
		const neighbours = graph.neighboursOf(holder);
		return neighbours.flatMap((dealer) => {
			const bundle = this.#bundles.get(dealer);
			if (bundle === undefined) return [];
			const position = graph.holdersOf(dealer).indexOf(holder);
			if (position < 0) return [{ bundle, sealed: new Uint8Array(), path: new Uint8Array() }];
			return [{ bundle, ...this.#sealed.shareOf(dealer, position, neighbours.length) }];
		});
	}

	dealers(): PeerId[] {
		return [...this.#bundles.keys()].sort();
	}

	/** In the graph's order, so that those who follow each other have most of their dealers in common. */
	withoutAck(): PeerId[] {
		return this.#context.graph.order.filter(
			(dealer) => this.#bundles.has(dealer) && !this.#acknowledged.has(dealer),
		);
	}

	addAck({ complaints }: MessageOf<"ack">, from: PeerId): void {
		const sid = this.roster?.sid;
		if (sid === undefined || !this.#bundles.has(from)) return;
		this.#acknowledged.add(from);
		for (const complaint of complaints) {
			const { author, dealer } = complaint;
			if (author !== from || !this.#bundles.has(dealer) || !equalBytes(complaint.sid, sid)) continue;
			if (this.#opened.some((known) => known.author === dealer && known.holder === author)) continue;
			if (!isAuthentic(complaint)) continue;
			const against = this.#complaints.get(dealer) ?? new Map<PeerId, Complaint>();
			this.#complaints.set(dealer, against.set(author, complaint));
		}
	}

	/** Unanswered complaints against dealers not yet disproved. */
	openComplaints(): Map<PeerId, Complaint[]> {
		const open = new Map<PeerId, Complaint[]>();
		for (const [dealer, against] of this.#complaints) {
			if (against.size > 0 && !this.#disproved.has(dealer)) open.set(dealer, [...against.values()]);
		}
		return open;
	}

	addOpenedShare(opened: OpenedShare, from: PeerId, out: Outbox): void {
		const { roster } = this;
		const against = this.#complaints.get(from);
		const bundle = this.#bundles.get(from);
		if (
			roster === undefined ||
			bundle === undefined ||
			opened.author !== from ||
			!against?.has(opened.holder)
		)
			return;
		if (!equalBytes(opened.sid, roster.sid) || !isAuthentic(opened)) return;
		if (soundOpenedShare(roster, bundle, opened) !== undefined) {
			against.delete(opened.holder);
			this.#opened.push(opened);
			return;
		}
		this.#disproved.add(from);
		out.fault(from, "bad_dealer", `${from} opened a share that is not on its committed polynomials.`, [
			canonical(bundle),
			canonical(opened),
		]);
	}

	/** Fixes U2: dealers that acknowledged and whom nobody still doubts. */
	fixCohort(): Sharing {
		const { graph } = this.#context;
		const doubted = this.openComplaints();
		const cohort = this.dealers().filter(
			(dealer) => this.#acknowledged.has(dealer) && !doubted.has(dealer) && !this.#disproved.has(dealer),
		);
		const roster = this.roster as Roster;
		const bundles = new Map(cohort.map((dealer) => [dealer, this.#bundles.get(dealer) as Bundle]));
		this.#shareTree = cohortTree(graph, bundles, bundleLeaf);
		const bits = encodeMembers(graph.members, cohort);
		const shareSetHash = shareSetHashOf(roster.sid, bits, this.#shareTree.root);
		this.sharing = { roster, cohort, bundles, shareSetHash };
		this.#sealed.clear();
		return this.sharing;
	}

	/** What `member` is shown of the share set. */
	shareSetFor(member: PeerId): Omit<MessageOf<"shareSet">, "kind" | "header"> {
		const { graph } = this.#context;
		const { root, proof } = partOfTree(graph, this.#shareTree as MerkleTree, neighbourhoodOf(graph, member));
		return {
			cohort: encodeMembers(graph.members, this.sharing?.cohort ?? []),
			root,
			proof: [...proof],
			opened: this.#opened.filter(({ holder }) => holder === member),
		};
	}

	get shareTreeRoot(): Uint8Array | undefined {
		return this.#shareTree?.root;
	}

	// Phase 2

	withoutInput(): PeerId[] {
		return this.sharing?.cohort.filter((member) => !this.#isComplete(member)) ?? [];
	}

	/** True when as many inputs are here as the round is for: later ones are dropouts. */
	get hasEnoughInputs(): boolean {
		const { enoughInputs } = this.#context.config;
		return enoughInputs !== undefined && this.metas().length >= enoughInputs;
	}

	/** Takes a masked input. @returns true when it is held, now or before: send a receipt */
	addInput(meta: InputMeta, from: PeerId, blob: Uint8Array | undefined, out: Outbox): boolean {
		const sharing = this.sharing;
		const { length, modulusBits } = this.#context.config;
		if (sharing === undefined || !sharing.cohort.includes(from)) return false;
		const refuse = (why: string): false => {
			out.fault(from, "bad_input", `The masked input of ${from} is refused: ${why}.`);
			return false;
		};
		if (meta.author !== from) return refuse("it was signed by another");
		if (!isAuthentic(meta)) return refuse("its signature is wrong");
		if (!equalBytes(meta.sid, sharing.roster.sid) || !equalBytes(meta.shareSetHash, sharing.shareSetHash)) {
			return refuse("it was made for another session or share set");
		}
		if ((meta.publicHash === undefined) !== (this.#context.config.publicBytes === undefined))
			return refuse("it has not the public part that the job asks for");
		const known = this.#metas.get(from);
		if (known !== undefined) {
			if (equalBytes(canonical(known), canonical(meta))) return this.#isComplete(from);
			out.fault(from, "equivocation", `${from} signed two different inputs in one session.`, [
				canonical(known),
				canonical(meta),
			]);
			return false;
		}
		if (blob === undefined || !isPacked(blob, modulusBits, length)) {
			const expected = packedSize(length, modulusBits);
			return refuse(`its ${blob?.length ?? 0} bytes are no packed vector of ${expected}`);
		}
		if (!equalBytes(vectorHash(blob), meta.inputHash))
			return refuse("it is not the vector its author signed");
		this.#metas.set(from, meta);
		if (this.#context.selects) this.inputs.set(from, blob);
		else this.sum.add(from, blob, out);
		return this.#isComplete(from);
	}

	/** The masked input is here, and the public part if it has one. */
	#isComplete(member: PeerId): boolean {
		const meta = this.#metas.get(member);
		return meta !== undefined && this.#context.parts.holds(claimsOf([meta]));
	}

	/** The signed meta of a member whose input is in the sum. */
	metaOf(member: PeerId): InputMeta | undefined {
		return this.#metas.get(member);
	}

	/** Signed metas of everybody whose input is here, sorted. */
	metas(): InputMeta[] {
		const complete = [...this.#metas.values()].filter(({ author }) => this.#isComplete(author));
		return complete.sort((a, b) => (a.author < b.author ? -1 : 1));
	}

	/** Leaves everybody else out, and adds these inputs up. */
	pass(passed: readonly PeerId[], out: Outbox): void {
		for (const author of [...this.#metas.keys()]) if (!passed.includes(author)) this.#metas.delete(author);
		this.sum.addAll(new Map(passed.map((author) => [author, this.inputs.get(author) as Uint8Array])), out);
		this.inputs.clear();
	}

	/** Fixes the tree over the signed inputs that are in the sum. @returns its root */
	fixMetas(): Uint8Array {
		this.#metaTree = cohortTree(this.#context.graph, this.#metas, metaLeaf);
		return this.#metaTree.root;
	}

	/** What `member` is shown of the signed inputs; undefined where this node did not collect them. */
	evidenceFor(member: PeerId): Evidence | undefined {
		const { graph } = this.#context;
		if (this.#metaTree === undefined) return undefined;
		const around = graph.positionOf(member) < 0 ? [] : neighbourhoodOf(graph, member);
		const { proof } = partOfTree(graph, this.#metaTree, around);
		return { metas: around.flatMap((peer) => this.#metas.get(peer) ?? []), proof: [...proof] };
	}
}
