/**
 * The membership machine: one node's part in changing the charter by gossip, as member or
 * as candidate. README.md has the threat model and the message diagram.
 *
 * A member keeps requests, verdicts, proposals and ballots until the version they are about
 * is decided, and exchanges what the other side lacks whenever two members are online
 * together; so a quorum never has to be online at once, only to have been seen.
 */
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId, SigningKey } from "../../crypto/identity.ts";
import { type Ballot, type DeadCertificate, quorum, VoteLock } from "../certificate/index.ts";
import type { Effects, Machine, RandomBytes } from "../contract.ts";
import { EffectCollector } from "../effects.ts";
import { Candidate, type CandidateAnswer } from "./candidate.ts";
import type { ChainLink, CharterChain } from "./chain.ts";
import {
	type Change,
	type ChangeRequest,
	requestIdOf,
	signChangeRequest,
	signVerdict,
	type Verdict,
	verifyChangeRequest,
} from "./changeRequest.ts";
import { charterHash, memberOf } from "./charter.ts";
import {
	CANDIDATE_RETRY_MS,
	CLOCK_TOLERANCE_MS,
	GOSSIP_FANOUT,
	GOSSIP_MS,
	PROPOSER_PATIENCE_MS,
} from "./constants.ts";
import type { Declaration } from "./declaration.ts";
import { blame, equivocation, forkFaults, messageOf } from "./faults.ts";
import type { FederationMessage, StatusMessage } from "./messages.ts";
import type { FederationOutput, MembershipPolicy } from "./outputs.ts";
import { type PendingRequest, PendingRequests } from "./pendingRequests.ts";
import { decodePromise, encodePromise, type FederationPromise } from "./promises.ts";
import { type Proposal, proposerRanking, signProposal } from "./proposal.ts";
import type { Rules } from "./rules.ts";
import { chainPiece, lastMembershipOf, statusGap, statusOf } from "./sync.ts";
import { formatTicket, issueTicket, type Ticket, verifyTicket } from "./ticket.ts";
import { VersionDecision } from "./versionDecision.ts";

type Out = EffectCollector<FederationMessage, never, FederationOutput, Uint8Array>;
type Step = Effects<FederationMessage, never, FederationOutput, Uint8Array>;

export interface MembershipInit {
	readonly self: SigningKey;
	/** The verified chain of this node; undefined for a node that belongs to no federation yet. */
	readonly chain: CharterChain | undefined;
	readonly policy: MembershipPolicy;
	/** Every record this machine ever asked to persist, in order. */
	readonly promises: readonly Uint8Array[];
	readonly random: RandomBytes;
	/** Unix time in ms at which the driver's monotonic clock reads 0. */
	readonly unixOffsetMs: number;
}

const GOSSIP = "gossip";

export class Membership implements Machine<FederationMessage, never, never, FederationOutput> {
	readonly #self: SigningKey;
	readonly #policy: MembershipPolicy;
	readonly #random: RandomBytes;
	readonly #unixOffsetMs: number;
	readonly #lock: VoteLock;
	readonly #restored: readonly FederationPromise[];
	readonly #pending = new PendingRequests();
	/** Undefined until this node is a member. */
	#chain: CharterChain | undefined;
	#candidate: Candidate | undefined;
	#decision: VersionDecision | undefined;
	/** `propose/version/attempt` timers that ran out: this node need not wait for others any more. */
	readonly #patienceOver = new Set<string>();
	#timerSet = "";

	/** @throws AlthingError `federation.corrupt_promise` */
	constructor(init: MembershipInit) {
		this.#self = init.self;
		this.#policy = init.policy;
		this.#random = init.random;
		this.#unixOffsetMs = init.unixOffsetMs;
		this.#chain = init.chain;
		this.#restored = init.promises.map(decodePromise);
		this.#lock = new VoteLock(
			init.self,
			this.#restored.flatMap((promise) => (promise.kind === "vote" ? [promise.ballot] : [])),
		);
	}

	/** The verified chain; undefined while this node belongs to no federation. */
	get chain(): CharterChain | undefined {
		return this.#chain;
	}

	/** Id of this node's own request to join, while it waits. */
	get joining(): string | undefined {
		return this.#candidate === undefined ? undefined : requestIdOf(this.#candidate.request);
	}

	/** Requests waiting for approval. */
	pending(): PendingRequest[] {
		return this.#chain === undefined ? [] : this.#pending.list(this.#chain);
	}

	start(nowMs: number): Step {
		return this.#step(nowMs, (out) => {
			for (const promise of this.#restored) {
				if (promise.kind === "joining" && this.#chain === undefined)
					this.#candidate = new Candidate(promise.request, this.#self.peer);
			}
			if (this.#chain !== undefined) {
				this.#open(this.#chain, nowMs);
				this.#approveByPolicy(out, this.#chain);
			}
			this.#gossip(out, nowMs);
		});
	}

	receive(from: PeerId, message: FederationMessage, nowMs: number): Step {
		return this.#step(nowMs, (out) => {
			const chain = this.#chain;
			if (chain === undefined) {
				this.#receiveAsCandidate(out, from, message, nowMs);
				return;
			}
			if (memberOf(chain.head, from) === undefined || this.#decision === undefined) {
				this.#receiveFromOutside(out, chain, from, message, nowMs);
				return;
			}
			switch (message.kind) {
				case "request":
					return this.#onRequest(out, chain, from, message.request, nowMs);
				case "verdict":
					return this.#onVerdict(out, chain, from, message.verdict);
				case "proposal":
					return this.#onProposal(out, chain, from, message.proposal, nowMs);
				case "ballot":
					return this.#onBallot(out, chain, from, message.ballot);
				case "dead":
					return this.#onDead(out, message.certificate);
				case "status":
					return this.#onStatus(out, chain, from, message);
				case "chain_request":
					return this.#sendChain(out, chain, from, message.fromVersion, chain.head.version);
				case "chain":
					return this.#onChain(out, chain, from, message.links, nowMs);
				case "refusal":
					return;
			}
		});
	}

	expired(timerId: string, nowMs: number): Step {
		return this.#step(nowMs, (out) => {
			if (timerId === GOSSIP) this.#gossip(out, nowMs);
			else this.#patienceOver.add(timerId);
		});
	}

	/** This machine asks for no work. */
	completed(): Step {
		return {};
	}

	/**
	 * Asks the ticket's federation for admission, again and again until it answers.
	 * @throws AlthingError `federation.already_member` | `federation.ticket_expired` | `federation.bad_ticket`
	 */
	requestJoin(ticket: Ticket, declaration: Declaration, nowMs: number): Step {
		if (this.#chain !== undefined) {
			throw new AlthingError(
				"federation.already_member",
				`This node belongs to "${this.#chain.head.federation}" already.`,
			);
		}
		if (Date.parse(ticket.expiresAt) < this.#unixOffsetMs + nowMs) {
			throw new AlthingError(
				"federation.ticket_expired",
				`This ticket expired at ${ticket.expiresAt}; ask for a new one.`,
			);
		}
		if (!verifyTicket(ticket) || ticket.organization !== declaration.organization) {
			throw new AlthingError(
				"federation.bad_ticket",
				`This ticket is for "${ticket.organization}", not for "${declaration.organization}".`,
			);
		}
		return this.#step(nowMs, (out) => {
			const request = this.#sign(ticket.federationId, { kind: "join", ticket, declaration }, nowMs);
			this.#candidate = new Candidate(request, this.#self.peer);
			out.persist(encodePromise({ kind: "joining", request }));
			this.#gossip(out, nowMs);
		});
	}

	/** Approves a waiting request. @throws AlthingError `federation.unknown_request` | `federation.not_member` */
	approve(requestId: string, nowMs: number): Step {
		return this.#judge(requestId, true, nowMs);
	}

	/** Speaks against a waiting request; it stays open for the others. @throws as {@link approve} */
	reject(requestId: string, nowMs: number): Step {
		return this.#judge(requestId, false, nowMs);
	}

	/** Leaves the federation once a quorum has certified the version without this node. @throws `federation.not_member` | `federation.invalid_change` */
	leave(nowMs: number): Step {
		const { joinedVersion } = this.#membership();
		return this.#request({ kind: "leave", joinedVersion }, nowMs);
	}

	/** Asks the others to expel a member. @throws `federation.not_member` | `federation.member_not_found` */
	expel(peer: PeerId, reason: string, nowMs: number): Step {
		this.#membership();
		const subject = memberOf((this.#chain as CharterChain).head, peer);
		if (subject === undefined) {
			throw new AlthingError(
				"federation.member_not_found",
				`${peer} is not a member and cannot be expelled.`,
				{
					peer,
				},
			);
		}
		return this.#request({ kind: "expel", peer, joinedVersion: subject.joinedVersion, reason }, nowMs);
	}

	/** Asks the others to change the rules. @throws `federation.not_member` */
	changeRules(rules: Rules, nowMs: number): Step {
		this.#membership();
		return this.#request({ kind: "rules", rules }, nowMs);
	}

	/**
	 * Makes a ticket for one organization. Nothing is sent: the text goes to it by other means.
	 * @throws AlthingError `federation.not_member` | `federation.bad_ticket`
	 */
	invite(
		invitation: {
			readonly organization: string;
			readonly expiresInMs: number;
			readonly addresses: readonly string[];
		},
		nowMs: number,
	): { readonly ticket: Ticket; readonly text: string } {
		this.#membership();
		const chain = this.#chain as CharterChain;
		const content = {
			federation: chain.head.federation,
			federationId: chain.federationId,
			organization: invitation.organization,
			expiresAt: this.#iso(nowMs + invitation.expiresInMs),
			addresses: [...invitation.addresses],
		};
		const ticket = issueTicket(this.#self, content, this.#random);
		return { ticket, text: formatTicket(ticket) };
	}

	#judge(requestId: string, approve: boolean, nowMs: number): Step {
		this.#membership();
		if (this.#pending.get(requestId) === undefined) {
			throw new AlthingError("federation.unknown_request", `No request ${requestId} is waiting here.`, {
				requestId,
			});
		}
		return this.#step(nowMs, (out) =>
			this.#giveVerdict(out, this.#chain as CharterChain, requestId, approve),
		);
	}

	#request(change: Change, nowMs: number): Step {
		const chain = this.#chain as CharterChain;
		const request = this.#sign(chain.federationId, change, nowMs);
		// Says at once what is wrong with it, before anything is sent.
		chain.next([request], this.#createdAt(chain, nowMs));
		return this.#step(nowMs, (out) => {
			this.#onRequest(out, chain, this.#self.peer, request, nowMs);
			if (change.kind !== "leave") this.#giveVerdict(out, chain, requestIdOf(request), true);
		});
	}

	#step(nowMs: number, work: (out: Out) => void): Step {
		const out: Out = new EffectCollector();
		work(out);
		this.#advance(out, nowMs);
		return out.effects();
	}

	/** Does whatever the state allows: adopt, move on from a dead attempt, vote, propose. */
	#advance(out: Out, nowMs: number): void {
		for (;;) {
			const [chain, decision] = [this.#chain, this.#decision];
			if (chain === undefined || decision === undefined) return;
			const link = decision.decided();
			if (link !== undefined) {
				this.#adopt(out, chain.extend(link), nowMs, decision);
				continue;
			}
			const dead = decision.buryIfDead();
			if (dead !== undefined) {
				this.#announceDead(out, dead);
				out.sendAll(this.#others(chain), { kind: "dead", certificate: plain(dead) });
				continue;
			}
			if (this.#lock.ballot(decision.slot) !== undefined) return;
			const favourite = decision.favourite() ?? this.#makeProposal(out, chain, decision, nowMs);
			if (favourite === undefined) return;
			this.#vote(out, chain, decision, favourite);
		}
	}

	#vote(out: Out, chain: CharterChain, decision: VersionDecision, proposal: Proposal): void {
		const { ballot } = this.#lock.cast(decision.slot, charterHash(proposal.charter));
		out.persist(encodePromise({ kind: "vote", ballot, proposal }));
		decision.vote(ballot);
		out.sendAll(this.#others(chain), { kind: "ballot", ballot });
	}

	/** Proposes the approved requests, when it is this node's turn to; else sets the timer that makes it so. */
	#makeProposal(
		out: Out,
		chain: CharterChain,
		decision: VersionDecision,
		nowMs: number,
	): Proposal | undefined {
		const createdAt = this.#createdAt(chain, nowMs);
		const ripe = this.#pending.ripe(chain, createdAt);
		if (ripe.length === 0) return undefined;
		const ranking = proposerRanking(chain);
		const place = ranking.indexOf(this.#self.peer);
		// Each attempt begins with another member, so that a dead proposer cannot block twice.
		const wait = (place - decision.attempt + ranking.length * (1 + decision.attempt)) % ranking.length;
		const timer = `propose/${chain.head.version + 1}/${decision.attempt}`;
		if (wait > 0 && !this.#patienceOver.has(timer)) {
			if (this.#timerSet !== timer) out.timer(timer, wait * PROPOSER_PATIENCE_MS);
			this.#timerSet = timer;
			return undefined;
		}
		const { members } = chain.electorate;
		const approvals = ripe.flatMap((request) =>
			this.#pending
				.verdictsOn(requestIdOf(request))
				.filter(({ approve, member }) => approve && members.includes(member))
				.slice(0, quorum(chain.electorate)),
		);
		const charter = chain.next(ripe, createdAt);
		const proposal = signProposal(this.#self, chain.federationId, decision.attempt, charter, approvals);
		decision.propose(proposal);
		out.sendAll(this.#others(chain), { kind: "proposal", proposal });
		return proposal;
	}

	/** Makes the longer chain this node's own and tells whoever should know. */
	#adopt(out: Out, chain: CharterChain, nowMs: number, decision?: VersionDecision): void {
		const before = this.#chain;
		this.#open(chain, nowMs);
		out.output({ kind: "charter", chain });
		out.output({ kind: "pending", requests: this.pending() });
		const self = memberOf(chain.head, this.#self.peer);
		if (before !== undefined && self === undefined && memberOf(before.head, this.#self.peer) !== undefined) {
			const expulsion = chain.head.changes.find(
				({ change }) => change.kind === "expel" && change.peer === this.#self.peer,
			)?.change;
			const expelledFor = expulsion?.kind === "expel" ? expulsion.reason : undefined;
			out.output({ kind: "left", version: chain.head.version, expelledFor });
		}
		if (before === undefined || decision === undefined) return;
		// The proposer spreads the result; gossip does where it cannot.
		const link = chain.links.at(-1) as ChainLink;
		const mine = decision.proposals.some(
			({ proposer, charter }) => proposer === this.#self.peer && charter.version === chain.head.version,
		);
		if (!mine) return;
		for (const peer of new Set([...before.electorate.members, ...chain.electorate.members])) {
			if (peer === this.#self.peer) continue;
			if (memberOf(before.head, peer) !== undefined) out.send(peer, { kind: "chain", links: [link] });
			else this.#sendChain(out, chain, peer, 1, chain.head.version);
		}
	}

	/** Begins deciding the version after the chain's head, with whatever was promised before a restart. */
	#open(chain: CharterChain, nowMs: number): void {
		this.#chain = chain;
		this.#candidate = undefined;
		this.#patienceOver.clear();
		this.#timerSet = "";
		const createdAt = this.#createdAt(chain, nowMs);
		this.#pending.prune(chain, createdAt);
		this.#decision = undefined;
		if (memberOf(chain.head, this.#self.peer) === undefined) return;
		const decision = new VersionDecision(chain);
		this.#decision = decision;
		for (const promise of this.#restored) {
			if (promise.kind === "dead") decision.bury(promise.certificate);
			if (promise.kind === "vote" && promise.proposal.charter.version === chain.head.version + 1) {
				quietly(() => decision.propose(promise.proposal));
				decision.vote(promise.ballot);
			}
			if (promise.kind === "request") quietly(() => this.#pending.add(chain, promise.request, createdAt));
			if (promise.kind === "verdict") this.#pending.judge(chain, promise.verdict);
		}
	}

	#onRequest(out: Out, chain: CharterChain, from: PeerId, request: ChangeRequest, nowMs: number): void {
		if (request.federationId !== chain.federationId) return;
		const requestId = requestIdOf(request);
		if (chain.usedRequests.has(requestId)) {
			// A candidate that keeps asking after it was admitted has not heard of it.
			if (from === request.author) this.#sendChain(out, chain, from, 1, chain.head.version);
			return;
		}
		if (this.#pending.get(requestId) !== undefined) return;
		if (!verifyChangeRequest(request)) {
			out.fault(blame(from, "federation.bad_signature", "sent a request whose signature does not match"));
			return;
		}
		try {
			if (!this.#pending.add(chain, request, this.#createdAt(chain, nowMs))) return;
		} catch (error) {
			this.#refuse(out, chain, from, request, error);
			return;
		}
		out.persist(encodePromise({ kind: "request", request }));
		// The first to hear of it tells everybody; whom it misses, gossip reaches.
		if (from === request.author) out.sendAll(this.#others(chain), { kind: "request", request });
		if (this.#policy.autoApprove(request)) this.#giveVerdict(out, chain, requestId, true);
		out.output({ kind: "pending", requests: this.pending() });
	}

	/** Answers a candidate that shows a ticket of this federation; strangers learn nothing. */
	#refuse(out: Out, chain: CharterChain, from: PeerId, request: ChangeRequest, error: unknown): void {
		const { change, author } = request;
		if (change.kind !== "join" || from !== author || !(error instanceof AlthingError)) return;
		if (change.ticket.federationId !== chain.federationId || !verifyTicket(change.ticket)) return;
		if (!chain.links.some(({ charter }) => memberOf(charter, change.ticket.inviter) !== undefined)) return;
		const reason = error.message.slice(0, 512);
		out.send(from, { kind: "refusal", requestId: requestIdOf(request), code: error.code, reason });
	}

	#giveVerdict(out: Out, chain: CharterChain, requestId: string, approve: boolean): void {
		const verdict = signVerdict(this.#self, chain.federationId, requestId, approve);
		if (this.#pending.judge(chain, verdict) !== true) return;
		out.persist(encodePromise({ kind: "verdict", verdict }));
		out.sendAll(this.#others(chain), { kind: "verdict", verdict });
		out.output({ kind: "pending", requests: this.pending() });
	}

	/** Answers, after a restart, what the policy would have approved on arrival. */
	#approveByPolicy(out: Out, chain: CharterChain): void {
		for (const { requestId, request, approvals, rejections } of this.#pending.list(chain)) {
			if ([...approvals, ...rejections].includes(this.#self.peer)) continue;
			if (this.#policy.autoApprove(request)) this.#giveVerdict(out, chain, requestId, true);
		}
	}

	#onVerdict(out: Out, chain: CharterChain, from: PeerId, verdict: Verdict): void {
		const outcome = this.#pending.judge(chain, verdict);
		if (outcome === undefined) {
			out.fault(blame(from, "federation.bad_signature", "sent a verdict whose signature does not match"));
		}
		if (outcome === true) out.output({ kind: "pending", requests: this.pending() });
	}

	#onProposal(out: Out, chain: CharterChain, from: PeerId, proposal: Proposal, nowMs: number): void {
		const { version, createdAt } = proposal.charter;
		if (version > chain.head.version + 1) {
			out.send(from, { kind: "chain_request", fromVersion: chain.head.version + 1 });
			return;
		}
		if (version <= chain.head.version) {
			this.#sendChain(out, chain, from, version, chain.head.version);
			return;
		}
		// A version dated in the future would make every later one wait for that day.
		if (Date.parse(createdAt) > this.#unixOffsetMs + nowMs + CLOCK_TOLERANCE_MS) return;
		try {
			this.#decision?.propose(proposal);
		} catch (error) {
			out.fault(
				blame(from, "federation.invalid_proposal", `sent a proposal that is refused: ${messageOf(error)}`),
			);
		}
	}

	#onBallot(out: Out, chain: CharterChain, from: PeerId, ballot: Ballot): void {
		const decision = this.#decision;
		const version = Number(ballot.slot.instance);
		if (decision === undefined || ballot.slot.scope !== chain.federationId) return;
		if (version > chain.head.version + 1) {
			out.send(from, { kind: "chain_request", fromVersion: chain.head.version + 1 });
			return;
		}
		if (version <= chain.head.version) return;
		const outcome = decision.vote(ballot);
		if (typeof outcome === "object") {
			out.fault(equivocation(outcome.equivocation));
		} else if (outcome === "invalid" && ballot.slot.attempt <= decision.attempt) {
			out.fault(blame(from, "federation.bad_signature", "sent a ballot that is not signed by its voter"));
		} else if (decision.hasUnknownValue() || ballot.slot.attempt > decision.attempt) {
			this.#sendStatus(out, from, true);
		}
	}

	#onDead(out: Out, certificate: DeadCertificate): void {
		if (this.#decision?.bury(certificate) === true) this.#announceDead(out, certificate);
	}

	#announceDead(out: Out, certificate: DeadCertificate): void {
		out.persist(encodePromise({ kind: "dead", certificate: plain(certificate) }));
	}

	#onStatus(out: Out, chain: CharterChain, from: PeerId, theirs: StatusMessage): void {
		if (theirs.version > chain.head.version) {
			out.send(from, { kind: "chain_request", fromVersion: chain.head.version + 1 });
			return;
		}
		if (theirs.version < chain.head.version) {
			this.#sendChain(out, chain, from, theirs.version + 1, chain.head.version);
			return;
		}
		const decision = this.#decision;
		if (decision === undefined) return;
		const { send, lacksHere } = statusGap(chain, decision, this.#pending, theirs);
		for (const message of send) out.send(from, message);
		if (lacksHere && theirs.asks) this.#sendStatus(out, from, false);
	}

	#onChain(out: Out, chain: CharterChain, from: PeerId, links: readonly ChainLink[], nowMs: number): void {
		let longer = chain;
		for (const link of links) {
			const proof = longer.forkProof(link);
			if (proof !== undefined) {
				out.output({ kind: "fork", proof });
				for (const fault of forkFaults(proof)) out.fault(fault);
				return;
			}
			if (link.charter.version <= longer.head.version) continue;
			if (link.charter.version > longer.head.version + 1) {
				out.send(from, { kind: "chain_request", fromVersion: longer.head.version + 1 });
				break;
			}
			try {
				longer = longer.extend(link);
			} catch (error) {
				out.fault(
					blame(from, "federation.invalid_chain", `sent a chain that is refused: ${messageOf(error)}`),
				);
				break;
			}
		}
		if (longer === chain) return;
		this.#adopt(out, longer, nowMs);
		if (links.length > 1) out.send(from, { kind: "chain_request", fromVersion: longer.head.version + 1 });
	}

	/** A peer outside the charter may ask to join, and a former member may learn how it left; no more. */
	#receiveFromOutside(
		out: Out,
		chain: CharterChain,
		from: PeerId,
		message: FederationMessage,
		nowMs: number,
	): void {
		if (this.#decision === undefined) {
			// This node was removed itself and may be the one that is behind.
			if (message.kind === "chain") this.#onChain(out, chain, from, message.links, nowMs);
			return;
		}
		if (
			message.kind === "request" &&
			message.request.author === from &&
			message.request.change.kind === "join"
		) {
			this.#onRequest(out, chain, from, message.request, nowMs);
			return;
		}
		const removedIn = lastMembershipOf(chain, from) + 1;
		if (removedIn === 1) return;
		if (message.kind === "status") this.#sendChain(out, chain, from, message.version + 1, removedIn);
		if (message.kind === "chain_request") this.#sendChain(out, chain, from, message.fromVersion, removedIn);
	}

	#receiveAsCandidate(out: Out, from: PeerId, message: FederationMessage, nowMs: number): void {
		let answer: CandidateAnswer | undefined;
		try {
			answer = this.#candidate?.receive(message);
		} catch (error) {
			out.fault(blame(from, "federation.invalid_chain", `sent a chain that is refused: ${messageOf(error)}`));
			return;
		}
		if (answer === undefined) return;
		if (answer.kind === "refused") {
			out.output({ kind: "refused", by: from, code: answer.code, reason: answer.reason });
		} else if (answer.kind === "more") {
			out.send(from, { kind: "chain_request", fromVersion: answer.fromVersion });
		} else {
			this.#open(answer.chain, nowMs);
			out.output({ kind: "charter", chain: answer.chain });
			out.output({ kind: "joined", version: answer.chain.head.version });
		}
	}

	#gossip(out: Out, nowMs: number): void {
		const chain = this.#chain;
		if (chain === undefined) {
			if (this.#candidate === undefined) return;
			const { peers, request } = this.#candidate;
			out.sendAll(peers, { kind: "request", request });
		} else {
			if (this.#decision === undefined) return;
			if (this.#pending.prune(chain, this.#createdAt(chain, nowMs))) {
				out.output({ kind: "pending", requests: this.pending() });
			}
			for (const peer of this.#draw(this.#others(chain), GOSSIP_FANOUT)) this.#sendStatus(out, peer, true);
		}
		out.timer(GOSSIP, this.#chain === undefined ? CANDIDATE_RETRY_MS : GOSSIP_MS);
	}

	#sendStatus(out: Out, to: PeerId, asks: boolean): void {
		const [chain, decision] = [this.#chain, this.#decision];
		if (chain === undefined) return;
		out.send(to, statusOf(chain, decision, this.#pending, asks));
	}

	#sendChain(out: Out, chain: CharterChain, to: PeerId, fromVersion: number, toVersion: number): void {
		const links = chainPiece(chain, fromVersion, toVersion);
		if (links.length > 0) out.send(to, { kind: "chain", links });
	}

	#draw(peers: readonly PeerId[], count: number): PeerId[] {
		return peers
			.map((peer) => ({ peer, order: Buffer.from(this.#random(8)).toString("hex") }))
			.sort((a, b) => (a.order < b.order ? -1 : 1))
			.slice(0, count)
			.map(({ peer }) => peer);
	}

	#others(chain: CharterChain): PeerId[] {
		return chain.electorate.members.filter((peer) => peer !== this.#self.peer);
	}

	#membership() {
		const member = this.#chain && memberOf(this.#chain.head, this.#self.peer);
		if (member === undefined) {
			throw new AlthingError(
				"federation.not_member",
				"This node is not a member of a federation; found one or join one.",
			);
		}
		return member;
	}

	#sign(federationId: string, change: Change, nowMs: number): ChangeRequest {
		return signChangeRequest(this.#self, federationId, this.#iso(nowMs), change);
	}

	#iso(nowMs: number): string {
		return new Date(this.#unixOffsetMs + nowMs).toISOString();
	}

	/** Now, but never before the newest version, whatever this node's clock says. */
	#createdAt(chain: CharterChain, nowMs: number): string {
		return new Date(Math.max(this.#unixOffsetMs + nowMs, Date.parse(chain.head.createdAt))).toISOString();
	}
}

/** A mutable copy, as the wire schema's types want it. */
function plain(certificate: DeadCertificate) {
	return { slot: certificate.slot, ballots: [...certificate.ballots] };
}

/** Restoring skips what no longer applies. */
function quietly(work: () => void): void {
	try {
		work();
	} catch (error) {
		if (!(error instanceof AlthingError)) throw error;
	}
}
