import fc from "fast-check";
import { beforeEach, expect, test, vi } from "vitest";
import { toHex } from "../../crypto/encoding.ts";
import { double, evaluate, multiplyByPublic, weightsAtZero } from "../../crypto/gf256.ts";
import { hashFields } from "../../crypto/hash.ts";
import { randomBytes } from "../../crypto/random.ts";
import {
	type CommittedShare,
	checkPart,
	checkShare,
	checkUnsealed,
	committedShare,
	type DealtSharing,
	dealShares,
	openPart,
	reconstruct,
	SEALED_SHARE_BYTES,
	sharingTree,
} from "../../crypto/verifiableSharing.ts";

/** Calls into the field arithmetic with their public arguments, recorded beside the real work. */
const trace = vi.hoisted(() => [] as string[]);
vi.mock("../../crypto/gf256.ts", async (original) => {
	const real = await original<typeof import("../../crypto/gf256.ts")>();
	return {
		...real,
		double: (word: number) => {
			trace.push("double");
			return real.double(word);
		},
		multiplyByPublic: (word: number, publicElement: number) => {
			trace.push(`multiply ${publicElement}`);
			return real.multiplyByPublic(word, publicElement);
		},
		evaluate: (coefficients: Uint32Array, width: number, x: number) => {
			trace.push(`evaluate ${coefficients.length} ${width} ${x}`);
			return real.evaluate(coefficients, width, x);
		},
	};
});
beforeEach(() => void trace.splice(0));

test("polynomials are worth what Horner's rule says, sixteen at a time", () => {
	fc.assert(
		fc.property(
			fc.integer({ min: 1, max: 255 }),
			fc.constantFrom(4, 20, 32),
			fc.integer({ min: 1, max: 40 }),
			(x, width, rows) => {
				const coefficients = new Uint32Array(new Uint8Array(randomBytes(4 * width * rows)).buffer);
				const expected = new Uint32Array(width);
				for (let row = rows - 1; row >= 0; row--) {
					for (let w = 0; w < width; w++) {
						const product = multiplyByPublic(expected[w] as number, x);
						expected[w] = product ^ (coefficients[row * width + w] as number);
					}
				}
				expect(evaluate(coefficients, width, x)).toEqual(expected);
			},
		),
		{ numRuns: 200 },
	);
	for (const [words, width] of [
		[10, 5],
		[9, 4],
		[256 * 4, 4],
		[0, 4],
		[36, 36],
	] as const)
		expect(() => evaluate(new Uint32Array(words), width, 1)).toThrow(RangeError);
});

const context = new TextEncoder().encode("session and dealer");
const seedCommitment = new Uint8Array(32).fill(7);
/** Stands for encryption: what is sealed is told from the share by its first byte alone. */
const seal = (index: number, plain: Uint8Array) => Uint8Array.of(index, ...plain, ...new Uint8Array(15));
const sealedOf = ({ sealed }: DealtSharing, index: number) =>
	sealed.subarray((index - 1) * SEALED_SHARE_BYTES, index * SEALED_SHARE_BYTES);
const deal = (holders: number, threshold: number, secret = randomBytes(64)) => ({
	secret,
	holders,
	threshold,
	sharing: dealShares({ secret, holders, threshold, context, seedCommitment, random: randomBytes, seal }),
});
const check = (sharing: DealtSharing, threshold: number, position: number, changed: object = {}) =>
	checkShare({
		context,
		seedCommitment,
		root: sharing.root,
		response: sharing.response,
		threshold,
		holders: sharing.shares.length,
		...(sharing.shares[position] as DealtSharing["shares"][number]),
		...changed,
	});
const sizes = fc
	.integer({ min: 1, max: 24 })
	.chain((holders) => fc.tuple(fc.constant(holders), fc.integer({ min: 1, max: holders })));

/** FIPS 197 section 4.2: multiplication in the field by the textbook, bit by bit. */
function textbookProduct(a: number, b: number): number {
	let product = 0;
	for (let bit = 7; bit >= 0; bit--) {
		product <<= 1;
		if (product & 0x100) product ^= 0x11b;
		if ((b >> bit) & 1) product ^= a;
	}
	return product;
}

test("the field is that of FIPS 197: {57} x {83} = {c1}, {57} x {13} = {fe}, and the whole table", () => {
	expect(multiplyByPublic(0x57, 0x83)).toBe(0xc1);
	expect(multiplyByPublic(0x57, 0x13)).toBe(0xfe);
	for (let a = 0; a < 256; a++) {
		expect(double(a)).toBe(textbookProduct(a, 2));
		for (let b = 0; b < 256; b++) {
			const product = textbookProduct(a, b);
			if (multiplyByPublic(a, b) !== product) expect.fail(`${a} x ${b}`);
			const four = (a | (a << 8) | (a << 16) | (a << 24)) >>> 0;
			if (multiplyByPublic(four, b) >>> 0 !== Math.imul(product, 0x01010101) >>> 0)
				expect.fail(`word ${a} x ${b}`);
		}
	}
});

test("interpolation weights at zero of all 255 points", () => {
	const points = Array.from({ length: 255 }, (_, i) => i + 1);
	// The polynomial 1 and the polynomial x.
	const weights = weightsAtZero(points);
	expect(weights.reduce((sum, weight) => sum ^ weight, 0)).toBe(1);
	expect(weights.reduce((sum, weight, j) => sum ^ textbookProduct(weight, points[j] as number), 0)).toBe(0);
});

test("every honest share is accepted and any threshold of them reconstructs both secrets", () => {
	fc.assert(
		fc.property(sizes, fc.infiniteStream(fc.nat()), ([holders, threshold], draws) => {
			const { secret, sharing } = deal(holders, threshold);
			for (let i = 0; i < holders; i++) expect(check(sharing, threshold, i)).toBe(true);
			const chosen = [...sharing.shares]
				.map((share) => ({ share, order: draws.next().value as number }))
				.sort((a, b) => a.order - b.order)
				.map(({ share }) => share)
				.slice(0, threshold);
			expect(toHex(reconstruct(chosen, threshold, "seed"))).toBe(toHex(secret.subarray(0, 32)));
			expect(toHex(reconstruct(chosen, threshold, "maskKey"))).toBe(toHex(secret.subarray(32)));
		}),
		{ numRuns: 60 },
	);
});

test("255 holders, the most there can be", () => {
	const { secret, sharing } = deal(255, 128);
	for (const i of [0, 100, 254]) expect(check(sharing, 128, i)).toBe(true);
	expect(toHex(reconstruct(sharing.shares.slice(127), 128, "seed"))).toBe(toHex(secret.subarray(0, 32)));
});

test("one share fewer fits every secret: each byte has exactly one completing share", () => {
	const threshold = 3;
	const { sharing } = deal(5, threshold);
	const known = sharing.shares.slice(0, threshold - 1);
	// Trying all values of the missing share's first byte reaches all 256 values of the secret's.
	const reached = new Set<number>();
	for (let guess = 0; guess < 256; guess++) {
		const share = new Uint8Array(80);
		share[0] = guess;
		reached.add(reconstruct([...known, { index: 3, share }], threshold, "seed")[0] as number);
	}
	expect(reached.size).toBe(256);
});

test("too few, repeated or malformed shares do not reconstruct", () => {
	const { sharing } = deal(5, 3);
	const [first, second] = sharing.shares as [DealtSharing["shares"][number], DealtSharing["shares"][number]];
	const code = (expected: string) => expect.objectContaining({ code: expected });
	expect(() => reconstruct([first, second, second], 3, "seed")).toThrow(code("sharing.too_few_shares"));
	expect(() => reconstruct([first, { index: 0, share: second.share }], 2, "seed")).toThrow(
		code("sharing.bad_parameters"),
	);
	expect(() => reconstruct([first, { index: 2, share: new Uint8Array(79) }], 2, "seed")).toThrow(
		code("sharing.bad_parameters"),
	);
});

test.each([
	[0, 1],
	[256, 2],
	[3, 4],
	[3, 0],
	[3, 1.5],
])("refuses to share among %s holders with threshold %s", (holders, threshold) => {
	expect(() => deal(holders, threshold)).toThrow(expect.objectContaining({ code: "sharing.bad_parameters" }));
});

test("a secret of a wrong length is refused", () => {
	expect(() => deal(3, 2, randomBytes(63))).toThrow(
		expect.objectContaining({ code: "sharing.bad_parameters" }),
	);
});

test("a share changed in any part, or shown in another place, is caught", () => {
	const { sharing } = deal(7, 4);
	const honest = sharing.shares[2] as DealtSharing["shares"][number];
	for (let i = 0; i < 80; i++) {
		const share = Uint8Array.from(honest.share);
		share[i] = (share[i] as number) ^ 1;
		expect(check(sharing, 4, 2, { share })).toBe(false);
	}
	for (let i = 0; i < 48; i++) {
		const salt = Uint8Array.from(honest.salt);
		salt[i] = (salt[i] as number) ^ 1;
		expect(check(sharing, 4, 2, { salt })).toBe(false);
	}
	expect(check(sharing, 4, 2, { salt: honest.salt.subarray(1) })).toBe(false);
	expect(check(sharing, 4, 2, { index: 4 })).toBe(false);
	expect(check(sharing, 4, 2, { index: 0 })).toBe(false);
	expect(check(sharing, 4, 2, { index: 8 })).toBe(false);
	expect(check(sharing, 4, 2, { proof: honest.proof.slice(32) })).toBe(false);
	expect(check(sharing, 4, 2, { context: Uint8Array.of(1) })).toBe(false);
	expect(check(sharing, 4, 2, { seedCommitment: Uint8Array.of(1) })).toBe(false);
	expect(check(sharing, 4, 2, { share: new Uint8Array(0) })).toBe(false);
});

test("the path of a sealed share tells which share its dealer committed to", () => {
	fc.assert(
		fc.property(sizes, fc.nat(), ([holders, threshold], pick) => {
			const { sharing } = deal(holders, threshold);
			const index = 1 + (pick % holders);
			const { root } = sharing;
			const sealed = sealedOf(sharing, index);
			const path = sharingTree(sharing.leaves, sharing.sealed).proof(2 * index - 1);
			const committed = committedShare(root, holders, index, sealed, path) as CommittedShare;
			const { proof, ...share } = sharing.shares[index - 1] as DealtSharing["shares"][number];
			expect(committed.proof).toEqual(proof);
			const claim = { context, seedCommitment, root, response: sharing.response, threshold, holders };
			expect(checkUnsealed({ ...claim, ...share, committed })).toBe(true);
			expect(checkUnsealed({ ...claim, ...share, salt: randomBytes(48), committed })).toBe(false);
			expect(checkUnsealed({ ...claim, ...share, share: randomBytes(80), committed })).toBe(false);
			expect(checkUnsealed({ ...claim, ...share, response: randomBytes(16 * threshold), committed })).toBe(
				false,
			);
			// Whoever passes it on changes nothing, neither the share nor what the path says of it.
			const changed = sealed.map((byte, i) => (i === 7 ? byte ^ 1 : byte));
			expect(committedShare(root, holders, index, changed, path)).toBeUndefined();
			const otherPath = path.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
			expect(committedShare(root, holders, index, sealed, otherPath)).toBeUndefined();
			expect(committedShare(root, holders, index, sealed, path.subarray(32))).toBeUndefined();
			expect(committedShare(root, holders, index, sealed, new Uint8Array())).toBeUndefined();
			expect(committedShare(root, holders, index + 1, sealed, path)).toBeUndefined();
			expect(committedShare(root, holders, 0, sealed, path)).toBeUndefined();
		}),
		{ numRuns: 40 },
	);
});

test("a holder that gets no share has zeros in its place, which are bound like the others", () => {
	const sharing = dealShares({
		secret: randomBytes(64),
		holders: 4,
		threshold: 2,
		context,
		seedCommitment,
		random: randomBytes,
		seal: (index, plain) => (index === 3 ? new Uint8Array() : seal(index, plain)),
	});
	expect(sealedOf(sharing, 3)).toEqual(new Uint8Array(SEALED_SHARE_BYTES));
	expect(sharingTree(sharing.leaves, sharing.sealed).root).toEqual(sharing.root);
	for (let i = 0; i < 4; i++) expect(check(sharing, 2, i)).toBe(true);
});

test("a changed response, or one of another degree, is caught", () => {
	const { sharing } = deal(7, 4);
	for (let i = 0; i < sharing.response.length; i++) {
		const response = Uint8Array.from(sharing.response);
		response[i] = (response[i] as number) ^ 1;
		expect(check(sharing, 4, 2, { response })).toBe(false);
	}
	expect(check(sharing, 5, 2)).toBe(false);
	expect(check(sharing, 4, 2, { response: Uint8Array.of(...sharing.response, ...new Uint8Array(16)) })).toBe(
		false,
	);
});

test("a dealer that uses polynomials of too high a degree convinces no holder", () => {
	// Deals with threshold 5 and claims 4, with the response cut to the claimed size.
	const { sharing } = deal(7, 5);
	const response = sharing.response.slice(0, 4 * 16);
	for (let i = 0; i < 7; i++) {
		expect(check(sharing, 4, i, { response })).toBe(false);
	}
});

test("a dealer that gives some holders shares of another polynomial is caught by exactly those", () => {
	// f = low + vanishing, where low has degree 2 and vanishing is zero at holders 1 to 4 only;
	// both are committed under one root, and the response is the one that fits low.
	let vanishing = [1];
	for (const root of [1, 2, 3, 4]) {
		vanishing = [0, ...vanishing].map((c, i) => c ^ textbookProduct(vanishing[i] ?? 0, root));
	}
	const coefficients = randomBytes(5 * 80);
	coefficients.fill(0, 3 * 80);
	for (let row = 0; row < 5; row++) {
		coefficients[row * 80] = (coefficients[row * 80] as number) ^ (vanishing[row] as number);
	}
	const sharing = dealShares({
		secret: coefficients.slice(0, 64),
		holders: 6,
		threshold: 5,
		context,
		seedCommitment,
		random: (length) => (length === coefficients.length ? coefficients : randomBytes(length)),
		seal,
	});
	const response = sharing.response.slice(0, 3 * 16);
	for (let i = 0; i < 16; i++) {
		const challenge = sharing.response[4 * 16 + i] as number;
		for (let row = 0; row < 3; row++) {
			const part = textbookProduct(challenge, vanishing[row] as number);
			response[row * 16 + i] = (response[row * 16 + i] as number) ^ part;
		}
	}
	const accepted = [0, 1, 2, 3, 4, 5].map((i) => check(sharing, 3, i, { response }));
	expect(accepted).toEqual([true, true, true, true, false, false]);
});

test("an opened part proves itself and leaves the rest hidden", () => {
	const { sharing, secret } = deal(5, 3);
	const claim = { context, root: sharing.root, holders: 5 };
	for (const part of ["seed", "maskKey"] as const) {
		const opened = sharing.shares.slice(1, 4).map((share) => openPart(context, share, part));
		for (const one of opened) {
			expect(checkPart({ ...claim, part, opened: one })).toBe(true);
			expect(checkPart({ ...claim, part: part === "seed" ? "maskKey" : "seed", opened: one })).toBe(false);
			expect(checkPart({ ...claim, part, opened: { ...one, value: randomBytes(32) } })).toBe(false);
			expect(checkPart({ ...claim, part, opened: { ...one, index: one.index + 1 } })).toBe(false);
			expect(checkPart({ ...claim, part, opened: { ...one, partSalt: randomBytes(16) } })).toBe(false);
			expect(checkPart({ ...claim, part, opened: { ...one, others: [one.others[1], one.others[0]] } })).toBe(
				false,
			);
		}
		const shares = opened.map(({ index, value }) => ({ index, share: value }));
		expect(toHex(reconstruct(shares, 3, part))).toBe(
			toHex(part === "seed" ? secret.subarray(0, 32) : secret.subarray(32)),
		);
	}
});

test("the sequence of field operations does not depend on secrets", () => {
	const traceOf = (work: () => void) => {
		trace.splice(0);
		work();
		return toHex(hashFields("trace", trace.length, trace.join("\n")));
	};
	const fixedSecrets = [new Uint8Array(64), new Uint8Array(64).fill(255), randomBytes(64), randomBytes(64)];
	const dealing = fixedSecrets.map((secret) => traceOf(() => deal(6, 3, secret)));
	expect(new Set(dealing).size).toBe(1);
	const sharings = fixedSecrets.map((secret) => deal(6, 3, secret).sharing);
	expect(new Set(sharings.map((sharing) => traceOf(() => check(sharing, 3, 4)))).size).toBe(1);
	const reconstructing = sharings.map((sharing) =>
		traceOf(() => reconstruct(sharing.shares.slice(2), 3, "maskKey")),
	);
	expect(new Set(reconstructing).size).toBe(1);
	// The trace does see what is public: other points give another sequence.
	expect(traceOf(() => reconstruct((sharings[0] as DealtSharing).shares, 3, "maskKey"))).not.toBe(
		reconstructing[0],
	);
});
