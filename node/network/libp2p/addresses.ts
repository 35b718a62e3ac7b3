import { type Multiaddr, multiaddr } from "@multiformats/multiaddr";
import { AlthingError } from "../../../crypto/error.ts";
import type { PeerId } from "../../../crypto/identity.ts";
import type { NetworkOptions } from "./options.ts";

/** The multiaddr, or undefined when the text is none. */
export function parseAddress(text: string): Multiaddr | undefined {
	try {
		return multiaddr(text);
	} catch {
		return undefined;
	}
}

/** The address with the peer's id at its end, so that only that peer can answer. */
export function withPeer(address: string, peer: PeerId): string {
	return address.endsWith(`/p2p/${peer}`) ? address : `${address}/p2p/${peer}`;
}

/** libp2p's error at start as `network.port_taken` or `network.cannot_listen`. */
export function listenError(error: unknown, listen: readonly string[]): unknown {
	const text = String((error as Error).message);
	const taken = /EADDRINUSE[^\n]*?(\d+)\s*$/m.exec(text);
	if (taken === null) {
		return new AlthingError(
			"network.cannot_listen",
			`Cannot listen on ${listen.join(", ")}: ${text.split("\n")[0]} Check the addresses in the configuration.`,
			{ listen },
			{ cause: error },
		);
	}
	const port = Number(taken[1]);
	return new AlthingError(
		"network.port_taken",
		`Port ${port} is already in use on this machine; stop the other program or choose another port in "listen".`,
		{ port, listen },
		{ cause: error },
	);
}

/** Sentences on how a node with these addresses can be reached, for `doctor`. */
export function reachabilityNotes(addresses: readonly string[], options: NetworkOptions): string[] {
	const notes: string[] = [];
	const relayed = addresses.some((address) => address.includes("/p2p-circuit"));
	const direct = addresses.filter((address) => !address.includes("/p2p-circuit"));
	if (direct.length === 0) notes.push("No listen address: this site can dial others but not be dialled.");
	else if (direct.every((address) => /\/ip4\/127\.|\/ip6\/::1\//.test(address))) {
		notes.push("Only loopback addresses: other machines cannot dial this site.");
	} else if (
		direct.every((address) => /\/ip4\/(127\.|10\.|192\.168\.|172\.(1[6-9]|2\d|3[01])\.)/.test(address))
	) {
		notes.push("Only private addresses: sites outside this network need a port forward, or a relay.");
	}
	if ((options.relay?.use ?? []).length > 0) {
		notes.push(
			relayed ? "Reachable through a relay." : "A relay is configured but has given no reservation yet.",
		);
	}
	if (options.relay?.serve === true) notes.push("Relays for other members.");
	return notes;
}
