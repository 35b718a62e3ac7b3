import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { decodeFrame, encodeFrame, FRAME, FrameCutter } from "../../../node/network/libp2p/frames.ts";
import { encodeHello, type Hello, readHello } from "../../../node/network/libp2p/hello.ts";
import { PermitPool } from "../../../node/network/libp2p/permits.ts";
import { Redialer } from "../../../node/network/libp2p/redial.ts";
import { TokenBucket } from "../../../node/network/libp2p/tokenBucket.ts";

describe("frames", () => {
	it("come out as they went in, however the stream is cut", () => {
		const frame = fc.record({
			id: fc.integer({ min: 0, max: 0xffffffff }),
			name: fc.constantFrom("", "job/7", "a".repeat(200)),
			transfer: fc.uint8Array({ minLength: 16, maxLength: 16 }).map(toHex),
			body: fc.uint8Array({ maxLength: 300 }),
		});
		fc.assert(
			fc.property(
				fc.array(frame, { minLength: 1, maxLength: 8 }),
				fc.integer({ min: 1, max: 97 }),
				(frames, cut) => {
					const wire = Buffer.concat(frames.map((fields) => encodeFrame(FRAME.message, fields.id, fields)));
					const cutter = new FrameCutter(1_000);
					const out: unknown[] = [];
					for (let at = 0; at < wire.length; at += cut) {
						cutter.push(wire.subarray(at, at + cut), (bytes) => {
							const { id, name, transfer, body } = decodeFrame(bytes);
							out.push({ id, name, transfer, body: Uint8Array.from(body) });
							return true;
						});
					}
					expect(out).toEqual(frames.map((fields) => ({ ...fields, body: Uint8Array.from(fields.body) })));
				},
			),
		);
	});

	it("are decoded or refused as malformed, whatever the bytes", () => {
		fc.assert(
			fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
				try {
					expect(decodeFrame(bytes).body.length).toBeLessThanOrEqual(bytes.length);
				} catch (error) {
					expect((error as { code: string }).code).toBe("network.malformed");
				}
			}),
		);
	});

	it("are refused by their announced length", () => {
		const cutter = new FrameCutter(10);
		expect(() => cutter.push(new Uint8Array([0, 0, 0, 11]), () => true)).toThrow(/at most 10/);
	});
});

describe("hello", () => {
	const ours: Hello = {
		protocolVersion: 2,
		softwareVersion: "1.2.3",
		federation: "abc",
		charterVersion: 4,
		messagesPerSecond: 100,
		maxBlobBytes: 1000,
	};
	const code = (theirs: Partial<Hello>): string => {
		try {
			return readHello(encodeHello({ ...ours, ...theirs }), ours).federation;
		} catch (error) {
			return `${(error as { code: string }).code}: ${(error as Error).message}`;
		}
	};

	it("passes between equals and tells the older side otherwise", () => {
		expect(code({})).toBe("abc");
		expect(code({ protocolVersion: 1 })).toMatch(/^network.version_mismatch.*the peer is older/);
		expect(code({ protocolVersion: 3 })).toMatch(/^network.version_mismatch.*this node is older/);
		expect(code({ federation: "other" })).toMatch(/^network.other_federation/);
		expect(code({ charterVersion: -1 })).toMatch(/^network.malformed/);
	});
});

describe("token bucket", () => {
	it("lets the burst through, then the rate", () => {
		const bucket = new TokenBucket(10, 5, 0);
		expect([1, 2, 3, 4, 5, 6].map(() => bucket.take(1, 0))).toEqual([true, true, true, true, true, false]);
		expect(bucket.take(1, 99)).toBe(false);
		expect(bucket.take(1, 200)).toBe(true);
	});

	it("tells how long to wait for what it lends", () => {
		const bucket = new TokenBucket(10, 1, 0);
		expect([bucket.reserve(1, 0), bucket.reserve(1, 0), bucket.reserve(1, 0)]).toEqual([0, 100, 200]);
	});
});

describe("permits", () => {
	it("never exceed the total nor a key's share, and all come back", async () => {
		await fc.assert(
			fc.asyncProperty(fc.array(fc.constantFrom("p", "q", "r"), { maxLength: 30 }), async (keys) => {
				const pool = new PermitPool(3, 2);
				const held = new Map<string, number>();
				await Promise.all(
					keys.map(async (key) => {
						const permit = await pool.acquire(key, AbortSignal.timeout(5_000));
						held.set(key, (held.get(key) ?? 0) + 1);
						expect(held.get(key)).toBeLessThanOrEqual(2);
						expect(pool.taken).toBeLessThanOrEqual(3);
						await Promise.resolve();
						held.set(key, (held.get(key) ?? 0) - 1);
						permit.release();
						permit.release();
					}),
				);
				expect(pool.taken).toBe(0);
			}),
		);
	});

	it("are not given to one that has stopped waiting", async () => {
		const pool = new PermitPool(1, 1);
		const first = await pool.acquire("p", AbortSignal.timeout(5_000));
		const abort = new AbortController();
		const second = pool.acquire("q", abort.signal);
		abort.abort(new Error("no longer"));
		await expect(second).rejects.toThrow("no longer");
		first.release();
		expect(pool.taken).toBe(0);
	});
});

describe("redial", () => {
	it("goes on after more failures than libp2p's five, and stops when told", async () => {
		let attempts = 0;
		let linked = false;
		const redialer = await new Promise<Redialer>((resolve) => {
			const made: Redialer = new Redialer({
				self: "a",
				capMs: 5,
				isLinked: () => linked,
				connect: async () => {
					attempts += 1;
					if (attempts < 12) throw new Error("refused");
					linked = true;
					setImmediate(() => resolve(made));
				},
			});
			made.want(["a", "b"]);
		});
		expect(attempts).toBe(12);
		expect(redialer.missing()).toEqual([]);
		expect(redialer.failing("b")).toBe(false);
		redialer.stop();
		linked = false;
		redialer.poke("b");
		await new Promise((resolve) => setTimeout(resolve, 30));
		expect(attempts).toBe(12);
	});
});
