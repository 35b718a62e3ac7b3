/** Inputs and liars for cohorts with a selection. */
import type { SigningKey } from "../../../crypto/identity.ts";
import type { Products } from "../../../protocols/aggregation/messages.ts";
import { vectorHash } from "../../../protocols/aggregation/sessionId.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";
import type { CohortSimulation } from "../aggregation/cohortSimulation.ts";

/** An honest input: one direction that all share, and some of each one's own. */
export function honestInput(index: number, length = 60): Float64Array {
	const shared = seededRandomForTests(77);
	const own = seededRandomForTests(200 + index);
	return Float64Array.from({ length }, () => (shared() - 0.5) * 2000 + (own() - 0.5) * 1000);
}

/** In a ring of 24 bits. */
export function encoded(values: Float64Array): Uint32Array {
	return Uint32Array.from(values, (value) => Math.round(value) & (2 ** 24 - 1));
}

/** A holder that opens other shares than it holds. */
export function lieAsHolder(cohort: CohortSimulation, index: number): void {
	const self = cohort.peer(index);
	const spoil = (bytes: Uint8Array) => bytes.map((byte, i) => (i % 4 === 0 ? byte ^ 1 : byte));
	cohort.simulation.intercept((envelope) => {
		const { from, message, blob } = envelope;
		if (from !== self || blob === undefined) return undefined;
		if (message.kind === "publicPart" && message.author === self) return [{ ...envelope, blob: spoil(blob) }];
		if (message.kind !== "statement") return undefined;
		const { signature: _, author: __, ...fields } = message.products as Products;
		const opened = vectorHash(spoil(blob));
		const products = signStatement<Products>(cohort.keys[index] as SigningKey, { ...fields, opened });
		return [{ ...envelope, message: { ...message, products }, blob: spoil(blob) }];
	});
}
