/** This site's part in one round: its vector, and the budget charged before it leaves. */
import { AlthingError } from "../../crypto/error.ts";
import type { Collector, TrainingTaskResult } from "./contract.ts";

/** The common state that the round starts from; in buffered rounds also the version that a contribution was prepared from. */
interface Source {
	readonly state: Uint8Array;
	readonly version?: number;
}

type Computed = Pick<Extract<TrainingTaskResult, { kind: "contribution" }>, "vector" | "publicPart">;

export class Contribution {
	#round = 0;
	#source: Source | undefined;
	#computing = false;
	#computed: Computed | undefined;
	#charge: "none" | "asked" | "made" = "none";
	#chargedAttempt: number | undefined;
	#wanted = false;
	#withdrawn = false;

	/** A new round. @param source what to compute its vector from; absent in a buffered round without a contribution */
	begin(round: number, source: Source | undefined): void {
		this.#round = round;
		this.#source = source;
		this.#computing = false;
		this.#computed = undefined;
		this.#withdrawn = false;
		this.attemptEnded();
	}

	/** Starts computing, once a round; before the cohort is known, so that training overlaps with the key exchange. */
	compute(out: Collector): void {
		const source = this.#source;
		if (this.#computing || source === undefined) return;
		this.#computing = true;
		const round = this.#round;
		const { state, version } = source;
		if (version === undefined) out.work(`contribute/${round}`, { kind: "contribute", round, state });
		else out.work(`finish/${round}`, { kind: "finish", round, version, state });
	}

	/** A further attempt is charged anew; what the dead one had been charged was never released. */
	attemptEnded(): void {
		this.#charge = "none";
		this.#chargedAttempt = undefined;
		this.#wanted = false;
	}

	/** The session asks for the vector. */
	want(out: Collector): void {
		this.#wanted = true;
		this.compute(out);
	}

	computed(result: Computed): void {
		this.#computed = result;
	}

	/** The budget was charged, durably. */
	charged(attempt: number): void {
		if (this.#charge === "asked" && this.#chargedAttempt === attempt) this.#charge = "made";
	}

	/** The site stays out of this round's sum; it goes on voting and following. */
	withdraw(out: Collector, error: Error): void {
		this.#withdrawn = true;
		const code = error instanceof AlthingError ? error.code : "training.failed";
		out.output({ kind: "withdrawn", round: this.#round, code, reason: error.message });
	}

	/** Asks for the charge when everything else is there. @returns it once, when it may leave */
	take(out: Collector, attempt: number): Computed | undefined {
		if (!this.#wanted || this.#computed === undefined || this.#withdrawn) return undefined;
		if (this.#charge === "none") {
			this.#charge = "asked";
			this.#chargedAttempt = attempt;
			out.work(`charge/${this.#round}/${attempt}`, { kind: "charge", round: this.#round, attempt });
		}
		if (this.#charge !== "made") return undefined;
		this.#wanted = false;
		const { vector, publicPart } = this.#computed;
		return { vector: vector.slice(), publicPart };
	}
}
