/**
 * The other end of the transport benchmark, a process of its own: a libp2p node that takes
 * payloads and answers requests, and a plain TCP server that does the same.
 */
import { createServer, type Socket } from "node:net";
import { createLibp2pNetwork, type Libp2pNetwork } from "../node/network/libp2p/index.ts";

/** What the benchmark tells its peer at the start. */
export interface PeerTask {
	/** 32-byte Ed25519 seed, hex: made for this run, guards nothing. */
	readonly seed: string;
	readonly members: readonly string[];
}

/** Where the peer can be reached. */
export interface PeerAddresses {
	readonly libp2p: readonly string[];
	readonly tcpPort: number;
}

/** A libp2p node as the daemon runs it, among these members only. */
export function benchNode(
	seed: Uint8Array,
	members: readonly string[],
	bootstrap: readonly string[],
): Promise<Libp2pNetwork> {
	return createLibp2pNetwork({
		identitySeed: seed,
		federationId: "be".repeat(32),
		federationName: "bench",
		listen: ["/ip4/127.0.0.1/tcp/0"],
		bootstrap,
		membership: {
			classify: (peer) => (members.includes(peer) ? "member" : "stranger"),
			members: () => members.map((peer) => ({ peer, addresses: [] })),
			onChange: () => () => {},
		},
		log: { debug: () => {}, info: () => {}, warn: () => {} },
		softwareVersion: "bench",
		charterVersion: () => 1,
	});
}

/**
 * The baseline's protocol: a 4-byte little-endian length and as many bytes; the answer is
 * one byte once all have arrived.
 */
function acknowledge(socket: Socket): void {
	socket.setNoDelay(true);
	let header = Buffer.alloc(0);
	let missing = 0;
	socket.on("data", (chunk: Buffer) => {
		let rest = chunk;
		while (rest.length > 0) {
			if (missing === 0) {
				const wanted = 4 - header.length;
				header = Buffer.concat([header, rest.subarray(0, wanted)]);
				rest = rest.subarray(wanted);
				if (header.length < 4) return;
				missing = header.readUInt32LE();
				header = Buffer.alloc(0);
				continue;
			}
			const taken = Math.min(missing, rest.length);
			missing -= taken;
			rest = rest.subarray(taken);
			if (missing === 0) socket.write(Uint8Array.of(1));
		}
	});
	socket.on("error", () => socket.destroy());
}

async function serve({ seed, members }: PeerTask): Promise<void> {
	const network = await benchNode(Buffer.from(seed, "hex"), members, []);
	network.onMessage("bench/payload", () => {});
	network.onRequest("bench/echo", (_from, packet) => packet);
	const server = createServer(acknowledge);
	await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
	const address = server.address();
	const addresses: PeerAddresses = {
		libp2p: network.addresses(),
		tcpPort: typeof address === "object" && address !== null ? address.port : 0,
	};
	process.send?.(addresses);
}

if (process.argv[1] === import.meta.filename) {
	// The benchmark is over, or gone: nothing here is worth an orderly end.
	process.once("disconnect", () => process.exit());
	process.once("message", (task) => void serve(task as PeerTask));
}
