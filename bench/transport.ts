/** The libp2p transport between two processes over loopback, beside plain TCP in the same run. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { toHex } from "../crypto/encoding.ts";
import { generateIdentitySeed, signingKeyFromSeed } from "../crypto/identity.ts";
import { randomBytes } from "../crypto/random.ts";
import type { Libp2pNetwork } from "../node/network/libp2p/index.ts";
import { type Bench, median, quantile, type Table } from "./bench.ts";
import { benchNode, type PeerAddresses, type PeerTask } from "./transportPeer.ts";

interface Options {
	readonly [name: string]: readonly number[];
	readonly megabytes: readonly number[];
	readonly repeats: readonly number[];
	readonly requests: readonly number[];
}

const PEER_PROCESS = fileURLToPath(new URL("./transportPeer.ts", import.meta.url));
const REQUEST_BYTES = 64;
const START_TIMEOUT_MS = 20_000;
const WARM_UP = 3;

export const transport: Bench<Options> = {
	name: "transport",
	summary: "payload throughput and request latency of two libp2p nodes in two processes over loopback",
	options: {
		megabytes: { description: "payload sizes in MB (10^6 bytes)", default: [0.4, 4, 16] },
		repeats: { description: "payloads of each size", default: [20] },
		requests: { description: "requests, one after the other", default: [1000] },
	},
	libraries: ["libp2p", "@libp2p/tcp", "@chainsafe/libp2p-noise", "@chainsafe/libp2p-yamux"],
	notes: [
		"libp2p is what the daemon runs: Noise encryption, Yamux, rate limits, payloads granted, sent in slices and checked by hash, delivered to a handler and acknowledged. TCP is node:net in the clear with one acknowledging byte. Payloads and requests of the two alternate.",
		"A payload's time is from the call to its acknowledgement; MB/s is the size over the median time. Both ends share this machine's cores.",
		"The node's own limit of bytes per member and second (256 MiB) bounds what can be measured.",
	],
	async run({ megabytes, repeats, requests }) {
		const seeds = [generateIdentitySeed(), generateIdentitySeed()] as const;
		const members = seeds.map((seed) => signingKeyFromSeed(seed).peer);
		const remote = members[1] as string;
		const child = fork(PEER_PROCESS, { execArgv: [] });
		let network: Libp2pNetwork | undefined;
		let socket: Socket | undefined;
		try {
			const addresses = await startPeer(child, { seed: toHex(seeds[1]), members });
			network = await benchNode(seeds[0], members, addresses.libp2p);
			await connected(network, remote);
			socket = connect({ host: "127.0.0.1", port: addresses.tcpPort, noDelay: true });
			await once(socket, "connect");
			const ends = { network, remote, socket };
			const payloads: Table["rows"][number][] = [];
			for (const size of megabytes) payloads.push(await measurePayloads(ends, size, repeats[0] ?? 1));
			return [
				{ title: "payloads", rows: payloads },
				{
					title: `requests of ${REQUEST_BYTES} bytes, round trip`,
					rows: await measureRequests(ends, requests[0] ?? 1),
				},
			];
		} finally {
			socket?.destroy();
			await network?.stop();
			const gone = once(child, "exit");
			if (child.connected) child.disconnect();
			if (child.exitCode === null && child.signalCode === null) await gone;
		}
	},
};

interface Ends {
	readonly network: Libp2pNetwork;
	readonly remote: string;
	readonly socket: Socket;
}

async function measurePayloads({ network, remote, socket }: Ends, megabytes: number, repeats: number) {
	const blob = randomBytes(Math.round(megabytes * 1e6));
	const body = new Uint8Array(1);
	const libp2pMs: number[] = [];
	const tcpMs: number[] = [];
	for (let i = -WARM_UP; i < repeats; i++) {
		const sent = await timedMs(() => network.send(remote, "bench/payload", { body, blob }));
		const plain = await timedMs(() => sendPlain(socket, blob));
		if (i < 0) continue;
		libp2pMs.push(sent);
		tcpMs.push(plain);
	}
	const perSecond = (ms: readonly number[]) => (megabytes * 1000) / median(ms);
	return {
		megabytes,
		libp2pMBPerSecond: perSecond(libp2pMs),
		tcpMBPerSecond: perSecond(tcpMs),
		libp2pOverTcp: perSecond(libp2pMs) / perSecond(tcpMs),
		libp2pMedianMs: median(libp2pMs),
		libp2pP99Ms: quantile(libp2pMs, 0.99),
		tcpMedianMs: median(tcpMs),
	};
}

async function measureRequests({ network, remote, socket }: Ends, requests: number): Promise<Table["rows"]> {
	const body = randomBytes(REQUEST_BYTES);
	const times = { libp2p: [] as number[], tcp: [] as number[] };
	for (let i = -WARM_UP; i < requests; i++) {
		const asked = await timedMs(() => network.request(remote, "bench/echo", { body }));
		const plain = await timedMs(() => sendPlain(socket, body));
		if (i < 0) continue;
		times.libp2p.push(asked);
		times.tcp.push(plain);
	}
	const row = (over: string, ms: readonly number[]) => ({
		over,
		p50Ms: median(ms),
		p99Ms: quantile(ms, 0.99),
		p50OverTcp: median(ms) / median(times.tcp),
	});
	return [row("libp2p", times.libp2p), row("tcp", times.tcp)];
}

async function sendPlain(socket: Socket, bytes: Uint8Array): Promise<void> {
	const acknowledged = once(socket, "data");
	const header = Buffer.alloc(4);
	header.writeUInt32LE(bytes.length);
	socket.cork();
	socket.write(header);
	socket.write(bytes);
	socket.uncork();
	await acknowledged;
}

async function timedMs(action: () => Promise<unknown>): Promise<number> {
	const start = performance.now();
	await action();
	return performance.now() - start;
}

async function startPeer(child: ChildProcess, task: PeerTask): Promise<PeerAddresses> {
	const answered = once(child, "message", { signal: AbortSignal.timeout(START_TIMEOUT_MS) });
	const died = once(child, "exit").then(() => {
		throw new Error("the other process ended before it listened; its own message is above");
	});
	died.catch(() => undefined);
	child.send(task);
	const [addresses] = await Promise.race([answered, died]);
	return addresses as PeerAddresses;
}

async function connected(network: Libp2pNetwork, remote: string): Promise<void> {
	const isUp = () => network.peers().some(({ peer, connected: up }) => peer === remote && up);
	const deadline = AbortSignal.timeout(START_TIMEOUT_MS);
	await new Promise<void>((resolve, reject) => {
		const unsubscribe = network.onPeerChange(look);
		function look(): void {
			if (!isUp()) return;
			unsubscribe();
			resolve();
		}
		deadline.addEventListener("abort", () => reject(new Error(`${remote} was not reached in time`)));
		look();
	});
}
