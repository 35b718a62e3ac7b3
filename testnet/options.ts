/** The command line of `npm run testnet`. */
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { AlthingError } from "../crypto/error.ts";
import { catalog } from "../src/data/catalog.ts";
import { isNodeAttack, type NodeAttack, nodeAttacks } from "./attacks/nodeAttacks.ts";

export const LEAST_NODES = 3;
export const MOST_NODES = 20;
const DEFAULT_DATA = "digits-8x8";

export interface TestnetOptions {
	readonly nodes: number;
	/** The job file to run, on the shipped data set that it names. */
	readonly job: string;
	/** Rounds of the job; by default those of its job file. */
	readonly rounds?: number;
	/** Epsilon of the job; by default that of its job file. */
	readonly epsilon?: number;
	/** Share of the participants killed in one round, in (0, 0.5]; without it the scripted scenario runs. */
	readonly drop?: number;
	/** What the last `attackers` organizations do to the federation, for its robustness to be seen. */
	readonly attack?: NodeAttack;
	readonly attackers: number;
	/** Leave the nodes running at the end, until interrupted, and their directories afterwards. */
	readonly keep: boolean;
	/** One JSON object a line instead of text. */
	readonly json: boolean;
	/** Where the nodes' directories go; by default a new temporary one. */
	readonly directory?: string;
	readonly help: boolean;
}

export const USAGE = `Usage: npm run testnet -- [options]

Starts several organizations as processes on this machine, founds a federation, trains a
model in private on a real data set, kills nodes on the way, and says how it went.

  --nodes N          organizations, ${LEAST_NODES} to ${MOST_NODES} (default 5)
  --rounds N         rounds of training (default: as the job file says)
  --data NAME        ${[...catalog.keys()].join(", ")}
                     (default ${DEFAULT_DATA})
  --job FILE         another job file for one of these data sets, instead of the one of
                     configs/jobs that is named after it
  --epsilon E        privacy budget of the job (default: as the job file says)
  --drop FRACTION    instead of the scripted failures, kill this share of the participants
                     while one round collects their updates, up to 0.5; they come back
  --attack NAME      FOR TESTING: some nodes attack the federation: ${Object.keys(nodeAttacks).join(", ")}
  --attackers N      how many, the last ones (default 1)
  --keep             leave the nodes running at the end, until Ctrl-C
  --json             one JSON object a line: events, then the summary
  --directory PATH   put the nodes' directories there (default: a new temporary directory)
  --help

Exit codes: 0 everything held, 1 something did not, 2 wrong usage, 130 interrupted.`;

/** @throws AlthingError `usage.invalid` naming the option and what it allows */
export function parseOptions(args: readonly string[]): TestnetOptions {
	const { values } = readArguments(args);
	const { data = DEFAULT_DATA } = values;
	if (values.job !== undefined && values.data !== undefined)
		throw invalid("--job names its data set itself: leave --data out");
	if (!catalog.has(data)) {
		throw invalid(`--data must be one of ${[...catalog.keys()].join(", ")}, not "${data}"`);
	}
	const nodes = number("--nodes", values.nodes, { least: LEAST_NODES, most: MOST_NODES, whole: true });
	const rounds = number("--rounds", values.rounds, { least: 1, most: 10_000, whole: true });
	const epsilon = number("--epsilon", values.epsilon, { least: 0.01, most: 100, whole: false });
	const attackers = number("--attackers", values.attackers, { least: 1, most: MOST_NODES, whole: true });
	const { attack } = values;
	if (attack !== undefined && !isNodeAttack(attack))
		throw invalid(`--attack must be one of ${Object.keys(nodeAttacks).join(", ")}, not "${attack}"`);
	if (attack === undefined && attackers !== undefined) throw invalid("--attackers needs --attack");
	if (attack !== undefined && (attackers ?? 1) < nodeAttacks[attack].least)
		throw invalid(
			`--attack ${attack} is one of ${nodeAttacks[attack].least} organizations or more, which tell each other their updates: give --attackers`,
		);
	if (2 * (attackers ?? 1) >= (nodes ?? 5) && attack !== undefined)
		throw invalid(`--attackers must be fewer than half of the ${nodes ?? 5} organizations`);
	const drop = number("--drop", values.drop, { least: 0.01, most: 0.5, whole: false });
	return {
		nodes: nodes ?? 5,
		job: values.job ?? jobOf(data),
		...(rounds === undefined ? {} : { rounds }),
		...(epsilon === undefined ? {} : { epsilon }),
		...(drop === undefined ? {} : { drop }),
		...(values.directory === undefined ? {} : { directory: values.directory }),
		...(attack === undefined ? {} : { attack }),
		attackers: attack === undefined ? 0 : (attackers ?? 1),
		keep: values.keep ?? false,
		json: values.json ?? false,
		help: values.help ?? false,
	};
}

function jobOf(data: string): string {
	return fileURLToPath(new URL(`../configs/jobs/${data}.yaml`, import.meta.url));
}

function readArguments(args: readonly string[]) {
	try {
		return parseArgs({
			args: [...args],
			options: {
				nodes: { type: "string" },
				rounds: { type: "string" },
				data: { type: "string" },
				job: { type: "string" },
				epsilon: { type: "string" },
				drop: { type: "string" },
				attack: { type: "string" },
				attackers: { type: "string" },
				keep: { type: "boolean" },
				json: { type: "boolean" },
				directory: { type: "string" },
				help: { type: "boolean" },
			},
		});
	} catch (cause) {
		throw invalid(cause instanceof Error ? cause.message : String(cause));
	}
}

function number(
	option: string,
	text: string | undefined,
	allowed: { least: number; most: number; whole: boolean },
): number | undefined {
	if (text === undefined) return undefined;
	const value = text.trim() === "" ? Number.NaN : Number(text);
	const { least, most, whole } = allowed;
	if (value >= least && value <= most && (!whole || Number.isInteger(value))) return value;
	throw invalid(
		`${option} must be a ${whole ? "whole number" : "number"} from ${least} to ${most}, not "${text}"`,
	);
}

function invalid(message: string): AlthingError {
	return new AlthingError("usage.invalid", `${message}. See npm run testnet -- --help.`);
}
