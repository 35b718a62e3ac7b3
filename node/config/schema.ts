/**
 * The node's configuration: one schema with described defaults. It checks node.yaml
 * (loadConfig.ts) and is published as configs/node.schema.json for editors.
 */
import { z } from "zod";
import { characteristicsSchema } from "../../src/selection/selectionChoice.ts";
import { LOG_LEVELS } from "../logging/logger.ts";

const multiaddr = z
	.string()
	.regex(
		/^\/(?:ip4|ip6|dns|dns4|dns6|dnsaddr)\/[^\s]+$/,
		"a multiaddr such as /ip4/192.0.2.7/tcp/4001 is expected",
	);
const port = z.int().min(0).max(65_535);
const epsilon = z.number().positive().max(100);
const delta = z.number().positive().max(1e-3);

export const TECHNIQUES = [
	"federated_learning",
	"differential_privacy",
	"secure_mpc",
	"homomorphic_encryption",
	"psi",
	"query",
	"vertical_learning",
] as const;

const organization = z
	.strictObject({
		name: z.string().min(1).max(100).describe("The organization's name as other members see it."),
		characteristics: characteristicsSchema
			.default({})
			.describe(
				"What jobs may select participants by, in coarse words of your own, e.g. region: north. Those that a job asks for are told to all members when you accept it; never measure them from the records.",
			),
	})
	.describe("Who runs this node.");

const limits = z
	.strictObject({
		maximumPayloadMiB: z
			.int()
			.min(1)
			.max(1024)
			.default(64)
			.describe("Largest model update or masked vector, in MiB."),
		payloadsInMemory: z
			.int()
			.min(1)
			.max(256)
			.default(8)
			.describe("Payloads received at once; they take this many times maximumPayloadMiB of memory at most."),
		messagesPerSecond: z
			.int()
			.min(10)
			.default(1000)
			.describe("Control messages accepted from one member per second."),
		megabytesPerSecond: z.int().min(1).default(256).describe("MiB accepted from one member per second."),
		maximumConnections: z.int().min(8).default(300).describe("Open connections of all kinds."),
	})
	.describe("What one member, or all together, may take of this node.");

const relay = z
	.strictObject({
		serve: z
			.boolean()
			.default(false)
			.describe("Forward encrypted connections between members of which one cannot be dialled."),
		use: z
			.array(multiaddr)
			.default([])
			.describe("Relays (with /p2p/) through which this node can be reached, for sites behind NAT."),
	})
	.describe("Circuit relay, for sites behind NAT.");

const webSocket = z
	.strictObject({
		listen: z
			.array(multiaddr)
			.default([])
			.describe("Addresses to accept WebSocket connections on, e.g. /ip4/0.0.0.0/tcp/4002/ws."),
	})
	.describe(
		"WebSocket transport, for sites whose firewall passes only that. Noise encrypts it as it does TCP.",
	);

const network = z
	.strictObject({
		listen: z
			.array(multiaddr)
			.min(1)
			.default(["/ip4/0.0.0.0/tcp/4001"])
			.describe("Addresses to accept connections on; port 0 picks a free one."),
		announce: z
			.array(multiaddr)
			.default([])
			.describe(
				"Addresses to tell others when they differ from what the node sees of itself; empty: as listened on.",
			),
		bootstrap: z
			.array(multiaddr)
			.default([])
			.describe("Addresses of any members to find the others through."),
		limits: limits.prefault({}),
		relay: relay.prefault({}),
		webSocket: webSocket.prefault({}),
	})
	.describe("Connections to other organizations.");

const tls = z
	.strictObject({
		certificate: z.string().min(1).describe("PEM file with the certificate chain."),
		key: z.string().min(1).describe("PEM file with the private key."),
	})
	.describe("TLS for the admin RPC over HTTP; required unless the host is a loopback address.");

const http = z
	.strictObject({
		host: z.string().min(1).default("127.0.0.1").describe("Address to listen on."),
		port: port.default(7420).describe("Port; 0 picks a free one."),
		tls: tls.optional(),
	})
	.refine(({ host, tls }) => tls !== undefined || isLoopback(host), {
		path: ["host"],
		message:
			"only a loopback address (127.0.0.1, ::1, localhost) may be used without tls, because tokens would cross the network in clear",
	})
	.describe("The admin RPC over HTTP.");

const rpc = z
	.strictObject({
		socket: z
			.string()
			.min(1)
			.optional()
			.describe("Path of the unix socket; default rpc.sock in the data directory."),
		http: http.optional().describe("Also serve over HTTP; left out, only the unix socket is served."),
	})
	.describe("The admin RPC, which the command line uses.");

const log = z
	.strictObject({
		level: z.enum(LOG_LEVELS).default("info").describe("Least severe level that is written."),
	})
	.describe("Logs: JSON lines on stderr.");

const policy = z
	.strictObject({
		maximumEpsilon: epsilon.default(10).describe("Largest epsilon of one job this organization accepts."),
		maximumDelta: delta.default(1e-6).describe("Largest delta of one job this organization accepts."),
		techniques: z
			.array(z.enum(TECHNIQUES))
			.default(["federated_learning", "query", "differential_privacy", "vertical_learning"])
			.describe("Techniques this organization takes part in."),
		dataSets: z
			.union([z.literal("all"), z.array(z.string().min(1))])
			.default("all")
			.describe('Names of the data sets that jobs may use, or "all" that were added.'),
		maximumParameters: z.int().min(1).default(10_000_000).describe("Largest model, in parameters."),
		maximumMemoryMiB: z
			.int()
			.min(1)
			.default(4096)
			.describe(
				"Most memory one job may take here, in MiB: worked out from its model and data before it is accepted, and watched in its worker thread.",
			),
		autoApproveJobs: z
			.boolean()
			.default(false)
			.describe("Accept jobs within this policy without asking a person."),
		autoApproveMembers: z
			.boolean()
			.default(false)
			.describe("Approve candidates that hold a valid invitation without asking a person."),
	})
	.describe("What this organization accepts. A job outside of it is refused whatever others decide.");

const budgets = z
	.strictObject({
		epsilon: epsilon.default(10).describe("Epsilon a newly added data set may spend in all."),
		delta: delta.default(1e-5).describe("Delta a newly added data set may spend in all."),
	})
	.describe("Privacy budget of a data set when it is added; `althing budget set` changes one later.");

const streaming = z
	.strictObject({
		thresholdMiB: z
			.int()
			.min(1)
			.default(256)
			.describe(
				"CSV files from this size on are read in passes and never held in memory, as Parquet files always are; smaller ones with `althing data add --stream`.",
			),
		batchMemoryMiB: z
			.int()
			.min(1)
			.max(1_048_576)
			.default(512)
			.describe(
				"Memory of one job for the batches of rounds to come: the more, the more rounds a pass over the records is planned for.",
			),
		engineMemoryMiB: z
			.int()
			.min(64)
			.max(1_048_576)
			.default(512)
			.describe("Memory of the engine that reads, for one pass. It never spills to the disk."),
		engineThreads: z
			.int()
			.min(1)
			.max(256)
			.default(1)
			.describe("Threads of the engine that reads, for one pass."),
		remote: z
			.strictObject({
				extensionDirectory: z
					.string()
					.min(1)
					.describe("Where DuckDB's httpfs extension is installed; the node never fetches it."),
			})
			.optional()
			.describe("Allows data sets behind https:// and s3://; left out, nothing remote is read."),
	})
	.describe("Data sets larger than memory.");

const data = z.strictObject({ streaming: streaming.prefault({}) }).describe("Data sets.");

const training = z
	.strictObject({
		backend: z.enum(["onnx", "tfjs"]).default("onnx").describe("Engine of local training."),
		threads: z.int().min(1).max(256).default(1).describe("Worker threads for training and cryptography."),
	})
	.describe("Local training.");

const jobs = z
	.strictObject({
		running: z
			.int()
			.min(1)
			.max(10_000)
			.default(100)
			.describe("Jobs that train at the same time; further ones are queued and start by themselves."),
		taskSeconds: z
			.int()
			.min(1)
			.max(86_400)
			.default(300)
			.describe("Longest that one task of a job, such as a round's training, may take a worker thread."),
	})
	.describe("What jobs may take of this node.");

const health = z
	.strictObject({
		port: port
			.default(7421)
			.describe("Port of /healthz, /readyz and /metrics on 127.0.0.1; 0 picks a free one."),
	})
	.describe("Health endpoints.");

export const nodeConfigSchema = z.strictObject({
	organization,
	network: network.prefault({}),
	rpc: rpc.prefault({}),
	log: log.prefault({}),
	policy: policy.prefault({}),
	budgets: budgets.prefault({}),
	data: data.prefault({}),
	training: training.prefault({}),
	jobs: jobs.prefault({}),
	health: health.prefault({}),
});

/** The configuration with all defaults filled in. */
export type NodeConfig = z.output<typeof nodeConfigSchema>;

/** The JSON Schema published as configs/node.schema.json, for what a person writes (defaults optional). */
export function nodeConfigJsonSchema(): Record<string, unknown> {
	return {
		title: "Althing node configuration",
		...z.toJSONSchema(nodeConfigSchema, { io: "input", target: "draft-2020-12" }),
	};
}

function isLoopback(host: string): boolean {
	return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}
