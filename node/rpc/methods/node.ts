/** Methods about the node itself. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { doctorReport, nodeStatus, peerView } from "../schemas.ts";

const nothing = z.strictObject({});

export const nodeMethods = [
	defineMethod({
		name: "node.status",
		summary: "Identity, version, federation and load of this node",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: nothing,
		result: nodeStatus,
		handler: (context) => context.services.node.status(context),
	}),
	defineMethod({
		name: "node.doctor",
		summary: "Check ports, clock, disk, keys, training backend and the reachability of peers",
		roles: ["privacy_officer", "auditor"],
		params: nothing,
		result: doctorReport,
		// Waits for peers that may be down.
		timeoutMs: 60_000,
		handler: (context) => context.services.node.doctor(context),
	}),
	defineMethod({
		name: "peer.list",
		summary: "List known peers and the state of the links to them",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: nothing,
		result: z.object({ peers: z.array(peerView) }),
		handler: async (context) => ({ peers: await context.services.peers.list(context) }),
	}),
] as const;
