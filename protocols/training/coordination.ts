/**
 * Who coordinates this job right now, as one participant sees it: follows the certified
 * terms, notices a silent or stalled coordinator, and votes for the next in line.
 */
import { encodeCanonical } from "../../crypto/encoding.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import { verifySignature } from "../../crypto/identity.ts";
import { BallotBox, type Electorate, type VoteLock } from "../certificate/index.ts";
import {
	type CertifiedTerm,
	firstTerm,
	rankMembers,
	termSlot,
	termValue,
	verifyTerm,
} from "../election/index.ts";
import type { Collector } from "./contract.ts";
import type { TrainingMessage } from "./messages.ts";
import { encodePromise } from "./promises.ts";

/** Heartbeats and suspicion, in milliseconds. */
export interface CoordinationTiming {
	/** The coordinator sends one to everybody this often. */
	readonly heartbeatMs: number;
	/** Silence after which a participant suspects the coordinator. */
	readonly suspicionMs: number;
	/** A live coordinator that makes no progress for this long is suspected too. */
	readonly stallMs: number;
}

export const DEFAULT_TIMING: CoordinationTiming = { heartbeatMs: 1000, suspicionMs: 3000, stallMs: 60_000 };

/** Back-off of repeated votes: x1.5 each time, at most x4, so that many bad leaders in a row stay cheap. */
const BACKOFF = 1.5;
const MAX_BACKOFF = 4;
/** Votes for terms further ahead than this are ignored: nobody can make us remember without bound. */
const TERM_WINDOW = 64;

type TermVote = Extract<TrainingMessage, { kind: "term_vote" }>;

export interface CoordinationOptions {
	readonly self: SigningKey;
	readonly federationId: string;
	readonly jobId: string;
	readonly charterHash: Uint8Array;
	readonly electorate: Electorate;
	readonly lock: VoteLock;
	readonly timing: CoordinationTiming;
}

export class Coordination {
	readonly #options: CoordinationOptions;
	/** -1 until the first epoch is entered. */
	#term = -1;
	#coordinator: PeerId;
	#certified: CertifiedTerm | undefined;
	#seed: Uint8Array = new Uint8Array(32);
	#recentSurvivors: readonly PeerId[] = [];
	#heardMs = 0;
	#progressMs = 0;
	/** Highest term voted for in this outage, and when. */
	#voted: { term: number; atMs: number; tries: number } | undefined;
	readonly #boxes = new Map<number, { box: BallotBox; candidates: Map<string, PeerId> }>();

	constructor(options: CoordinationOptions) {
		this.#options = options;
		this.#coordinator = options.electorate.members[0] ?? options.self.peer;
	}

	get term(): number {
		return this.#term;
	}

	get coordinator(): PeerId {
		return this.#coordinator;
	}

	/** The certificate of the current term, unless the term began with its epoch. */
	get certified(): CertifiedTerm | undefined {
		return this.#certified;
	}

	get leads(): boolean {
		return this.#coordinator === this.#options.self.peer;
	}

	/**
	 * Enters an epoch: its first coordinator follows from the beacon and the survivors that
	 * ended the epoch before. A term already certified inside the epoch stands.
	 * @returns true when the coordinator changed
	 */
	enterEpoch(
		epoch: number,
		election: { readonly seed: Uint8Array; readonly survivors: readonly PeerId[] },
		nowMs: number,
	): boolean {
		this.#seed = election.seed;
		this.#recentSurvivors = election.survivors;
		const term = firstTerm(epoch);
		if (term <= this.#term) return false;
		this.#become(term, this.#rank(term)[0] ?? this.#coordinator, undefined, nowMs);
		return true;
	}

	/** The node starts: silence and stalls count from here. */
	wake(nowMs: number): void {
		this.#heardMs = nowMs;
		this.#progressMs = nowMs;
	}

	/** Any message of the current coordinator counts as a sign of life. */
	heard(from: PeerId, nowMs: number): void {
		if (from === this.#coordinator) this.#heardMs = nowMs;
	}

	/** The round moved on: the coordinator is not stalling. */
	progressed(nowMs: number): void {
		this.#progressMs = nowMs;
	}

	/** The coordinator had its chances: from the next tick on it is suspected; if it is this node, it resigns. */
	distrust(): void {
		this.#progressMs = Number.NEGATIVE_INFINITY;
	}

	/** Adopts a certified term if it is newer. @returns true when the coordinator changed */
	adopt(certified: CertifiedTerm, nowMs: number): boolean {
		const { federationId, jobId, electorate } = this.#options;
		if (certified.term <= this.#term) return false;
		if (!verifyTerm(electorate, federationId, jobId, certified)) return false;
		this.#become(certified.term, certified.coordinator, certified, nowMs);
		return true;
	}

	/**
	 * Looks for a silent or stalled coordinator and votes if there is one.
	 * @param alive peers this node is connected to, itself included
	 * @returns true when a vote of our own completed a certificate
	 */
	tick(out: Collector, alive: ReadonlySet<PeerId>, nowMs: number): boolean {
		if (!this.#suspects(nowMs)) return false;
		const tries = this.#voted?.tries ?? 0;
		if (this.#voted !== undefined) {
			const wait = this.#options.timing.suspicionMs * Math.min(MAX_BACKOFF, BACKOFF ** tries);
			if (nowMs - this.#voted.atMs < wait) return false;
		}
		// A term whose vote we cast earlier in this outage found no quorum: try the one after it.
		const next = Math.max(this.#term, this.#voted?.term ?? 0) + 1;
		return this.#vote(out, next, alive, nowMs);
	}

	/** Counts a vote. @returns true when it completed a certificate and the coordinator changed */
	receiveVote(
		out: Collector,
		from: PeerId,
		vote: TermVote,
		alive: ReadonlySet<PeerId>,
		nowMs: number,
	): boolean {
		const { electorate } = this.#options;
		if (vote.term <= this.#term || vote.term > this.#term + TERM_WINDOW) return false;
		const forged =
			vote.ballot.voter !== from ||
			!electorate.members.includes(vote.coordinator) ||
			!verifySignature(from, termVoteBytes(vote), vote.signature);
		if (forged) {
			out.fault({
				peer: from,
				code: "training.forged_term_vote",
				message: `${from} sent a term vote that is not its own`,
				proof: false,
			});
			return false;
		}
		if (this.#count(out, vote, nowMs)) return true;
		// f + 1 voters include an honest one: its suspicion is enough to join, so that laggards do not split the vote.
		const voters = new Set(
			this.#box(vote.term)
				.box.ballots()
				.map((ballot) => ballot.voter),
		);
		// A coordinator that votes for its successor has resigned: nobody waits for its silence. For the next
		// term only: among many to come it would find one whose first in line is its friend.
		const next = Math.max(this.#term, this.#voted?.term ?? 0) + 1;
		const resigned = from === this.#coordinator && vote.term <= next;
		const enough = resigned || voters.size > electorate.corruption;
		const joins = enough && !voters.has(this.#options.self.peer);
		const alreadyBeyond = this.#voted !== undefined && this.#voted.term >= vote.term;
		if (!joins || alreadyBeyond || (!this.#suspects(nowMs) && this.leads)) return false;
		return this.#vote(out, vote.term, alive, nowMs);
	}

	#suspects(nowMs: number): boolean {
		const { suspicionMs, stallMs } = this.#options.timing;
		if (this.leads) return nowMs - this.#progressMs > 2 * stallMs;
		return nowMs - this.#heardMs > suspicionMs || nowMs - this.#progressMs > stallMs;
	}

	#vote(out: Collector, term: number, alive: ReadonlySet<PeerId>, nowMs: number): boolean {
		const { self, federationId, jobId, electorate, lock } = this.#options;
		const candidate = this.#rank(term).find((peer) => peer !== this.#coordinator && alive.has(peer));
		this.#voted = { term, atMs: nowMs, tries: (this.#voted?.tries ?? 0) + 1 };
		if (candidate === undefined) return false;
		const { ballot, fresh, agrees } = lock.cast(termSlot(federationId, jobId, term), termValue(candidate));
		// After a restart the lock may hold a vote for somebody else: this term cannot be ours to decide.
		if (!agrees) return false;
		if (fresh) out.persist(encodePromise({ kind: "ballot", ballot }));
		const unsigned = {
			kind: "term_vote" as const,
			term,
			coordinator: candidate,
			ballot,
			alive: electorate.members.filter((peer) => alive.has(peer)),
		};
		const vote: TermVote = { ...unsigned, signature: self.sign(termVoteBytes(unsigned)) };
		out.sendAll(
			electorate.members.filter((peer) => peer !== self.peer),
			vote,
		);
		return this.#count(out, vote, nowMs);
	}

	#count(out: Collector, vote: TermVote, nowMs: number): boolean {
		const { box, candidates } = this.#box(vote.term);
		const outcome = box.add(vote.ballot);
		if (outcome === "invalid") {
			out.fault({
				peer: vote.ballot.voter,
				code: "training.bad_ballot",
				message: "a term vote's ballot is invalid",
				proof: false,
			});
			return false;
		}
		if (typeof outcome === "object") {
			out.fault({
				peer: vote.ballot.voter,
				code: "training.equivocation",
				message: `${vote.ballot.voter} voted twice in term ${vote.term}`,
				proof: true,
				evidence: outcome.equivocation.map((ballot) => encodeCanonical(ballot as never)),
			});
		}
		candidates.set(String(termValue(vote.coordinator)), vote.coordinator);
		const certificate = box.certificate();
		const coordinator = certificate && candidates.get(String(certificate.value));
		if (certificate === undefined || coordinator === undefined) return false;
		return this.adopt({ term: vote.term, coordinator, certificate }, nowMs);
	}

	#box(term: number) {
		const { federationId, jobId, electorate } = this.#options;
		let entry = this.#boxes.get(term);
		if (entry === undefined) {
			entry = { box: new BallotBox(electorate, termSlot(federationId, jobId, term)), candidates: new Map() };
			this.#boxes.set(term, entry);
		}
		return entry;
	}

	#become(term: number, coordinator: PeerId, certified: CertifiedTerm | undefined, nowMs: number): void {
		this.#term = term;
		this.#coordinator = coordinator;
		this.#certified = certified;
		this.#heardMs = nowMs;
		this.#progressMs = nowMs;
		this.#voted = undefined;
		for (const known of this.#boxes.keys()) if (known <= term) this.#boxes.delete(known);
	}

	#rank(term: number): PeerId[] {
		const { federationId, jobId, charterHash, electorate } = this.#options;
		return rankMembers(
			{ federationId, jobId, charterHash, seed: this.#seed, term },
			electorate.members,
			this.#recentSurvivors,
		);
	}
}

/** What the voter signs: the ballot decides, the list is its liveness view for the record. */
function termVoteBytes(vote: Omit<TermVote, "signature">): Uint8Array {
	return encodeCanonical([
		"althing/term-vote/1",
		vote.ballot.slot.scope,
		vote.ballot.slot.instance,
		vote.term,
		vote.coordinator,
		vote.alive,
	]);
}
