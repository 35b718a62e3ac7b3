/** Compares where two participants stand; whoever is behind gets what it lacks. */
import type { PeerId } from "../../crypto/identity.ts";
import type { RoundAttempts } from "./attempts.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Collector } from "./contract.ts";
import type { Coordination } from "./coordination.ts";

export interface Position {
	readonly term: number;
	readonly round: number;
	readonly attempt: number;
}

export class CatchUp {
	readonly #coordination: Coordination;
	readonly #attempts: Pick<RoundAttempts, "attempt" | "tellDead">;
	readonly #checkpoint: () => Checkpoint;

	/** @param attempts of whom both are in; none of those whose attempts are their cohorts' own */
	constructor(
		coordination: Coordination,
		attempts: Pick<RoundAttempts, "attempt" | "tellDead">,
		checkpoint: () => Checkpoint,
	) {
		this.#coordination = coordination;
		this.#attempts = attempts;
		this.#checkpoint = checkpoint;
	}

	/** Where this node stands. */
	get position(): Position {
		const { round } = this.#checkpoint();
		return { term: this.#coordination.term, round, attempt: this.#attempts.attempt };
	}

	/** Tells a peer where this node stands, so that it answers with what is lacking here. */
	ask(out: Collector, to: PeerId): void {
		out.send(to, { kind: "status", ...this.position });
	}

	/** Gives a peer the certified term and round, and the Dead certificates, that it lacks. */
	tell(out: Collector, to: PeerId, theirs: Position): void {
		const { certified } = this.#coordination;
		if (certified !== undefined && theirs.term < certified.term) out.send(to, { kind: "term", ...certified });
		const { last, round } = this.#checkpoint();
		if (last !== undefined && theirs.round < round) out.send(to, { kind: "result", ...last });
		if (theirs.round === round && theirs.attempt < this.#attempts.attempt)
			this.#attempts.tellDead(out, to, theirs.attempt);
	}

	/** Answers a peer's position: with what it lacks, and by asking for what this node lacks. */
	compare(out: Collector, from: PeerId, theirs: Position): void {
		const { term, round, attempt } = this.position;
		this.tell(out, from, theirs);
		const ahead =
			theirs.round > round || theirs.term > term || (theirs.round === round && theirs.attempt > attempt);
		if (ahead) this.ask(out, from);
	}

	/** True for a message of this node's round; otherwise whoever is behind learns what it lacks. */
	inStep(out: Collector, from: PeerId, round: number): boolean {
		const { term, round: own } = this.position;
		if (round > own) this.ask(out, from);
		else if (round < own) this.tell(out, from, { term, round, attempt: 0 });
		return round === own;
	}
}
