/**
 * A member of a hierarchy: runs its cohort's aggregation session, then its part above it (tree.ts), and releases
 * the root that the round goes by. When the combiner is silent, the cohorts' coordinators turn to the next in line.
 */

import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { SigningKey } from "../../crypto/identity.ts";
import { packRing } from "../../crypto/ringPacking.ts";
import {
	type AggregationConfig,
	type AggregationEffects,
	AggregationSession,
	type AggregationTask,
	type AggregationTaskResult,
	decodeMembers,
	decodeMessage,
	encodeMembers,
	encodeMessage,
	type PublicComputations,
} from "../aggregation/index.ts";
import type { Effects, Machine, PeerId, RandomBytes } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import { cohortIn, combinersOf, type DealtCohort, dealingHash } from "./dealing.ts";
import type { HierarchyMessage } from "./messages.ts";
import { decodePromise, encodePromise } from "./promises.ts";
import { type RootSum, type TreeEffects, TreeMember } from "./tree.ts";

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
	/** How long the combiner waits for cohorts before it goes on without them; thrice that, and another combines. */
	readonly combineTimeoutMs: number;
	/** Records this node persisted before a restart. */
	readonly promises: readonly Uint8Array[];
	readonly random: RandomBytes;
	/** What a simulation of many members shares among them; a node has none. */
	readonly computations?: PublicComputations | undefined;
}

export type HierarchyOutput =
	/** Charge the budget durably, then call `provideInput`: this sum of the cohort will be public by itself. */
	| { readonly kind: "input_wanted"; readonly cohort: number }
	/** A sum of the own cohort, verified here; its session is dropped. */
	| { readonly kind: "cohort_summed"; readonly survivors: number }
	/** The sum over all included cohorts, which a quorum of each has verified. */
	| {
			readonly kind: "released";
			readonly sum: Uint32Array;
			readonly survivors: number;
			readonly included: readonly number[];
	  }
	/** This node gets no sum of its cohort. */
	| { readonly kind: "failed"; readonly error: AlthingError };

export type HierarchyEffects = Effects<HierarchyMessage, AggregationTask, HierarchyOutput>;
type Collector = EffectCollector<HierarchyMessage, AggregationTask, HierarchyOutput, Uint8Array>;

const SESSION = "session/";
const TREE = "tree/";
const VIEW_TIMER = "view";
/** A combiner has this many of its timeouts: to wait for cohorts, to have its root checked, and again. */
const TIMEOUTS_OF_A_VIEW = 3;
/** Each further combiner is given longer: whatever the delays are, one of them is given enough. */
const PATIENCE = 1.5;

export class HierarchyMember
	implements Machine<HierarchyMessage, AggregationTask, AggregationTaskResult, HierarchyOutput>
{
	readonly #config: HierarchyConfig;
	readonly #cohort: DealtCohort;
	/** Undefined once this node has the cohort's sum, and, for its coordinator, once all have. */
	#session: AggregationSession | undefined;
	readonly #tree: TreeMember;
	readonly #combiners: readonly PeerId[];
	#view = 0;
	#restored:
		| (Omit<RootSum, "sum" | "included"> & { readonly packed: Uint8Array; readonly beacon: Uint8Array })
		| undefined;
	#summed = false;

	/** @throws AlthingError `hierarchy.not_dealt`, `hierarchy.bad_promise`, and those of `AggregationSession` */
	constructor(config: HierarchyConfig) {
		this.#config = config;
		const { self, cohorts, round } = config;
		const cohort = cohortIn(cohorts, self.peer);
		this.#cohort = cohort;
		const promises = config.promises.map(decodePromise);
		const ballots = promises.flatMap((promise) => (promise.kind === "ballot" ? [promise.ballot] : []));
		for (const promise of promises) {
			if (promise.kind !== "sum") continue;
			const { packed, beacon } = promise;
			const survivors = decodeMembers(cohort.electorate.members, promise.survivors) ?? [];
			this.#restored = { packed, beacon, survivors };
		}
		if (this.#restored === undefined) {
			const records = promises.flatMap((promise) => (promise.kind === "session" ? [promise.record] : []));
			this.#session = new AggregationSession(sessionConfigOf(config, cohort, records));
		}
		this.#combiners = combinersOf(cohorts, round);
		const tree = { ...config, combiners: this.#combiners, ballots };
		this.#tree = new TreeMember(tree, cohort.coordinator, this.#combiners[0] as PeerId);
	}

	/** Which cohort this node is in. */
	get cohort(): number {
		return this.#cohort.index;
	}

	start(nowMs: number): HierarchyEffects {
		return this.#step((out) => {
			if (this.#session !== undefined) this.#relay(out, this.#session.start(nowMs));
			const restored = this.#restored;
			if (restored !== undefined) this.#provideSum(out, restored);
		});
	}

	receive(from: PeerId, message: HierarchyMessage, nowMs: number, blob?: Uint8Array): HierarchyEffects {
		return this.#step((out) => {
			if (message.kind !== "session") {
				this.#climb(out, this.#tree.receive(from, message, blob));
				return;
			}
			const { electorate, index } = this.#cohort;
			if (this.#session !== undefined && message.cohort === index && electorate.members.includes(from))
				this.#relay(
					out,
					this.#session.receive(from, decodeMessage(message.body, this.#config.computations), nowMs, blob),
				);
		});
	}

	expired(timerId: string, nowMs: number): HierarchyEffects {
		return this.#step((out) => {
			if (timerId === VIEW_TIMER) this.#nextCombiner(out);
			else if (timerId.startsWith(TREE)) this.#climb(out, this.#tree.expired(timerId.slice(TREE.length)));
			else if (this.#session !== undefined)
				this.#relay(out, this.#session.expired(timerId.slice(SESSION.length), nowMs));
		});
	}

	completed(workId: string, result: AggregationTaskResult | Error, nowMs: number): HierarchyEffects {
		return this.#step((out) => {
			if (this.#session !== undefined) this.#relay(out, this.#session.completed(workId, result, nowMs));
		});
	}

	/** Answers `input_wanted`. @throws as `AggregationSession.provideInput` */
	provideInput(values: Uint32Array, nowMs: number): HierarchyEffects {
		return this.#step((out) => {
			if (this.#session !== undefined) this.#relay(out, this.#session.provideInput(values, nowMs));
		});
	}

	/** The state of a link to a member of the own cohort. */
	connectivity(peer: PeerId, connected: boolean): HierarchyEffects {
		return this.#step((out) => {
			if (this.#session !== undefined) this.#relay(out, this.#session.connectivity(peer, connected));
		});
	}

	get #coordinates(): boolean {
		return this.#cohort.coordinator === this.#config.self.peer;
	}

	/** The combiner is silent, or gets nowhere. */
	#nextCombiner(out: Collector): void {
		if (this.#tree.ended) return;
		this.#view++;
		const combiner = this.#combiners[this.#view % this.#combiners.length] as PeerId;
		this.#climb(out, this.#tree.combinerChanged(combiner));
		this.#watchCombiner(out);
	}

	#watchCombiner(out: Collector): void {
		const first = TIMEOUTS_OF_A_VIEW * this.#config.combineTimeoutMs;
		if (this.#coordinates) out.timer(VIEW_TIMER, first * PATIENCE ** Math.min(this.#view, 8));
	}

	/** Carries the effects of the own session. */
	#relay(out: Collector, effects: AggregationEffects): void {
		const { index, electorate } = this.#cohort;
		for (const record of effects.persist ?? []) out.persist(encodePromise({ kind: "session", record }));
		for (const { to, message, blob } of effects.send ?? [])
			out.send(to, { kind: "session", cohort: index, body: encodeMessage(message) }, blob);
		for (const { id, afterMs } of effects.setTimer ?? []) out.timer(SESSION + id, afterMs);
		for (const { id, task } of effects.work ?? []) out.work(id, task);
		for (const fault of effects.faults ?? []) out.fault(fault);
		for (const output of effects.output ?? []) {
			if (output.kind === "input_wanted") out.output({ kind: "input_wanted", cohort: index });
			if (output.kind === "released") {
				const packed = packRing(output.sum, this.#config.modulusBits);
				const { survivors, beacon } = output;
				const bits = encodeMembers(electorate.members, survivors);
				out.persist(encodePromise({ kind: "sum", packed, survivors: bits, beacon }));
				this.#provideSum(out, { packed, survivors, beacon });
				if (!this.#coordinates) this.#session = undefined;
			}
			if (output.kind === "closed" && this.#summed) this.#session = undefined;
			if (output.kind === "dead" || output.kind === "failed") this.#withoutSum(out, output.kind);
		}
	}

	#provideSum(out: Collector, sum: Parameters<TreeMember["provideSum"]>[0]): void {
		this.#summed = true;
		this.#climb(out, this.#tree.provideSum(sum));
		out.output({ kind: "cohort_summed", survivors: sum.survivors.length });
		this.#watchCombiner(out);
	}

	#withoutSum(out: Collector, how: "dead" | "failed"): void {
		if (this.#summed) return;
		this.#climb(out, this.#tree.noSum());
		const why =
			how === "dead" ? "its cohort's session is dead" : "this node cannot get the sum of its cohort";
		out.output({
			kind: "failed",
			error: new AlthingError("hierarchy.no_sum", `This node sits the round out: ${why}.`),
		});
	}

	/** Carries the effects of the part above the session. */
	#climb(out: Collector, effects: TreeEffects): void {
		for (const ballot of effects.persist ?? []) out.persist(encodePromise({ kind: "ballot", ballot }));
		for (const { to, message, blob } of effects.send ?? []) out.send(to, message, blob);
		for (const { id, afterMs } of effects.setTimer ?? []) out.timer(TREE + id, afterMs);
		for (const fault of effects.faults ?? []) out.fault(fault);
		for (const { sum, survivors, included } of effects.output ?? []) {
			out.timer(VIEW_TIMER, null);
			const cohorts = included.map(({ cohort }) => cohort);
			out.output({ kind: "released", sum, survivors: survivors.length, included: cohorts });
		}
	}

	#step(run: (out: Collector) => void): HierarchyEffects {
		const out: Collector = new EffectCollector();
		run(out);
		return out.effects();
	}
}

function sessionConfigOf(
	config: HierarchyConfig,
	cohort: DealtCohort,
	promises: readonly Uint8Array[],
): AggregationConfig {
	const { federationId, jobId, round, modelHash, self, length, modulusBits, phaseTimeoutMs, random } = config;
	return {
		federationId,
		jobId: cohortJobId(jobId, cohort),
		round,
		attempt: 0,
		modelHash,
		configHash: cohortConfigHash(config.configHash, config.cohorts),
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
		promises,
		random,
		computations: config.computations,
	};
}

/** A session of its own: no signature or key of one cohort means anything in another. */
export function cohortJobId(jobId: string, { index }: DealtCohort): string {
	return `${jobId}/cohort/${index}`;
}

/** What the members of a cohort have to agree on: the whole dealing, beside everything else. */
export function cohortConfigHash(configHash: Uint8Array, cohorts: readonly DealtCohort[]): Uint8Array {
	return hashFields("althing/hierarchy/2/configuration", dealingHash(cohorts), configHash);
}
