/** Where a command's results and errors go: tables for people, JSON for programs. */
import { createColors } from "picocolors";
import { AlthingError } from "../../crypto/error.ts";
import { printable } from "./text.ts";

type Colors = ReturnType<typeof createColors>;

export interface Output {
	readonly json: boolean;
	/** Colours of stdout; they do nothing when it is no terminal. */
	readonly colors: Colors;
	/** Prints a result: `value` as one JSON document, or what `human` makes of it. */
	result<T>(value: T, human: (value: T) => string): void;
	/** Prints one line of a sequence: a JSON document on a line, or text. */
	line<T>(value: T, human: (value: T) => string): void;
	/** A remark for people, on stderr; nothing with --json. */
	note(text: string): void;
	/** The error that ends the command: a problem document on stdout with --json, else one sentence on stderr. */
	error(error: unknown): void;
}

export interface Streams {
	readonly stdout: { write(text: string): unknown; readonly isTTY?: boolean };
	readonly stderr: { write(text: string): unknown; readonly isTTY?: boolean };
}

export function createOutput(json: boolean, streams: Streams): Output {
	const { stdout, stderr } = streams;
	const mayColor = process.env.NO_COLOR === undefined && process.env.TERM !== "dumb";
	const colors = createColors(!json && mayColor && stdout.isTTY === true);
	const errorColors = createColors(mayColor && stderr.isTTY === true);
	return {
		json,
		colors,
		result: (value, human) => stdout.write(`${json ? jsonText(value, "\t") : human(value)}\n`),
		line: (value, human) => stdout.write(`${json ? jsonText(value) : human(value)}\n`),
		note: (text) => {
			if (!json) stderr.write(`${text}\n`);
		},
		error: (error) => {
			const { code, message, facts } = describe(error);
			if (json) {
				const type = `urn:althing:problem:${code}`;
				stdout.write(`${jsonText({ type, title: "Error", detail: message, code, facts }, "\t")}\n`);
			} else {
				stderr.write(
					`${errorColors.red("error:")} ${message.split("\n").map(printable).join("\n")} ${errorColors.dim(`(${printable(code)})`)}\n`,
				);
			}
		},
	};
}

/** JSON leaves C1 control characters as they are; terminals may act on them. */
function jsonText(value: unknown, indent?: string): string {
	return JSON.stringify(value, null, indent).replace(
		/[\u007f-\u009f]/g,
		(character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
	);
}

function describe(error: unknown): {
	code: string;
	message: string;
	facts: Readonly<Record<string, unknown>>;
} {
	if (error instanceof AlthingError) return error;
	return { code: "cli.failed", message: error instanceof Error ? error.message : String(error), facts: {} };
}
