/**
 * A member's part above its cohort's session: certifies the cohort's sum, checks its way to a root, and votes once
 * for the round's root. Whoever coordinates its cohort, and whoever combines, only collect and pass on
 * (cohortDesk.ts, combiner.ts); its owner says who they are.
 */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import type { SigningKey } from "../../crypto/identity.ts";
import { packedSize, unpackRing } from "../../crypto/ringPacking.ts";
import { encodeMembers, OWN_COMPUTATIONS, type PublicComputations } from "../aggregation/index.ts";
import { type Ballot, type Slot, VoteLock } from "../certificate/index.ts";
import type { Effects, PeerId } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import { CohortDesk } from "./cohortDesk.ts";
import { nameOf, pathFlaw } from "./combination.ts";
import { Combiner } from "./combiner.ts";
import { cohortIn, type DealtCohort, dealingHash } from "./dealing.ts";
import type { TreeMessage, TreeMessageOf } from "./messages.ts";
import {
	type CohortStatement,
	certifiedBy,
	cohortSlot,
	cohortValue,
	decisionSlot,
	isMajority,
	type RoundName,
	rootSlot,
	rootValue,
	survivorsOf,
} from "./statements.ts";

export interface TreeConfig extends RoundName {
	/** From {@link dealCohorts}; the same at everybody. */
	readonly cohorts: readonly DealtCohort[];
	readonly self: SigningKey;
	readonly length: number;
	readonly modulusBits: number;
	/** How long the combiner waits for cohorts that are late, then for cohorts that do not check its root. */
	readonly combineTimeoutMs: number;
	/** Who combines, first in line first, and is called by whoever takes over; none where the owner's peers follow it. */
	readonly combiners: readonly PeerId[];
	/** This node's own ballots, read back after a restart. */
	readonly ballots: readonly Ballot[];
	/** What a simulation of many members shares among them; a node has none. */
	readonly computations?: PublicComputations | undefined;
}

/** The sum over all included cohorts that the round goes by. */
export interface RootSum {
	readonly sum: Uint32Array;
	/** Of all included cohorts, sorted. */
	readonly survivors: readonly PeerId[];
	readonly included: readonly CohortStatement[];
}

export type TreeEffects = Effects<TreeMessage, never, RootSum, Ballot>;
/** A ballot to persist is this node's one vote in its slot. */
export type TreeCollector = EffectCollector<TreeMessage, never, RootSum, Ballot>;

interface Own {
	readonly statement: CohortStatement;
	readonly packed: Uint8Array;
	readonly survivors: number;
	readonly value: Uint8Array;
}

interface Root {
	readonly packed: Uint8Array;
	readonly value: Uint8Array;
	readonly included: readonly CohortStatement[];
}

const REPEAT_TIMER = "repeat";
/** A vote that led to nothing is sent again after this long, then after twice as long each time. */
const REPEAT_MS = 3000;
const MOST_REPEAT_MS = 24_000;
/** Different roots that one peer can have this node check. */
const MAX_ROOTS_OF_ONE = 8;

export class TreeMember {
	readonly #config: TreeConfig;
	readonly #cohort: DealtCohort;
	readonly #dealing: Uint8Array;
	readonly #lock: VoteLock;
	readonly #desk: CohortDesk;
	readonly #combination: Combiner;
	#coordinator: PeerId;
	#combiner: PeerId;
	#own: Own | undefined;
	readonly #roots = new Map<string, Root>();
	readonly #shown = new Map<PeerId, number>();
	/** This node's vote for the cohort's sum, and what it has voted last: repeated until something follows. */
	#sumBallot: Ballot | undefined;
	#vote: TreeMessage | undefined;
	#repeatMs = REPEAT_MS;
	#released = false;

	/** @throws AlthingError `hierarchy.not_dealt` */
	constructor(config: TreeConfig, coordinator: PeerId, combiner: PeerId) {
		this.#config = config;
		this.#cohort = cohortIn(config.cohorts, config.self.peer);
		this.#dealing = dealingHash(config.cohorts);
		this.#lock = new VoteLock(config.self, config.ballots);
		this.#desk = new CohortDesk(config, this.#cohort, config.self.peer);
		this.#combination = new Combiner(config, this.#dealing);
		this.#coordinator = coordinator;
		this.#combiner = combiner;
	}

	/** True once the round's root is released here. */
	get ended(): boolean {
		return this.#released;
	}

	/** The cohort's sum, which this node has verified itself. */
	provideSum({
		packed,
		survivors,
		beacon,
	}: {
		readonly packed: Uint8Array;
		readonly survivors: readonly PeerId[];
		readonly beacon: Uint8Array;
	}): TreeEffects {
		return this.#step((out) => {
			const { index, electorate } = this.#cohort;
			const statement = { cohort: index, survivors: encodeMembers(electorate.members, survivors), beacon };
			const value = cohortValue(this.#dealing, statement, nameOf(packed, survivors.length).sumHash);
			this.#own = { statement, packed, survivors: survivors.length, value };
			this.#cast(out, "cohortVote", cohortSlot(this.#config, index), value);
		});
	}

	/** The cohort's session ended without a sum. */
	noSum(): TreeEffects {
		return this.#step((out) => {
			if (this.#coordinates && this.#own === undefined)
				out.send(this.#combiner, { kind: "absent", cohort: this.#cohort.index });
		});
	}

	/** Another member coordinates the cohort now. */
	coordinatorChanged(coordinator: PeerId): TreeEffects {
		return this.#step((out) => {
			this.#coordinator = coordinator;
			this.#repeat(out);
		});
	}

	/** Another peer combines now. */
	combinerChanged(combiner: PeerId): TreeEffects {
		return this.#step((out) => {
			this.#combiner = combiner;
			if (this.#coordinates) this.#desk.report(out, combiner);
		});
	}

	expired(timerId: string): TreeEffects {
		return this.#step((out) => {
			if (timerId !== REPEAT_TIMER) {
				this.#combination.expired(out, timerId);
				return;
			}
			if (this.#released) return;
			this.#repeat(out);
			this.#repeatMs = Math.min(2 * this.#repeatMs, MOST_REPEAT_MS);
			out.timer(REPEAT_TIMER, this.#repeatMs);
		});
	}

	receive(from: PeerId, message: TreeMessage, blob: Uint8Array | undefined): TreeEffects {
		return this.#step((out) => this.#take(out, from, message, blob));
	}

	get #computations(): PublicComputations {
		return this.#config.computations ?? OWN_COMPUTATIONS;
	}

	get #coordinates(): boolean {
		return this.#coordinator === this.#config.self.peer;
	}

	#take(out: TreeCollector, from: PeerId, message: TreeMessage, blob: Uint8Array | undefined): void {
		switch (message.kind) {
			case "cohortVote":
				if (this.#isMate(from)) this.#desk.countSum(out, from, message, this.#own, this.#combiner);
				return;
			case "rootVote":
				if (this.#isMate(from)) this.#desk.countRoot(out, from, message.ballot, this.#combiner);
				return;
			case "decisionVote":
				if (this.#isMate(from)) this.#desk.countDecision(out, from, message.ballot, this.#combiner);
				return;
			case "cohortSum":
				if (blob !== undefined) this.#combination.takeSum(out, from, message, blob);
				return;
			case "absent":
				this.#combination.takeAbsent(out, from, message.cohort);
				return;
			case "rootCertificate":
				this.#combination.takeRootCertificate(out, from, message);
				return;
			case "decisionCertificate":
				this.#combination.takeDecisionCertificate(out, from, message);
				return;
			case "call":
				if (this.#coordinates) this.#desk.report(out, from);
				return;
			case "path":
				this.#climb(out, from, message, blob);
				return;
			case "attested":
				this.#decide(out, message);
				return;
			case "decided":
				this.#release(out, message);
				return;
		}
	}

	/** Checks a way to the root and says that it is true. */
	#climb(
		out: TreeCollector,
		from: PeerId,
		message: TreeMessageOf<"path">,
		blob: Uint8Array | undefined,
	): void {
		const own = this.#own;
		if (own === undefined || this.#released || blob === undefined) return;
		const shown = this.#shown.get(from) ?? 0;
		if (shown >= MAX_ROOTS_OF_ONE) return;
		const root = this.#rootOf(own, message, blob);
		if (typeof root === "string") {
			this.#shown.set(from, shown + 1);
			const text = `${from} showed a wrong addition of cohort sums: ${root}.`;
			out.fault({ peer: from, code: "hierarchy.wrong_addition", message: text, proof: false });
			return;
		}
		const key = toHex(root.value);
		if (!this.#roots.has(key)) this.#shown.set(from, shown + 1);
		this.#roots.set(key, root);
		// What it has found wrong itself it passes to nobody: who is blamed is who made it.
		if (this.#coordinates) this.#desk.passPath(out, message, blob);
		this.#cast(out, "rootVote", rootSlot(this.#config, this.#cohort.index, root.value), root.value);
	}

	/** @returns what is wrong with it, or the root */
	#rootOf(own: Own, { included, additions }: TreeMessageOf<"path">, totals: Uint8Array): Root | string {
		const { cohorts, length, modulusBits } = this.#config;
		const size = packedSize(length, modulusBits);
		if (totals.length !== size * additions.length) return "a vector is missing";
		if (included.some(({ cohort }, i) => i > 0 && (included[i - 1] as CohortStatement).cohort >= cohort))
			return "its cohorts are not in order";
		if (!isMajority(included.length, cohorts.length)) return "it leaves out half of the cohorts";
		const mine = included.find(({ cohort }) => cohort === own.statement.cohort);
		if (mine === undefined) return "this cohort is not in it";
		if (
			!equalBytes(mine.survivors, own.statement.survivors) ||
			!equalBytes(mine.beacon, own.statement.beacon)
		)
			return "it names other survivors of this cohort";
		const path = additions.map((addition, level) => ({
			addition,
			packed: totals.slice(level * size, (level + 1) * size),
		}));
		const flaw = pathFlaw(own, path, { length, modulusBits });
		const last = path.at(-1);
		if (flaw !== undefined || last === undefined) return flaw ?? "there is no way to the root";
		let count = 0;
		for (const statement of included) {
			const named = survivorsOf(cohorts, statement);
			if (named === undefined) return "it names survivors that cannot be";
			count += named.length;
		}
		if (count !== last.addition.total.survivors) return "it counts its contributors wrong";
		const value = rootValue(this.#dealing, nameOf(last.packed, count), included);
		return { packed: last.packed, value, included };
	}

	/** Votes, once, for a root that a quorum of every cohort in it has checked. */
	#decide(out: TreeCollector, message: TreeMessageOf<"attested">): void {
		const { cohorts } = this.#config;
		const { root, included, certificates } = message;
		if (this.#released || !isMajority(included.length, cohorts.length)) return;
		const value = rootValue(this.#dealing, root, included);
		const slot = (cohort: number) => rootSlot(this.#config, cohort, value);
		const certified = certifiedBy(cohorts, certificates, slot, value, this.#computations);
		if (!included.every(({ cohort }) => certified.has(cohort))) return;
		this.#combination.takeAttested(out, message);
		// A decision on what this node cannot release would be worth nothing to it.
		if (!this.#roots.has(toHex(value))) return;
		if (!this.#cast(out, "decisionVote", decisionSlot(this.#config, this.#cohort.index), value)) return;
		if (this.#coordinates) this.#desk.passAttested(out, message);
	}

	#release(out: TreeCollector, message: TreeMessageOf<"decided">): void {
		const { cohorts, length, modulusBits } = this.#config;
		const value = message.certificates[0]?.certificate.value;
		if (this.#released || value === undefined) return;
		const slot = (cohort: number) => decisionSlot(this.#config, cohort);
		const deciding = certifiedBy(cohorts, message.certificates, slot, value, this.#computations);
		if (!isMajority(deciding.size, cohorts.length)) return;
		this.#combination.takeDecided(out, message);
		const root = this.#roots.get(toHex(value));
		if (root === undefined) return;
		this.#released = true;
		out.timer(REPEAT_TIMER, null);
		if (this.#coordinates) this.#desk.passDecided(out, message);
		this.#roots.clear();
		this.#own = undefined;
		const { packed, included } = root;
		const survivors = included.flatMap((statement) => survivorsOf(cohorts, statement) ?? []).sort();
		out.output({ sum: unpackRing(packed, modulusBits, length), survivors, included });
	}

	/** At most one value a slot, ever; durable before it leaves. @returns false when this node voted otherwise */
	#cast(
		out: TreeCollector,
		kind: "cohortVote" | "rootVote" | "decisionVote",
		slot: Slot,
		value: Uint8Array,
	): boolean {
		const { ballot, fresh, agrees } = this.#lock.cast(slot, value);
		if (!agrees) return false;
		// The slot of a root takes this one value: there is nothing that a later life could contradict.
		if (fresh && kind !== "rootVote") out.persist(ballot);
		if (kind === "cohortVote") this.#sumBallot = ballot;
		const vote = kind === "cohortVote" ? { kind, ballot, knowsRoot: false } : { kind, ballot };
		this.#vote = vote;
		this.#repeatMs = REPEAT_MS;
		out.timer(REPEAT_TIMER, REPEAT_MS);
		out.send(this.#coordinator, vote);
		return true;
	}

	/** Whatever was lost on the way is said again; whoever is further answers with what follows. */
	#repeat(out: TreeCollector): void {
		const vote = this.#vote;
		if (this.#released || vote === undefined) return;
		// A coordinator that restarted has lost both.
		if (this.#sumBallot !== undefined && vote.kind !== "cohortVote")
			out.send(this.#coordinator, { kind: "cohortVote", ballot: this.#sumBallot, knowsRoot: true });
		out.send(this.#coordinator, vote);
		if (this.#coordinates) this.#desk.report(out, this.#combiner);
	}

	#isMate(peer: PeerId): boolean {
		return this.#cohort.electorate.members.includes(peer);
	}

	/** Runs a step, delivering messages from this node to itself within it. */
	#step(run: (out: TreeCollector) => void): TreeEffects {
		const out: TreeCollector = new EffectCollector();
		run(out);
		const effects = out.effects();
		const leaving: NonNullable<TreeEffects["send"]>[number][] = [];
		// The list grows while it is worked off.
		for (const one of effects.send ?? []) {
			if (one.to === this.#config.self.peer) this.#take(out, one.to, one.message, one.blob);
			else leaving.push(one);
		}
		return { ...effects, send: leaving };
	}
}
