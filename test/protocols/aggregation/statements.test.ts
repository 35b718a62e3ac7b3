import { expect, test, vi } from "vitest";
import { encodeCanonical } from "../../../crypto/encoding.ts";
import type { SigningKey } from "../../../crypto/identity.ts";
import type { PublicComputations } from "../../../protocols/aggregation/computations.ts";
import { type Advert, decodeMessage, encodeMessage } from "../../../protocols/aggregation/messages.ts";
import { canonical, isAuthentic, signStatement } from "../../../protocols/aggregation/statements.ts";
import { CohortSimulation, keysForTests } from "./cohortSimulation.ts";

const key = keysForTests(1)[0] as SigningKey;
const advert = signStatement<Advert>(key, {
	kind: "advert",
	sidPre: new Uint8Array(32).fill(1),
	maskKey: new Uint8Array(32).fill(2),
	channelKey: new Uint8Array(32).fill(3),
});

test("a statement is carried as its canonical bytes and read back", () => {
	const encoded = encodeMessage({ kind: "keys", advert });
	expect(Buffer.from(encoded).includes(Buffer.from(canonical(advert)))).toBe(true);
	const read = decodeMessage(encoded);
	expect(read).toEqual({ kind: "keys", advert });
	if (read.kind !== "keys") throw new Error("another kind");
	expect(Buffer.compare(canonical(read.advert), canonical(advert))).toBe(0);
	expect(isAuthentic(read.advert)).toBe(true);
});

test("a statement whose bytes were changed is not its author's, however often it is asked", () => {
	const changed = { ...advert, maskKey: new Uint8Array(32).fill(4) };
	const read = decodeMessage(encodeMessage({ kind: "keys", advert: changed }));
	if (read.kind !== "keys") throw new Error("another kind");
	expect(isAuthentic(read.advert)).toBe(false);
	expect(isAuthentic(read.advert)).toBe(false);
});

test.each([
	["a field too many", encodeCanonical({ ...advert, extra: 1 })],
	["another kind of statement", encodeCanonical({ ...advert, kind: "bundle" })],
	["bytes behind its end", Uint8Array.of(...canonical(advert), 0)],
	["no bytes", new Uint8Array()],
])("refuses a statement with %s", (_, bytes) => {
	const message = encodeCanonical({ kind: "keys", advert: bytes });
	expect(() => decodeMessage(message)).toThrow(expect.objectContaining({ code: "aggregation.malformed" }));
});

/** What a simulation passes: every result, by what it follows from. */
function memory(): PublicComputations & { readonly kinds: Set<string> } {
	const known = new Map<string, unknown>();
	const kinds = new Set<string>();
	return {
		kinds,
		once: (kind, inputs, compute) => {
			const name = `${kind} ${inputs().map((input) => Buffer.from(input).toString("hex"))}`;
			if (!known.has(name)) known.set(name, compute());
			else kinds.add(kind);
			return known.get(name) as ReturnType<typeof compute>;
		},
	};
}

test("members that share their work on public bytes release what others do, and still refuse a false opening", () => {
	for (const falsified of [false, true]) {
		const computations = memory();
		const cohort = new CohortSimulation({ configure: (config) => ({ ...config, computations }) });
		cohort.simulation.intercept(({ from, to, message, blob }) => {
			if (!falsified || message.kind !== "opening" || from !== cohort.peer(0) || blob === undefined)
				return undefined;
			const changed = Uint8Array.from(blob);
			// A byte of the first seed: the map's first entry by length of name is `rests`, then `seeds`.
			const at = Buffer.from(blob).indexOf("seeds") + 10;
			changed[at] = (changed[at] as number) ^ 1;
			return [{ from, to, message, blob: changed }];
		});
		const blamed = (index: number) =>
			cohort.simulation.faults(cohort.peer(index)).some(({ code }) => code === "aggregation.bad_opening");
		if (falsified)
			cohort.simulation.run({ untilMs: 60_000, until: () => [1, 2, 3, 4].every((index) => blamed(index)) });
		else cohort.runUntilEnded();
		for (const index of [1, 2, 3, 4]) {
			expect(blamed(index)).toBe(falsified);
			if (falsified) expect(cohort.released(index)).toBeUndefined();
			else expect(cohort.released(index)?.sum).toEqual(cohort.expectedSum(cohort.peers));
		}
		expect([...computations.kinds]).toContain("opening");
	}
});

test("a simulation's memory reads equal bytes once; a node has no such memory", () => {
	const computations = memory();
	const once = vi.spyOn(computations, "once");
	const encoded = encodeMessage({ kind: "keys", advert });
	const [a, b] = [decodeMessage(encoded, computations), decodeMessage(encoded, computations)];
	if (a.kind !== "keys" || b.kind !== "keys") throw new Error("another kind");
	expect(a.advert).toBe(b.advert);
	expect(once).toHaveBeenCalledTimes(2);
	const alone = decodeMessage(encoded);
	expect(alone).toEqual(a);
	expect(alone.kind === "keys" && alone.advert).not.toBe(a.advert);
});
