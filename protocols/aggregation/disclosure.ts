/** The coordinator's collection of everything an opening needs, each piece checked as it arrives. */
import { equalBytes } from "../../crypto/encoding.ts";
import { checkPart, reconstruct, type SharedPart } from "../../crypto/verifiableSharing.ts";
import type { PeerId } from "../contract.ts";
import { hasEdge, matesOf, type Sharing } from "./cohort.ts";
import { type Certified, isAuthentic, type MessageOf, type Opening, type Projection } from "./messages.ts";
import { isEdgeSeed, isMaskSecret, isSelfSeed } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import { droppedOf, survivorsOf } from "./proposal.ts";
import { sharingContext } from "./sessionId.ts";

export class Disclosure {
	readonly certified: Certified;
	readonly #sharing: Sharing;
	readonly #survivors: readonly PeerId[];
	readonly #dropped: readonly PeerId[];
	readonly #seeds = new Map<PeerId, Uint8Array>();
	/** Seeds of edges to dropped members, by dropped member and survivor. */
	readonly #edges = new Map<PeerId, Map<PeerId, Uint8Array>>();
	readonly #maskSecrets = new Map<PeerId, Uint8Array>();
	/** Verified parts of shares, by target and holder index. */
	readonly #parts = new Map<PeerId, Map<number, Uint8Array>>();
	readonly #revealed = new Set<PeerId>();
	/** Survivors whose projection was found to be false. */
	readonly #liars = new Set<PeerId>();

	constructor(certified: Certified, sharing: Sharing) {
		this.certified = certified;
		this.#sharing = sharing;
		this.#survivors = survivorsOf(certified.proposed.proposal);
		this.#dropped = droppedOf(certified.proposed.proposal);
	}

	/** Survivors whose reveal has not arrived. */
	silent(): PeerId[] {
		return this.#survivors.filter((survivor) => !this.#revealed.has(survivor));
	}

	/** Takes a survivor's own seeds; blames it for a seed that is not the committed one. */
	reveal({ reveal }: MessageOf<"reveal">, from: PeerId, out: Outbox): void {
		const { author, proposalHash, seed, edges } = reveal;
		if (author !== from || !this.#survivors.includes(author) || this.#revealed.has(author)) return;
		if (!equalBytes(proposalHash, this.certified.certificate.value) || !isAuthentic(reveal)) return;
		this.#revealed.add(author);
		if (isSelfSeed(this.#sharing, author, seed)) this.#seeds.set(author, seed);
		else out.fault(author, "wrong_reveal", `${author} revealed another self seed than it committed to.`);
		for (const { peer, seed: pair } of edges) {
			if (!this.#dropped.includes(peer)) continue;
			if (isEdgeSeed(this.#sharing, author, peer, pair)) this.#edgesOf(peer).set(author, pair);
			else
				out.fault(
					author,
					"wrong_reveal",
					`${author} revealed another seed towards ${peer} than it had tagged.`,
				);
		}
	}

	/** Takes opened parts of shares; reconstructs a secret once t of them are here. */
	reply({ sid, parts }: MessageOf<"shareReply">, from: PeerId, out: Outbox): void {
		const { roster, bundles } = this.#sharing;
		if (!equalBytes(sid, roster.sid)) return;
		for (const opened of parts) {
			const { target, part } = opened;
			const bundle = bundles.get(target);
			if (bundle === undefined || part !== this.#partOf(target)) continue;
			const holders = matesOf(roster, target);
			const claim = {
				context: sharingContext(sid, target),
				root: bundle.root,
				holders: holders.length,
				part,
				opened,
			};
			if (holders[opened.index - 1] !== from || !checkPart(claim)) {
				out.fault(from, "wrong_share", `${from} opened a share of ${target} that ${target} did not deal.`);
				continue;
			}
			const known = this.#parts.get(target) ?? new Map<number, Uint8Array>();
			this.#parts.set(target, known.set(opened.index, opened.value));
			if (this.missing().includes(target)) this.#reconstruct(target, part, known, out);
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
		else out.fault(target, "wrong_secret", `${target} shared another secret than it committed to.`);
	}

	/** The kind of share the certificate allows for a target. */
	#partOf(target: PeerId): SharedPart | undefined {
		if (this.#survivors.includes(target)) return "seed";
		return this.#dropped.includes(target) ? "maskKey" : undefined;
	}

	/** Members whose secrets are still needed from their share holders. */
	missing(): PeerId[] {
		const survivors = this.#survivors.filter((survivor) => !this.#seeds.has(survivor));
		const dropped = this.#dropped.filter(
			(gone) => !this.#maskSecrets.has(gone) && this.#edgesTo(gone).some((s) => !this.#edgesOf(gone).has(s)),
		);
		return [...survivors, ...dropped];
	}

	/** Of the missing, those a holder has not opened its share of. */
	wantedFrom(holder: PeerId): PeerId[] {
		return this.missing().filter((target) => {
			const index = matesOf(this.#sharing.roster, target).indexOf(holder) + 1;
			return index > 0 && !this.#parts.get(target)?.has(index);
		});
	}

	#edgesTo(gone: PeerId): PeerId[] {
		return this.#survivors.filter((survivor) => hasEdge(this.#sharing, survivor, gone));
	}

	#edgesOf(gone: PeerId): Map<PeerId, Uint8Array> {
		const known = this.#edges.get(gone) ?? new Map<PeerId, Uint8Array>();
		this.#edges.set(gone, known);
		return known;
	}

	/** A survivor's projection contradicts its own input: the input itself takes its place. */
	disprove(survivor: PeerId): void {
		this.#liars.add(survivor);
	}

	/**
	 * The opening, or what it still lacks.
	 * @param inputs masked inputs at hand, for survivors without a true projection
	 * @param self this coordinator: a proposer other than itself may lack a projection
	 */
	opening(
		known: readonly Projection[],
		inputs: ReadonlyMap<PeerId, Uint8Array>,
		self: PeerId,
	): Opening | { readonly lacks: string } {
		const secrets = this.missing();
		if (secrets.length > 0) return { lacks: `secrets of ${secrets.join(", ")}` };
		const projections = known.filter(({ author }) => !this.#liars.has(author));
		const without = this.#survivors.filter(
			(survivor) => !projections.some(({ author }) => author === survivor),
		);
		const { proposer } = this.certified.proposed.proposal;
		const unknown = without.filter((u) => !inputs.has(u) && !(u === proposer && u !== self));
		if (unknown.length > 0) return { lacks: `projections of ${unknown.join(", ")}` };
		return {
			seeds: this.#survivors.map((survivor) => this.#seeds.get(survivor) as Uint8Array),
			dropped: this.#dropped.map((peer) => {
				const maskSecret = this.#maskSecrets.get(peer);
				if (maskSecret !== undefined) return { peer, maskSecret };
				const edges = [...this.#edgesOf(peer)].map(([survivor, seed]) => ({ peer: survivor, seed }));
				return { peer, edges };
			}),
			projections,
			inputs: without.filter((survivor) => inputs.has(survivor)),
		};
	}
}
