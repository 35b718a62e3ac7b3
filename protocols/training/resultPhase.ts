/**
 * The end of a round: votes for what this node computed, catches up with what others
 * certified, and voids a round whose sum is lost to a quorum.
 */
import { equalBytes } from "../../crypto/encoding.ts";
import { sha256 } from "../../crypto/hash.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { type Ballot, quorum, slotId, type VoteLock, verifyQuorumCertificate } from "../certificate/index.ts";
import { type CertifiedResult, type Checkpoint, voidResult } from "./checkpoint.ts";
import type { Collector, TrainingJobOptions } from "./contract.ts";
import type { TrainingMessage } from "./messages.ts";
import { encodePromise } from "./promises.ts";
import { type RoundResult, resultHash, resultSlot } from "./result.ts";
import { ResultDecision } from "./resultDecision.ts";

/** A participant repeats what is unanswered this often. */
export const RESEND_MS = 1000;
const LEAST_VOID_AFTER_MS = 20_000;
/** A coordinator asks share holders for what a silent survivor does not reveal after one phase, and may be replaced. */
const VOID_AFTER_PHASES = 4;
/** A "lost" counts only while it is repeated: claims of one moment, not of a whole outage. */
const CLAIM_MS = 3 * RESEND_MS;

export type Commit = (
	out: Collector,
	result: CertifiedResult,
	state: Uint8Array,
	caughtUp: boolean,
	nowMs: number,
) => void;

export class ResultPhase {
	readonly #options: TrainingJobOptions;
	readonly #lock: VoteLock;
	readonly #others: readonly PeerId[];
	readonly #commit: Commit;
	#checkpoint: Checkpoint;
	#decision: ResultDecision;
	#own: Ballot | undefined;
	/** A verified sum is here; its state is being computed. */
	#computing = false;
	/** A certified result whose state is not here yet. */
	#awaiting: CertifiedResult | undefined;
	/** Since when the survivors are, or may be, fixed without this node having their sum. */
	#lostSinceMs: number | undefined;
	readonly #claims = new Map<PeerId, number>();

	constructor(options: TrainingJobOptions, lock: VoteLock, checkpoint: Checkpoint, commit: Commit) {
		this.#options = options;
		this.#lock = lock;
		this.#others = options.electorate.members.filter((peer) => peer !== options.self.peer);
		this.#commit = commit;
		this.#checkpoint = checkpoint;
		this.#decision = this.#newDecision();
	}

	/** True when the round needs no further attempt here: a sum or a certified result is in hand. */
	get decided(): boolean {
		return this.#computing || this.#own !== undefined || this.#awaiting !== undefined;
	}

	begin(checkpoint: Checkpoint): void {
		this.#checkpoint = checkpoint;
		this.#decision = this.#newDecision();
		this.#own = undefined;
		this.#computing = false;
		this.#awaiting = undefined;
		this.#lostSinceMs = undefined;
		this.#claims.clear();
	}

	/** Takes up this node's own vote again after a restart. */
	restoreVote(ballot: Ballot, content: RoundResult, state: Uint8Array | undefined): void {
		this.#decision.know(content, state);
		this.#decision.count(ballot);
		this.#own = ballot;
	}

	computing(): void {
		this.#computing = true;
	}

	mayBeLost(nowMs: number): void {
		this.#lostSinceMs ??= nowMs;
	}

	/** The attempt is proven dead: nothing was fixed after all. */
	nothingLost(): void {
		this.#lostSinceMs = undefined;
	}

	/** Votes for a result whose state is here, unless this node voted otherwise before. */
	vote(out: Collector, content: RoundResult, state: Uint8Array, nowMs: number): void {
		this.#computing = false;
		this.#decision.know(content, state);
		const { ballot, fresh } = this.#lock.cast(this.#decision.slot, resultHash(content));
		if (fresh) out.persist({ ...encodePromise({ kind: "ballot", ballot, content }), state });
		this.#own = ballot;
		this.#sendOwn(out);
		this.#decision.count(ballot);
		const awaiting = this.#awaiting;
		if (awaiting !== undefined && equalBytes(awaiting.content.stateHash, content.stateHash)) {
			this.#commit(out, awaiting, state, false, nowMs);
			return;
		}
		this.#maybeCertified(out, nowMs);
	}

	/** @param idle this node has no part in the round's sum, and need not wait for its own */
	receiveBallot(out: Collector, from: PeerId, ballot: Ballot, idle: boolean, nowMs: number): void {
		const { round } = this.#checkpoint;
		const vouchedBefore = this.#decision.vouched() !== undefined;
		const outcome = this.#decision.count(ballot);
		if (outcome === "invalid") {
			out.fault({
				peer: from,
				code: "training.bad_ballot",
				message: `${from} sent an invalid ballot for round ${round}`,
				proof: false,
			});
			return;
		}
		if (typeof outcome === "object") {
			out.fault({
				peer: ballot.voter,
				code: "training.equivocation",
				message: `${ballot.voter} voted for two results of round ${round}`,
				proof: true,
				evidence: outcome.equivocation.map((one) => encodePromise({ kind: "ballot", ballot: one }).record),
			});
		}
		this.#maybeCertified(out, nowMs);
		if (idle && !vouchedBefore && !this.decided && this.#checkpoint.round === round) {
			const vouched = this.#decision.vouched();
			if (vouched !== undefined) out.send(from, { kind: "state_request", round });
		}
	}

	#maybeCertified(out: Collector, nowMs: number): void {
		const certificate = this.#decision.certificate();
		if (certificate === undefined) return;
		const content = this.#decision.content(certificate.value);
		const state = this.#decision.state(certificate.value);
		if (content === undefined || state === undefined) return;
		out.sendAll(this.#others, { kind: "result", certificate, content });
		this.#commit(out, { certificate, content }, state, false, nowMs);
	}

	/** A certified result of this round or a later one. */
	receiveResult(
		out: Collector,
		from: PeerId,
		{ content, certificate }: Extract<TrainingMessage, { kind: "result" }>,
		nowMs: number,
	): void {
		if (content.round < this.#checkpoint.round) return;
		const known = this.#awaiting;
		if (known !== undefined && known.content.round >= content.round) return;
		if (!this.#verify({ certificate, content })) {
			out.fault({
				peer: from,
				code: "training.bad_certificate",
				message: `${from} sent a result of round ${content.round} without a valid certificate`,
				proof: false,
			});
			return;
		}
		const unchanged = equalBytes(content.stateHash, sha256(this.#checkpoint.state));
		const held = this.#decision.state(certificate.value) ?? (unchanged ? this.#checkpoint.state : undefined);
		if (held !== undefined) {
			const caughtUp = content.round > this.#checkpoint.round || this.#own === undefined;
			this.#commit(out, { certificate, content }, held, caughtUp, nowMs);
			return;
		}
		this.#awaiting = { certificate, content };
		out.send(from, { kind: "state_request", round: content.round });
	}

	#verify({ certificate, content }: CertifiedResult): boolean {
		const { federationId, jobId, electorate, rounds } = this.#options;
		return (
			content.jobId === jobId &&
			content.round < rounds &&
			slotId(certificate.slot) === slotId(resultSlot(federationId, jobId, content.round)) &&
			equalBytes(certificate.value, resultHash(content)) &&
			verifyQuorumCertificate(electorate, certificate)
		);
	}

	/** Answers with the state of the last certified round, or of what this node voted for. */
	serveState(out: Collector, to: PeerId, round: number): boolean {
		const { last, state } = this.#checkpoint;
		if (last?.content.round === round) {
			out.send(to, { kind: "state", content: last.content }, state);
			return true;
		}
		const value = round === this.#checkpoint.round ? this.#own?.value : undefined;
		const content = value ? this.#decision.content(value) : undefined;
		const voted = value ? this.#decision.state(value) : undefined;
		if (content === undefined || voted === undefined) return false;
		out.send(to, { kind: "state", content }, voted);
		return true;
	}

	receiveState(
		out: Collector,
		from: PeerId,
		content: RoundResult,
		state: Uint8Array | undefined,
		nowMs: number,
	): void {
		if (state === undefined || !equalBytes(sha256(state), content.stateHash)) {
			out.fault({
				peer: from,
				code: "training.wrong_state",
				message: `${from} sent a state that does not match its hash`,
				proof: false,
			});
			return;
		}
		const awaiting = this.#awaiting;
		if (awaiting !== undefined) {
			if (equalBytes(awaiting.content.stateHash, content.stateHash))
				this.#commit(out, awaiting, state, true, nowMs);
			return;
		}
		// Not certified yet: f+1 votes vouch for it, and ours may complete the quorum.
		const vouched = this.#decision.vouched();
		const value = resultHash(content);
		if (this.#own !== undefined && this.#own.value !== null && equalBytes(this.#own.value, value)) {
			this.#decision.know(content, state);
			this.#maybeCertified(out, nowMs);
		} else if (content.round === this.#checkpoint.round && vouched && equalBytes(vouched.value, value)) {
			this.vote(out, content, state, nowMs);
		}
	}

	receiveLost(from: PeerId, nowMs: number): void {
		this.#claims.set(from, nowMs);
	}

	/** Repeats this node's vote, fetches what others can still give of the round, or works to void it. */
	resend(out: Collector, alive: ReadonlySet<PeerId>, nowMs: number): void {
		const { self, electorate, jobId, roundsPerEpoch, phaseTimeoutMs } = this.#options;
		const voidAfterMs =
			this.#options.voidAfterMs ?? Math.max(LEAST_VOID_AFTER_MS, VOID_AFTER_PHASES * phaseTimeoutMs);
		if (this.#own !== undefined) this.#sendOwn(out);
		if (this.#awaiting !== undefined) {
			const holders = this.#awaiting.certificate.votes.map(({ voter }) => voter);
			this.#fetch(out, holders, this.#awaiting.content.round, alive, nowMs);
			return;
		}
		const vouched = this.#decision.vouched();
		if (vouched !== undefined && this.#decision.state(vouched.value) === undefined && !this.#computing) {
			this.#fetch(out, vouched.voters, this.#checkpoint.round, alive, nowMs);
			return;
		}
		if (this.#own !== undefined || this.#computing || this.#lostSinceMs === undefined) return;
		if (nowMs - this.#lostSinceMs < voidAfterMs) return;
		this.#claims.set(self.peer, nowMs);
		out.sendAll(this.#others, { kind: "lost", round: this.#checkpoint.round });
		// Votes bind for ever, claims do not: only when a quorum can void the round at this very
		// moment does anybody vote for it, or a partition would split the votes past repair.
		const current = [...this.#claims.values()].filter((atMs) => nowMs - atMs <= CLAIM_MS);
		if (current.length >= quorum(electorate))
			this.vote(out, voidResult(this.#checkpoint, jobId, roundsPerEpoch), this.#checkpoint.state, nowMs);
	}

	/** Asks one holder at a time, another one each time. */
	#fetch(
		out: Collector,
		holders: readonly PeerId[],
		round: number,
		alive: ReadonlySet<PeerId>,
		nowMs: number,
	): void {
		const reachable = holders.filter((peer) => alive.has(peer) && peer !== this.#options.self.peer);
		const holder = reachable[Math.floor(nowMs / RESEND_MS) % Math.max(1, reachable.length)];
		if (holder !== undefined) out.send(holder, { kind: "state_request", round });
	}

	#sendOwn(out: Collector): void {
		if (this.#own === undefined) return;
		out.sendAll(this.#others, { kind: "result_ballot", round: this.#checkpoint.round, ballot: this.#own });
	}

	#newDecision(): ResultDecision {
		const { electorate, federationId, jobId } = this.#options;
		return new ResultDecision(electorate, federationId, jobId, this.#checkpoint.round);
	}
}
