/** What a thread's participants share of each other's work on the same public bytes, and what it cost. */
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
	/** By kind, and by the lengths and last bytes of the inputs: those of a statement are its signature's. */
	readonly #known = new Map<string, Known[]>();

	once<T>(kind: PublicComputation, inputs: () => readonly Uint8Array[], compute: () => T): T {
		this.asked.set(kind, (this.asked.get(kind) ?? 0) + 1);
		const given = inputs();
		const name = given.reduce((all, input) => `${all} ${input.length} ${tailOf(input)}`, kind as string);
		const alike = this.#known.get(name) ?? [];
		const known = alike.find((one) => one.inputs.every((input, i) => isSame(input, given[i] as Uint8Array)));
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
		this.#known.set(name, [...alike, { inputs: given, result, signaturesAsked: verification.asked - asked }]);
		return result;
	}
}

interface Known {
	readonly inputs: readonly Uint8Array[];
	readonly result: unknown;
	readonly signaturesAsked: number;
}

const TAIL_BYTES = 24;

function tailOf(input: Uint8Array): string {
	const start = Math.max(0, input.length - TAIL_BYTES);
	return Buffer.from(input.buffer, input.byteOffset + start, input.length - start).toString("latin1");
}

/** What threads share is the same memory at all participants. */
function isSame(a: Uint8Array, b: Uint8Array): boolean {
	const sameMemory = a.buffer === b.buffer && a.byteOffset === b.byteOffset && a.length === b.length;
	return sameMemory || Buffer.compare(a, b) === 0;
}
