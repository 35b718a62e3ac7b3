/**
 * What a cohort's coordinator does above its session: collects the cohort's votes into certificates, passes them
 * to the combiner, and what the combiner answers to the members. It is trusted with nothing.
 */
import { equalBytes, toHex } from "../../crypto/encoding.ts";
import { packCertificate } from "../aggregation/index.ts";
import { type Ballot, BallotBox } from "../certificate/index.ts";
import type { PeerId } from "../contract.ts";
import type { DealtCohort } from "./dealing.ts";
import type { TreeMessageOf } from "./messages.ts";
import { cohortSlot, decisionSlot, type PackedCertificate, type RoundName, rootSlot } from "./statements.ts";
import type { TreeCollector } from "./tree.ts";

/** Roots that votes are collected for at a time. */
const MAX_BOXES = 16;

export class CohortDesk {
	readonly #name: RoundName;
	readonly #cohort: DealtCohort;
	readonly #self: PeerId;
	readonly #sumVotes: BallotBox;
	readonly #decisionVotes: BallotBox;
	readonly #rootVotes = new Map<string, BallotBox>();
	#sum: { readonly message: TreeMessageOf<"cohortSum">; readonly packed: Uint8Array } | undefined;
	#root: PackedCertificate | undefined;
	#decision: PackedCertificate | undefined;
	#path: { readonly message: TreeMessageOf<"path">; readonly totals: Uint8Array } | undefined;
	#attested: TreeMessageOf<"attested"> | undefined;
	#decided: TreeMessageOf<"decided"> | undefined;

	constructor(name: RoundName, cohort: DealtCohort, self: PeerId) {
		this.#name = name;
		this.#cohort = cohort;
		this.#self = self;
		this.#sumVotes = new BallotBox(cohort.electorate, cohortSlot(name, cohort.index));
		this.#decisionVotes = new BallotBox(cohort.electorate, decisionSlot(name, cohort.index));
	}

	/** A member has verified the cohort's sum. @param own this node's, which has to be the one certified */
	countSum(
		out: TreeCollector,
		from: PeerId,
		{ ballot, knowsRoot }: TreeMessageOf<"cohortVote">,
		own:
			| (Pick<TreeMessageOf<"cohortSum">, "statement"> & {
					readonly packed: Uint8Array;
					readonly value: Uint8Array;
			  })
			| undefined,
		combiner: PeerId,
	): void {
		this.#sumVotes.add(ballot);
		if (this.#path !== undefined && !knowsRoot) out.send(from, this.#path.message, this.#path.totals);
		if (this.#sum !== undefined || own === undefined) return;
		const certificate = this.#sumVotes.certificate();
		if (certificate === undefined || !equalBytes(certificate.value, own.value)) return;
		const packed = packCertificate(this.#cohort.electorate.members, certificate);
		this.#sum = {
			message: { kind: "cohortSum", statement: own.statement, certificate: packed },
			packed: own.packed,
		};
		out.send(combiner, this.#sum.message, this.#sum.packed);
	}

	/** A member has found the cohort's sum in a root. */
	countRoot(out: TreeCollector, from: PeerId, ballot: Ballot, combiner: PeerId): void {
		const { value } = ballot;
		if (value === null) return;
		if (this.#attested !== undefined) out.send(from, this.#attested);
		const key = toHex(value);
		const box =
			this.#rootVotes.get(key) ??
			new BallotBox(this.#cohort.electorate, rootSlot(this.#name, this.#cohort.index, value));
		if (this.#rootVotes.size >= MAX_BOXES && !this.#rootVotes.has(key)) return;
		if (box.add(ballot) !== "added") return;
		this.#rootVotes.set(key, box);
		if (this.#root !== undefined && equalBytes(this.#root.value, value)) return;
		const certificate = box.certificate();
		if (certificate === undefined) return;
		this.#root = packCertificate(this.#cohort.electorate.members, certificate);
		this.#sendRoot(out, combiner);
	}

	/** A member has voted for the round's root. */
	countDecision(out: TreeCollector, from: PeerId, ballot: Ballot, combiner: PeerId): void {
		this.#decisionVotes.add(ballot);
		if (this.#decided !== undefined) out.send(from, this.#decided);
		if (this.#decision !== undefined) return;
		const certificate = this.#decisionVotes.certificate();
		if (certificate === undefined) return;
		this.#decision = packCertificate(this.#cohort.electorate.members, certificate);
		this.#sendDecision(out, combiner);
	}

	/** Shows the members a way to the root that this node has checked itself. */
	passPath(out: TreeCollector, message: TreeMessageOf<"path">, totals: Uint8Array): void {
		this.#path = { message, totals };
		for (const member of this.#others) out.send(member, message, totals);
	}

	passAttested(out: TreeCollector, message: TreeMessageOf<"attested">): void {
		this.#attested = message;
		out.sendAll(this.#others, message);
	}

	passDecided(out: TreeCollector, message: TreeMessageOf<"decided">): void {
		this.#decided = message;
		out.sendAll(this.#others, message);
	}

	/** Tells the combiner, perhaps a new one, all that it may lack. */
	report(out: TreeCollector, combiner: PeerId): void {
		if (this.#decided !== undefined) out.send(combiner, this.#decided);
		else if (this.#attested !== undefined) {
			out.send(combiner, this.#attested);
			this.#sendDecision(out, combiner);
		} else {
			if (this.#sum !== undefined) out.send(combiner, this.#sum.message, this.#sum.packed);
			this.#sendRoot(out, combiner);
		}
	}

	#sendRoot(out: TreeCollector, combiner: PeerId): void {
		if (this.#root === undefined) return;
		out.send(combiner, { kind: "rootCertificate", cohort: this.#cohort.index, certificate: this.#root });
	}

	#sendDecision(out: TreeCollector, combiner: PeerId): void {
		if (this.#decision === undefined) return;
		out.send(combiner, {
			kind: "decisionCertificate",
			cohort: this.#cohort.index,
			certificate: this.#decision,
		});
	}

	get #others(): PeerId[] {
		return this.#cohort.electorate.members.filter((member) => member !== this.#self);
	}
}
