/** The coordinator's collection of everything an opening needs, each piece checked as it arrives. */
import { equalBytes } from "../../crypto/encoding.ts";
import { checkPart, reconstruct, type SharedPart } from "../../crypto/verifiableSharing.ts";
import type { PeerId } from "../contract.ts";
import { hasEdge, type Sharing } from "./cohort.ts";
import type { Bundle, Certified, MessageOf, OpenedPartMessage, Projection } from "./messages.ts";
import { isEdgeSeed, isMaskSecret, isSelfSeed, type Opening } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import { droppedOf, survivorsOf } from "./proposal.ts";
import { sharingContext } from "./sessionId.ts";
import { isAuthentic, statementHash } from "./statements.ts";

export class Disclosure {
	readonly certified: Certified;
	readonly #sharing: Sharing;
	readonly #survivors: ReadonlySet<PeerId>;
	readonly #dropped: ReadonlySet<PeerId>;
	readonly #seeds = new Map<PeerId, Uint8Array>();
	readonly #maskSecrets = new Map<PeerId, Uint8Array>();
	/** Dropped members that shared another mask key than they advertised: their edges are asked for. */
	readonly #wrongSecrets = new Set<PeerId>();
	/** Seeds of edges to those, by dropped member and survivor. */
	readonly #edges = new Map<PeerId, Map<PeerId, Uint8Array>>();
	/** Verified parts of shares, by target and holder index. */
	readonly #parts = new Map<PeerId, Map<number, Uint8Array>>();
	readonly #revealed = new Set<PeerId>();
	/** Survivors whose projection was found to be false, or could not be confirmed when one was. */
	readonly #doubted = new Set<PeerId>();
	/** Their masked inputs, as far as they are shown. */
	readonly #shown = new Map<PeerId, Uint8Array>();

	/** @param sharing with the adverts and bundles of the whole cohort */
	constructor(certified: Certified, sharing: Sharing) {
		this.certified = certified;
		this.#sharing = sharing;
		const { graph } = sharing.roster;
		this.#survivors = new Set(survivorsOf(graph, certified.proposed.proposal));
		this.#dropped = new Set(droppedOf(graph, certified.proposed.proposal));
	}

	get survivors(): readonly PeerId[] {
		return [...this.#survivors];
	}

	/** Survivors whose reveal has not arrived. */
	silent(): PeerId[] {
		return this.survivors.filter((survivor) => !this.#revealed.has(survivor));
	}

	/** Takes a survivor's own seed; blames it for a seed that is not the committed one. */
	reveal({ reveal, parts }: MessageOf<"reveal">, from: PeerId, out: Outbox): void {
		const { author, proposalHash, seed } = reveal;
		if (author !== from || !this.#survivors.has(author) || this.#revealed.has(author)) return;
		if (!equalBytes(proposalHash, this.certified.certificate.value) || !isAuthentic(reveal)) return;
		this.#revealed.add(author);
		if (isSelfSeed(this.#sharing, author, seed)) this.#seeds.set(author, seed);
		else out.fault(author, "wrong_reveal", `${author} revealed another self seed than it committed to.`);
		this.#takeParts(parts, from, out);
	}

	/** Takes opened parts of shares; reconstructs a secret once t of them are here. */
	reply({ sid, parts }: MessageOf<"shareReply">, from: PeerId, out: Outbox): void {
		if (equalBytes(sid, this.#sharing.roster.sid)) this.#takeParts(parts, from, out);
	}

	#takeParts(parts: readonly OpenedPartMessage[], from: PeerId, out: Outbox): void {
		const { roster, bundles } = this.#sharing;
		for (const opened of parts) {
			const { target, part } = opened;
			const bundle = bundles.get(target);
			if (bundle === undefined || part !== this.#partOf(target)) continue;
			const holders = roster.graph.holdersOf(target);
			const claim = {
				context: sharingContext(roster.sid, target),
				root: bundle.root,
				holders: holders.length,
				part,
				opened,
			};
			if (holders[opened.index - 1] !== from || !checkPart(claim)) {
				out.fault(from, "wrong_share", `${from} opened a share of ${target} that ${target} did not deal.`);
				continue;
			}
			if (!this.#wantsParts(target)) continue;
			const known = this.#parts.get(target) ?? new Map<number, Uint8Array>();
			this.#parts.set(target, known.set(opened.index, opened.value));
			this.#reconstruct(target, part, known, out);
		}
	}

	#reconstruct(target: PeerId, part: SharedPart, parts: ReadonlyMap<number, Uint8Array>, out: Outbox): void {
		const { threshold } = this.#sharing.roster;
		if (parts.size < threshold) return;
		const shares = [...parts].map(([index, share]) => ({ index, share }));
		const secret = reconstruct(shares, threshold, part);
		if (part === "seed" && isSelfSeed(this.#sharing, target, secret)) this.#seeds.set(target, secret);
		else if (part === "maskKey" && isMaskSecret(this.#sharing, target, secret))
			this.#maskSecrets.set(target, secret);
		else {
			if (part === "maskKey") this.#wrongSecrets.add(target);
			out.fault(target, "wrong_secret", `${target} shared another secret than it committed to.`);
		}
	}

	/** Takes seeds of edges to members whose mask key cannot be reconstructed. */
	edgeReply({ sid, edges }: MessageOf<"edgeReply">, from: PeerId, out: Outbox): void {
		if (!equalBytes(sid, this.#sharing.roster.sid) || !this.#survivors.has(from)) return;
		for (const { peer, seed } of edges) {
			if (!this.#wrongSecrets.has(peer)) continue;
			if (isEdgeSeed(this.#sharing, from, peer, seed)) this.#edgesOf(peer).set(from, seed);
			else
				out.fault(from, "wrong_reveal", `${from} revealed another seed towards ${peer} than it had tagged.`);
		}
	}

	/** The kind of share the certificate allows for a target. */
	#partOf(target: PeerId): SharedPart | undefined {
		if (this.#survivors.has(target)) return "seed";
		return this.#dropped.has(target) ? "maskKey" : undefined;
	}

	#wantsParts(target: PeerId): boolean {
		return !this.#seeds.has(target) && !this.#maskSecrets.has(target) && !this.#wrongSecrets.has(target);
	}

	/** Members whose secrets are still needed from their share holders. */
	#missingSecrets(): PeerId[] {
		return [...this.#survivors, ...this.#dropped].filter((member) => this.#wantsParts(member));
	}

	/** Of the missing, those a holder has not opened its share of. */
	wantedFrom(holder: PeerId): PeerId[] {
		const { graph } = this.#sharing.roster;
		return this.#missingSecrets().filter((target) => {
			const index = graph.holdersOf(target).indexOf(holder) + 1;
			return index > 0 && !this.#parts.get(target)?.has(index);
		});
	}

	/** Members whose edge to this survivor is needed. */
	edgesWantedFrom(survivor: PeerId): PeerId[] {
		if (this.#wrongSecrets.size === 0 || !this.#survivors.has(survivor)) return [];
		return [...this.#wrongSecrets].filter(
			(gone) => hasEdge(this.#sharing, survivor, gone) && !this.#edgesOf(gone).has(survivor),
		);
	}

	#edgesOf(gone: PeerId): Map<PeerId, Uint8Array> {
		const known = this.#edges.get(gone) ?? new Map<PeerId, Uint8Array>();
		this.#edges.set(gone, known);
		return known;
	}

	/** A survivor's projection is not its input's, or cannot be confirmed; `packed` shows the input itself. */
	doubt(survivor: PeerId, packed?: Uint8Array): void {
		this.#doubted.add(survivor);
		if (packed !== undefined) this.#shown.set(survivor, packed);
	}

	/** The opening, or what it still lacks. */
	opening(known: readonly Projection[]): Opening | { readonly lacks: string } {
		const { roster, bundles, cohort } = this.#sharing;
		const { graph } = roster;
		const secrets = this.#missingSecrets();
		const edges = this.survivors.filter((survivor) => this.edgesWantedFrom(survivor).length > 0);
		if (secrets.length + edges.length > 0)
			return { lacks: `secrets of ${[...secrets, ...edges].join(", ")}` };
		return {
			seeds: this.survivors.map((survivor) => this.#seeds.get(survivor) as Uint8Array),
			rests: cohort.map((member) => statementHash(bundles.get(member) as Bundle)),
			dropped: [...this.#dropped].map((peer) => {
				const { seedCommitment: commitment } = bundles.get(peer) as Bundle;
				const maskSecret = this.#maskSecrets.get(peer);
				if (maskSecret !== undefined) return { commitment, masks: { maskSecret } };
				const edges = [...this.#edgesOf(peer)].map(([survivor, seed]) => ({ peer: survivor, seed }));
				return { commitment, masks: { edges } };
			}),
			roster:
				this.#maskSecrets.size === 0
					? []
					: graph.members.flatMap((peer) => {
							const advert = roster.adverts.get(peer);
							if (advert === undefined) return [];
							return [{ peer, maskKey: advert.maskKey, rest: statementHash(advert) }];
						}),
			bundles: this.#bundlesThatMatter(),
			projections: known
				.filter(({ author }) => !this.#doubted.has(author))
				.sort((a, b) => (a.author < b.author ? -1 : 1)),
			inputs: [...this.#shown]
				.map(([survivor, packed]) => ({ survivor, packed }))
				.sort((a, b) => (a.survivor < b.survivor ? -1 : 1)),
		};
	}

	/** Those whose tags tell which masks a dropped member has. */
	#bundlesThatMatter(): Bundle[] {
		const { roster, bundles } = this.#sharing;
		const shown = new Set(this.#wrongSecrets);
		for (const gone of this.#dropped) {
			for (const mate of roster.graph.matesOf(gone)) {
				if (!this.#survivors.has(mate) || hasEdge(this.#sharing, gone, mate)) continue;
				shown.add(gone);
				shown.add(mate);
			}
		}
		return [...shown].map((peer) => bundles.get(peer) as Bundle);
	}
}
