/**
 * The coordinator role: moves the session from phase to phase. It repeats what it waits
 * for, goes on when everybody answered or the phase's time is over, and decides nothing
 * that the participants do not check.
 */
import { AlthingError, hasCode } from "../../crypto/error.ts";
import type { PeerId } from "../contract.ts";
import { screeningHash } from "../robust/verdict.ts";
import { unmaskTask } from "./bucketSums.ts";
import type { Sharing } from "./cohort.ts";
import { CohortRecords } from "./cohortRecords.ts";
import { Collection } from "./collection.ts";
import type { Context } from "./context.ts";
import { Disclosure } from "./disclosure.ts";
import { Examination } from "./examination.ts";
import type { AggregationTaskResult } from "./masking.ts";
import { decodeMembers, encodeMembers, packCertificate } from "./memberSet.ts";
import type {
	AggregationMessage,
	Certified,
	Evidence,
	InputMeta,
	MessageOf,
	Proposal,
	ProposalHeader,
	Proposed,
	RosterHeader,
	ShareSetHeader,
} from "./messages.ts";
import { sessionFor } from "./observedSession.ts";
import { encodeOpening, type Opening } from "./opening.ts";
import type { Outbox } from "./outbox.ts";
import type { Participant } from "./participant.ts";
import { ProjectionAudit } from "./projectionAudit.ts";
import { proposalHash } from "./proposal.ts";
import { Recovery } from "./recovery.ts";
import { benchOf } from "./screener.ts";
import { projectionSeed } from "./sessionId.ts";
import { signStatement } from "./statements.ts";
import { Turns } from "./turns.ts";

export const COORDINATOR_WORK = "coordinator:";
export const DEADLINE_TIMER = "deadline";
export const REPEAT_TIMER = "repeat";

const REPEAT_MS = 1000;
/**
 * What brings vectors is repeated only after this share of a phase: on a slow link, or to a member that
 * still computes, they would be sent twice while the first is on its way.
 */
const VECTOR_REPEAT_SHARE = 1 / 4;
const VECTOR_STAGES: readonly string[] = ["input", "fetch", "vote", "open"];
const MAX_REPEAT_MS = 8000;
const SUM_WORK = `${COORDINATOR_WORK}sum`;
const COMPARE_WORK = `${COORDINATOR_WORK}compare`;
const AUDIT_WORK = `${COORDINATOR_WORK}audit`;
const PROJECT_WORK = `${COORDINATOR_WORK}project:`;

/** Deadlines after which a buffer that could be used but is not full is used all the same. */
const BUFFER_DEADLINES = 4;
/** Sealed shares in one message, which must stay below its limit of size. */
const DEALT_AT_ONCE = 80;
/** Stages in which a large cohort's members are asked in turns. */
const TURN_STAGES: readonly string[] = ["share", "verify", "vote"];
/** Deadlines of the reveal phase after which the sum is given up as lost. */
const REVEAL_DEADLINES = 6;

type Stage =
	| "recover"
	| "fetch"
	| "advertise"
	| "share"
	| "verify"
	| "input"
	| "screen"
	| "compare"
	| "dispute"
	| "sum"
	| "vote"
	| "records"
	| "reveal"
	| "audit"
	| "recheck"
	| "open"
	| "abstain"
	| "dead"
	| "closed";

export class Coordinator {
	readonly #context: Context;
	readonly #participant: Participant;
	readonly #collection: Collection;
	readonly #recovery: Recovery;
	#stage: Stage = "closed";
	#turns = new Turns();
	#repeatMs = REPEAT_MS;
	/** The stage's messages were sent before. */
	#repeated = false;
	#deadlines = 0;
	#rosterHeader: RosterHeader | undefined;
	#shareSetHeader: ShareSetHeader | undefined;
	#proposed: { readonly header: ProposalHeader; readonly proposed: Proposed } | undefined;
	/** Where inputs are screened, between the inputs and the sum. */
	#examination: Examination | undefined;
	#records: CohortRecords | undefined;
	#disclosure: Disclosure | undefined;
	#certifiedMessage: MessageOf<"certified"> | undefined;
	#encodedOpening: Uint8Array | undefined;
	readonly #done = new Set<PeerId>();
	/** Looks for false projections, because the masked sum did not match them all. */
	#projectionAudit: ProjectionAudit | undefined;
	/** The slow path has begun; from here on the repeat timer asks again. */
	#askedHolders = false;
	#reason = "";

	constructor(context: Context, participant: Participant) {
		this.#context = context;
		this.#participant = participant;
		this.#collection = new Collection(context, SUM_WORK);
		this.#recovery = new Recovery(context, participant);
	}

	/** Opens a new session. */
	start(out: Outbox): void {
		this.#enter("advertise", out);
	}

	/** Takes over from an earlier coordinator. */
	recover(out: Outbox): void {
		this.#enter("recover", out);
	}

	receive(from: PeerId, message: AggregationMessage, blob: Uint8Array | undefined, out: Outbox): void {
		const collection = this.#collection;
		switch (message.kind) {
			case "keys":
				if (this.#stage === "advertise") collection.addAdvert(message.advert, from, out);
				break;
			case "bundle":
				if (this.#stage === "share") collection.addBundle(message, from, out);
				break;
			case "ack":
				if (this.#stage === "verify") {
					collection.addAck(message, from);
					for (const [dealer, complaints] of collection.openComplaints()) {
						out.send(dealer, { kind: "openRequest", complaints });
					}
				}
				break;
			case "openShares":
				if (this.#stage === "verify")
					for (const one of message.opened) collection.addOpenedShare(one, from, out);
				break;
			case "input":
				if (this.#stage === "input" && collection.addInput(message.meta, from, blob, out)) {
					out.send(from, { kind: "receipt", sid: message.meta.sid });
				}
				if (this.#stage === "recheck") this.#projectionAudit?.take(message, from, blob, out);
				break;
			case "statement":
				if (this.#stage === "screen") this.#examination?.add(message, from, blob, out);
				break;
			case "sketch":
				if (this.#stage === "screen") this.#examination?.addSketch(message, from, out);
				break;
			case "confirm":
				if (this.#stage === "screen") this.#examination?.addConfirmation(message, from, out);
				break;
			case "edgeSeeds":
				if (this.#stage === "dispute") this.#examination?.addSeeds(message, from);
				break;
			case "records":
				if (this.#stage === "records") this.#records?.take(message);
				break;
			case "report":
				if (this.#stage === "recover") this.#recovery.take(message, from, blob, out);
				break;
			case "reveal":
				if (message.projection !== undefined) this.#participant.voter.keepProjection(message.projection);
				this.#disclosure?.reveal(message, from, out);
				break;
			case "shareReply":
				this.#disclosure?.reply(message, from, out);
				break;
			case "edgeReply":
				this.#disclosure?.edgeReply(message, from, out);
				break;
			case "done":
				if (this.#stage === "open") this.#done.add(from);
				break;
		}
		this.#advance(out);
	}

	/** Goes on when nothing more is to be waited for. */
	#advance(out: Outbox): void {
		const { voter } = this.#participant;
		const collection = this.#collection;
		if ((this.#stage === "vote" || this.#stage === "abstain") && voter.certified() !== undefined) {
			this.#enter("reveal", out);
		}
		switch (this.#stage) {
			case "advertise":
				if (collection.rosterComplete) this.#toShare(out);
				break;
			case "share":
				if (this.#context.awaited(collection.withoutBundle()).length === 0) this.#enter("verify", out);
				else this.#askNext(out);
				break;
			case "verify":
				if (
					this.#context.awaited(collection.withoutAck()).length === 0 &&
					collection.openComplaints().size === 0
				)
					this.#toInput(out);
				else this.#askNext(out);
				break;
			case "vote":
				this.#askNext(out);
				break;
			case "input":
				if (collection.hasEnoughInputs || this.#context.awaited(collection.withoutInput()).length === 0)
					this.#toScreen(out);
				break;
			case "screen":
				if (this.#context.awaited(this.#examination?.silent() ?? []).length === 0) this.#screened(out);
				break;
			case "dispute":
				if (this.#context.awaited([...this.#disputants().keys()]).length === 0) this.#passScreened(out);
				break;
			case "sum":
				this.#summed(out);
				break;
			case "records": {
				const sharing = this.#records?.whole();
				if (sharing !== undefined) this.#disclose(sharing, out);
				break;
			}
			case "recheck":
				this.#rechecked(out);
				break;
			case "recover":
				if (this.#recovery.settled()) this.#decide(out);
				break;
			case "fetch":
				this.#propose(out);
				break;
			case "reveal":
				this.#askNext(out);
				this.#tryOpening(out, false);
				break;
			case "open":
				if (this.#context.awaited(this.#openees()).every((peer) => this.#done.has(peer))) this.#close(out);
				break;
			case "abstain": {
				const certificate = voter.dead();
				if (certificate === undefined) break;
				this.#stage = "dead";
				const message: MessageOf<"dead"> = { kind: "dead", certificate, reason: this.#reason };
				for (const member of this.#context.members) out.send(member, message);
				this.#schedule(out);
				break;
			}
		}
	}

	/** The phase's time is over: goes on with those who answered, or ends the attempt. */
	deadline(out: Outbox): void {
		this.#deadlines++;
		// Nobody is left out whose turn had not come.
		if (TURN_STAGES.includes(this.#stage) && this.#turns.isOpen(this.#context.awaited(this.#unanswered()))) {
			this.#prompt(out);
			out.timer(DEADLINE_TIMER, this.#context.config.phaseTimeoutMs);
			return;
		}
		switch (this.#stage) {
			case "advertise":
				if (this.#waitsForBuffer()) out.timer(DEADLINE_TIMER, this.#context.config.phaseTimeoutMs);
				else this.#toShare(out);
				return;
			case "share":
				this.#enter("verify", out);
				return;
			case "verify":
				this.#toInput(out);
				return;
			case "input":
				this.#toScreen(out);
				return;
			case "screen":
				this.#screened(out);
				return;
			case "dispute":
				this.#passScreened(out);
				return;
			case "recover":
				this.#decide(out);
				return;
			case "fetch":
				this.#abort("nobody reachable holds the masked sum that some members voted for", out);
				return;
			case "reveal":
				this.#tryOpening(out, true);
				if (this.#stage === "reveal") this.#prompt(out);
				out.timer(DEADLINE_TIMER, this.#context.config.phaseTimeoutMs);
				return;
			case "records":
				if (this.#deadlines >= REVEAL_DEADLINES) {
					this.#fail("too few members can tell how the secrets were shared", out);
					return;
				}
				out.timer(DEADLINE_TIMER, this.#context.config.phaseTimeoutMs);
				return;
			case "recheck":
				this.#projectionAudit?.deadline(out);
				this.#rechecked(out);
				if (this.#stage === "recheck") out.timer(DEADLINE_TIMER, this.#context.config.phaseTimeoutMs);
				return;
			case "open":
			case "dead":
				this.#close(out);
				return;
			case "abstain":
				// Some member had voted before it was asked: its value may have to be finished.
				if (this.#participant.voter.viableValues().length > 0) this.#enter("recover", out);
				else out.timer(DEADLINE_TIMER, this.#context.config.phaseTimeoutMs);
				return;
			default:
				// A vote cannot be given up: its outcome may already be fixed elsewhere. Repeating goes on until the members answer or the term changes.
				out.timer(DEADLINE_TIMER, this.#context.config.phaseTimeoutMs);
		}
	}

	/** A buffer fills at the members' own pace; a part of it is used only when the rest seems not to come. */
	#waitsForBuffer(): boolean {
		if (this.#context.config.buffer === undefined) return false;
		if (!this.#collection.rosterPossible) this.#deadlines = 0;
		return this.#deadlines < BUFFER_DEADLINES;
	}

	/** A member is gone: it may be the one that was waited for. */
	connectionLost(out: Outbox): void {
		if (this.#stage !== "closed") this.#advance(out);
	}

	/** Repeats what is unanswered, ever more slowly. */
	repeat(out: Outbox): void {
		if (this.#stage === "closed") return;
		this.#repeated = true;
		this.#prompt(out);
		this.#repeatMs = Math.max(this.#repeatMs, Math.min(2 * this.#repeatMs, MAX_REPEAT_MS));
		out.timer(REPEAT_TIMER, this.#repeatMs);
	}

	#enter(stage: Stage, out: Outbox): void {
		this.#stage = stage;
		this.#deadlines = 0;
		this.#repeated = false;
		this.#turns = new Turns();
		this.#schedule(out);
		if (stage === "reveal") this.#startReveal(out);
		else this.#prompt(out);
		this.#advance(out);
	}

	#schedule(out: Outbox): void {
		const { phaseTimeoutMs } = this.#context.config;
		const carriesVectors = VECTOR_STAGES.includes(this.#stage);
		this.#repeatMs = carriesVectors ? Math.max(REPEAT_MS, phaseTimeoutMs * VECTOR_REPEAT_SHARE) : REPEAT_MS;
		out.timer(REPEAT_TIMER, this.#repeatMs);
		out.timer(DEADLINE_TIMER, phaseTimeoutMs);
	}

	#close(out: Outbox): void {
		this.#stage = "closed";
		this.#collection.sum.clear();
		this.#collection.inputs.clear();
		out.timer(REPEAT_TIMER, null);
		out.timer(DEADLINE_TIMER, null);
		out.output({ kind: "closed" });
	}

	/** Sends the stage's message to everybody whose answer is missing. */
	#prompt(out: Outbox): void {
		const { config, sidPre, term, members } = this.#context;
		const collection = this.#collection;
		const ask = (peers: readonly PeerId[], message: AggregationMessage, blob?: Uint8Array): void => {
			for (const peer of peers) out.send(peer, message, blob);
		};
		const { voter } = this.#participant;
		switch (this.#stage) {
			case "advertise":
				ask(collection.withoutAdvert(), {
					kind: "open",
					term,
					sidPre,
					precedingDead: config.precedingDead.slice(-1),
				});
				return;
			case "share":
				this.#askAgain(out);
				return;
			case "verify": {
				this.#askAgain(out);
				for (const [dealer, complaints] of collection.openComplaints()) {
					out.send(dealer, { kind: "openRequest", complaints });
				}
				return;
			}
			case "input":
				for (const peer of collection.withoutInput()) this.#sendShareSet(peer, out);
				return;
			case "screen":
				for (const peer of this.#examination?.silent() ?? [])
					out.send(peer, (this.#examination as Examination).requestTo(peer));
				return;
			case "dispute":
				for (const [peer, message] of this.#disputants()) out.send(peer, message);
				return;
			case "recover":
				ask(this.#recovery.silent(), { kind: "recover", sidPre, term });
				return;
			case "fetch": {
				const { sumHash } = (this.#proposed as { proposed: Proposed }).proposed.proposal;
				ask(this.#recovery.holdersOf(sumHash), { kind: "sumRequest", sumHash });
				return;
			}
			case "vote":
				this.#askAgain(out);
				return;
			case "records":
				this.#records?.prompt(out);
				return;
			case "recheck":
				this.#projectionAudit?.prompt(out);
				return;
			case "reveal":
				this.#promptReveal(out);
				return;
			case "open":
				this.#sendOpening(out);
				return;
			case "abstain": {
				const voted = voter.voters();
				const silent = members.filter((member) => !voted.has(member));
				ask(silent, { kind: "abstainRequest", sidPre, term, reason: this.#reason });
				return;
			}
			case "dead": {
				const certificate = voter.dead();
				if (certificate) ask(members, { kind: "dead", certificate, reason: this.#reason });
				return;
			}
		}
	}

	/** In stages whose members are asked in turns: those whose answer is not here. */
	#unanswered(): readonly PeerId[] {
		switch (this.#stage) {
			case "share":
				return this.#collection.withoutBundle();
			case "verify":
				return this.#collection.withoutAck();
			case "vote": {
				const voted = this.#participant.voter.voters();
				return this.#context.members.filter((member) => !voted.has(member));
			}
			default:
				return this.#disclosure?.silent() ?? [];
		}
	}

	/** An answer came, or a link broke: asks those whose turn it is now. */
	#askNext(out: Outbox): void {
		for (const peer of this.#turns.next(this.#context.awaited(this.#unanswered()))) this.#ask(peer, out);
	}

	#askAgain(out: Outbox): void {
		for (const peer of this.#turns.again(this.#unanswered())) this.#ask(peer, out);
	}

	#ask(peer: PeerId, out: Outbox): void {
		switch (this.#stage) {
			case "share": {
				const header = this.#rosterHeader as RosterHeader;
				out.send(peer, { kind: "roster", header, ...this.#collection.rosterFor(peer) });
				return;
			}
			case "verify":
				this.#sendShares(peer, out);
				return;
			case "vote":
				this.#sendProposal(peer, out);
				return;
			default: {
				const certified = this.#participant.voter.certified();
				if (certified !== undefined) this.#sendCertified(peer, certified, out);
			}
		}
	}

	#sendProposal(to: PeerId, out: Outbox): void {
		const { header, proposed } = this.#proposed as { header: ProposalHeader; proposed: Proposed };
		const evidence = this.#evidenceFor(proposed, to);
		if (evidence === undefined) return;
		const sum = this.#participant.voter.sum(proposed.proposal.sumHash);
		const screening = this.#participant.screener.screeningOf(proposed.proposal);
		const sharing = this.#collection.sharing ?? this.#participant.screener.bench?.sharing;
		const session = screening && sharing && sessionFor(sharing, to);
		out.send(to, { kind: "propose", header, proposed, evidence, screening, session }, sum);
	}

	#sendShares(to: PeerId, out: Outbox): void {
		const { sid } = this.#collection.roster as { sid: Uint8Array };
		const dealt = this.#collection.sharesFor(to);
		for (let first = 0; first === 0 || first < dealt.length; first += DEALT_AT_ONCE) {
			const some = dealt.slice(first, first + DEALT_AT_ONCE);
			out.send(to, { kind: "shares", sid, dealers: dealt.length, dealt: some });
		}
	}

	#sendShareSet(to: PeerId, out: Outbox): void {
		const header = this.#shareSetHeader;
		if (header !== undefined) out.send(to, { kind: "shareSet", header, ...this.#collection.shareSetFor(to) });
	}

	/** Whoever has released says so; the others get what they need to. */
	#sendOpening(out: Outbox): void {
		const certified = this.#participant.voter.certified();
		if (certified === undefined) return;
		const proposalHash = certified.certificate.value;
		const screening = this.#participant.screener.screeningOf(certified.proposed.proposal);
		const brief: MessageOf<"opening"> = { kind: "opening", proposalHash };
		const message: MessageOf<"opening"> = { ...brief, screening };
		// Who voted has judged the screening; a member that restarted since gets it with the repetition.
		const judged = new Set(this.#repeated ? [] : certified.certificate.votes.map(({ voter }) => voter));
		const openees = this.#openees();
		// Who has not shown that it heard of the certificate may have missed it.
		const unheard = new Set(this.#repeated ? openees : (this.#disclosure?.silent() ?? openees));
		for (const peer of openees) {
			if (this.#done.has(peer)) continue;
			if (unheard.has(peer)) this.#sendCertified(peer, certified, out, true);
			out.send(peer, judged.has(peer) ? brief : message, this.#encodedOpening);
		}
	}

	/** @param again the member was told before, and may have forgotten what it was shown when it voted */
	#sendCertified(to: PeerId, { certificate, proposed }: Certified, out: Outbox, again = false): void {
		const known = !again && certificate.votes.some(({ voter }) => voter === to);
		const evidence = known ? undefined : this.#evidenceFor(proposed, to);
		// The same for all that need no more.
		this.#certifiedMessage ??= {
			kind: "certified",
			certified: { certificate: packCertificate(this.#context.members, certificate), proposed },
		};
		out.send(to, evidence === undefined ? this.#certifiedMessage : { ...this.#certifiedMessage, evidence });
	}

	#evidenceFor(proposed: Proposed, member: PeerId): Evidence | undefined {
		return this.#collection.evidenceFor(member) ?? this.#recovery.evidenceFor(proposed, member);
	}

	#toShare(out: Outbox): void {
		const { config, sidPre, term } = this.#context;
		try {
			const { rosterRoot } = this.#collection.fixRoster();
			this.#rosterHeader = signStatement<RosterHeader>(config.self, {
				kind: "roster",
				sidPre,
				term,
				rosterRoot,
			});
		} catch (error) {
			if (!hasCode(error, "aggregation.bad_roster")) throw error;
			this.#abort(error.message, out);
			return;
		}
		this.#enter("share", out);
	}

	#toInput(out: Outbox): void {
		const { config, term, graph } = this.#context;
		const sharing = this.#collection.fixCohort();
		const { cohort, roster, shareSetHash } = sharing;
		if (cohort.length < config.minimumSurvivors) {
			this.#tooFew(cohort.length, "shared their secrets", out);
			return;
		}
		const thin = graph.thinSpot(cohort);
		if (thin !== undefined) {
			this.#abort(`too few neighbours shared their secrets: ${thin}`, out);
			return;
		}
		this.#shareSetHeader = signStatement<ShareSetHeader>(config.self, {
			kind: "shareSet",
			sid: roster.sid,
			term,
			shareSetHash,
		});
		this.#tellShareHolders(out);
		this.#enter("input", out);
	}

	/** Members outside U2 hold shares too; they serve them only for a share set they accepted. */
	#tellShareHolders(out: Outbox): void {
		const cohort = new Set(this.#collection.sharing?.cohort);
		for (const member of this.#collection.roster?.members ?? [])
			if (!cohort.has(member)) this.#sendShareSet(member, out);
	}

	#toScreen(out: Outbox): void {
		const metas = this.#collection.metas();
		const bench = benchOf(this.#context, this.#collection.sharing);
		if (bench === undefined || metas.length < this.#context.config.minimumSurvivors) {
			this.#pass(metas, out);
			return;
		}
		this.#participant.screener.judgeBy(bench);
		this.#examination = new Examination(this.#context, bench, metas, this.#collection.inputs);
		this.#enter("screen", out);
	}

	/** Sketches, confirmations or statements are in: goes on to what follows. */
	#screened(out: Outbox): void {
		if (this.#examination?.goOn() === true) this.#enter("screen", out);
		else this.#compare(out);
	}

	#compare(out: Outbox): void {
		if (this.#examination === undefined) return;
		this.#stage = "compare";
		out.work(COMPARE_WORK, this.#examination.task());
	}

	#disputants(): ReadonlyMap<PeerId, MessageOf<"disputed">> {
		return this.#examination?.disputants() ?? new Map();
	}

	#passScreened(out: Outbox): void {
		this.#pass(this.#examination?.passed() ?? [], out);
	}

	/** Adds up what was kept until it was known whose inputs are used. */
	#pass(metas: readonly InputMeta[], out: Outbox): void {
		const authors = metas.map(({ author }) => author);
		if (this.#context.selects) this.#collection.pass(authors, out);
		this.#toSum(out);
	}

	#toSum(out: Outbox): void {
		const { config, graph } = this.#context;
		const contributors = this.#collection.metas().map(({ author }) => author);
		if (contributors.length < config.minimumSurvivors) {
			this.#tooFew(contributors.length, "sent their input", out);
			return;
		}
		const thin = graph.thinSpot(contributors);
		if (thin !== undefined) {
			this.#abort(`too few neighbours sent their input: ${thin}`, out);
			return;
		}
		this.#stage = "sum";
		this.#summed(out);
	}

	/** Makes the one proposal of this attempt, once the last input is added. */
	#summed(out: Outbox): void {
		const { config, sidPre, term, self, graph } = this.#context;
		const collection = this.#collection;
		const sum = collection.sum.settled();
		const { sharing, shareTreeRoot } = collection;
		if (sum === undefined || sharing === undefined || shareTreeRoot === undefined) return;
		const screening = this.#examination?.screening();
		const proposal: Proposal = {
			proposer: self,
			rosterRoot: sharing.roster.rosterRoot,
			cohort: encodeMembers(graph.members, sharing.cohort),
			shareTree: shareTreeRoot,
			survivors: encodeMembers(
				graph.members,
				collection.metas().map(({ author }) => author),
			),
			metaTree: collection.fixMetas(),
			sumHash: sum.hash,
			...(screening === undefined ? {} : { screening: screeningHash(screening) }),
		};
		const hash = proposalHash(sidPre, proposal);
		const header = signStatement<ProposalHeader>(config.self, {
			kind: "proposal",
			sidPre,
			term,
			proposalHash: hash,
		});
		const proposed = { proposal, origin: header };
		if (screening !== undefined) this.#participant.screener.learn(screening);
		this.#participant.voter.learnProposal(proposed);
		this.#participant.voter.keepSum(sum.packed);
		collection.sum.clear();
		this.#proposed = { header, proposed };
		this.#enter("vote", out);
	}

	#decide(out: Outbox): void {
		const { config, sidPre, term } = this.#context;
		const decision = this.#recovery.decide();
		if (decision.kind === "abstain") {
			this.#abort("the coordinator changed before a survivor set was voted on", out);
			return;
		}
		if (decision.kind === "finish") {
			if (decision.opening === undefined) {
				this.#enter("reveal", out);
				return;
			}
			this.#open(decision.opening, out);
			return;
		}
		const { hash, proposed } = decision;
		const header = signStatement<ProposalHeader>(config.self, {
			kind: "proposal",
			sidPre,
			term,
			proposalHash: hash,
		});
		this.#proposed = { header, proposed };
		this.#enter("fetch", out);
	}

	/** Proposes again what a member voted for, as soon as its masked sum is here. */
	#propose(out: Outbox): void {
		const { proposed } = this.#proposed as { proposed: Proposed };
		if (this.#participant.voter.sum(proposed.proposal.sumHash) !== undefined) this.#enter("vote", out);
	}

	#tooFew(count: number, what: string, out: Outbox): void {
		const { minimumSurvivors } = this.#context.config;
		const of = this.#context.selected.length;
		this.#abort(
			`below the threshold: ${count} of ${of} participants ${what} in time, ${minimumSurvivors} are required`,
			out,
		);
	}

	/** Ends the attempt: when enough members promise never to vote in it, it is dead. */
	#abort(reason: string, out: Outbox): void {
		this.#reason = reason.slice(0, 300);
		this.#enter("abstain", out);
	}

	#startReveal(out: Outbox): void {
		const certified = this.#participant.voter.certified();
		if (certified === undefined) return;
		const own = this.#participant.contributor.sharing;
		// A participant of a large cohort knows its neighbours' sharings only.
		if (this.#collection.sharing === undefined && own !== undefined)
			this.#records = new CohortRecords(this.#context, own);
		const sharing = this.#collection.sharing ?? this.#records?.whole();
		if (sharing !== undefined) {
			this.#disclosure = new Disclosure(certified, sharing);
			const survivors = new Set(this.#disclosure.survivors);
			this.#askNext(out);
			for (const member of this.#context.members)
				if (!survivors.has(member)) this.#sendCertified(member, certified, out);
			return;
		}
		for (const member of this.#context.members) this.#sendCertified(member, certified, out);
		if (own === undefined) {
			this.#fail("this node did not take part and cannot check what is revealed", out);
			return;
		}
		this.#stage = "records";
		this.#prompt(out);
	}

	/** Everybody's sharings are known: reveals can be checked. */
	#disclose(sharing: Sharing, out: Outbox): void {
		const certified = this.#participant.voter.certified();
		if (certified === undefined) return;
		this.#disclosure = new Disclosure(certified, sharing);
		this.#stage = "reveal";
		this.#deadlines = 0;
		this.#schedule(out);
		this.#promptReveal(out);
	}

	#promptReveal(out: Outbox): void {
		const disclosure = this.#disclosure;
		if (disclosure === undefined) return;
		const { certified } = disclosure;
		const proposalHash = certified.certificate.value;
		const silent = disclosure.silent();
		for (const peer of this.#turns.again(silent)) this.#sendCertified(peer, certified, out, true);
		const { sumHash } = certified.proposed.proposal;
		if (this.#participant.voter.sum(sumHash) === undefined) {
			for (const member of this.#context.members) out.send(member, { kind: "sumRequest", sumHash });
		}
		// The slow path, once those who can open their own seeds have had their time, or
		// when everybody answered and seeds are still missing.
		if (this.#deadlines === 0 && this.#context.awaited(silent).length > 0) return;
		this.#askedHolders = true;
		this.#tellShareHolders(out);
		for (const holder of this.#context.members) {
			const targets = disclosure.wantedFrom(holder);
			if (targets.length > 0) out.send(holder, { kind: "shareRequest", proposalHash, targets });
			const edges = disclosure.edgesWantedFrom(holder);
			if (edges.length > 0) out.send(holder, { kind: "edgeRequest", proposalHash, targets: edges });
		}
	}

	/** Assembles the opening; waits for silent survivors until `late`. */
	#tryOpening(out: Outbox, late: boolean): void {
		const disclosure = this.#disclosure;
		if (disclosure === undefined) return;
		const settled = this.#context.awaited(disclosure.silent()).length === 0;
		// Without the silent ones' own seeds there is no opening yet.
		if (!late && !settled && !this.#askedHolders) return;
		const opening = this.#assembled(disclosure);
		if ("lacks" in opening) {
			if (this.#deadlines >= REVEAL_DEADLINES) this.#fail(`it lacks ${opening.lacks}`, out);
			else if (!late && !this.#askedHolders) this.#promptReveal(out);
			return;
		}
		const packed = this.#participant.voter.sum(disclosure.certified.proposed.proposal.sumHash);
		if (packed === undefined) return;
		this.#audit(disclosure, opening, packed, out);
	}

	#assembled(disclosure: Disclosure): Opening | { readonly lacks: string } {
		const { voter } = this.#participant;
		return disclosure.opening(voter.projectionsFor(disclosure.certified.certificate.value));
	}

	#complete({ projections, inputs }: Opening, { survivors }: Disclosure): boolean {
		return projections.length + inputs.length === survivors.length;
	}

	/** Compares the projections with the sum before anybody else does, to find a liar among them. */
	#audit(disclosure: Disclosure, opening: Opening, packed: Uint8Array, out: Outbox): void {
		const { certificate, proposed } = disclosure.certified;
		const compare = this.#complete(opening, disclosure);
		const rest = { packed, seed: projectionSeed(certificate.value), compare };
		this.#stage = "audit";
		out.work(AUDIT_WORK, unmaskTask(this.#context, proposed.proposal, opening, rest));
	}

	completed(workId: string, result: AggregationTaskResult, out: Outbox): void {
		if (workId.startsWith(SUM_WORK) && result.kind === "sum") {
			this.#collection.sum.completed(workId, result.packed, result.hash, out);
			this.#advance(out);
		} else if (this.#stage === "compare" && result.kind === "signs") {
			this.#examination?.compared(result, out);
			this.#enter("dispute", out);
		} else if (this.#stage === "audit" && result.kind === "unmask")
			this.#audited(result.sum !== undefined, out);
		else if (this.#stage === "recheck" && result.kind === "project") {
			this.#projectionAudit?.projected(workId.slice(PROJECT_WORK.length), result.packed, out);
			this.#rechecked(out);
		}
	}

	#audited(matches: boolean, out: Outbox): void {
		const disclosure = this.#disclosure as Disclosure;
		const opening = this.#assembled(disclosure) as Opening;
		if (matches) {
			this.#open(encodeOpening(this.#context.graph, opening), out);
			return;
		}
		const hash = disclosure.certified.certificate.value;
		const claims = this.#participant.voter.projectionsFor(hash);
		this.#projectionAudit = new ProjectionAudit(this.#context, PROJECT_WORK, hash, claims, (survivor) => {
			const { proposed } = disclosure.certified;
			return (this.#collection.metaOf(survivor) ?? this.#recovery.metaOf(proposed, survivor))?.inputHash;
		});
		this.#enter("recheck", out);
	}

	/** Every projection was compared with its input, as far as inputs came. */
	#rechecked(out: Outbox): void {
		const audit = this.#projectionAudit;
		if (audit === undefined || !audit.done) return;
		this.#projectionAudit = undefined;
		if (audit.doubted.size === 0) {
			this.#fail("the masked sum does not match the survivors' inputs", out);
			return;
		}
		for (const [survivor, packed] of audit.doubted) this.#disclosure?.doubt(survivor, packed);
		this.#stage = "reveal";
		this.#schedule(out);
		this.#tryOpening(out, true);
	}

	#open(encoded: Uint8Array, out: Outbox): void {
		if (this.#participant.voter.certified() === undefined) return;
		this.#encodedOpening = encoded;
		this.#enter("open", out);
	}

	/** Members that can verify an opening: those in the cohort. */
	#openees(): readonly PeerId[] {
		const cohort = this.#participant.voter.certified()?.proposed.proposal.cohort;
		return cohort === undefined ? [] : (decodeMembers(this.#context.graph.members, cohort) ?? []);
	}

	#fail(why: string, out: Outbox): void {
		const message = `The certified sum cannot be opened: ${why}. This round's inputs are spent; go on with the next round.`;
		out.output({ kind: "failed", error: new AlthingError("aggregation.lost_sum", message) });
		this.#close(out);
	}
}
