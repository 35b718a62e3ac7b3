/** Where a job stands: the last certified round, the common state after it, and who may coordinate next. */
import { toHex } from "../../crypto/encoding.ts";
import { hashFields, sha256 } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { emptyHistory, historyAfter, type SelectionHistory } from "../../src/selection/history.ts";
import { reportsLosses } from "../../src/selection/selectionChoice.ts";
import type { Ballot, DeadCertificate, QuorumCertificate } from "../certificate/index.ts";
import type { TrainingJobOptions } from "./contract.ts";
import { decodePromise, type TrainingPromise } from "./promises.ts";
import { type RoundResult, resultHash } from "./result.ts";

export interface CertifiedResult {
	readonly certificate: QuorumCertificate;
	readonly content: RoundResult;
}

export interface Checkpoint {
	/** The round to work on next; equals the job's `rounds` when it is done. */
	readonly round: number;
	/** The common state (parameters and optimizer) that the round starts from. */
	readonly state: Uint8Array;
	/** Hash of the last result, or of the job's start. */
	readonly previous: Uint8Array;
	readonly last: CertifiedResult | undefined;
	/** What ranks the coordinators of this round's epoch. */
	readonly election: { readonly seed: Uint8Array; readonly survivors: readonly PeerId[] };
	/** What the selection of this round's contributors is drawn from. */
	readonly beacon: Uint8Array;
	/** Participants that do not contribute any more. */
	readonly excluded: readonly PeerId[];
	/** Of a job with a selection, or with buffered rounds. */
	readonly history: SelectionHistory | undefined;
}

/** The checkpoint before the first round. */
export function firstCheckpoint(options: TrainingJobOptions): Checkpoint {
	const { jobId, configHash, seed, initialState, selection, buffer, electorate } = options;
	return {
		round: 0,
		state: initialState,
		previous: hashFields("althing/job-start/1", jobId, configHash, seed),
		last: undefined,
		election: { seed, survivors: [] },
		beacon: seed,
		excluded: [],
		history: (selection ?? buffer) === undefined ? undefined : emptyHistory(electorate.members.length),
	};
}

/** The checkpoint after a certified round. `state` is the one whose hash the content names. */
export function checkpointAfter(result: CertifiedResult, state: Uint8Array): Checkpoint {
	const { content } = result;
	return {
		round: content.round + 1,
		state,
		previous: resultHash(content),
		last: result,
		election: content.election,
		beacon: content.beacon,
		excluded: content.excluded ?? [],
		history: content.history,
	};
}

/**
 * What ranks the coordinators after a round: the round's own beacon and survivors where the
 * next round begins an epoch, else what ranked them before. It is part of the certified
 * result, so that a node that catches up or restarts in mid-epoch ranks like everybody else.
 */
export function electionAfter(
	{ round, election }: Checkpoint,
	roundsPerEpoch: number,
	outcome: { readonly beacon: Uint8Array; readonly survivors: readonly PeerId[] },
): RoundResult["election"] {
	const begins = (round + 1) % roundsPerEpoch === 0;
	const { seed, survivors } = begins ? { seed: outcome.beacon, survivors: outcome.survivors } : election;
	return { seed, survivors: [...survivors] };
}

/** The losses that survivors reported in their public parts; undefined where a selection does not go by them. */
export function reportedLosses(
	selection: TrainingJobOptions["selection"],
	survivors: readonly PeerId[],
	publicParts: readonly Uint8Array[] | undefined,
): ReadonlyMap<PeerId, number> | undefined {
	if (publicParts === undefined || !reportsLosses(selection?.choice)) return undefined;
	return new Map(publicParts.map((part, index) => [survivors[index]!, part[0]!]));
}

/** The history that a released round leaves, as part of its certified result; nothing where nothing goes by it. */
export function certifiedHistory(
	{ history, round: number }: Checkpoint,
	{ electorate }: Pick<TrainingJobOptions, "electorate">,
	round: Omit<Parameters<typeof historyAfter>[2], "number">,
): Pick<RoundResult, "history"> {
	if (history === undefined) return {};
	return { history: [...historyAfter(history, electorate.members, { ...round, number })] };
}

/** Who is excluded after a round, as part of its certified result; nothing as long as nobody is. */
export function certifiedExclusion(
	{ excluded }: Checkpoint,
	offenders: readonly { readonly peer: PeerId }[],
): Pick<RoundResult, "excluded"> {
	const all = [...new Set([...excluded, ...offenders.map(({ peer }) => peer)])].sort();
	return all.length === 0 ? {} : { excluded: all };
}

/**
 * The result of a round whose survivors are fixed but whose sum is lost, or proven to be bad: the model
 * stays as it is.
 * @param offenders who is excluded for it
 */
export function voidResult(
	checkpoint: Checkpoint,
	jobId: string,
	roundsPerEpoch: number,
	offenders: readonly { readonly peer: PeerId }[] = [],
): RoundResult {
	const beacon = hashFields("althing/void-beacon/1", checkpoint.previous);
	return {
		jobId,
		round: checkpoint.round,
		outcome: "void",
		attempt: 0,
		survivors: [],
		stateHash: sha256(checkpoint.state),
		beacon,
		metrics: {},
		previous: checkpoint.previous,
		election: electionAfter(checkpoint, roundsPerEpoch, { beacon, survivors: [] }),
		...certifiedExclusion(checkpoint, offenders),
		...(checkpoint.history === undefined ? {} : { history: [...checkpoint.history] }),
	};
}

/** What a participant finds in its journal after a restart. */
export interface Restored {
	readonly checkpoint: Checkpoint;
	readonly ballots: readonly Ballot[];
	readonly terms: readonly Extract<TrainingPromise, { kind: "term" }>[];
	/** Dead certificates of the checkpoint's round, by attempt. */
	readonly dead: readonly DeadCertificate[];
	/** Records of aggregation sessions of the checkpoint's round, by attempt. */
	readonly sessions: ReadonlyMap<number, readonly Uint8Array[]>;
	/** This node's vote for the checkpoint's round, with the state it voted for. */
	readonly vote:
		| { readonly ballot: Ballot; readonly content: RoundResult; readonly state: Uint8Array | undefined }
		| undefined;
}

/** @throws AlthingError `training.bad_record`: going on without a record could contradict it. */
export function restore(options: TrainingJobOptions): Restored {
	const promises = options.promises.map(decodePromise);
	let checkpoint = firstCheckpoint(options);
	for (const promise of promises) {
		if (promise.kind !== "result") continue;
		const state = options.states.get(toHex(promise.content.stateHash));
		if (state !== undefined) checkpoint = checkpointAfter(promise, state);
	}
	const sessions = new Map<number, Uint8Array[]>();
	const dead: DeadCertificate[] = [];
	let vote: Restored["vote"];
	for (const promise of promises) {
		if (promise.kind === "session" && promise.round === checkpoint.round) {
			sessions.set(promise.attempt, [...(sessions.get(promise.attempt) ?? []), promise.record]);
		} else if (promise.kind === "dead" && promise.round === checkpoint.round) {
			if (promise.certificate.slot.attempt === dead.length) dead.push(promise.certificate);
		} else if (promise.kind === "ballot" && promise.content?.round === checkpoint.round) {
			const { ballot, content } = promise;
			vote = { ballot, content, state: options.states.get(toHex(content.stateHash)) };
		}
	}
	return {
		checkpoint,
		ballots: promises.flatMap((promise) => (promise.kind === "ballot" ? [promise.ballot] : [])),
		terms: promises.filter((promise) => promise.kind === "term"),
		dead,
		sessions,
		vote,
	};
}

/** State hashes (hex) that the journal records of a job refer to: load them before constructing it. */
export function statesNeeded(promises: readonly Uint8Array[]): string[] {
	const needed = new Map<number, string[]>();
	let last = -1;
	for (const promise of promises.map(decodePromise)) {
		if (promise.kind !== "result" && promise.kind !== "ballot") continue;
		const { content } = promise;
		if (content === undefined) continue;
		needed.set(content.round, [...(needed.get(content.round) ?? []), toHex(content.stateHash)]);
		if (promise.kind === "result") last = Math.max(last, content.round);
	}
	return [...new Set([...(needed.get(last) ?? []), ...(needed.get(last + 1) ?? [])])];
}
