/**
 * What a coordinator that took over lacks of a sparse cohort: a participant knows the adverts and
 * sharings of its neighbours alone. Members send their own, and their neighbours' in place of those who
 * are gone.
 */
import type { PeerId } from "../contract.ts";
import { advertFlaw, bundleFlaw, neighbourhoodOf, type Roster, type Sharing } from "./cohort.ts";
import type { Context } from "./context.ts";
import type { Advert, Bundle, MessageOf } from "./messages.ts";
import type { Outbox } from "./outbox.ts";

/** Neighbours that are asked at a time for what a silent member cannot send. */
const ASKED_NEIGHBOURS = 3;

export class CohortRecords {
	readonly #context: Context;
	readonly #sharing: Sharing;
	readonly #adverts: Map<PeerId, Advert>;
	readonly #bundles: Map<PeerId, Bundle>;
	#round = 0;

	/** @param sharing this node's own view of the certified session */
	constructor(context: Context, sharing: Sharing) {
		this.#context = context;
		this.#sharing = sharing;
		this.#adverts = new Map(sharing.roster.adverts);
		this.#bundles = new Map(sharing.bundles);
	}

	/** The session with everybody's parts, once they are here. */
	whole(): Sharing | undefined {
		if (this.#missing().length > 0) return undefined;
		const roster: Roster = { ...this.#sharing.roster, adverts: this.#adverts };
		return { ...this.#sharing, roster, bundles: this.#bundles };
	}

	#missing(): PeerId[] {
		const { roster, cohort } = this.#sharing;
		const shared = new Set(cohort);
		return roster.members.filter(
			(member) => !this.#adverts.has(member) || (shared.has(member) && !this.#bundles.has(member)),
		);
	}

	/** Asks each missing member for its own parts and, from the second time on, its next neighbours. */
	prompt(out: Outbox): void {
		const { graph } = this.#context;
		const wanted = new Map<PeerId, PeerId[]>();
		const want = (of: PeerId, target: PeerId): void => {
			wanted.set(of, [...(wanted.get(of) ?? []), target]);
		};
		for (const target of this.#missing()) {
			want(target, target);
			const around = graph.neighboursOf(target);
			for (let i = 0; this.#round > 0 && i < ASKED_NEIGHBOURS; i++) {
				const next = (this.#round * ASKED_NEIGHBOURS + i) % around.length;
				want(around[next] as PeerId, target);
			}
		}
		this.#round++;
		for (const [peer, targets] of wanted) out.send(peer, { kind: "recordsRequest", targets });
	}

	take({ adverts, bundles }: MessageOf<"records">): void {
		const { sidPre, admission } = this.#context;
		for (const advert of adverts) {
			if (!this.#adverts.has(advert.author) && advertFlaw(advert, sidPre, admission) === undefined)
				this.#adverts.set(advert.author, advert);
		}
		const roster = { ...this.#sharing.roster, adverts: this.#adverts };
		for (const bundle of bundles) {
			if (!this.#bundles.has(bundle.author) && bundleFlaw(bundle, roster) === undefined)
				this.#bundles.set(bundle.author, bundle);
		}
	}
}

/** A participant's answer: what it knows of the targets in its neighbourhood. */
export function recordsOf(
	sharing: Sharing,
	self: PeerId,
	targets: readonly PeerId[],
): MessageOf<"records"> | undefined {
	const around = new Set(neighbourhoodOf(sharing.roster.graph, self));
	const known = targets.filter((target) => around.has(target));
	const adverts = known.flatMap((peer) => sharing.roster.adverts.get(peer) ?? []);
	const bundles = known.flatMap((peer) => sharing.bundles.get(peer) ?? []);
	return adverts.length === 0 ? undefined : { kind: "records", adverts, bundles };
}
