/**
 * The coordinator role: moves the session from phase to phase. It repeats what it waits
 * for, goes on when everybody answered or the phase's time is over, and decides nothing
 * that the participants do not check.
 */
import { equalBytes } from "../../crypto/encoding.ts";
import { AlthingError, hasCode } from "../../crypto/error.ts";
import type { PeerId } from "../contract.ts";
import { screeningHash } from "../robust/verdict.ts";
import { Collection } from "./collection.ts";
import type { Context } from "./context.ts";
import { Disclosure } from "./disclosure.ts";
import { Examination } from "./examination.ts";
import type { AggregationTaskResult } from "./masking.ts";
import {
	type AggregationMessage,
	type InputMeta,
	type MessageOf,
	type Opening,
	type Proposal,
	type ProposalHeader,
	type Proposed,
	type RosterHeader,
	type ShareSetHeader,
	signStatement,
} from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import type { Participant } from "./participant.ts";
import { proposalHash } from "./proposal.ts";
import { Recovery } from "./recovery.ts";
import { benchOf } from "./screener.ts";
import { projectionSeed } from "./sessionId.ts";

export const COORDINATOR_WORK = "coordinator:";
export const DEADLINE_TIMER = "deadline";
export const REPEAT_TIMER = "repeat";

const REPEAT_MS = 1000;
const MAX_REPEAT_MS = 8000;
/** Deadlines after which a buffer that could be used but is not full is used all the same. */
const BUFFER_DEADLINES = 4;
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
	| "reveal"
	| "audit"
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
	#repeatMs = REPEAT_MS;
	#deadlines = 0;
	#rosterMessage: MessageOf<"roster"> | undefined;
	#shareSetMessage: MessageOf<"shareSet"> | undefined;
	#proposeMessage: MessageOf<"propose"> | undefined;
	/** Where inputs are screened, between the inputs and the sum. */
	#examination: Examination | undefined;
	#disclosure: Disclosure | undefined;
	#opening: { readonly message: MessageOf<"opening">; readonly blob: Uint8Array } | undefined;
	readonly #done = new Set<PeerId>();
	/** Projections being recomputed because the masked sum did not match them all. */
	readonly #suspects = new Set<PeerId>();
	#lied = false;
	/** The slow path has begun; from here on the repeat timer asks again. */
	#askedHolders = false;
	#reason = "";

	constructor(context: Context, participant: Participant) {
		this.#context = context;
		this.#participant = participant;
		this.#collection = new Collection(context);
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
				break;
			case "statement":
				if (this.#stage === "screen") this.#examination?.add(message.statement, from, out);
				break;
			case "edgeSeeds":
				if (this.#stage === "dispute") this.#examination?.addSeeds(message, from);
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
				break;
			case "verify":
				if (
					this.#context.awaited(collection.withoutAck()).length === 0 &&
					collection.openComplaints().size === 0
				)
					this.#toInput(out);
				break;
			case "input":
				if (collection.hasEnoughInputs || this.#context.awaited(collection.withoutInput()).length === 0)
					this.#toScreen(out);
				break;
			case "screen":
				if (this.#context.awaited(this.#examination?.silent() ?? []).length === 0) this.#compare(out);
				break;
			case "dispute":
				if (this.#context.awaited([...this.#disputants().keys()]).length === 0) this.#toSum(out);
				break;
			case "recover":
				if (this.#recovery.settled()) this.#decide(out);
				break;
			case "fetch":
				this.#propose(out);
				break;
			case "reveal":
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
				this.#compare(out);
				return;
			case "dispute":
				this.#toSum(out);
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
		this.#prompt(out);
		this.#repeatMs = Math.min(2 * this.#repeatMs, MAX_REPEAT_MS);
		out.timer(REPEAT_TIMER, this.#repeatMs);
	}

	#enter(stage: Stage, out: Outbox): void {
		this.#stage = stage;
		this.#deadlines = 0;
		this.#schedule(out);
		if (stage === "reveal") this.#startReveal(out);
		else this.#prompt(out);
		this.#advance(out);
	}

	#schedule(out: Outbox): void {
		this.#repeatMs = REPEAT_MS;
		out.timer(REPEAT_TIMER, REPEAT_MS);
		out.timer(DEADLINE_TIMER, this.#context.config.phaseTimeoutMs);
	}

	#close(out: Outbox): void {
		this.#stage = "closed";
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
					precedingDead: [...config.precedingDead],
				});
				return;
			case "share":
				ask(collection.withoutBundle(), this.#rosterMessage as MessageOf<"roster">);
				return;
			case "verify": {
				const { sid } = collection.roster as { sid: Uint8Array };
				for (const peer of collection.withoutAck()) {
					out.send(peer, { kind: "shares", sid, dealt: collection.sharesFor(peer) });
				}
				for (const [dealer, complaints] of collection.openComplaints()) {
					out.send(dealer, { kind: "openRequest", complaints });
				}
				return;
			}
			case "input":
				ask(collection.withoutInput(), this.#shareSetMessage as MessageOf<"shareSet">);
				return;
			case "screen":
				if (this.#examination !== undefined) ask(this.#examination.silent(), this.#examination.request);
				return;
			case "dispute":
				for (const [peer, message] of this.#disputants()) out.send(peer, message);
				return;
			case "recover":
				ask(this.#recovery.silent(), { kind: "recover", sidPre, term });
				return;
			case "fetch": {
				const { sumHash } = (this.#proposeMessage as MessageOf<"propose">).proposed.proposal;
				ask(this.#recovery.holdersOf(sumHash), { kind: "sumRequest", sumHash });
				return;
			}
			case "vote": {
				const message = this.#proposeMessage as MessageOf<"propose">;
				const voted = voter.voters();
				const silent = members.filter((member) => !voted.has(member));
				ask(silent, message, voter.sum(message.proposed.proposal.sumHash));
				return;
			}
			case "reveal":
				this.#promptReveal(out);
				return;
			case "open":
				ask(
					this.#openees().filter((peer) => !this.#done.has(peer)),
					(this.#opening as { message: MessageOf<"opening"> }).message,
					this.#opening?.blob,
				);
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

	#toShare(out: Outbox): void {
		const { config, sidPre, term } = this.#context;
		try {
			const adverts = this.#collection.fixRoster();
			const { rosterRoot } = this.#collection.roster as { rosterRoot: Uint8Array };
			const header = signStatement<RosterHeader>(config.self, { kind: "roster", sidPre, term, rosterRoot });
			this.#rosterMessage = { kind: "roster", header, adverts };
		} catch (error) {
			if (!hasCode(error, "aggregation.bad_roster")) throw error;
			this.#abort(error.message, out);
			return;
		}
		this.#enter("share", out);
	}

	#toInput(out: Outbox): void {
		const { config, term } = this.#context;
		const { cohort, opened } = this.#collection.fixCohort();
		if (cohort.length < config.minimumSurvivors) {
			this.#tooFew(cohort.length, "shared their secrets", out);
			return;
		}
		const sharing = this.#collection.sharing;
		if (sharing === undefined) return;
		const header = signStatement<ShareSetHeader>(config.self, {
			kind: "shareSet",
			sid: sharing.roster.sid,
			term,
			shareSetHash: sharing.shareSetHash,
		});
		this.#shareSetMessage = { kind: "shareSet", header, cohort, opened };
		this.#tellShareHolders(out);
		this.#enter("input", out);
	}

	/** Members outside U2 hold shares too; they serve them only for a share set they accepted. */
	#tellShareHolders(out: Outbox): void {
		const message = this.#shareSetMessage;
		if (message === undefined) return;
		for (const member of this.#collection.roster?.members ?? []) {
			if (!message.cohort.includes(member)) out.send(member, message);
		}
	}

	#toScreen(out: Outbox): void {
		const metas = this.#collection.metas();
		const bench = benchOf(this.#context, this.#collection.sharing);
		if (bench === undefined || metas.length < this.#context.config.minimumSurvivors) {
			this.#toSum(out);
			return;
		}
		this.#examination = new Examination(this.#context, bench, metas, this.#collection.inputs);
		this.#enter("screen", out);
	}

	#compare(out: Outbox): void {
		if (this.#examination === undefined) return;
		this.#stage = "compare";
		out.work(`${COORDINATOR_WORK}compare`, this.#examination.task());
	}

	#disputants(): ReadonlyMap<PeerId, MessageOf<"disputed">> {
		return this.#examination?.disputants() ?? new Map();
	}

	/** Inputs that are to be summed. */
	#metas(): InputMeta[] {
		return this.#examination?.passed() ?? this.#collection.metas();
	}

	#toSum(out: Outbox): void {
		const { minimumSurvivors, length, modulusBits } = this.#context.config;
		const metas = this.#metas();
		if (metas.length < minimumSurvivors) {
			this.#tooFew(metas.length, "sent their input", out);
			return;
		}
		this.#stage = "sum";
		const inputs = metas.map(({ author }) => this.#collection.inputs.get(author) as Uint8Array);
		out.work(`${COORDINATOR_WORK}sum`, { kind: "sum", inputs, length, modulusBits });
	}

	/** Makes the one proposal of this attempt. */
	#summed(packed: Uint8Array, sumHash: Uint8Array, out: Outbox): void {
		const { config, sidPre, term, self } = this.#context;
		const { roster, shareSetHash, cohort } = this.#collection.sharing as NonNullable<Collection["sharing"]>;
		const metas = this.#metas();
		const { rosterRoot } = roster;
		const screening = this.#examination?.screening();
		const proposal: Proposal = {
			proposer: self,
			rosterRoot,
			shareSetHash,
			cohort: [...cohort],
			metas,
			sumHash,
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
		this.#participant.voter.keepSum(packed);
		this.#proposeMessage = { kind: "propose", header, proposed, screening };
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
			this.#open(decision.opening.opening, decision.opening.inputs, out);
			return;
		}
		const { hash, proposed } = decision;
		const header = signStatement<ProposalHeader>(config.self, {
			kind: "proposal",
			sidPre,
			term,
			proposalHash: hash,
		});
		const screening = this.#participant.screener.screeningOf(proposed.proposal);
		this.#proposeMessage = { kind: "propose", header, proposed, screening };
		this.#enter("fetch", out);
	}

	/** Proposes again what a member voted for, as soon as its masked sum is here. */
	#propose(out: Outbox): void {
		const { proposed } = this.#proposeMessage as { proposed: Proposed };
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
		const sharing = this.#participant.contributor.sharing ?? this.#collection.sharing;
		for (const member of this.#context.members) out.send(member, { kind: "certified", certified });
		if (sharing === undefined) {
			this.#fail("this node did not take part and cannot check what is revealed", out);
			return;
		}
		this.#disclosure = new Disclosure(certified, sharing);
	}

	#promptReveal(out: Outbox): void {
		const disclosure = this.#disclosure;
		if (disclosure === undefined) return;
		const { certified } = disclosure;
		for (const peer of disclosure.silent()) out.send(peer, { kind: "certified", certified });
		const { sumHash } = certified.proposed.proposal;
		if (this.#participant.voter.sum(sumHash) === undefined) {
			for (const member of this.#context.members) out.send(member, { kind: "sumRequest", sumHash });
		}
		// The slow path, once those who can open their own seeds have had their time, or
		// when everybody answered and seeds are still missing.
		if (this.#deadlines === 0 && this.#context.awaited(disclosure.silent()).length > 0) return;
		this.#askedHolders = true;
		this.#tellShareHolders(out);
		for (const holder of this.#context.members) {
			const targets = disclosure.wantedFrom(holder);
			if (targets.length > 0) out.send(holder, { kind: "shareRequest", certified, targets });
		}
	}

	/** Assembles the opening; waits for silent survivors until `late`. */
	#tryOpening(out: Outbox, late: boolean): void {
		const disclosure = this.#disclosure;
		if (disclosure === undefined) return;
		const opening = this.#assembled(disclosure);
		if ("lacks" in opening) {
			if (this.#deadlines >= REVEAL_DEADLINES) this.#fail(`it lacks ${opening.lacks}`, out);
			else if (!late && !this.#askedHolders && this.#context.awaited(disclosure.silent()).length === 0)
				this.#promptReveal(out);
			return;
		}
		const packed = this.#participant.voter.sum(disclosure.certified.proposed.proposal.sumHash);
		if (packed === undefined) return;
		this.#audit(disclosure, opening, packed, out);
	}

	#assembled(disclosure: Disclosure): Opening | { readonly lacks: string } {
		const { voter } = this.#participant;
		const known = voter.projectionsFor(disclosure.certified.certificate.value);
		return disclosure.opening(known, this.#collection.inputs, this.#context.self);
	}

	/** Compares the projections with the sum before anybody else does, to find a liar among them. */
	#audit(disclosure: Disclosure, opening: Opening, packed: Uint8Array, out: Outbox): void {
		const { length, modulusBits } = this.#context.config;
		const { certificate, proposed } = disclosure.certified;
		const complete = opening.projections.length + opening.inputs.length === proposed.proposal.metas.length;
		this.#stage = "audit";
		out.work(`${COORDINATOR_WORK}audit`, {
			kind: "unmask",
			packed,
			seed: projectionSeed(certificate.value),
			projections: opening.projections.map(({ packed: values }) => values),
			inputs: opening.inputs.map((survivor) => this.#collection.inputs.get(survivor) as Uint8Array),
			compare: complete,
			add: [],
			subtract: [],
			length,
			modulusBits,
		});
	}

	completed(workId: string, result: AggregationTaskResult, out: Outbox): void {
		const task = workId.slice(COORDINATOR_WORK.length);
		if (result.kind === "signs" && this.#stage === "compare") this.#examined(result, out);
		else if (result.kind === "sum" && this.#stage === "sum") this.#summed(result.packed, result.hash, out);
		else if (this.#stage === "audit" && result.kind === "unmask")
			this.#audited(result.sum !== undefined, out);
		else if (this.#stage === "audit" && result.kind === "project") this.#compared(task, result.packed, out);
	}

	#examined(result: Extract<AggregationTaskResult, { kind: "signs" }>, out: Outbox): void {
		this.#examination?.compared(result, out);
		this.#enter("dispute", out);
	}

	#audited(matches: boolean, out: Outbox): void {
		const disclosure = this.#disclosure as Disclosure;
		const opening = this.#assembled(disclosure) as Opening;
		if (matches) {
			const inputs = opening.inputs.map((survivor) => this.#collection.inputs.get(survivor) as Uint8Array);
			this.#open(opening, Buffer.concat(inputs), out);
			return;
		}
		const { length, modulusBits } = this.#context.config;
		const seed = projectionSeed(disclosure.certified.certificate.value);
		this.#lied = false;
		for (const { author } of opening.projections) {
			const packed = this.#collection.inputs.get(author);
			if (packed === undefined) continue;
			this.#suspects.add(author);
			out.work(COORDINATOR_WORK + author, { kind: "project", packed, seed, length, modulusBits });
		}
		if (this.#suspects.size === 0)
			this.#fail("the masked sum does not match the survivors' projections", out);
	}

	#compared(author: PeerId, actual: Uint8Array, out: Outbox): void {
		const disclosure = this.#disclosure as Disclosure;
		if (!this.#suspects.delete(author)) return;
		const known = this.#participant.voter.projectionsFor(disclosure.certified.certificate.value);
		const claimed = known.find((projection) => projection.author === author);
		if (claimed !== undefined && !equalBytes(claimed.packed, actual)) {
			this.#lied = true;
			disclosure.disprove(author);
			out.fault(author, "wrong_projection", `${author} sent a projection that is not its masked input's.`);
		}
		if (this.#suspects.size > 0) return;
		if (!this.#lied) {
			this.#fail("the masked sum does not match the survivors' inputs", out);
			return;
		}
		this.#stage = "reveal";
		this.#advance(out);
	}

	#open(opening: Opening, blob: Uint8Array, out: Outbox): void {
		const certified = this.#participant.voter.certified();
		if (certified === undefined) return;
		const screening = this.#participant.screener.screeningOf(certified.proposed.proposal);
		this.#opening = { message: { kind: "opening", certified, opening, screening }, blob };
		this.#enter("open", out);
	}

	/** Members that can verify an opening: those in the cohort. */
	#openees(): readonly PeerId[] {
		return this.#opening?.message.certified.proposed.proposal.cohort ?? [];
	}

	#fail(why: string, out: Outbox): void {
		const message = `The certified sum cannot be opened: ${why}. This round's inputs are spent; go on with the next round.`;
		out.output({ kind: "failed", error: new AlthingError("aggregation.lost_sum", message) });
		this.#close(out);
	}
}
