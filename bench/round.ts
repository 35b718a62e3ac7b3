/** A whole round: daemons as processes of their own, over libp2p, on a real data set. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { AlthingError } from "../crypto/error.ts";
import { LEAST_ROUNDS_FOR_SCRIPT } from "../testnet/scenario.ts";
import { type Bench, median, type Table } from "./bench.ts";

interface Options {
	readonly [name: string]: readonly number[] | string;
	readonly nodes: readonly number[];
	readonly rounds: readonly number[];
	readonly dropout: readonly number[];
	readonly data: string;
}

const TESTNET = fileURLToPath(new URL("../bin/testnet.mjs", import.meta.url));

export const round: Bench<Options> = {
	name: "round",
	summary: "rounds of a whole federation: one daemon process for each organization, on this machine",
	options: {
		nodes: { description: "organizations, 3 to 20", default: [5] },
		rounds: {
			description: `rounds of the job, below ${LEAST_ROUNDS_FOR_SCRIPT}: from there on the testnet plays out failures of its own`,
			default: [10],
		},
		dropout: {
			description: "share of the participants killed while one round collects updates",
			default: [0, 0.2],
		},
		data: { description: "a shipped data set", default: "digits-8x8" },
	},
	libraries: ["libp2p", "onnxruntime-node", "level"],
	notes: [
		"Runs the testnet (npm run testnet), which founds a federation and trains with differential privacy; all daemons share this machine's cores, so seconds grow with the nodes where an organization's own machine would not.",
		"A round's seconds are the longest that a participant waited, its CPU that of one daemon with all its threads, its bytes those of one participant's job messages; medians over the rounds. The first round is timed from the start of the testnet: it includes starting the daemons and founding the federation.",
		"With dropout, participants are killed (kill -9) while one round collects updates, and return later: the slowest round shows what that costs. Naive bytes are 4 per parameter, sent once in the clear.",
	],
	async run({ nodes, rounds, dropout, data }) {
		const rows: Row[] = [];
		for (const count of nodes) {
			for (const planned of rounds) {
				if (planned >= LEAST_ROUNDS_FOR_SCRIPT) {
					throw new AlthingError(
						"bench.bad_option",
						`--rounds is below ${LEAST_ROUNDS_FOR_SCRIPT}, not ${planned}.`,
					);
				}
				for (const share of dropout) rows.push(await measure(count, planned, share, data));
			}
		}
		return [{ title: "rounds", rows }];
	},
};

type Row = Table["rows"][number];

/** What the testnet prints, one a line; of each event only what is used here. */
export interface Line {
	readonly event: string;
	readonly message?: string;
	readonly seconds?: number;
	readonly cpuSecondsPerParticipant?: number;
	readonly bytesSentPerParticipant?: number;
	readonly bytesReceivedPerParticipant?: number;
	readonly ok?: boolean;
	readonly problems?: readonly string[];
	readonly parameters?: number;
	readonly secondsToFirstRound?: number;
	readonly perRound?: { readonly naiveBytes: number };
}

async function measure(nodes: number, rounds: number, dropout: number, data: string): Promise<Row> {
	const lines = await testnet([
		...["--nodes", String(nodes), "--rounds", String(rounds), "--data", data],
		...(dropout === 0 ? [] : ["--drop", String(dropout)]),
	]);
	return { nodes, dropout, ...figuresOf(lines) };
}

/**
 * The figures of one testnet.
 * @throws AlthingError `bench.testnet_failed` when something did not hold
 */
export function figuresOf(lines: readonly Line[]): Row {
	const summary = lines.find(({ event }) => event === "summary");
	if (summary?.ok !== true) {
		const failed = lines.find(({ event }) => event === "failed")?.message;
		const why = summary?.problems?.join("; ") ?? failed ?? "it ended without a summary";
		throw new AlthingError(
			"bench.testnet_failed",
			`The testnet did not hold, so its figures mean nothing: ${why}`,
		);
	}
	const each = lines.filter(({ event }) => event === "round");
	const figures = (of: (line: Line) => number | undefined) =>
		each.map(of).filter((value) => value !== undefined);
	const seconds = figures((line) => line.seconds);
	const naiveBytes = summary.perRound?.naiveBytes ?? Number.NaN;
	const bytesSent = median(figures((line) => line.bytesSentPerParticipant));
	return {
		rounds: each.length,
		parameters: summary.parameters ?? Number.NaN,
		secondsToFirstRound: summary.secondsToFirstRound ?? Number.NaN,
		secondsPerRound: median(seconds),
		slowestRoundSeconds: Math.max(...seconds),
		cpuSecondsPerParticipant: median(figures((line) => line.cpuSecondsPerParticipant)),
		bytesSent,
		bytesReceived: median(figures((line) => line.bytesReceivedPerParticipant)),
		naiveBytes,
		sentOverNaive: bytesSent / naiveBytes,
		retries: lines.filter(({ event }) => event === "job.retry").length,
	};
}

/** Runs the testnet to its end. @returns what it printed */
async function testnet(args: readonly string[]): Promise<Line[]> {
	const child = spawn(process.execPath, [TESTNET, ...args, "--json"], {
		stdio: ["ignore", "pipe", "inherit"],
	});
	// The testnet ends its daemons itself, given the chance.
	const stop = () => child.kill("SIGTERM");
	process.once("exit", stop);
	const ended = once(child, "close");
	const lines: Line[] = [];
	for await (const line of createInterface({ input: child.stdout })) lines.push(JSON.parse(line) as Line);
	await ended;
	process.removeListener("exit", stop);
	return lines;
}
