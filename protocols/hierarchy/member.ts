/**
 * A member of a hierarchy: runs its cohort's aggregation session, certifies the cohort's sum, checks its way to
 * the root and certifies that, and releases the root's sum when a quorum of every included cohort has done so.
 * The cohort's coordinator and the combiner (coordinator of the first cohort) only collect and pass on.
 */
import { encodeCanonical, equalBytes } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import type { SigningKey } from "../../crypto/identity.ts";
import { packedSize, packRing, unpackRing } from "../../crypto/ringPacking.ts";
import {
	type AggregationConfig,
	type AggregationEffects,
	AggregationSession,
	type AggregationTask,
	type AggregationTaskResult,
	decodeMessage,
	encodeMessage,
	packCertificate,
	unpackCertificate,
} from "../aggregation/index.ts";
import { BallotBox, type Slot, VoteLock, verifyQuorumCertificate } from "../certificate/index.ts";
import type { Effects, Machine, PeerId, RandomBytes } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import {
	cohortSlot,
	cohortValue,
	combine,
	isCertifiedSum,
	nameOf,
	type Path,
	pathFlaw,
	rootSlot,
	rootValue,
} from "./combination.ts";
import { type DealtCohort, dealingHash } from "./dealing.ts";
import type { HierarchyMessage, HierarchyMessageOf } from "./messages.ts";

export interface HierarchyConfig {
	readonly federationId: string;
	readonly jobId: string;
	readonly round: number;
	readonly modelHash: Uint8Array;
	readonly configHash: Uint8Array;
	/** From {@link dealCohorts}; the same at everybody. */
	readonly cohorts: readonly DealtCohort[];
	readonly self: SigningKey;
	readonly length: number;
	readonly modulusBits: number;
	readonly phaseTimeoutMs: number;
	/** How long the combiner waits for cohorts before it goes on without them. */
	readonly combineTimeoutMs: number;
	readonly random: RandomBytes;
}

export type HierarchyOutput =
	/** Charge the budget durably, then call `provideInput`: this sum of the cohort will be public by itself. */
	| { readonly kind: "input_wanted"; readonly cohort: number }
	/** The sum over all included cohorts, which a quorum of each has verified. */
	| {
			readonly kind: "released";
			readonly sum: Uint32Array;
			readonly survivors: number;
			readonly included: readonly number[];
	  }
	| { readonly kind: "failed"; readonly error: AlthingError };

export type HierarchyEffects = Effects<HierarchyMessage, AggregationTask, HierarchyOutput>;
type Collector = EffectCollector<HierarchyMessage, AggregationTask, HierarchyOutput, Uint8Array>;
interface Sum {
	readonly packed: Uint8Array;
	readonly survivors: number;
}

const COMBINE_TIMER = "combine";
const SESSION = "session/";

export class HierarchyMember
	implements Machine<HierarchyMessage, AggregationTask, AggregationTaskResult, HierarchyOutput>
{
	readonly #config: HierarchyConfig;
	readonly #cohort: DealtCohort;
	readonly #dealing: Uint8Array;
	readonly #session: AggregationSession;
	readonly #lock: VoteLock;
	#own: Sum | undefined;
	#root: (Sum & { readonly included: readonly number[]; readonly value: Uint8Array }) | undefined;
	#released = false;
	// As its cohort's coordinator
	readonly #sumVotes: BallotBox;
	readonly #rootVotes: BallotBox;
	#sumSent = false;
	#rootSent = false;
	// As the combiner
	readonly #sums = new Map<number, Sum>();
	readonly #absent = new Set<number>();
	readonly #rootCertificates = new Map<number, HierarchyMessageOf<"rootCertificate">["certificate"]>();
	#combined: readonly number[] | undefined;

	/** @throws AlthingError `hierarchy.not_dealt`, and those of `AggregationSession` */
	constructor(config: HierarchyConfig) {
		this.#config = config;
		const { self, cohorts } = config;
		const cohort = cohorts.find(({ electorate }) => electorate.members.includes(self.peer));
		if (cohort === undefined)
			throw new AlthingError(
				"hierarchy.not_dealt",
				`This node (${self.peer}) is in no cohort of the hierarchy.`,
			);
		this.#cohort = cohort;
		this.#dealing = dealingHash(cohorts);
		this.#session = new AggregationSession(sessionConfigOf(config, cohort, this.#dealing));
		this.#lock = new VoteLock(self, []);
		this.#sumVotes = new BallotBox(cohort.electorate, this.#slot(cohortSlot, cohort.index));
		this.#rootVotes = new BallotBox(cohort.electorate, this.#slot(rootSlot, cohort.index));
	}

	/** Which cohort this node is in. */
	get cohort(): number {
		return this.#cohort.index;
	}

	start(nowMs: number): HierarchyEffects {
		return this.#step((out) => {
			this.#relay(out, this.#session.start(nowMs));
			if (this.#isCombiner) out.timer(COMBINE_TIMER, this.#config.combineTimeoutMs);
		});
	}

	receive(from: PeerId, message: HierarchyMessage, nowMs: number, blob?: Uint8Array): HierarchyEffects {
		return this.#step((out) => this.#take(out, from, message, nowMs, blob));
	}

	expired(timerId: string, nowMs: number): HierarchyEffects {
		return this.#step((out) => {
			if (timerId === COMBINE_TIMER) this.#combine(out, true);
			else if (timerId.startsWith(SESSION))
				this.#relay(out, this.#session.expired(timerId.slice(SESSION.length), nowMs));
		});
	}

	completed(workId: string, result: AggregationTaskResult | Error, nowMs: number): HierarchyEffects {
		return this.#step((out) => this.#relay(out, this.#session.completed(workId, result, nowMs)));
	}

	/** Answers `input_wanted`. @throws as `AggregationSession.provideInput` */
	provideInput(values: Uint32Array, nowMs: number): HierarchyEffects {
		return this.#step((out) => this.#relay(out, this.#session.provideInput(values, nowMs)));
	}

	/** The state of a link to a member of the own cohort. */
	connectivity(peer: PeerId, connected: boolean): HierarchyEffects {
		return this.#step((out) => this.#relay(out, this.#session.connectivity(peer, connected)));
	}

	get #combiner(): PeerId {
		return (this.#config.cohorts[0] as DealtCohort).coordinator;
	}

	get #isCombiner(): boolean {
		return this.#combiner === this.#config.self.peer;
	}

	#slot(
		of: (federationId: string, jobId: string, round: number, cohort: number) => Slot,
		cohort: number,
	): Slot {
		const { federationId, jobId, round } = this.#config;
		return of(federationId, jobId, round, cohort);
	}

	#take(
		out: Collector,
		from: PeerId,
		message: HierarchyMessage,
		nowMs: number,
		blob: Uint8Array | undefined,
	): void {
		const { coordinator, electorate, index } = this.#cohort;
		switch (message.kind) {
			case "session":
				if (message.cohort === index && electorate.members.includes(from))
					this.#relay(out, this.#session.receive(from, decodeMessage(message.body), nowMs, blob));
				return;
			case "cohortVote":
				this.#sumVotes.add(message.ballot);
				this.#passSum(out);
				return;
			case "cohortSum":
				if (this.#isCombiner && blob !== undefined) this.#takeSum(out, message, blob);
				return;
			case "absent":
				if (this.#isCombiner && this.#config.cohorts[message.cohort]?.coordinator === from) {
					this.#absent.add(message.cohort);
					this.#combine(out, false);
				}
				return;
			case "path":
				if (from === this.#combiner || from === coordinator) this.#climb(out, from, message, blob);
				return;
			case "rootVote":
				this.#rootVotes.add(message.ballot);
				this.#passRoot(out);
				return;
			case "rootCertificate":
				if (this.#isCombiner && this.#combined?.includes(message.cohort)) {
					this.#rootCertificates.set(message.cohort, message.certificate);
					this.#finish(out);
				}
				return;
			case "complete":
				if (from === this.#combiner || from === coordinator) this.#release(out, message);
				return;
		}
	}

	/** Carries the effects of the own session. */
	#relay(out: Collector, effects: AggregationEffects): void {
		const { index, coordinator } = this.#cohort;
		for (const record of effects.persist ?? []) out.persist(encodeCanonical(["session", record]));
		for (const { to, message, blob } of effects.send ?? [])
			out.send(to, { kind: "session", cohort: index, body: encodeMessage(message) }, blob);
		for (const { id, afterMs } of effects.setTimer ?? []) out.timer(SESSION + id, afterMs);
		for (const { id, task } of effects.work ?? []) out.work(id, task);
		for (const fault of effects.faults ?? []) out.fault(fault);
		for (const output of effects.output ?? []) {
			if (output.kind === "input_wanted") out.output({ kind: "input_wanted", cohort: index });
			if (output.kind === "released") {
				const packed = packRing(output.sum, this.#config.modulusBits);
				this.#own = { packed, survivors: output.survivors.length };
				const value = cohortValue(this.#dealing, index, nameOf(packed, output.survivors.length));
				this.#vote(out, "cohortVote", this.#slot(cohortSlot, index), value);
			}
			if ((output.kind === "dead" || output.kind === "failed") && coordinator === this.#config.self.peer)
				out.send(this.#combiner, { kind: "absent", cohort: index });
		}
	}

	/** At most one value a slot, ever; durable before it leaves. */
	#vote(out: Collector, kind: "cohortVote" | "rootVote", slot: Slot, value: Uint8Array): void {
		const { ballot, fresh, agrees } = this.#lock.cast(slot, value);
		if (fresh) out.persist(encodeCanonical(["ballot", slot.subject, value]));
		if (agrees) out.send(this.#cohort.coordinator, { kind, ballot });
	}

	/** The cohort's coordinator has a quorum for its sum. */
	#passSum(out: Collector): void {
		const certificate = this.#sumVotes.certificate();
		if (certificate === undefined || this.#own === undefined || this.#sumSent) return;
		this.#sumSent = true;
		const { index: cohort } = this.#cohort;
		const { packed, survivors } = this.#own;
		out.send(this.#combiner, { kind: "cohortSum", cohort, survivors, certificate }, packed);
	}

	#takeSum(out: Collector, message: HierarchyMessageOf<"cohortSum">, packed: Uint8Array): void {
		const { cohort, survivors, certificate } = message;
		const dealt = this.#config.cohorts[cohort];
		const { length, modulusBits } = this.#config;
		if (dealt === undefined || packed.length !== packedSize(length, modulusBits)) return;
		const slot = this.#slot(cohortSlot, cohort);
		const name = nameOf(packed, survivors);
		if (!isCertifiedSum(dealt.electorate, slot, this.#dealing, cohort, name, certificate)) {
			const text = `${dealt.coordinator} sent a sum that its cohort did not certify.`;
			out.fault({ peer: dealt.coordinator, code: "hierarchy.bad_sum", message: text, proof: false });
			return;
		}
		this.#sums.set(cohort, { packed, survivors });
		this.#combine(out, false);
	}

	/** Adds up what is certified, when nothing more is to come or the time is over. */
	#combine(out: Collector, late: boolean): void {
		const { cohorts, length, modulusBits } = this.#config;
		const known = this.#sums.size + [...this.#absent].filter((cohort) => !this.#sums.has(cohort)).length;
		if (this.#combined !== undefined || (!late && known < cohorts.length)) return;
		const included = [...this.#sums.keys()].sort((a, b) => a - b);
		if (included.length === 0) {
			if (late) this.#fail(out, "no cohort has a certified sum");
			return;
		}
		this.#combined = included;
		out.timer(COMBINE_TIMER, null);
		const { paths } = combine(
			included.map((cohort) => this.#sums.get(cohort) as Sum),
			{ length, modulusBits },
		);
		for (const [place, cohort] of included.entries()) {
			const path = paths[place] as Path;
			const additions = path.map(({ addition }) => ({
				parts: [...addition.parts],
				total: addition.total,
				partProjections: [...addition.partProjections],
				totalProjection: addition.totalProjection,
			}));
			const { coordinator } = cohorts[cohort] as DealtCohort;
			const totals = Buffer.concat(path.map(({ packed }) => packed));
			out.send(coordinator, { kind: "path", included, additions }, totals);
		}
	}

	/** Checks the way to the root and votes for it. The cohort's coordinator passes it on first. */
	#climb(
		out: Collector,
		from: PeerId,
		message: HierarchyMessageOf<"path">,
		blob: Uint8Array | undefined,
	): void {
		const { self, length, modulusBits } = this.#config;
		const { coordinator, electorate, index } = this.#cohort;
		if (self.peer === coordinator)
			for (const member of electorate.members) if (member !== self.peer) out.send(member, message, blob);
		const size = packedSize(length, modulusBits);
		if (
			this.#own === undefined ||
			this.#root !== undefined ||
			blob?.length !== size * message.additions.length
		)
			return;
		const path = message.additions.map((addition, level) => ({
			addition,
			packed: blob.slice(level * size, (level + 1) * size),
		}));
		const flaw = message.included.includes(index)
			? pathFlaw(this.#own, path, { length, modulusBits })
			: "this cohort is not in it";
		const last = path.at(-1);
		if (flaw !== undefined || last === undefined) {
			const text = `${from} showed a wrong addition of cohort sums: ${flaw}.`;
			out.fault({ peer: this.#combiner, code: "hierarchy.wrong_addition", message: text, proof: false });
			return;
		}
		const { survivors } = last.addition.total;
		const value = rootValue(this.#dealing, nameOf(last.packed, survivors), message.included);
		this.#root = { packed: last.packed, survivors, included: message.included, value };
		this.#vote(out, "rootVote", this.#slot(rootSlot, index), value);
	}

	#passRoot(out: Collector): void {
		const certificate = this.#rootVotes.certificate();
		if (certificate === undefined || this.#rootSent) return;
		this.#rootSent = true;
		const { index: cohort, electorate } = this.#cohort;
		const packed = packCertificate(electorate.members, certificate);
		out.send(this.#combiner, { kind: "rootCertificate", cohort, certificate: packed });
	}

	/** The combiner has a certificate of every included cohort. */
	#finish(out: Collector): void {
		const included = this.#combined ?? [];
		if (this.#rootCertificates.size < included.length) return;
		const certificates = [...this.#rootCertificates].map(([cohort, certificate]) => ({
			cohort,
			certificate,
		}));
		for (const cohort of included)
			out.send((this.#config.cohorts[cohort] as DealtCohort).coordinator, { kind: "complete", certificates });
	}

	#release(out: Collector, message: HierarchyMessageOf<"complete">): void {
		const { self, cohorts, length, modulusBits } = this.#config;
		const { coordinator, electorate } = this.#cohort;
		const root = this.#root;
		if (this.#released || root === undefined) return;
		const sound = root.included.every((cohort) => {
			const dealt = cohorts[cohort];
			const packed = message.certificates.find((one) => one.cohort === cohort)?.certificate;
			if (dealt === undefined || packed === undefined || !equalBytes(packed.value, root.value)) return false;
			const slot = this.#slot(rootSlot, cohort);
			const certificate = unpackCertificate(dealt.electorate.members, slot, packed);
			return certificate !== undefined && verifyQuorumCertificate(dealt.electorate, certificate);
		});
		if (!sound) return;
		this.#released = true;
		if (self.peer === coordinator)
			for (const member of electorate.members) if (member !== self.peer) out.send(member, message);
		const { packed, survivors, included } = root;
		out.output({ kind: "released", sum: unpackRing(packed, modulusBits, length), survivors, included });
	}

	#fail(out: Collector, why: string): void {
		out.output({
			kind: "failed",
			error: new AlthingError("hierarchy.no_sum", `The round has no sum: ${why}.`),
		});
	}

	/** Runs a step, delivering messages from this node to itself within it. */
	#step(run: (out: Collector) => void): HierarchyEffects {
		const out: Collector = new EffectCollector();
		run(out);
		const effects = out.effects();
		const leaving: NonNullable<HierarchyEffects["send"]>[number][] = [];
		// The list grows while it is worked off.
		for (const one of effects.send ?? []) {
			if (one.to === this.#config.self.peer) this.#take(out, one.to, one.message, 0, one.blob);
			else leaving.push(one);
		}
		return { ...effects, send: leaving };
	}
}

function sessionConfigOf(
	config: HierarchyConfig,
	cohort: DealtCohort,
	dealing: Uint8Array,
): AggregationConfig {
	const { federationId, jobId, round, modelHash, self, length, modulusBits, phaseTimeoutMs, random } = config;
	return {
		federationId,
		// A session of its own: no signature or key of one cohort means anything in another.
		jobId: `${jobId}/cohort/${cohort.index}`,
		round,
		attempt: 0,
		modelHash,
		configHash: cohortValue(dealing, cohort.index, { sumHash: config.configHash, survivors: 0 }),
		electorate: cohort.electorate,
		coordinator: cohort.coordinator,
		term: 0,
		self,
		minimumSurvivors: cohort.minimumSurvivors,
		cohort: cohort.parameters,
		graphSeed: cohort.graphSeed,
		length,
		modulusBits,
		phaseTimeoutMs,
		precedingDead: [],
		promises: [],
		random,
	};
}
