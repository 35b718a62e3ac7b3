/** What a session is given and what it tells its owner. */

import { AlthingError } from "../../crypto/error.ts";
import { isPeerId, type SigningKey } from "../../crypto/identity.ts";
import { isModulusBits, type ModulusBits } from "../../crypto/ringPacking.ts";
import { largestProjectedNorm } from "../../crypto/signProjection.ts";
import {
	type DeadCertificate,
	type Electorate,
	type QuorumCertificate,
	quorum,
	slotId,
	verifyDeadCertificate,
} from "../certificate/index.ts";
import type { PeerId, RandomBytes } from "../contract.ts";
import {
	LEAST_SELECTION_HOLDERS,
	MAX_SELECTION_HOLDERS,
	type ScreeningOutcome,
	type ScreeningRules,
} from "../robust/outcome.ts";
import { leastHolders } from "../robust/sketching.ts";
import type { BufferRules } from "./admission.ts";
import { type BucketRules, bucketCountOf } from "./bucketGraph.ts";
import { smallestRoster } from "./cohort.ts";
import type { CohortParameters } from "./cohortParameters.ts";
import type { PublicComputations } from "./computations.ts";
import { MAX_COHORT } from "./limits.ts";
import { survivorsSlot } from "./sessionId.ts";

export interface AggregationConfig {
	/** Hex id of the federation. */
	readonly federationId: string;
	readonly jobId: string;
	readonly round: number;
	/** 0, or one more than the last attempt proven dead. */
	readonly attempt: number;
	/** 32 bytes; differing models give differing sessions, so nothing cancels. */
	readonly modelHash: Uint8Array;
	/** 32 bytes over everything else the members must agree on (encoding, privacy, hyperparameters). */
	readonly configHash: Uint8Array;
	/** The job's fixed participants: who votes and, unless `selected` says otherwise, who may take part. */
	readonly electorate: Electorate;
	/** Those of the electorate who may contribute to this attempt, sorted; everybody where absent. */
	readonly selected?: readonly PeerId[] | undefined;
	/** Inputs with which the coordinator goes on without waiting for further ones; all where absent. */
	readonly enoughInputs?: number | undefined;
	/**
	 * The coordinator of the term in which the attempt began; later ones are told through
	 * `coordinatorChanged`, so that a new coordinator recovers the attempt instead of opening it anew.
	 */
	readonly coordinator: PeerId;
	readonly term: number;
	readonly self: SigningKey;
	/** Buffered rounds: members join when they are ready ({@link AggregationSession.offer}); absent elsewhere. */
	readonly buffer?: BufferRules | undefined;
	/** Smallest survivor set whose sum may be released; at least 2. */
	readonly minimumSurvivors: number;
	/** Of those who may contribute; `cohortParameters` finds them. */
	readonly cohort: CohortParameters;
	/** 32 bytes from a beacon (`graphSeedOf`) that order the members of a sparse cohort. */
	readonly graphSeed: Uint8Array;
	/** Members are dealt to buckets by `graphSeed`, and each bucket's sum is opened by itself; one sum where absent. */
	readonly buckets?: BucketRules | undefined;
	/** Coordinates of the vector, d. */
	readonly length: number;
	/** The ring is the integers mod 2^modulusBits. */
	readonly modulusBits: ModulusBits;
	readonly phaseTimeoutMs: number;
	/** Bytes of the part of every input that everybody sees beside the masked sum; none where absent. */
	readonly publicBytes?: number | undefined;
	/** Inputs longer than the bound are found out and left out of the sum; absent where inputs are not screened. */
	readonly screening?: ScreeningRules | undefined;
	/** One certificate for each attempt before this one, in order. */
	readonly precedingDead: readonly DeadCertificate[];
	/** Records this node persisted for this slot before a restart. */
	readonly promises: readonly Uint8Array[];
	readonly random: RandomBytes;
	/** What a simulation of many members shares among them; a node leaves it out. */
	readonly computations?: PublicComputations | undefined;
}

export type AggregationPhase = "advertise" | "share" | "verify" | "input" | "vote" | "reveal" | "release";

export type AggregationOutput =
	/** This node entered a phase. */
	| { readonly kind: "phase"; readonly phase: AggregationPhase }
	/** Charge the budget durably, then call `provideInput`. `cohort` is U2: who is masked against whom. */
	| { readonly kind: "input_wanted"; readonly sid: Uint8Array; readonly cohort: readonly PeerId[] }
	/** The survivor set is decided: this round's input is spent, whatever follows. */
	| {
			readonly kind: "certified";
			readonly certificate: QuorumCertificate;
			readonly survivors: readonly PeerId[];
	  }
	/** The sum of the survivors' inputs mod 2^modulusBits, verified by this node. */
	| {
			readonly kind: "released";
			/** With buckets one sum after the other, zeros for a bucket of which nothing was opened. */
			readonly sum: Uint32Array;
			/** With buckets: the survivors in each. */
			readonly buckets?: readonly (readonly PeerId[])[];
			readonly survivors: readonly PeerId[];
			readonly sid: Uint8Array;
			readonly certificate: QuorumCertificate;
			/** 32 bytes nobody could choose: a hash over the survivors' opened self seeds. */
			readonly beacon: Uint8Array;
			/** The survivors' public parts, in their order. */
			readonly publicParts?: readonly Uint8Array[];
			/** Where inputs are screened: what all that verify this sum conclude alike. */
			readonly screening?: ScreeningOutcome | undefined;
	  }
	/** No survivor set can ever be certified in this attempt: retry with attempt + 1. */
	| { readonly kind: "dead"; readonly certificate: DeadCertificate; readonly reason: string }
	/** This node cannot get a verified sum from this session; others may. */
	| { readonly kind: "failed"; readonly error: AlthingError }
	/** Coordinator only: everybody reachable has what it needs; the session may be dropped. */
	| { readonly kind: "closed" };

/** Lists found sorted, distinct and of peer ids: a job has one for all its sessions. */
const checkedMembers = new WeakSet<readonly PeerId[]>();
/** Certificates found valid, by what they were checked against: every further attempt of a round comes with all of them. */
const checkedDead = new WeakMap<DeadCertificate, Electorate>();

/**
 * Refuses a configuration that could not run safely.
 * @throws AlthingError `aggregation.bad_configuration` | `aggregation.missing_dead` |
 *   `certificate.electorate`
 */
export function checkConfig(config: AggregationConfig): void {
	const { electorate, minimumSurvivors, attempt, precedingDead } = config;
	const n = electorate.members.length;
	quorum(electorate);
	const refuse = (why: string): never => {
		throw new AlthingError("aggregation.bad_configuration", `The aggregation session cannot start: ${why}.`);
	};
	if (n < 3 || n > MAX_COHORT) refuse(`a cohort has 3 to ${MAX_COHORT} members, not ${n}`);
	if (!checkedMembers.has(electorate.members)) {
		for (const [i, member] of electorate.members.entries()) {
			if (!isPeerId(member)) refuse(`${member.slice(0, 64)} is not a peer id`);
			if (i > 0 && (electorate.members[i - 1] as PeerId) >= member)
				refuse("its members are not sorted and distinct");
		}
		checkedMembers.add(electorate.members);
	}
	const { selected = electorate.members } = config;
	const voters = selected === electorate.members ? undefined : new Set(electorate.members);
	if (voters && selected.some((peer, i) => !voters.has(peer) || (i > 0 && selected[i - 1]! >= peer)))
		refuse("those selected are not a sorted set of participants");
	const { cohort } = config;
	if (cohort.graph === "ring") {
		const { holders, threshold, mates } = cohort;
		const sound = [holders, mates].every((count) => count % 2 === 0 && count >= 2 && count < selected.length);
		if (!sound || threshold < 2 || threshold > holders)
			refuse("its sparse graph does not fit those selected");
		if (config.graphSeed.length !== 32) refuse("graphSeed has 32 bytes");
	}
	if (!electorate.members.includes(config.self.peer))
		refuse(`this node (${config.self.peer}) is not a participant`);
	if (!electorate.members.includes(config.coordinator))
		refuse(`the coordinator (${config.coordinator}) is not a participant`);
	// One survivor's sum would be its input.
	if (!Number.isInteger(minimumSurvivors) || minimumSurvivors < 2 || minimumSurvivors > n) {
		refuse(`minimumSurvivors must be 2 to ${n}, not ${minimumSurvivors}`);
	}
	// The coordinator picks the roster: it may leave out any but the corrupt, whose shares must not reconstruct.
	if (cohort.graph === "complete" && smallestRoster(minimumSurvivors) < 2 * electorate.corruption)
		refuse(
			`${electorate.corruption} corrupt members could hold half of the shares of a roster of ${smallestRoster(minimumSurvivors)}; minimumSurvivors must be at least ${2 * electorate.corruption}`,
		);
	for (const [name, value] of [
		["round", config.round],
		["attempt", attempt],
		["term", config.term],
	] as const) {
		if (!Number.isSafeInteger(value) || value < 0)
			refuse(`${name} must be a non-negative integer, not ${value}`);
	}
	if (!Number.isSafeInteger(config.length) || config.length < 1)
		refuse(`length must be positive, not ${config.length}`);
	if (!isModulusBits(config.modulusBits))
		refuse(`modulusBits must be an integer from 8 to 32, not ${config.modulusBits}`);
	if (config.modelHash.length !== 32 || config.configHash.length !== 32)
		refuse("modelHash and configHash have 32 bytes");
	if (config.publicBytes !== undefined) {
		// Everybody holds everybody's part, as signed for.
		if (cohort.graph !== "complete") refuse("public parts are for cohorts with a complete graph only");
		if (!(Number.isSafeInteger(config.publicBytes) && config.publicBytes > 0))
			refuse(`a public part has 1 byte or more, not ${config.publicBytes}`);
	}
	const { screening, buckets } = config;
	if (buckets !== undefined) {
		const { size, survivors, attackers } = buckets;
		const candidates = (config.selected ?? electorate.members).length;
		const whole = (count: number, from: number) => Number.isSafeInteger(count) && count >= from;
		if (!whole(size, 2) || !whole(survivors, 2) || survivors > size || !whole(attackers, 0))
			refuse(`buckets of ${size} of which ${survivors} survive cannot be opened by themselves`);
		if (bucketCountOf(candidates, buckets) < 2 * attackers + 1)
			refuse(`${candidates} members fill fewer than ${2 * attackers + 1} buckets of ${size}`);
		// Who is left out of a bucket must be known before anything is added up.
		if (screening === undefined || screening.selection !== undefined)
			refuse("the inputs of buckets are screened, without a selection");
	}
	if (screening !== undefined) {
		const { coordinates, normBound, selection, reputation } = screening;
		if (selection !== undefined) {
			const { attackers, proven = 0 } = selection;
			const corrupt = Math.max(1, electorate.corruption - proven);
			const candidates = (config.selected ?? electorate.members).length;
			const least = Math.max(LEAST_SELECTION_HOLDERS, leastHolders(attackers));
			if (!Number.isInteger(attackers) || attackers < corrupt)
				refuse(`screening.selection.attackers must be ${corrupt} or more, not ${attackers}`);
			if (candidates < least || candidates > MAX_SELECTION_HOLDERS)
				refuse(
					`a selection against ${attackers} is among ${least} to ${MAX_SELECTION_HOLDERS}, not ${candidates}`,
				);
		}
		// Everybody judges everybody's statements, which takes everybody's sharings.
		if (cohort.graph !== "complete") refuse("inputs are screened in cohorts with a complete graph only");
		if (!Number.isSafeInteger(coordinates) || coordinates < 1 || coordinates > config.length)
			refuse(`screening.coordinates must be 1 to ${config.length}, not ${coordinates}`);
		if (reputation !== undefined) {
			const { attackers, scores, standings, direction } = reputation;
			if (selection !== undefined) refuse("a selection leaves nothing for a reputation to judge");
			if (!Number.isInteger(attackers) || attackers < 0)
				refuse(`screening.reputation.attackers must be 0 or more, not ${attackers}`);
			const members = electorate.members.length;
			if (
				direction !== undefined &&
				(scores.length !== members || (standings?.length ?? members) !== members)
			)
				refuse(
					`screening.reputation has ${scores.length} scores and ${standings?.length ?? 0} standings of ${members} members`,
				);
			if (direction !== undefined && direction.length !== coordinates)
				refuse(`screening.reputation.direction has ${direction.length} of ${coordinates} coordinates`);
		}
		// Beyond it garbage could pass: 16 projections that are uniform in the ring have a chance of
		// 0.235 (sqrt(50.5) bound / 2^m)^16 to be short.
		const largest = largestProjectedNorm(config.modulusBits);
		if (!(normBound > 0 && normBound <= largest))
			refuse(`screening.normBound must be above 0 and at most ${largest}, not ${normBound}`);
	}
	if (!(config.phaseTimeoutMs > 0)) refuse("phaseTimeoutMs must be positive");
	// Sending an update again while the earlier attempt may still be opened would allow
	// subtracting one sum from the other (design 2.7).
	for (let earlier = 0; earlier < attempt; earlier++) {
		const dead = precedingDead[earlier];
		const slot = survivorsSlot({ ...config, attempt: earlier });
		const found = dead !== undefined && slotId(dead.slot) === slotId(slot);
		const sound = found && (checkedDead.get(dead) === electorate || verifyDeadCertificate(electorate, dead));
		if (sound) checkedDead.set(dead, electorate);
		else {
			throw new AlthingError(
				"aggregation.missing_dead",
				`Attempt ${attempt} of round ${config.round} needs a valid Dead certificate of attempt ${earlier}; wait for it.`,
				{ attempt, earlier, round: config.round },
			);
		}
	}
}
