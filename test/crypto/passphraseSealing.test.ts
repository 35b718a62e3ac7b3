import { argon2Sync } from "node:crypto";
import { expect, test } from "vitest";
import { open } from "../../crypto/aead.ts";
import { toHex } from "../../crypto/encoding.ts";
import { sha256 } from "../../crypto/hash.ts";
import {
	openWithPassphrase,
	PASSPHRASE_COST,
	sealWithPassphrase,
	WEAK_PASSPHRASE_COST_FOR_TESTS as weak,
} from "../../crypto/passphraseSealing.ts";

const plaintext = new TextEncoder().encode("identity seed and the rest");
const code = (expected: string) => expect.objectContaining({ code: expected });

/** A file whose header was edited by somebody who fixes the public checksum as well. */
function edited(sealed: Uint8Array, change: (bytes: DataView) => void): Uint8Array {
	const copy = Uint8Array.from(sealed);
	change(new DataView(copy.buffer));
	copy.set(sha256(copy.subarray(0, -8)).subarray(0, 8), copy.length - 8);
	return copy;
}

test("the platform's Argon2id is that of RFC 9106 section 5.3", () => {
	const tag = argon2Sync("argon2id", {
		message: new Uint8Array(32).fill(1),
		nonce: new Uint8Array(16).fill(2),
		secret: new Uint8Array(8).fill(3),
		associatedData: new Uint8Array(12).fill(4),
		memory: 32,
		passes: 3,
		parallelism: 4,
		tagLength: 32,
	});
	expect(toHex(tag)).toBe("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659");
});

test("opens under its passphrase, text or bytes, however the text was composed", async () => {
	const sealed = await sealWithPassphrase("caf\u00e9", plaintext, weak);
	expect(await openWithPassphrase("caf\u00e9", sealed)).toEqual(plaintext);
	expect(await openWithPassphrase("cafe\u0301", sealed)).toEqual(plaintext);
	expect(await openWithPassphrase(new TextEncoder().encode("caf\u00e9"), sealed)).toEqual(plaintext);
	expect(toHex(sealed)).not.toBe(toHex(await sealWithPassphrase("caf\u00e9", plaintext, weak)));
});

test("the default costs 64 MiB and three passes, and the file is what the format says", async () => {
	const sealed = await sealWithPassphrase("p", plaintext);
	const view = new DataView(sealed.buffer);
	expect([view.getUint8(8), view.getUint32(9), view.getUint32(13), view.getUint8(17)]).toEqual([
		1, 65536, 3, 4,
	]);
	expect(PASSPHRASE_COST.memoryKiB).toBe(65536);
	const key = argon2Sync("argon2id", {
		message: Buffer.from("p"),
		nonce: sealed.subarray(18, 34),
		memory: 65536,
		passes: 3,
		parallelism: 4,
		tagLength: 32,
	});
	expect(open(key, sealed.subarray(34, 46), sealed.subarray(46, -8), sealed.subarray(0, 46))).toEqual(
		plaintext,
	);
});

test("a wrong passphrase is told from a damaged file", async () => {
	const sealed = await sealWithPassphrase("right", plaintext, weak);
	await expect(openWithPassphrase("wrong", sealed)).rejects.toThrow(code("keystore.wrong_passphrase"));
	for (let i = 0; i < sealed.length; i++) {
		const damaged = Uint8Array.from(sealed);
		damaged[i] = (damaged[i] as number) ^ 4;
		await expect(openWithPassphrase("right", damaged)).rejects.toThrow(code("keystore.corrupt"));
	}
	for (const cut of [0, 8, 46, sealed.length - 1]) {
		await expect(openWithPassphrase("right", sealed.subarray(0, cut))).rejects.toThrow(
			code("keystore.corrupt"),
		);
	}
});

test.each([
	["all memory there is", (bytes: DataView) => bytes.setUint32(9, 0xffffffff)],
	["passes without end", (bytes: DataView) => bytes.setUint32(13, 0xffffffff)],
	["no pass at all", (bytes: DataView) => bytes.setUint32(13, 0)],
	["hardly any memory", (bytes: DataView) => bytes.setUint32(9, 8)],
	["too many lanes", (bytes: DataView) => bytes.setUint8(17, 255)],
	["a format of the future", (bytes: DataView) => bytes.setUint8(8, 2)],
])("a header that asks for %s is refused before any work", async (_, change) => {
	const sealed = edited(await sealWithPassphrase("p", plaintext, weak), change);
	await expect(openWithPassphrase("p", sealed)).rejects.toThrow(code("keystore.corrupt"));
});

test("the header is authenticated: cheaper parameters do not open the file", async () => {
	const sealed = await sealWithPassphrase("p", plaintext, { ...weak, passes: 2 });
	const cheaper = edited(sealed, (bytes) => bytes.setUint32(13, 1));
	await expect(openWithPassphrase("p", cheaper)).rejects.toThrow(code("keystore.wrong_passphrase"));
});

test("an empty passphrase and absurd costs are refused when sealing", async () => {
	await expect(sealWithPassphrase("", plaintext, weak)).rejects.toThrow(code("keystore.empty_passphrase"));
	await expect(sealWithPassphrase("p", plaintext, { ...weak, passes: 0 })).rejects.toThrow(
		code("keystore.bad_cost"),
	);
	await expect(sealWithPassphrase("p", plaintext, { ...weak, memoryKiB: 2 ** 31 })).rejects.toThrow(
		code("keystore.bad_cost"),
	);
});
