import { describe, expect, it } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import {
	MAX_ANNOUNCEMENT_BYTES,
	MAX_MESSAGE_BYTES,
	type Network,
	type Packet,
} from "../../../node/network/port.ts";
import { bytes, connected, lost, peerOf, string, type TestMembership } from "./fixtures.ts";

/** Three members, A, B and C, linked, and one node M that may be anything. */
export interface ContractWorld {
	readonly a: Network;
	readonly b: Network;
	readonly c: Network;
	readonly memberships: {
		readonly a: TestMembership;
		readonly b: TestMembership;
		readonly c: TestMembership;
	};
	/** Starts a node that counts A, B and C as members and knows A's address. */
	joinAsOutsider(name: string): Promise<Network>;
	/** Takes C away as a crash would, and brings it back under its identity. */
	crashC(): Promise<void>;
	restartC(): Promise<Network>;
}

export const MAX_BLOB_BYTES = 8 * 1024 * 1024;

/** Bytes that repeat only after 251 positions, so that a slice in the wrong place shows. */
export function pattern(length: number, seed = 0): Uint8Array {
	const result = new Uint8Array(length);
	for (let at = 0; at < length; at += 1) result[at] = (at * 7 + (at >> 8) + seed) % 251;
	return result;
}

export async function codeOf(promise: Promise<unknown>): Promise<string> {
	try {
		await promise;
	} catch (error) {
		if (error instanceof AlthingError) return error.code;
		throw error;
	}
	return "no error";
}

function received(
	network: Network,
	prefix: string,
	count: number,
): Promise<{ channel: string; packet: Packet }[]> {
	const messages: { channel: string; packet: Packet }[] = [];
	return new Promise((resolve) => {
		network.onMessage(prefix, (_, channel, packet) => {
			messages.push({ channel, packet });
			if (messages.length === count) resolve(messages);
		});
	});
}

/** What every implementation of the port promises. */
export function networkContract(name: string, create: () => Promise<ContractWorld>): void {
	describe(`network contract: ${name}`, () => {
		it("delivers messages of one channel in order, payloads among them", async () => {
			const { a, b } = await create();
			const arrived = received(b, "order/", 30);
			const sends = Array.from({ length: 30 }, (_, index) =>
				a.send(b.self, "order/one", {
					body: bytes(String(index)),
					...(index % 7 === 0 ? { blob: pattern(200_000 - index * 1000, index) } : {}),
				}),
			);
			await Promise.all(sends);
			const messages = await arrived;
			expect(messages.map(({ packet }) => string(packet.body))).toEqual(
				Array.from({ length: 30 }, (_, index) => String(index)),
			);
			expect(messages[14]?.packet.blob).toEqual(pattern(186_000, 14));
		});

		it("resolves a send only after the handler was called", async () => {
			const { a, b } = await create();
			let calls = 0;
			b.onMessage("count", () => {
				calls += 1;
			});
			await a.send(b.self, "count", { body: bytes("x") });
			expect(calls).toBe(1);
		});

		it("gives a channel to the handler with the longest prefix", async () => {
			const { a, b } = await create();
			const calls: string[] = [];
			b.onMessage("job/", () => void calls.push("short"));
			const remove = b.onMessage("job/7/", () => void calls.push("long"));
			await a.send(b.self, "job/7/vote", { body: bytes("") });
			remove();
			await a.send(b.self, "job/7/vote", { body: bytes("") });
			expect(calls).toEqual(["long", "short"]);
		});

		it("refuses a message nobody listens for", async () => {
			const { a, b } = await create();
			expect(await codeOf(a.send(b.self, "nobody/home", { body: bytes("x") }))).toBe("network.refused");
		});

		it("acknowledges a message whose handler fails, and goes on", async () => {
			const { a, b } = await create();
			let calls = 0;
			b.onMessage("bad", async () => {
				calls += 1;
				throw new Error("rejecting handler");
			});
			b.onMessage("worse", () => {
				calls += 1;
				throw new Error("throwing handler");
			});
			await a.send(b.self, "bad", { body: bytes("x") });
			await a.send(b.self, "worse", { body: bytes("x") });
			expect(calls).toBe(2);
		});

		it("tells the sender of a message that the handler has no room for, and goes on", async () => {
			const { a, b } = await create();
			let room = false;
			const taken: string[] = [];
			b.onMessage("full", (_, channel) => {
				if (!room) throw new AlthingError("network.busy", "no room");
				taken.push(channel);
			});
			expect(await codeOf(a.send(b.self, "full/one", { body: bytes("x") }))).toBe("network.busy");
			room = true;
			await a.send(b.self, "full/two", { body: bytes("x") });
			expect(taken).toEqual(["full/two"]);
		});

		it("carries payloads whole both ways", async () => {
			const { a, b } = await create();
			const blob = pattern(5_000_000);
			b.onRequest("reverse", (_, packet) => ({ body: packet.body, blob: packet.blob?.slice().reverse() }));
			const answer = await a.request(b.self, "reverse", { body: bytes("r"), blob });
			expect(answer.blob?.length).toBe(blob.length);
			expect(Buffer.compare(answer.blob as Uint8Array, blob.slice().reverse())).toBe(0);
		});

		it("refuses what is too large before anything is sent", async () => {
			const { a, b } = await create();
			const body = new Uint8Array(MAX_MESSAGE_BYTES + 1);
			const blob = new Uint8Array(MAX_BLOB_BYTES + 1);
			const announcement = new Uint8Array(MAX_ANNOUNCEMENT_BYTES + 1);
			expect(await codeOf(a.send(b.self, "big", { body }))).toBe("network.too_large");
			expect(await codeOf(a.request(b.self, "big", { body: bytes("x"), blob }))).toBe("network.too_large");
			expect(await codeOf(a.announce("big", announcement))).toBe("network.too_large");
		});

		it("carries the largest body there may be", async () => {
			const { a, b } = await create();
			b.onRequest("echo", (_, packet) => packet);
			const body = pattern(MAX_MESSAGE_BYTES);
			expect(Buffer.compare((await a.request(b.self, "echo", { body })).body, body)).toBe(0);
		});

		it("reports an error of the remote handler, its own words only if it is an AlthingError", async () => {
			const { a, b } = await create();
			b.onRequest("secret", () => {
				throw new Error("database password 12345");
			});
			b.onRequest("clear", () => {
				throw new AlthingError("job.unknown", "There is no job 7.");
			});
			const secret = await a.request(b.self, "secret", { body: bytes("") }).catch((error) => error);
			expect(secret.code).toBe("network.remote_error");
			expect(secret.message).not.toContain("12345");
			const clear = await a.request(b.self, "clear", { body: bytes("") }).catch((error) => error);
			expect(clear.code).toBe("network.remote_error");
			expect(clear.facts.remoteCode).toBe("job.unknown");
			expect(clear.message).toContain("There is no job 7.");
		});

		it("refuses an unknown method, a bad name, and times out a silent one", async () => {
			const { a, b } = await create();
			b.onRequest("silent", () => new Promise<Packet>(() => {}));
			expect(await codeOf(a.request(b.self, "unknown", { body: bytes("") }))).toBe("network.refused");
			expect(await codeOf(a.request(b.self, "not a name", { body: bytes("") }))).toBe("network.bad_name");
			expect(await codeOf(a.request(b.self, "silent", { body: bytes("") }, { timeoutMs: 50 }))).toBe(
				"network.timeout",
			);
		});

		it("gives a request up when its signal aborts", async () => {
			const { a, b } = await create();
			const abort = new AbortController();
			b.onRequest("slow", () => {
				abort.abort(new AlthingError("test.aborted", "aborted by the test"));
				return new Promise<Packet>(() => {});
			});
			expect(await codeOf(a.request(b.self, "slow", { body: bytes("") }, { signal: abort.signal }))).toBe(
				"test.aborted",
			);
		});

		it("finds unknown peers unreachable and sends nothing to non-members", async () => {
			const { a, memberships } = await create();
			expect(await codeOf(a.send(peerOf("nobody"), "x", { body: bytes("") }))).toBe("network.refused");
			memberships.a.set("nobody", "member");
			expect(await codeOf(a.send(peerOf("nobody"), "x", { body: bytes("") }))).toBe("network.unreachable");
			expect(await codeOf(a.request(peerOf("nobody"), "x", { body: bytes("") }))).toBe("network.unreachable");
		});

		it("serves strangers nothing, candidates what is open to them, members everything", async () => {
			const { a, memberships, joinAsOutsider } = await create();
			const seen: string[] = [];
			a.onRequest("join", (from) => ({ body: bytes(`welcome ${from}`) }), { open: "candidates" });
			a.onRequest("inner", () => ({ body: bytes("inside") }));
			a.onMessage("talk", (from) => void seen.push(from));
			memberships.a.set("m", "stranger");
			const m = await joinAsOutsider("m");
			expect(await codeOf(m.request(a.self, "join", { body: bytes("") }))).toBe("network.refused");
			memberships.a.set("m", "candidate");
			// M may have been turned away by a dial of its own just before: it is back when the next one succeeds.
			const welcome = await onceReachable(() => m.request(a.self, "join", { body: bytes("") }));
			expect(string(welcome.body)).toBe(`welcome ${m.self}`);
			expect(await codeOf(m.request(a.self, "inner", { body: bytes("") }))).toBe("network.refused");
			expect(await codeOf(m.send(a.self, "talk", { body: bytes("") }))).toBe("network.refused");
			expect(seen).toEqual([]);
			memberships.a.set("m", "member");
			expect(string((await m.request(a.self, "inner", { body: bytes("") })).body)).toBe("inside");
			await m.send(a.self, "talk", { body: bytes("") });
			expect(seen).toEqual([m.self]);
		});

		it("stops serving a member that is expelled", async () => {
			const { a, b, memberships } = await create();
			a.onRequest("inner", () => ({ body: bytes("inside") }));
			await b.request(a.self, "inner", { body: bytes("") });
			const gone = lost(a, b.self);
			memberships.a.set("b", "stranger");
			await gone;
			expect(["network.refused", "network.unreachable"]).toContain(
				await codeOf(b.request(a.self, "inner", { body: bytes("") })),
			);
		});

		it("announces to every member that listens, once each, and not to itself", async () => {
			const { a, b, c } = await create();
			const heard: string[] = [];
			const done = new Promise<void>((resolve) => {
				for (const [name, node] of Object.entries({ a, b, c })) {
					node.onAnnouncement("news/today", (from, body) => {
						heard.push(`${name} ${from === a.self} ${string(body)}`);
						if (heard.filter((line) => line.endsWith("last")).length >= 2) resolve();
					});
				}
			});
			await listening(a, "news/today", [b, c]);
			await a.announce("news/today", bytes("first"));
			await a.announce("news/today", bytes("last"));
			await done;
			expect(heard.sort()).toEqual(["b true first", "b true last", "c true first", "c true last"]);
		});

		it("loses a crashed peer and links it again when it is back", async () => {
			const { a, c, crashC, restartC } = await create();
			const gone = lost(a, c.self);
			await crashC();
			await gone;
			expect(await codeOf(a.request(c.self, "echo", { body: bytes("") }))).toBe("network.unreachable");
			const again = await restartC();
			again.onRequest("echo", (_, packet) => packet);
			await connected(a, [c.self]);
			expect(string((await a.request(c.self, "echo", { body: bytes("again") })).body)).toBe("again");
		});

		it("rejects what a crash leaves unanswered", async () => {
			const { a, c, crashC } = await create();
			const reached = new Promise<void>((resolve) => {
				c.onRequest("hang", () => {
					resolve();
					return new Promise<Packet>(() => {});
				});
			});
			const answer = codeOf(a.request(c.self, "hang", { body: bytes("") }, { timeoutMs: 8_000 }));
			await reached;
			await crashC();
			expect(["network.unreachable", "network.timeout"]).toContain(await answer);
		});

		it("counts bytes and answers for every peer", async () => {
			const { a, b } = await create();
			b.onRequest("echo", (_, packet) => packet);
			await a.request(b.self, "echo", { body: bytes("x"), blob: pattern(100_000) });
			const state = a.peers().find((peer) => peer.peer === b.self);
			expect(state?.connected).toBe(true);
			expect(state?.bytesOut).toBeGreaterThanOrEqual(100_000);
			expect(state?.bytesIn).toBeGreaterThanOrEqual(100_000);
			expect(state?.lastSeenMs).toBeGreaterThanOrEqual(0);
		});
	});
}

/**
 * Waits until announcements of `a` arrive at all of `others`: subscriptions travel by
 * gossip themselves, so the first announcements after a start may pass by.
 */
async function listening(a: Network, topic: string, others: readonly Network[]): Promise<void> {
	const probe = `${topic}/probe`;
	const missing = new Set(others);
	await new Promise<void>((resolve, reject) => {
		for (const node of others) {
			node.onAnnouncement(probe, () => {
				missing.delete(node);
				if (missing.size > 0) return;
				clearInterval(timer);
				resolve();
			});
		}
		let tries = 0;
		const timer = setInterval(() => {
			tries += 1;
			if (tries > 100) {
				clearInterval(timer);
				reject(new Error("announcements never arrived"));
			}
			a.announce(probe, bytes(String(tries))).catch(reject);
		}, 50);
	});
}

/** Asks again while the peer cannot be reached; bounded, and at once where it can. */
async function onceReachable(ask: () => Promise<Packet>): Promise<Packet> {
	for (let attempt = 0; ; attempt++) {
		try {
			return await ask();
		} catch (error) {
			if (attempt === 100 || (error as AlthingError).code !== "network.unreachable") throw error;
			await new Promise((resolve) => setTimeout(resolve, 50));
		}
	}
}
