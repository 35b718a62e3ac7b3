import { execFileSync } from "node:child_process";
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { exitCodes } from "../../../node/cli/exitCodes.ts";
import { buildProgram } from "../../../node/cli/main.ts";
import { loadConfig } from "../../../node/config/loadConfig.ts";
import { openKeystore } from "../../../node/keystore/keystore.ts";
import { runCli } from "./cli.ts";

let directory: string;
beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-local-"));
});
afterEach(() => rm(directory, { recursive: true, force: true }));
const env = { ALTHING_PASSPHRASE: "correct horse" };

describe("init", () => {
	it("makes a closed directory with a configuration that loads and keys that open", async () => {
		const data = join(directory, "node");
		const run = await runCli(["init", "--organization", 'Clinic "A": #1', "--data-dir", data, "--json"], {
			env,
		});
		expect([run.code, run.stderr]).toEqual([exitCodes.ok, ""]);
		const { peer } = JSON.parse(run.stdout);
		expect((await stat(data)).mode & 0o777).toBe(0o700);
		expect((await loadConfig(join(data, "node.yaml"))).organization.name).toBe('Clinic "A": #1');
		expect(await openKeystore({ directory: data, passphrase: env.ALTHING_PASSPHRASE })).toMatchObject({
			peer,
		});
		expect(run.stdout).not.toContain(env.ALTHING_PASSPHRASE);

		const again = await runCli(["init", "--organization", "B", "--data-dir", data], { env });
		expect(again.code).toBe(exitCodes.failed);
		expect(again.stderr).toContain("config.exists");
		expect((await loadConfig(join(data, "node.yaml"))).organization.name).toBe('Clinic "A": #1');
	});

	it("leaves nothing behind when there are keys already", async () => {
		await writeFile(join(directory, "keystore"), "precious", { mode: 0o600 });
		const run = await runCli(["init", "--organization", "A", "--data-dir", directory], { env });
		expect(run.stderr).toContain("keystore.exists");
		expect(await readFile(join(directory, "keystore"), "utf8")).toBe("precious");
		await expect(stat(join(directory, "node.yaml"))).rejects.toMatchObject({ code: "ENOENT" });
	});

	it("asks for what is missing instead of guessing", async () => {
		const nameless = await runCli(["init", "--data-dir", directory], { env });
		expect(nameless.code).toBe(exitCodes.usage);
		expect(nameless.stderr).toContain("--organization");
		const open = await runCli(["init", "--organization", "A", "--data-dir", directory]);
		expect(open.code).toBe(exitCodes.failed);
		expect(open.stderr).toContain("keystore.no_passphrase");
	});
});

describe("start", () => {
	it("needs the passphrase, and ends with the daemon's exit code without", async () => {
		const run = await runCli(["start", "--data-dir", directory]);
		expect(run.code).toBe(77);
		expect(run.stderr).toContain("keystore.no_passphrase");
	});
});

describe("doctor", () => {
	it("finds nothing wrong with a fresh directory, and what is wrong with a broken one", async () => {
		const data = join(directory, "node");
		await runCli(["init", "--organization", "A", "--data-dir", data], { env });
		const healthy = await runCli(["doctor", "--data-dir", data, "--json"]);
		expect(healthy.code).toBe(exitCodes.ok);
		expect(JSON.parse(healthy.stdout)).toMatchObject({ healthy: true });
		await chmod(join(data, "keystore"), 0o644);
		await writeFile(join(data, "node.yaml"), "organisation: {}\n");
		const broken = await runCli(["doctor", "--data-dir", data, "--json"]);
		expect(broken.code).toBe(exitCodes.failed);
		const failed = JSON.parse(broken.stdout).checks.filter(
			({ state }: { state: string }) => state === "failed",
		);
		expect(failed.map(({ name }: { name: string }) => name)).toEqual(["keys", "configuration"]);
		expect(failed[1].detail).toContain("organisation");
	});
});

describe("completion", () => {
	const words: string[] = [];
	const collect = (command: ReturnType<typeof buildProgram>) => {
		for (const child of command.commands) {
			words.push(child.name());
			collect(child as ReturnType<typeof buildProgram>);
		}
	};
	collect(buildProgram(() => undefined));

	it.each(["bash", "zsh", "fish"])("%s: names every command", async (shell) => {
		const { code, stdout } = await runCli(["completion", shell]);
		expect(code).toBe(exitCodes.ok);
		expect(words.length).toBeGreaterThan(40);
		for (const word of words) expect(stdout).toMatch(new RegExp(`\\b${word}\\b`));
	});

	it("bash takes the script, and completes commands and options with it", async () => {
		const { stdout } = await runCli(["completion", "bash"]);
		execFileSync("bash", ["-n"], { input: stdout });
		const complete = (...line: string[]) =>
			execFileSync("bash", [
				"-c",
				`${stdout}\nCOMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _althing; echo "\${COMPREPLY[@]}"`,
				"bash",
				...line,
			])
				.toString()
				.trim()
				.split(" ");
		expect(complete("althing", "fed")).toEqual(["federation"]);
		expect(complete("althing", "job", "a")).toEqual(["approve", "abort"]);
		expect(complete("althing", "--json", "job", "s")).toEqual(["submit", "show"]);
		expect(complete("althing", "budget", "set", "digits", "--e")).toEqual(["--epsilon"]);
	});

	it("does not know other shells", async () => {
		expect((await runCli(["completion", "tcsh"])).code).toBe(exitCodes.usage);
	});
});
