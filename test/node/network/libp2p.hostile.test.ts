import type { Stream } from "@libp2p/interface";
import { multiaddr } from "@multiformats/multiaddr";
import { expect, it } from "vitest";
import { sha256 } from "../../../crypto/hash.ts";
import { encodeFrame, FRAME } from "../../../node/network/libp2p/frames.ts";
import { encodeHello, type Hello, PROTOCOL_VERSION } from "../../../node/network/libp2p/hello.ts";
import { federationNames } from "../../../node/network/libp2p/names.ts";
import { encodeHeader, encodeOffer, readAnswer } from "../../../node/network/libp2p/payloadFormat.ts";
import { Wire } from "../../../node/network/libp2p/wire.ts";
import { codeOf, pattern } from "./contract.ts";
import {
	bytes,
	connected,
	FEDERATION,
	peerOf,
	rogueStream,
	startLinked,
	startNode,
	startRogue,
	string,
	TestMembership,
	until,
} from "./fixtures.ts";

const names = federationNames(FEDERATION, "test");

const hello: Hello = {
	protocolVersion: PROTOCOL_VERSION,
	softwareVersion: "rogue",
	federation: names.tag,
	charterVersion: 1,
	messagesPerSecond: 1000,
	maxBlobBytes: 1000,
};

const helloFrame = (change: Partial<Hello> = {}): Uint8Array =>
	encodeFrame(FRAME.hello, 0, { body: encodeHello({ ...hello, ...change }) });

/** The first frame that comes back, without its length. */
function firstFrame(stream: Stream, send: Uint8Array): Promise<Uint8Array> {
	return new Promise((resolve, reject) => {
		const wire = new Wire(stream, 2_000_000, {
			onFrame: resolve,
			onEnd: (error) => reject(error ?? new Error("ended")),
		});
		wire.write(send).catch(reject);
	});
}

it("gives a stranger the DHT's records and nothing else", async () => {
	const [a] = await startLinked(["a", "b"]);
	if (a === undefined) throw new Error("no node");
	a.onRequest("inner", () => ({ body: bytes("inside") }));
	a.onAnnouncement("news", () => {});
	const stranger = await startNode("m", new TestMembership(["a", "b"]), { bootstrap: a.addresses() });
	expect(await codeOf(stranger.request(a.self, "inner", { body: bytes("") }))).toBe("network.refused");
	let found: string[] = [];
	for (let tries = 0; tries < 20 && found.length < 2; tries += 1) {
		found = (await stranger.discover()).map(({ peer }) => peer);
	}
	expect(found.sort()).toEqual([peerOf("a"), peerOf("b")].sort());

	const rogue = await startRogue("n");
	const connection = await rogue.dial(multiaddr(a.addresses()[0] as string));
	const gossip = await connection.newStream("/meshsub/1.2.0");
	await until(() => gossip.status !== "open", "the gossip stream is reset");
	const payload = await connection.newStream(names.payload);
	const offer = encodeOffer({
		transfer: new Uint8Array(16),
		length: 10,
		sha256: new Uint8Array(32),
		replyTo: 0,
	});
	const answer = readAnswer(await firstFrame(payload, offer));
	expect(answer).toMatchObject({ kind: "refused", code: "network.refused" });
	expect(a.status().payloadPermitsTaken).toBe(0);
});

it("does not complete the handshake with another federation", async () => {
	const a = await startNode("a", new TestMembership(["a", "b"]));
	const other = await startRogue("b", "ab".repeat(32));
	await expect(other.dial(multiaddr(a.addresses()[0] as string))).rejects.toThrow();
	expect(a.status().strangers).toBe(0);
	const same = await startRogue("n");
	await same.dial(multiaddr(a.addresses()[0] as string));
});

it("names the older side of a version mismatch", async () => {
	const a = await startNode("a", new TestMembership(["a", "b"]));
	const older = await rogueStream(await startRogue("b"), a, names.control);
	const refusal = string(await firstFrame(older, helloFrame({ protocolVersion: PROTOCOL_VERSION - 1 })));
	expect(refusal).toContain("network.version_mismatch");
	expect(refusal).toContain("this node is older");
});

it("cuts off a member that announces a frame above the limit, allocating nothing for it", async () => {
	const a = await startNode("a", new TestMembership(["a", "b"]));
	const stream = await rogueStream(await startRogue("b"), a, names.control);
	const prefix = new Uint8Array(4);
	new DataView(prefix.buffer).setUint32(0, 0xfffffff0);
	stream.send(prefix);
	await until(() => stream.status !== "open", "the stream is reset");
	await until(() => a.status().faults === 1, "the fault is counted");
});

it("survives garbage in every place a frame may stand", async () => {
	const membership = new TestMembership(["a", "c", "rogue 0", "rogue 1", "rogue 2", "rogue 3"]);
	const a = await startNode("a", membership);
	const c = await startNode("c", new TestMembership(["a", "c"]), { bootstrap: a.addresses() });
	a.onRequest("echo", (_, packet) => packet);
	const garbage = [
		encodeFrame(FRAME.ping, 1),
		new Uint8Array([0, 0, 0, 1, 99]),
		new Uint8Array([0, 0, 0, 7, 4, 0, 0, 0, 0, 255, 255]),
		encodeFrame(FRAME.hello, 0, { body: pattern(100) }),
	];
	for (const [index, frame] of garbage.entries()) {
		const stream = await rogueStream(await startRogue(`rogue ${index}`), a, names.control);
		stream.send(frame);
		await until(
			() => stream.status !== "open" || stream.remoteWriteStatus !== "writable",
			`cut after ${index}`,
		);
	}
	expect(string((await c.request(a.self, "echo", { body: bytes("still here") })).body)).toBe("still here");
});

it("cuts off a flood of messages, bans the peer and serves the others", async () => {
	const members = new TestMembership(["a", "b", "c"]);
	const a = await startNode("a", members, { limits: { messagesPerSecond: 50, banMs: 60_000 } });
	const c = await startNode("c", new TestMembership(["a", "c"]), { bootstrap: a.addresses() });
	await connected(c, [a.self]);
	a.onRequest("echo", (_, packet) => packet);
	const rogue = await startRogue("b");
	const stream = await rogueStream(rogue, a, names.control);
	await firstFrame(stream, helloFrame());
	for (let index = 0; index < 2_000 && stream.status === "open"; index += 1) {
		stream.send(encodeFrame(FRAME.ping, index));
	}
	await until(() => rogue.getConnections().length === 0, "the flooding peer is disconnected");
	await expect(rogueStream(rogue, a, names.control)).rejects.toThrow();
	expect(string((await c.request(a.self, "echo", { body: bytes("calm") })).body)).toBe("calm");
	// An honest node paces itself within what the other allows.
	await Promise.all(Array.from({ length: 200 }, () => c.request(a.self, "echo", { body: bytes("x") })));
});

it("cuts off a stranger that sends too many bytes per second", async () => {
	const a = await startNode("a", new TestMembership(["a"]), { limits: { strangerBytesPerSecond: 50_000 } });
	const rogue = await startRogue("m");
	const stream = await rogueStream(rogue, a, names.kad);
	stream.send(new Uint8Array(2_000_000));
	await until(() => rogue.getConnections().length === 0, "the stranger is disconnected");
	expect(a.status().faults).toBeGreaterThan(0);
});

it("limits the connections of strangers", async () => {
	const a = await startNode("a", new TestMembership(["a"]), { limits: { maxStrangers: 2 } });
	const rogues = await Promise.all(["m", "n", "o", "p"].map((name) => startRogue(name)));
	for (const rogue of rogues) {
		await rogue.dial(multiaddr(a.addresses()[0] as string)).catch(() => {});
	}
	await until(() => rogues.filter((rogue) => rogue.getConnections().length > 0).length === 2, "two are left");
});

it("accepts more simultaneous connections from one address than libp2p's five per second", async () => {
	const a = await startNode("a", new TestMembership(["a"]));
	const rogues = await Promise.all(Array.from({ length: 9 }, (_, index) => startRogue(`rogue ${index}`)));
	await Promise.all(rogues.map((rogue) => rogue.dial(multiaddr(a.addresses()[0] as string))));
	await until(() => a.status().strangers === 9, "nine strangers are connected");
});

it("takes no payload bytes before the grant, nor more or other bytes than were offered", async () => {
	const membership = new TestMembership(["a", "b", "n", "o"]);
	const a = await startNode("a", membership);
	const blob = pattern(100_000);
	const offer = {
		transfer: new Uint8Array(16).fill(1),
		length: blob.length,
		sha256: sha256(blob),
		replyTo: 0,
	};

	const early = await rogueStream(await startRogue("b"), a, names.payload);
	early.send(encodeOffer(offer));
	early.send(blob);
	await until(() => early.status !== "open", "early bytes end the stream");

	const greedy = await rogueStream(await startRogue("n"), a, names.payload);
	readAnswer(await firstFrame(greedy, encodeOffer(offer)));
	greedy.send(encodeHeader(blob.length, offer.sha256, false));
	greedy.send(new Uint8Array(blob.length + 1));
	await until(() => greedy.status !== "open", "an overrun ends the stream");

	const liar = await rogueStream(await startRogue("o"), a, names.payload);
	const verdicts: string[] = [];
	liar.addEventListener("message", (event) => {
		for (const chunk of event.data instanceof Uint8Array ? [event.data] : event.data)
			verdicts.push(string(chunk));
	});
	liar.send(encodeOffer(offer));
	await until(() => verdicts.join().includes("grant"), "the offer is granted");
	liar.send(encodeHeader(blob.length, offer.sha256, false));
	liar.send(new Uint8Array(blob.length));
	await until(() => verdicts.join().includes("corrupt"), "the hash is checked");
	expect(a.status().faults).toBe(3);
	await until(() => a.status().payloadPermitsTaken === 0, "every permit is back");
});

it("grants a broken payload from the last byte it holds", async () => {
	const a = await startNode("a", new TestMembership(["a", "b"]));
	const rogue = await startRogue("b");
	const blob = pattern(300_000);
	const offer = {
		transfer: new Uint8Array(16).fill(1),
		length: blob.length,
		sha256: sha256(blob),
		replyTo: 0,
	};
	const first = await rogueStream(rogue, a, names.payload);
	expect(readAnswer(await firstFrame(first, encodeOffer(offer)))).toEqual({ kind: "grant", have: 0 });
	first.send(encodeHeader(blob.length, offer.sha256, false));
	first.send(blob.subarray(0, 120_000));
	const seen = (): number => a.peers().find(({ peer }) => peer === peerOf("b"))?.bytesIn ?? 0;
	await until(() => seen() > 120_000, "the first part arrived");
	first.abort(new Error("broken by the test"));

	const second = await rogueStream(rogue, a, names.payload);
	expect(readAnswer(await firstFrame(second, encodeOffer(offer)))).toEqual({ kind: "grant", have: 120_000 });
});
