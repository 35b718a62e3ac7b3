/** What a running node can tell of its own health: clock, disk, training engine, federation, peers. */
import { statfs } from "node:fs/promises";
import { quorum } from "../protocols/certificate/index.ts";
import { electorateOf } from "../protocols/federation/index.ts";
import { describeBackends } from "../src/learning/trainer.ts";
import type { NodeConfig } from "./config/schema.ts";
import type { Federation } from "./federation/federation.ts";
import type { DoctorReport } from "./rpc/services.ts";

type Check = DoctorReport["checks"][number];

const GiB = 1024 ** 3;
/** Below the first the node will soon fail, below the second somebody should look. */
const LEAST_DISK_BYTES = 0.5 * GiB;
const COMFORTABLE_DISK_BYTES = 5 * GiB;
/** Clocks this far apart still agree on whether a ticket has expired. */
const CLOCK_DRIFT_MS = 120_000;

export async function examineNode(node: {
	readonly directory: string;
	readonly config: NodeConfig;
	readonly federation: Federation;
	readonly journalRecords: number;
}): Promise<DoctorReport> {
	const checks = [
		await disk(node.directory),
		clock(),
		{
			name: "store",
			state: "ok",
			detail: `${node.journalRecords} journal records, every checksum verified at start`,
		} as Check,
		...(await backends(node.config)),
		...federation(node.federation),
	];
	return { healthy: checks.every(({ state }) => state !== "failed"), checks };
}

async function disk(directory: string): Promise<Check> {
	const { bavail, bsize } = await statfs(directory);
	const free = bavail * bsize;
	const detail = `${(free / GiB).toFixed(1)} GiB free for ${directory}`;
	if (free >= COMFORTABLE_DISK_BYTES) return { name: "disk", state: "ok", detail };
	const state = free < LEAST_DISK_BYTES ? "failed" : "warning";
	return { name: "disk", state, detail, remedy: "free space or move the data directory to a larger disk" };
}

/** The wall clock against the monotonic one: a jump since the start means that somebody sets the clock by hand. */
const startedMs = { wall: Date.now(), monotonic: performance.now() };

function clock(): Check {
	const drift = Date.now() - startedMs.wall - (performance.now() - startedMs.monotonic);
	const detail = `${new Date().toISOString()}, moved ${Math.round(drift)} ms against the monotonic clock since the start`;
	if (Math.abs(drift) < CLOCK_DRIFT_MS) return { name: "clock", state: "ok", detail };
	return {
		name: "clock",
		state: "warning",
		detail,
		remedy: "keep the clock with NTP: invitations expire by it",
	};
}

async function backends(config: NodeConfig): Promise<Check[]> {
	const wanted = config.training.backend;
	return (await describeBackends()).map(({ backend, runtime, available, note }) => {
		const used = backend === wanted;
		const detail = `${runtime}${used ? ", in use" : ""}${note === undefined ? "" : ` (${note})`}`;
		const name = `engine ${backend}`;
		if (available) return { name, state: "ok", detail };
		return {
			name,
			state: used ? "failed" : "warning",
			detail,
			remedy: used
				? "reinstall, or choose the other engine under training.backend"
				: "nothing to do: the engine in use works",
		};
	});
}

function federation(node: Federation): Check[] {
	const { chain, network } = node;
	if (chain === undefined || network === undefined) {
		return [
			{
				name: "federation",
				state: "warning",
				detail:
					chain !== undefined
						? `no member of ${chain.head.federation} any more`
						: network === undefined
							? "none"
							: "waiting for admission",
				remedy: "found one with `althing federation create`, or join with a ticket",
			},
		];
	}
	const status = network.status();
	const electorate = electorateOf(chain.head);
	const q = quorum(electorate);
	const n = electorate.members.length;
	const up = status.peers.filter(({ connected }) => connected).length + 1;
	const bound = `${n} members, f = ${electorate.corruption}, quorum ${q}: up to ${n - q} may be down`;
	const missing = status.missingMembers.length;
	const reach: Check =
		missing === 0
			? { name: "peers", state: "ok", detail: `all ${n - 1} other members are connected` }
			: {
					name: "peers",
					state: up >= q ? "warning" : "failed",
					detail: `${missing} of ${n - 1} other members are not connected: ${status.missingMembers.join(", ")}`,
					remedy:
						up >= q
							? "they may be down; rounds go on without them"
							: "no quorum: check the network and ask the others",
				};
	return [
		{
			name: "federation",
			state: "ok",
			detail: `${chain.head.federation}, charter version ${chain.head.version}; ${bound}`,
		},
		reach,
		{
			name: "addresses",
			state: status.addresses.length > 0 ? "ok" : "warning",
			detail: status.addresses.join(" ") || "not listening",
		},
		...status.notes.map((note): Check => ({ name: "network", state: "ok", detail: note })),
	];
}
