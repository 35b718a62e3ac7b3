/** What a thread's participants share of each other's work on the same public bytes, and what it cost. */
import { hash } from "node:crypto";
import { verification } from "../crypto/identity.ts";
import type { PublicComputation, PublicComputations } from "../protocols/aggregation/index.ts";

export interface ComputationCost {
	computed: number;
	/** Of the computed, in all; the signature checks among them apart. */
	seconds: number;
	signaturesChecked: number;
}

export class SharedComputations implements PublicComputations {
	readonly costs = new Map<PublicComputation, ComputationCost>();
	/** Results asked for so far. */
	readonly asked = new Map<PublicComputation, number>();
	readonly #known = new Map<string, { readonly result: unknown; readonly signaturesAsked: number }>();

	once<T>(kind: PublicComputation, inputs: () => readonly Uint8Array[], compute: () => T): T {
		this.asked.set(kind, (this.asked.get(kind) ?? 0) + 1);
		const name = `${kind} ${inputs()
			.map((input) => hash("sha256", input, "base64"))
			.join()}`;
		const known = this.#known.get(name);
		if (known !== undefined) {
			// Whoever computes for itself asks for them, too.
			verification.asked += known.signaturesAsked;
			return known.result as T;
		}
		const { asked, computed } = verification;
		const before = process.threadCpuUsage();
		const result = compute();
		const { user, system } = process.threadCpuUsage(before);
		const cost = this.costs.get(kind) ?? { computed: 0, seconds: 0, signaturesChecked: 0 };
		cost.computed++;
		cost.seconds += (user + system) / 1e6;
		cost.signaturesChecked += verification.computed - computed;
		this.costs.set(kind, cost);
		this.#known.set(name, { result, signaturesAsked: verification.asked - asked });
		return result;
	}
}
