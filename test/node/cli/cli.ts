/** Runs the command line as a real process. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

const bin = fileURLToPath(new URL("../../../bin/althing.mjs", import.meta.url));

export interface Run {
	readonly code: number | null;
	readonly stdout: string;
	readonly stderr: string;
}

export interface Running {
	readonly ended: Promise<Run>;
	/** Resolves when stdout holds `text`; rejects when the process ends without. */
	printed(text: string): Promise<void>;
	signal(name: NodeJS.Signals): void;
}

/** Starts `althing` with nothing of the caller's environment that could change what it does. */
export function startCli(
	args: readonly string[],
	options: { env?: Record<string, string>; input?: string } = {},
): Running {
	const child = spawn(process.execPath, [bin, ...args], {
		env: { PATH: process.env.PATH ?? "", HOME: "/nonexistent", ...options.env },
	});
	let stdout = "";
	let stderr = "";
	const waiting: { text: string; resolve: () => void; reject: (error: Error) => void }[] = [];
	child.stdout.on("data", (chunk: Buffer) => {
		stdout += chunk.toString("utf8");
		for (const one of waiting) if (stdout.includes(one.text)) one.resolve();
	});
	child.stderr.on("data", (chunk: Buffer) => {
		stderr += chunk.toString("utf8");
	});
	child.stdin.end(options.input ?? "");
	const ended = new Promise<Run>((resolve, reject) => {
		child.on("error", reject);
		child.on("close", (code) => {
			for (const one of waiting) one.reject(new Error(`ended without "${one.text}": ${stdout}${stderr}`));
			resolve({ code, stdout, stderr });
		});
	});
	return {
		ended,
		printed: (text) =>
			new Promise((resolve, reject) => {
				if (stdout.includes(text)) resolve();
				else waiting.push({ text, resolve, reject });
			}),
		signal: (name) => void child.kill(name),
	};
}

export function runCli(
	args: readonly string[],
	options: { env?: Record<string, string>; input?: string } = {},
): Promise<Run> {
	return startCli(args, options).ended;
}
