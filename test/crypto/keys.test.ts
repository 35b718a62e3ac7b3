import { generateKeyPairFromSeed } from "@libp2p/crypto/keys";
import { peerIdFromPrivateKey } from "@libp2p/peer-id";
import { ed25519 } from "@noble/curves/ed25519.js";
import { base58btc } from "multiformats/bases/base58";
import { expect, test } from "vitest";
import {
	agree,
	agreementPublicKey,
	deriveKey,
	generateAgreementKey,
	isLowOrder,
} from "../../crypto/agreement.ts";
import { fromHex, toHex } from "../../crypto/encoding.ts";
import {
	generateIdentitySeed,
	isPeerId,
	peerIdFromPublicKey,
	publicKeyOf,
	signingKeyFromSeed,
	verifySignature,
} from "../../crypto/identity.ts";

/** RFC 8032 section 7.1, tests 1 to 3: seed, public key, message, signature. */
const RFC_8032 = [
	[
		"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
		"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
		"",
		"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
	],
	[
		"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
		"3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
		"72",
		"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
	],
	[
		"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
		"fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
		"af82",
		"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
	],
] as const;

test.each(RFC_8032)("Ed25519 of RFC 8032 section 7.1: seed %s", (seed, publicKey, message, signature) => {
	const key = signingKeyFromSeed(fromHex(seed));
	expect(toHex(publicKeyOf(key.peer))).toBe(publicKey);
	expect(toHex(key.sign(fromHex(message)))).toBe(signature);
	expect(verifySignature(key.peer, fromHex(message), fromHex(signature))).toBe(true);
});

test("a signature of another message, by another key, or malformed is refused", () => {
	const [key, other] = [
		signingKeyFromSeed(generateIdentitySeed()),
		signingKeyFromSeed(generateIdentitySeed()),
	];
	const message = Uint8Array.of(1, 2, 3);
	const signature = key.sign(message);
	expect(verifySignature(key.peer, Uint8Array.of(1, 2, 4), signature)).toBe(false);
	expect(verifySignature(other.peer, message, signature)).toBe(false);
	expect(verifySignature(key.peer, message, signature.subarray(1))).toBe(false);
	expect(verifySignature("nobody", message, signature)).toBe(false);
	for (let i = 0; i < signature.length; i++) {
		const changed = Uint8Array.from(signature);
		changed[i] = (changed[i] as number) ^ 1;
		expect(verifySignature(key.peer, message, changed)).toBe(false);
	}
});

test("peer ids are those of libp2p", async () => {
	for (const [seed] of RFC_8032) {
		const libp2p = peerIdFromPrivateKey(await generateKeyPairFromSeed("Ed25519", fromHex(seed)));
		expect(signingKeyFromSeed(fromHex(seed)).peer).toBe(libp2p.toString());
	}
	// libp2p specs, peer-ids: an Ed25519 id is the key itself.
	expect(signingKeyFromSeed(fromHex(RFC_8032[0][0])).peer).toMatch(/^12D3KooW.{44}$/);
});

test("peer ids that are not the one text of a sound Ed25519 key are refused", () => {
	const { peer } = signingKeyFromSeed(generateIdentitySeed());
	expect(isPeerId(peer)).toBe(true);
	for (const bad of [
		"",
		"12D3KooW",
		`z${peer}`,
		`${peer}1`,
		`1${peer}`,
		peer.replace(/.$/, "0"),
		"QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
		"1".repeat(100_000),
	]) {
		expect(isPeerId(bad)).toBe(false);
		expect(() => publicKeyOf(bad)).toThrow(expect.objectContaining({ code: "crypto.bad_peer_id" }));
	}
});

test("keys of small order are refused: anybody could sign for them", () => {
	const torsion = ed25519.Point.fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
	let point = ed25519.Point.ZERO;
	const encodings = new Set<string>();
	for (let i = 0; i < 8; i++, point = point.add(torsion)) encodings.add(point.toHex());
	expect(encodings.size).toBe(8);
	for (const encoding of encodings) {
		const raw = fromHex(encoding);
		expect(() => peerIdFromPublicKey(raw)).toThrow(expect.objectContaining({ code: "crypto.bad_key" }));
		const text = base58btc.baseEncode(Uint8Array.of(0, 0x24, 8, 1, 0x12, 0x20, ...raw));
		expect(isPeerId(text)).toBe(false);
	}
});

test("seeds of a wrong length are refused", () => {
	expect(() => signingKeyFromSeed(new Uint8Array(31))).toThrow(
		expect.objectContaining({ code: "crypto.bad_key" }),
	);
});

test("X25519 of RFC 7748 sections 5.2 and 6.1", () => {
	const scalar = fromHex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
	const u = fromHex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
	expect(toHex(agree(scalar, u))).toBe("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
	const alice = fromHex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
	const bob = fromHex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
	expect(toHex(agreementPublicKey(alice))).toBe(
		"8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a",
	);
	const shared = "4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742";
	expect(toHex(agree(alice, agreementPublicKey(bob)))).toBe(shared);
	expect(toHex(agree(bob, agreementPublicKey(alice)))).toBe(shared);
	// Section 5.2: one and a thousand iterations.
	let k: Uint8Array = Uint8Array.of(9, ...new Uint8Array(31));
	let point = k;
	for (let i = 1; i <= 1000; i++) {
		[k, point] = [agree(k, point), k];
		if (i === 1) expect(toHex(k)).toBe("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
	}
	expect(toHex(k)).toBe("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
});

test("an X25519 key that forces the secret to zero is refused", () => {
	const { secret } = generateAgreementKey();
	for (const u of [
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
		"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	]) {
		expect(() => agree(secret, fromHex(u))).toThrow(expect.objectContaining({ code: "crypto.low_order" }));
		expect(isLowOrder(fromHex(u))).toBe(true);
	}
	expect(() => agree(secret, new Uint8Array(31))).toThrow(
		expect.objectContaining({ code: "crypto.bad_key" }),
	);
	expect(() => agree(new Uint8Array(33), secret)).toThrow(
		expect.objectContaining({ code: "crypto.bad_key" }),
	);
});

test("HKDF-SHA256 of RFC 5869 appendix A.1 and A.3", () => {
	const secret = new Uint8Array(22).fill(0x0b);
	const info = fromHex("f0f1f2f3f4f5f6f7f8f9");
	expect(toHex(deriveKey(secret, fromHex("000102030405060708090a0b0c"), info, 42))).toBe(
		"3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
	);
	expect(toHex(deriveKey(secret, new Uint8Array(), "", 42))).toBe(
		"8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
	);
	expect(deriveKey(secret, info, "a")).not.toEqual(deriveKey(secret, info, "b"));
});
