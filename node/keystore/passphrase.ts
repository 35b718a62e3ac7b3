/**
 * Where the passphrase comes from, in this order: a file named by the caller, the
 * environment variable ALTHING_PASSPHRASE, a prompt on a terminal.
 */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { ReadStream } from "node:tty";
import { AlthingError } from "../../crypto/error.ts";
import { refuseOpenToOthers } from "./permissions.ts";

export const PASSPHRASE_VARIABLE = "ALTHING_PASSPHRASE";

/** A terminal to ask on: reads without echo, writes the question. */
export interface Terminal {
	readonly input: Pick<ReadStream, "setRawMode" | "on" | "off" | "resume" | "pause" | "isTTY">;
	readonly output: { write(text: string): unknown };
}

const processTerminal: Terminal = { input: process.stdin, output: process.stderr };

/**
 * Reads the passphrase. The variable is removed from the environment once read, so that
 * child processes and crash reports do not carry it.
 * @param options.confirm ask twice (for a new keystore); applies to the prompt
 * Throws `keystore.passphrase_file`, `keystore.permissions`, `keystore.empty_passphrase`,
 * `keystore.no_passphrase` (no source and no terminal), `keystore.passphrase_mismatch`,
 * `keystore.cancelled`.
 */
export async function readPassphrase(
	options: {
		file?: string | undefined;
		confirm?: boolean;
		environment?: NodeJS.ProcessEnv;
		terminal?: Terminal;
	} = {},
): Promise<string> {
	const environment = options.environment ?? process.env;
	const fromEnvironment = environment[PASSPHRASE_VARIABLE];
	delete environment[PASSPHRASE_VARIABLE];
	if (options.file !== undefined) return fromFile(options.file, environment.CREDENTIALS_DIRECTORY);
	if (fromEnvironment !== undefined) return notEmpty(fromEnvironment, `The variable ${PASSPHRASE_VARIABLE}`);
	const terminal = options.terminal ?? processTerminal;
	if (!terminal.input.isTTY) {
		throw new AlthingError(
			"keystore.no_passphrase",
			`No passphrase: give --passphrase-file FILE, set ${PASSPHRASE_VARIABLE}, or run on a terminal.`,
		);
	}
	const first = notEmpty(await ask("Passphrase: ", terminal), "The passphrase");
	if (options.confirm && (await ask("Again: ", terminal)) !== first) {
		throw new AlthingError(
			"keystore.passphrase_mismatch",
			"The two passphrases differ. Nothing was written.",
		);
	}
	return first;
}

/**
 * systemd's credentials are exempt from the check of permissions: it grants them to the
 * service alone by an access list, which shows as root's file with group permissions.
 */
async function fromFile(path: string, credentialsDirectory: string | undefined): Promise<string> {
	let text: string;
	try {
		const isCredential =
			credentialsDirectory !== undefined && dirname(resolve(path)) === credentialsDirectory;
		if (!isCredential) await refuseOpenToOthers(path);
		text = await readFile(path, "utf8");
	} catch (cause) {
		if (cause instanceof AlthingError) throw cause;
		throw new AlthingError(
			"keystore.passphrase_file",
			`Cannot read the passphrase file ${path}: ${cause instanceof Error ? cause.message : cause}.`,
			{ file: path },
			{ cause },
		);
	}
	// One line end, as editors and `echo` add it; other white space is part of the passphrase.
	return notEmpty(text.replace(/\r?\n$/, ""), `The passphrase file ${path}`);
}

function notEmpty(passphrase: string, source: string): string {
	if (passphrase === "") throw new AlthingError("keystore.empty_passphrase", `${source} is empty.`);
	return passphrase;
}

/** Reads a line in raw mode, so that the terminal shows nothing of it. */
function ask(question: string, { input, output }: Terminal): Promise<string> {
	return new Promise((resolve, reject) => {
		const typed: Buffer[] = [];
		output.write(question);
		input.setRawMode(true);
		input.resume();
		const finish = (error?: AlthingError) => {
			input.off("data", read);
			input.setRawMode(false);
			input.pause();
			output.write("\n");
			if (error) reject(error);
			else resolve(editedText(Buffer.concat(typed).toString("utf8")));
		};
		const read = (chunk: Buffer) => {
			for (const byte of chunk) {
				if (byte === CARRIAGE_RETURN || byte === LINE_FEED) return finish();
				if (byte === CONTROL_C || byte === CONTROL_D) {
					return finish(new AlthingError("keystore.cancelled", "No passphrase was given."));
				}
				typed.push(Buffer.from([byte]));
			}
		};
		input.on("data", read);
	});
}

/** Applies the erase keys to what was typed, by whole characters. */
function editedText(typed: string): string {
	const characters: string[] = [];
	for (const character of typed) {
		if (character === "\u007f" || character === "\b") characters.pop();
		else characters.push(character);
	}
	return characters.join("");
}

const CONTROL_C = 3;
const CONTROL_D = 4;
const LINE_FEED = 10;
const CARRIAGE_RETURN = 13;
