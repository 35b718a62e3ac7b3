/**
 * A job whose rounds are summed over a tree of cohorts (protocols/hierarchy): each participant's attempts run
 * within its cohort, under a coordinator of the cohort's own; the job's coordinator combines the cohorts' sums.
 * Cohorts are dealt once, from the beacon of the job's start: sums of other groups of the same sites, round by
 * round, would tell more of each.
 */
import { encodeCanonical } from "../../crypto/encoding.ts";
import { hashFields } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { packRing } from "../../crypto/ringPacking.ts";
import { graphSeedOf } from "../aggregation/index.ts";
import type { Ballot, VoteLock } from "../certificate/index.ts";
import type { CertifiedTerm } from "../election/index.ts";
import {
	cohortConfigHash,
	cohortIn,
	cohortJobId,
	type DealtCohort,
	dealCohorts,
	decodeTreeMessage,
	encodeHierarchyMessage,
	type RootSum,
	type TreeEffects,
	TreeMember,
} from "../hierarchy/index.ts";
import type { Released, RoundAttempts } from "./attempts.ts";
import { CatchUp } from "./catchUp.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { CohortCollector } from "./cohortCollector.ts";
import type { Collector, TrainingJobOptions } from "./contract.ts";
import { Coordination, type CoordinationTiming } from "./coordination.ts";
import type { CohortMessage, TrainingMessage } from "./messages.ts";
import { encodePromise } from "./promises.ts";

/** The combiner waits this many phase timeouts for cohorts that are late, or do not check its root. */
const COMBINE_PHASES = 2;

/** What the tree tells the job. */
export interface TreeListener {
	/** A round's root, decided on by most cohorts and checked by all in it. */
	decided(
		out: Collector,
		root: Pick<Released, "sum" | "survivors" | "beacon" | "attempt">,
		nowMs: number,
	): void;
	/** The round moves on, whoever coordinates the job. */
	progressed(nowMs: number): void;
}

export class CohortTree {
	/** What the attempts of this node's cohort are run under. */
	readonly options: TrainingJobOptions;
	/** Who coordinates the cohort. */
	readonly coordination: Coordination;
	readonly #job: TrainingJobOptions;
	readonly #cohorts: readonly DealtCohort[];
	readonly #cohort: DealtCohort;
	readonly #mates: readonly PeerId[];
	readonly #timing: CoordinationTiming;
	readonly #ballots: readonly Ballot[];
	readonly #listener: TreeListener;
	readonly #present: () => ReadonlySet<PeerId>;
	#attempts: RoundAttempts | undefined;
	#catchUp: CatchUp | undefined;
	#round = 0;
	#member: TreeMember | undefined;
	#lastHeartbeatMs = Number.NEGATIVE_INFINITY;
	#asked = 0;

	/**
	 * @param restored this node's ballots of earlier lives
	 * @param alive participants that this node is connected to, itself included
	 * @throws AlthingError `hierarchy.bad_size`, `aggregation.no_parameters`
	 */
	constructor(
		job: TrainingJobOptions,
		tree: NonNullable<TrainingJobOptions["tree"]>,
		lock: VoteLock,
		restored: readonly Ballot[],
		timing: CoordinationTiming,
		alive: ReadonlySet<PeerId>,
		listener: TreeListener,
	) {
		const { electorate, seed, self, jobId, configHash } = job;
		this.#job = job;
		this.#cohorts = dealCohorts({ ...tree, ...electorate, seed: graphSeedOf(seed) });
		this.#cohort = cohortIn(this.#cohorts, self.peer);
		const { members } = this.#cohort.electorate;
		this.#mates = members.filter((peer) => peer !== self.peer);
		this.#timing = timing;
		this.#ballots = restored;
		this.#listener = listener;
		this.#present = () => new Set(members.filter((peer) => alive.has(peer)));
		this.options = {
			...job,
			jobId: cohortJobId(jobId, this.#cohort),
			configHash: cohortConfigHash(configHash, this.#cohorts),
			electorate: this.#cohort.electorate,
			minimumSurvivors: this.#cohort.minimumSurvivors,
			seed: this.#cohort.graphSeed,
		};
		this.coordination = new Coordination({ ...this.options, lock, timing });
	}

	/** The attempts that were made from {@link options} and {@link coordination}. */
	attach(attempts: RoundAttempts, checkpoint: () => Checkpoint): void {
		this.#attempts = attempts;
		this.#catchUp = new CatchUp(this.coordination, attempts, checkpoint);
	}

	/** A new round. @param combiner the job's coordinator */
	begin(round: number, combiner: PeerId): void {
		const { federationId, jobId, self, length, modulusBits, phaseTimeoutMs } = this.#job;
		this.#round = round;
		const config = {
			federationId,
			jobId,
			round,
			cohorts: this.#cohorts,
			self,
			length,
			modulusBits,
			combineTimeoutMs: COMBINE_PHASES * phaseTimeoutMs,
			// Everybody follows the job's coordinator: nobody has to be called.
			combiners: [],
			ballots: this.#ballots,
		};
		this.#member = new TreeMember(config, this.coordination.coordinator, combiner);
	}

	/** The cohort's sum, verified here. */
	summed(out: Collector, { sum, survivors, beacon }: Released, nowMs: number): void {
		const packed = packRing(sum, this.#job.modulusBits);
		this.#carry(out, this.#member?.provideSum({ packed, survivors, beacon }), nowMs);
	}

	/** The job has another coordinator. */
	combinerChanged(out: Collector, combiner: PeerId, nowMs: number): void {
		this.#carry(out, this.#member?.combinerChanged(combiner), nowMs);
	}

	receive(
		out: Collector,
		from: PeerId,
		{ body }: Extract<TrainingMessage, { kind: "tree" }>,
		nowMs: number,
		blob: Uint8Array | undefined,
	): void {
		try {
			const message = decodeTreeMessage(body);
			this.#carry(out, this.#member?.receive(from, message, blob), nowMs);
		} catch (error) {
			const text = error instanceof Error ? error.message : String(error);
			out.fault({ peer: from, code: "training.malformed", message: text, proof: false });
		}
	}

	expired(out: Collector, round: number, timerId: string, nowMs: number): void {
		if (round === this.#round) this.#carry(out, this.#member?.expired(timerId), nowMs);
	}

	// --- the cohort's coordinator -------------------------------------------------------------

	/** Heartbeats, suspicion, and one mate after the other asked where it stands. @param asks whether one is due */
	tick(out: Collector, asks: boolean, nowMs: number): void {
		const cohort = new CohortCollector(out);
		if (this.coordination.tick(cohort, this.#present(), nowMs)) this.#coordinatorChanged(cohort, nowMs);
		if (this.coordination.leads && nowMs - this.#lastHeartbeatMs >= this.#timing.heartbeatMs) {
			this.#lastHeartbeatMs = nowMs;
			const position = this.#catchUp?.position;
			if (position !== undefined) cohort.sendAll(this.#mates, { kind: "heartbeat", ...position });
		}
		const mate = this.#mates[this.#asked % this.#mates.length];
		if (asks && mate !== undefined) {
			this.#asked++;
			this.#catchUp?.ask(cohort, mate);
		}
	}

	/** The coordinator opens or recovers the cohort's attempt when enough of the cohort are connected. */
	maybeOpen(out: Collector, nowMs: number): void {
		this.#attempts?.maybeOpen(out, this.#present(), nowMs);
	}

	/** Asks a mate that is connected again where it stands. */
	greet(out: Collector, peer: PeerId): void {
		if (this.#mates.includes(peer)) this.#catchUp?.ask(new CohortCollector(out), peer);
	}

	/** A message about who coordinates the cohort, and where it stands. */
	dispatch(out: Collector, from: PeerId, message: CohortMessage, nowMs: number): void {
		if (!this.#mates.includes(from)) return;
		const cohort = new CohortCollector(out);
		switch (message.kind) {
			case "heartbeat":
			case "status":
				this.#catchUp?.compare(cohort, from, message);
				return;
			case "term_vote":
				if (this.coordination.receiveVote(cohort, from, message, this.#present(), nowMs))
					this.#coordinatorChanged(cohort, nowMs);
				return;
			case "term":
				if (this.coordination.adopt(message, nowMs)) this.#coordinatorChanged(cohort, nowMs);
				return;
		}
	}

	#coordinatorChanged(out: CohortCollector, nowMs: number): void {
		const { certified, coordinator } = this.coordination;
		if (certified !== undefined) {
			out.persist(encodePromise({ kind: "term", ...certified } satisfies { kind: "term" } & CertifiedTerm));
			out.sendAll(this.#mates, { kind: "term", ...certified });
		}
		this.#attempts?.coordinatorChanged(out, nowMs);
		this.#carry(out, this.#member?.coordinatorChanged(coordinator), nowMs);
		this.#lastHeartbeatMs = Number.NEGATIVE_INFINITY;
	}

	#carry(out: Collector, effects: TreeEffects | undefined, nowMs: number): void {
		const round = this.#round;
		for (const ballot of effects?.persist ?? []) {
			out.persist(encodePromise({ kind: "ballot", ballot }));
			this.#listener.progressed(nowMs);
		}
		for (const { to, message, blob } of effects?.send ?? [])
			out.send(to, { kind: "tree", round, body: encodeHierarchyMessage(message) }, blob);
		for (const { id, afterMs } of effects?.setTimer ?? []) out.timer(`tree/${round}/${id}`, afterMs);
		for (const fault of effects?.faults ?? []) out.fault(fault);
		for (const root of effects?.output ?? []) this.#listener.decided(out, released(root), nowMs);
	}
}

/** What a round ends with, as of one session: the attempts were the cohorts' own affairs. */
function released({ sum, survivors, included }: RootSum) {
	const beacons = included.map(({ cohort, beacon }) => [cohort, beacon]);
	const beacon = hashFields("althing/hierarchy/2/beacon", encodeCanonical(beacons));
	return { sum, survivors, beacon, attempt: 0 };
}
