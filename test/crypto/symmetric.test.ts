import { createCipheriv } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { open, seal } from "../../crypto/aead.ts";
import { fromHex, toHex } from "../../crypto/encoding.ts";
import { hashFields, sha256 } from "../../crypto/hash.ts";
import { addMask, applyMasks, subtractMask } from "../../crypto/maskStream.ts";
import { randomBytes } from "../../crypto/random.ts";
import {
	isPacked,
	LARGEST_MODULUS_BITS,
	LEAST_MODULUS_BITS,
	packRing,
	unpackRing,
} from "../../crypto/ringPacking.ts";
import { PROJECTIONS, projectRing } from "../../crypto/ringProjection.ts";

const none = new Uint8Array();
const words = fc.array(fc.nat(0xffffffff), { maxLength: 200 }).map((list) => Uint32Array.from(list));
const key = fc.uint8Array({ minLength: 32, maxLength: 32 });
const modulus = fc.integer({ min: LEAST_MODULUS_BITS, max: LARGEST_MODULUS_BITS });

test("SHA-256 of FIPS 180-4", () => {
	const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
	expect(toHex(sha256(new TextEncoder().encode("a"), new TextEncoder().encode("bc")))).toBe(abc);
	expect(toHex(sha256())).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
});

test("field hashes keep lists, types and purposes apart", () => {
	const hashes = [
		hashFields("d", "ab", "c"),
		hashFields("d", "a", "bc"),
		hashFields("d", "abc"),
		hashFields("d", "ab", "c", ""),
		hashFields("da", "b", "c"),
		hashFields("d", new TextEncoder().encode("ab"), "c"),
		hashFields("d", 1),
		hashFields("d", -1),
		hashFields("d", "1"),
		hashFields("d", fromHex("0000000000000001")),
	].map(toHex);
	expect(new Set(hashes).size).toBe(hashes.length);
	expect(() => hashFields("d", 0.5)).toThrow(expect.objectContaining({ code: "crypto.bad_field" }));
});

test("field hash against the same bytes laid out by hand", () => {
	const byHand = fromHex(
		"00" +
			"0000000000000001" +
			"64" +
			"02" +
			"0000000000000002" +
			"6162" +
			"03" +
			"0000000000000008" +
			"fffffffffffffffe",
	);
	expect(toHex(hashFields("d", "ab", -2))).toBe(toHex(sha256(byHand)));
});

test("AES-256-GCM: McGrew and Viega, test cases 13, 14 and 16", () => {
	const zero = new Uint8Array(32);
	const nonce = new Uint8Array(12);
	expect(toHex(seal(zero, nonce, none, none))).toBe("530f8afbc74536b9a963b4f1c4cb738b");
	expect(toHex(seal(zero, nonce, new Uint8Array(16), none))).toBe(
		"cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
	);
	const sealed = seal(
		fromHex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308"),
		fromHex("cafebabefacedbaddecaf888"),
		fromHex(
			"d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39",
		),
		fromHex("feedfacedeadbeeffeedfacedeadbeefabaddad2"),
	);
	expect(toHex(sealed)).toBe(
		"522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662" +
			"76fc6ece0f4e1768cddf8853bb2d551b",
	);
});

test("sealed data opens only whole, under its key, nonce and associated data", () => {
	fc.assert(
		fc.property(key, fc.uint8Array(), fc.uint8Array(), fc.nat(), (secret, plaintext, data, position) => {
			const nonce = randomBytes(12);
			const sealed = seal(secret, nonce, plaintext, data);
			expect(open(secret, nonce, sealed, data)).toEqual(plaintext);
			const refuse = (...attempt: Parameters<typeof open>) =>
				expect(() => open(...attempt)).toThrow(expect.objectContaining({ code: "crypto.not_authentic" }));
			const changed = Uint8Array.from(sealed);
			const at = position % changed.length;
			changed[at] = (changed[at] as number) ^ 0x80;
			refuse(secret, nonce, changed, data);
			refuse(secret, nonce, sealed.subarray(1), data);
			refuse(secret, nonce, sealed, Uint8Array.of(...data, 0));
			refuse(randomBytes(32), nonce, sealed, data);
			refuse(secret, randomBytes(12), sealed, data);
		}),
	);
	expect(() => seal(new Uint8Array(16), new Uint8Array(12), none, none)).toThrow(
		expect.objectContaining({ code: "crypto.bad_key" }),
	);
	expect(() => open(new Uint8Array(32), new Uint8Array(12), new Uint8Array(15), none)).toThrow(
		expect.objectContaining({ code: "crypto.not_authentic" }),
	);
});

test("the platform's AES-256-CTR is that of SP 800-38A F.5.5", () => {
	const cipher = createCipheriv(
		"aes-256-ctr",
		fromHex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"),
		fromHex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"),
	);
	expect(
		cipher
			.update(fromHex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"))
			.toString("hex"),
	).toBe("601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5");
});

test("the mask stream is AES-256(counter) from zero, as little-endian words", () => {
	// Blocks 0, 1 and 2 under the zero key: H, and the masks of GCM test cases 13 and 14.
	const blocks =
		"dc95c078a2408989ad48a21492842087" +
		"530f8afbc74536b9a963b4f1c4cb738b" +
		"cea7403d4d606b6e074ec5d3baf39d18";
	const accumulator = new Uint32Array(11);
	addMask(accumulator, new Uint8Array(32));
	expect(toHex(packRing(accumulator, 32))).toBe(blocks.slice(0, 88));
	expect(accumulator[0]).toBe(0x78c095dc);
});

test("masks cancel, and commute with reduction to a smaller modulus", () => {
	fc.assert(
		fc.property(words, key, modulus, (values, secret, bits) => {
			const masked = Uint32Array.from(values);
			addMask(masked, secret);
			const low = unpackRing(packRing(masked, bits), bits, masked.length);
			subtractMask(masked, secret);
			expect(masked).toEqual(values);
			subtractMask(low, secret);
			expect(toHex(packRing(low, bits))).toBe(toHex(packRing(values, bits)));
		}),
	);
});

test("masks of several keys cancel in every modulus; up to 16 bits a word holds two coordinates", () => {
	fc.assert(
		fc.property(
			words,
			fc.array(key, { maxLength: 3 }),
			fc.array(key, { maxLength: 3 }),
			modulus,
			(values, a, b, bits) => {
				const reduced = unpackRing(packRing(values, bits), bits, values.length);
				const masked = Uint32Array.from(reduced);
				applyMasks(masked, bits, a, b);
				const travelled = unpackRing(packRing(masked, bits), bits, masked.length);
				applyMasks(travelled, bits, b, a);
				expect(toHex(packRing(travelled, bits))).toBe(toHex(packRing(reduced, bits)));
				if (bits > 16 || a.length + b.length === 0) return;
				const stream = new Uint32Array(Math.ceil(values.length / 2));
				for (const one of a) addMask(stream, one);
				const plain = new Uint32Array(values.length);
				applyMasks(plain, bits, a.slice(0, 1), []);
				if (a.length !== 1) return;
				for (const [i, value] of plain.entries())
					expect(value).toBe(
						i % 2 === 0 ? (stream[i >> 1] as number) & 0xffff : (stream[i >> 1] as number) >>> 16,
					);
			},
		),
	);
	expect(() => applyMasks(new Uint32Array(4), 12, [new Uint8Array(16)], [])).toThrow(/mask key/);
});

test("a long mask is the same stream as a short one", () => {
	const secret = randomBytes(32);
	const [long, short] = [new Uint32Array(40_001), new Uint32Array(16_385)];
	addMask(long, secret);
	addMask(short, secret);
	expect(long.subarray(0, short.length)).toEqual(short);
	expect(new Set(long).size).toBeGreaterThan(39_900);
	expect(() => addMask(long, new Uint8Array(16))).toThrow(
		expect.objectContaining({ code: "crypto.bad_key" }),
	);
});

test("many masks on a vector of several chunks are what their streams say, in both kinds of lanes", () => {
	const keys = Array.from({ length: 131 }, () => randomBytes(32));
	const [add, subtract] = [keys.slice(0, 66), keys.slice(66)];
	for (const [bits, length] of [
		[16, 65_571],
		[13, 32_768],
		[32, 16_401],
	] as const) {
		const values = Uint32Array.from({ length }, (_, i) => (i * 2_654_435_761) % 2 ** bits);
		const masked = Uint32Array.from(values);
		applyMasks(masked, bits, add, subtract);
		const bytesEach = bits > 16 ? 4 : 2;
		const expected = Uint32Array.from(values);
		for (const [i, secret] of keys.entries()) {
			const stream = createCipheriv("aes-256-ctr", secret, Buffer.alloc(16)).update(
				Buffer.alloc(length * bytesEach),
			);
			for (let k = 0; k < length; k++) {
				const value = bytesEach === 4 ? stream.readUInt32LE(4 * k) : stream.readUInt16LE(2 * k);
				expected[k] = (expected[k] as number) + (i < add.length ? value : -value);
			}
		}
		expect(Buffer.compare(packRing(masked, bits), packRing(expected, bits))).toBe(0);
	}
});

test("packing round-trips the low bits and refuses other lengths", () => {
	fc.assert(
		fc.property(words, modulus, (values, bits) => {
			const packed = packRing(values, bits);
			expect(packed.length).toBe(Math.ceil((values.length * bits) / 8));
			expect(isPacked(packed, bits, values.length)).toBe(true);
			const asOneNumber = values.reduceRight(
				(number, value) => (number << BigInt(bits)) | BigInt.asUintN(bits, BigInt(value)),
				0n,
			);
			const littleEndian = toHex(packed.toReversed());
			expect(BigInt(`0x0${littleEndian}`)).toBe(asOneNumber);
			const low = values.map((value) => (bits === 32 ? value : value % 2 ** bits));
			expect(unpackRing(packed, bits, values.length)).toEqual(low);
			expect(() => unpackRing(packed, bits, values.length + 1)).toThrow(
				expect.objectContaining({ code: "crypto.bad_length" }),
			);
		}),
	);
	expect(toHex(packRing(Uint32Array.of(0x01020304), 24))).toBe("040302");
});

test("a vector has one encoding: bits behind the last value are refused", () => {
	const packed = packRing(Uint32Array.of(1, 2, 3), 13);
	expect(packed.length).toBe(5);
	packed[4] = (packed[4] as number) | 0x80;
	expect(isPacked(packed, 13, 3)).toBe(false);
	expect(() => unpackRing(packed, 13, 3)).toThrow(expect.objectContaining({ code: "crypto.bad_length" }));
});

test("projections equal their definition, coordinate by coordinate", () => {
	fc.assert(
		fc.property(words, key, modulus, (values, seed, bits) => {
			const stream = new Uint32Array(Math.ceil(values.length / 8) * 32);
			addMask(stream, seed);
			const bytes = packRing(stream, 32);
			const expected = Array.from({ length: PROJECTIONS }, (_, k) => {
				let sum = 0n;
				for (let i = 0; i < values.length; i++) {
					const chosen = ((bytes[Math.floor(i / 8) * PROJECTIONS + k] as number) >> (i % 8)) & 1;
					if (chosen === 1) sum += BigInt(values[i] as number);
				}
				return Number(sum % 2n ** BigInt(bits));
			});
			expect([...projectRing(seed, values, bits)]).toEqual(expected);
		}),
		{ numRuns: 40 },
	);
});

test("projections of a long vector are the same in every modulus, whatever adds them up", () => {
	const seed = randomBytes(32);
	for (const length of [4_096, 4_097, 12_345]) {
		const values = Uint32Array.from({ length }, (_, i) => (i * 2_654_435_761) % 2 ** 32);
		const wide = projectRing(seed, values, 32);
		for (const bits of [16, 11, 8])
			expect(projectRing(seed, values, bits)).toEqual(wide.map((value) => value % 2 ** bits));
	}
});

test("projections are linear, and a change of one value by half the modulus is seen", () => {
	const seed = randomBytes(32);
	const length = 5_000;
	const draw = () => unpackRing(randomBytes(length * 2), 16, length);
	const [a, b] = [draw(), draw()];
	const sum = a.map((value, i) => value + (b[i] as number));
	const [pa, pb, ps] = [a, b, sum].map((vector) => projectRing(seed, vector, 16)) as [
		Uint32Array,
		Uint32Array,
		Uint32Array,
	];
	expect(ps).toEqual(pa.map((value, k) => (value + (pb[k] as number)) & 0xffff));
	sum[4_999] = (sum[4_999] as number) + 0x8000;
	const differing = projectRing(seed, sum, 16).filter((value, k) => value !== ps[k]).length;
	// Binomial(128, 1/2); outside 20 to 108 has probability below 2^-40.
	expect(differing).toBeGreaterThan(20);
	expect(differing).toBeLessThan(108);
	expect(() => projectRing(new Uint8Array(16), a, 16)).toThrow(
		expect.objectContaining({ code: "crypto.bad_key" }),
	);
});
