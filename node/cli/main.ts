/**
 * The `althing` command line: a client of the admin RPC.
 *
 * Commands are declared in `commands/*.ts`; whatever is slow to load (YAML, keystore,
 * daemon) is imported by the one command that needs it.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { AlthingError } from "../../crypto/error.ts";
import { registerBudget } from "./commands/budget.ts";
import { registerCompletion } from "./commands/completion.ts";
import { registerData } from "./commands/data.ts";
import { registerFederation } from "./commands/federation.ts";
import { registerJob } from "./commands/job.ts";
import { registerModel } from "./commands/model.ts";
import { registerNode } from "./commands/node.ts";
import { registerPrivacy } from "./commands/privacy.ts";
import { registerQuery } from "./commands/query.ts";
import { registerToken } from "./commands/token.ts";
import { registerTune } from "./commands/tune.ts";
import { exitCodeOf, exitCodes } from "./exitCodes.ts";
import { createOutput } from "./output.ts";
import { type Bind, createSession, type GlobalOptions } from "./session.ts";

/** The whole command tree. `bind` connects a command to its handler. */
export function buildProgram(bind: Bind): Command {
	const program = new Command("althing")
		.description("Peer-to-peer federated learning: one node for each organization, no central server")
		.version(readVersion())
		.option("--data-dir <directory>", "the node's data directory (ALTHING_DATA_DIR; default ~/.althing)")
		.option("--socket <path>", "the node's admin socket (ALTHING_SOCKET; default in the data directory)")
		.option("--url <url>", "reach the node over HTTPS, or HTTP on this machine (ALTHING_URL)")
		.option("--token-file <file>", "access token (ALTHING_TOKEN_FILE; default in the data directory)")
		.option("--json", "print JSON; errors as problem documents on stdout")
		.addHelpText(
			"after",
			"\nExit codes: 0 done, 1 failed, 2 usage, 3 not running, 4 not permitted, 5 not found,\n6 refused by policy or budget, 7 timed out, 130 interrupted.",
		);
	registerNode(program, bind);
	registerFederation(program, bind);
	registerData(program, bind);
	registerJob(program, bind);
	registerModel(program, bind);
	registerBudget(program, bind);
	registerQuery(program, bind);
	registerPrivacy(program, bind);
	registerTune(program, bind);
	registerToken(program, bind);
	registerCompletion(program, bind);
	return program;
}

/** Runs one command line. @returns the exit code, as `exitCodes.ts` documents */
export async function main(args: readonly string[]): Promise<number> {
	// Usage errors come before options are parsed, and must be JSON too when asked for.
	const out = createOutput(args.includes("--json"), process);
	let outcome: number = exitCodes.ok;
	const program = buildProgram((command, handler) => {
		command.action(async () => {
			const session = createSession(command.optsWithGlobals<GlobalOptions>(), out);
			outcome = (await handler(session, command.args, command.opts())) ?? exitCodes.ok;
		});
	});
	for (const command of everyCommand(program)) {
		command.exitOverride().configureOutput({ writeErr: () => undefined, outputError: () => undefined });
		command.showSuggestionAfterError(true);
	}
	process.stdout.on("error", (error: NodeJS.ErrnoException) => {
		// `althing job ls | head` closes the pipe early; that is no failure of ours.
		if (error.code === "EPIPE") process.exit(exitCodes.ok);
	});
	try {
		await program.parseAsync([...args], { from: "user" });
		return outcome;
	} catch (error) {
		if (!(error instanceof CommanderError)) {
			out.error(error);
			return exitCodeOf(error);
		}
		// Help and version were asked for; an incomplete command prints its help as an error.
		if (error.exitCode === 0) return exitCodes.ok;
		out.error(usageError(error, program, args));
		return exitCodes.usage;
	}
}

function usageError(error: CommanderError, program: Command, args: readonly string[]): AlthingError {
	if (error.code !== "commander.help") {
		return new AlthingError("usage.invalid", error.message.replace(/^error: /, "").replace(/\n/g, " "), {
			reason: error.code,
		});
	}
	const group = program.commands.find((command) => args.includes(command.name())) ?? program;
	const names = group.commands.map((command) => command.name()).join(", ");
	const typed = group === program ? "althing" : `althing ${group.name()}`;
	return new AlthingError("usage.incomplete", `${typed} needs a command: ${names}. See ${typed} --help.`, {});
}

function* everyCommand(command: Command): Generator<Command> {
	yield command;
	for (const child of command.commands) yield* everyCommand(child);
}

function readVersion(): string {
	for (const up of ["../../package.json", "../../../package.json"]) {
		try {
			return JSON.parse(readFileSync(new URL(up, import.meta.url), "utf8")).version;
		} catch {
			// Built files lie one folder deeper.
		}
	}
	return "unknown";
}
