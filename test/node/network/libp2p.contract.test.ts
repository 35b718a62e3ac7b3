import { MAX_BLOB_BYTES, networkContract } from "./contract.ts";
import { connected, peerOf, startNode, TestMembership } from "./fixtures.ts";

const NAMES = ["a", "b", "c"] as const;

networkContract("libp2p", async () => {
	const limits = { maxBlobBytes: MAX_BLOB_BYTES, redialCapMs: 1_000 };
	const memberships = {
		a: new TestMembership(NAMES),
		b: new TestMembership(NAMES),
		c: new TestMembership(NAMES),
	};
	const a = await startNode("a", memberships.a, { limits });
	const bootstrap = a.addresses();
	const b = await startNode("b", memberships.b, { limits, bootstrap });
	bootstrap.push(...b.addresses());
	let c = await startNode("c", memberships.c, { limits, bootstrap });
	const peers = NAMES.map(peerOf);
	await Promise.all(
		[a, b, c].map((node) =>
			connected(
				node,
				peers.filter((peer) => peer !== node.self),
			),
		),
	);
	return {
		a,
		b,
		c,
		memberships,
		joinAsOutsider: (name) => startNode(name, new TestMembership(NAMES), { limits, bootstrap }),
		crashC: () => c.stop(),
		restartC: async () => {
			c = await startNode("c", memberships.c, { limits, bootstrap });
			return c;
		},
	};
});
