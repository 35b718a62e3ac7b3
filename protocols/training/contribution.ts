/** This site's part in one round: its vector, and the budget charged before it leaves. */
import { AlthingError } from "../../crypto/error.ts";
import type { Collector } from "./contract.ts";

export class Contribution {
	#round = 0;
	#vector: Uint32Array | undefined;
	#charge: "none" | "asked" | "made" = "none";
	#chargedAttempt: number | undefined;
	#wanted = false;
	#withdrawn = false;

	/** Starts computing before the cohort is known: training overlaps with the key exchange. */
	begin(out: Collector, round: number, state: Uint8Array): void {
		this.#round = round;
		this.#vector = undefined;
		this.#withdrawn = false;
		this.attemptEnded();
		out.work(`contribute/${round}`, { kind: "contribute", round, state });
	}

	/** A further attempt is charged anew; what the dead one had been charged was never released. */
	attemptEnded(): void {
		this.#charge = "none";
		this.#chargedAttempt = undefined;
		this.#wanted = false;
	}

	/** The session asks for the vector. */
	want(): void {
		this.#wanted = true;
	}

	computed(vector: Uint32Array): void {
		this.#vector = vector;
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

	/** Asks for the charge when everything else is there. @returns the vector once, when it may leave */
	take(out: Collector, attempt: number): Uint32Array | undefined {
		if (!this.#wanted || this.#vector === undefined || this.#withdrawn) return undefined;
		if (this.#charge === "none") {
			this.#charge = "asked";
			this.#chargedAttempt = attempt;
			out.work(`charge/${this.#round}/${attempt}`, { kind: "charge", round: this.#round, attempt });
		}
		if (this.#charge !== "made") return undefined;
		this.#wanted = false;
		return this.#vector.slice();
	}
}
