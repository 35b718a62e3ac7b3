import { expect, test, vi } from "vitest";
import { encodeCanonical } from "../../../crypto/encoding.ts";
import type { SigningKey } from "../../../crypto/identity.ts";
import type { PublicComputations } from "../../../protocols/aggregation/computations.ts";
import { type Advert, decodeMessage, encodeMessage } from "../../../protocols/aggregation/messages.ts";
import { canonical, isAuthentic, signStatement } from "../../../protocols/aggregation/statements.ts";
import { keysForTests } from "./cohortSimulation.ts";

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

test("a simulation's memory reads equal bytes once; a node has no such memory", () => {
	const known = new Map<string, unknown>();
	const computations: PublicComputations = {
		once: (kind, inputs, compute) => {
			const name = `${kind} ${inputs().map((input) => Buffer.from(input).toString("hex"))}`;
			if (!known.has(name)) known.set(name, compute());
			return known.get(name) as ReturnType<typeof compute>;
		},
	};
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
