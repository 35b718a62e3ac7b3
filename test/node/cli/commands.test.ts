import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../../node/cli/exitCodes.ts";
import { type Harness, startHarness } from "../rpc/harness.ts";
import { runCli } from "./cli.ts";

let harness: Harness;
let files: string;
beforeAll(async () => {
	harness = await startHarness({ http: { host: "127.0.0.1", port: 0 } });
	files = await mkdtemp(join(tmpdir(), "althing-cli-"));
});
afterAll(async () => {
	await harness.stop();
	await rm(files, { recursive: true, force: true });
});
const here = (...args: string[]) => runCli([...args, "--data-dir", harness.directory]);
async function file(name: string, text: string): Promise<string> {
	const path = join(files, name);
	await writeFile(path, text);
	return path;
}

describe("results", () => {
	it("are tables for people, without colour codes into a pipe", async () => {
		const { code, stdout } = await here("job", "ls");
		expect(code).toBe(exitCodes.ok);
		expect(stdout).toMatch(
			/^JOB +NAME +STATE +HERE +ROUND +CREATED\njob-0001 +digits +running +accepted +0\/2 /,
		);
		expect(stdout).not.toContain("\u001b");
	});

	it("are one JSON document with --json, the node's own answer", async () => {
		const { code, stdout } = await here("job", "ls", "--json");
		expect(code).toBe(exitCodes.ok);
		expect(JSON.parse(stdout)).toMatchObject({ jobs: [{ id: "job-0001", rounds: 2 }] });
	});

	it("cannot carry another organization's control characters to the terminal", async () => {
		const { stdout } = await here("federation", "show");
		expect(stdout).toContain("Clinic ?[31m");
		expect(stdout).not.toContain("\u001b");
		expect(stdout).toMatch(/quorum \(q\): +1 of 1\nmay be down: +0\n/);
	});

	it("come over HTTP with --url and --token-file", async () => {
		const token = await file("auditor.token", `${await harness.token("auditor")}\n`);
		const { url = "" } = harness.server.addresses;
		const shown = await runCli(["status", "--url", url, "--token-file", token, "--json"]);
		expect(JSON.parse(shown.stdout)).toMatchObject({ organization: "Clinic A" });
		const refused = await runCli(["job", "approve", "job-0001"], {
			env: { ALTHING_URL: url, ALTHING_TOKEN_FILE: token },
		});
		expect(refused).toMatchObject({ code: exitCodes.notPermitted, stdout: "" });
		expect(refused.stderr).toMatch(/^error: The role auditor may not use job.approve.*\(rpc.forbidden\)\n$/);
	});
});

describe("exit codes", () => {
	it.each([
		["unknown command", ["jbo"], exitCodes.usage, "usage.invalid"],
		["unknown option", ["job", "ls", "--fast"], exitCodes.usage, "usage.invalid"],
		["missing argument", ["job", "show"], exitCodes.usage, "usage.invalid"],
		["incomplete command", ["job"], exitCodes.usage, "usage.incomplete"],
		[
			"bad number",
			["budget", "set", "digits", "--epsilon", "x", "--delta", "1e-6"],
			exitCodes.usage,
			"usage.invalid",
		],
		["bad choice", ["token", "create", "t", "--role", "king"], exitCodes.usage, "usage.invalid"],
		["no file", ["job", "submit", "/nowhere/job.yaml"], exitCodes.usage, "usage.unreadable_file"],
		["refused value", ["data", "show", "Not A Name"], exitCodes.usage, "rpc.invalid_params"],
		["plain HTTP to afar", ["status", "--url", "http://example.org"], exitCodes.usage, "usage.url"],
		["not found", ["job", "show", "none"], exitCodes.notFound, "job.not_found"],
		["budget spent", ["job", "resume", "job-0001"], exitCodes.refused, "budget.exceeded"],
		["refused ticket", ["federation", "join", "bad"], exitCodes.failed, "federation.invalid_ticket"],
	] as [string, string[], number, string][])("%s", async (_, args, code, problem) => {
		const asJson = await here(...args, "--json");
		expect([asJson.code, asJson.stderr]).toEqual([code, ""]);
		expect(JSON.parse(asJson.stdout)).toMatchObject({
			code: problem,
			type: `urn:althing:problem:${problem}`,
		});
	});

	it("without --json an error is one sentence with its code, on stderr", async () => {
		for (const [args, problem] of [
			[["jbo"], "usage.invalid"],
			[["job", "show", "none"], "job.not_found"],
		] as const) {
			const { stdout, stderr } = await here(...args);
			expect(stdout).toBe("");
			expect(stderr).toMatch(new RegExp(`^error: [^\\n]+\\(${problem}\\)\\n$`));
		}
	});

	it("finds the socket where the configuration puts it", async () => {
		await file("node.yaml", `organization:\n  name: A\nrpc:\n  socket: ${harness.socketPath}\n`);
		const tokenFile = join(harness.directory, "admin.token");
		const run = await runCli(["status", "--data-dir", files, "--token-file", tokenFile]);
		expect([run.code, run.stderr]).toEqual([exitCodes.ok, ""]);
		await rm(join(files, "node.yaml"));
	});

	it("not running: never started, or the socket is dead", async () => {
		const never = await runCli(["job", "ls", "--data-dir", files]);
		expect(never).toMatchObject({ code: exitCodes.notRunning, stdout: "" });
		expect(never.stderr).toContain("rpc.not_running");
		const dead = await here("job", "ls", "--socket", join(files, "none.sock"));
		expect(dead.code).toBe(exitCodes.notRunning);
	});

	it("help and version are no errors", async () => {
		const help = await runCli(["job", "--help"]);
		expect(help).toMatchObject({ code: exitCodes.ok, stderr: "" });
		expect(help.stdout).toContain("submit");
		expect((await runCli(["--version"])).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
	});
});

const spec = (name: string, more = "") => `name: ${name}
technique: federated_learning
data:
  set: digits
model:
  kind: softmax_regression
training:
  rounds: 5
${more}privacy:
  mechanism: none
`;

describe("job submit", () => {
	it("sends the file's content", async () => {
		expect((await here("job", "submit", await file("job.yaml", spec("digits")))).code).toBe(exitCodes.ok);
		expect(harness.fakes.calls.at(-1)).toMatchObject({
			method: "submit",
			params: { name: "digits", training: { rounds: 5 }, data: { set: "digits" } },
		});
	});

	it("tells what policy refuses", async () => {
		const run = await here("job", "submit", await file("costly.yaml", spec("costly")));
		expect(run.code).toBe(exitCodes.refused);
		expect(run.stderr).toContain("Epsilon 1000 is over this organization's limit of 8. (policy.refused)");
	});

	it.each([
		["an unknown key", spec("digits", "  ronds: 5\n"), /bad\.yaml:9:\d+: .*ronds/],
		["a syntax error", "name: digits\nrounds: [1, 2\n", /bad\.yaml:\d+:\d+: /],
		["a key given twice", "name: a\nname: b\n", /bad\.yaml:2:1: .*unique/],
	])("names line and column of %s, and sends nothing", async (_, text, message) => {
		const before = harness.fakes.calls.length;
		const run = await here("job", "submit", await file("bad.yaml", text));
		expect(run.code).toBe(exitCodes.usage);
		expect(run.stderr).toMatch(message);
		expect(harness.fakes.calls.length).toBe(before);
	});
});

describe("files of rules", () => {
	it("are sent as they are", async () => {
		const rules = await file("rules.yaml", "minimumCohort: 4\n");
		expect((await here("federation", "create", "demo", "--rules", rules)).code).toBe(exitCodes.ok);
		expect(harness.fakes.calls.at(-1)).toMatchObject({
			method: "create",
			params: { rules: { minimumCohort: 4 } },
		});
	});

	it.each([
		["a syntax error", "a: [1, 2\n", /rules\.yaml:\d+:\d+: /],
		["a key given twice", "a: 1\na: 2\n", /rules\.yaml:2:1: .*unique/],
		["a list", "- 1\n", /rules\.yaml:1:1: .*mapping/],
	])("name line and column of %s", async (_, text, message) => {
		const run = await here("federation", "create", "demo", "--rules", await file("rules.yaml", text));
		expect(run.code).toBe(exitCodes.usage);
		expect(run.stderr).toMatch(message);
	});
});

describe("models", () => {
	it("are written with all their files, and never over others unasked", async () => {
		const output = join(files, "export");
		const run = await here("model", "export", "job-0001", "--format", "tfjs", "--output", output, "--json");
		expect(JSON.parse(run.stdout)).toMatchObject({ files: [{ sizeBytes: 4 }, { sizeBytes: 1 }] });
		expect((await readdir(output)).sort()).toEqual(["model.tfjs", "weights.bin"]);
		expect([...(await readFile(join(output, "model.tfjs")))]).toEqual([1, 2, 3, 250]);
		await writeFile(join(output, "weights.bin"), "mine");
		const again = await here("model", "export", "job-0001", "--format", "tfjs", "--output", output);
		expect(again.code).toBe(exitCodes.failed);
		expect(again.stderr).toContain("model.file_exists");
		expect(await readFile(join(output, "weights.bin"), "utf8")).toBe("mine");
		expect(
			(await here("model", "export", "job-0001", "--format", "tfjs", "--output", output, "--force")).code,
		).toBe(0);
		expect((await readdir(output)).sort()).toEqual(["model.tfjs", "weights.bin"]);
	});

	it("predict from CSV and JSON, and name the cell that is no number", async () => {
		const csv = await file("rows.csv", "1,2\n3,4\n");
		expect(JSON.parse((await here("model", "predict", "job-0001", csv, "--json")).stdout).classes).toEqual([
			1, 1,
		]);
		const json = await file("rows.json", "[[1, 2]]");
		expect((await here("model", "predict", "job-0001", json)).stdout).toContain("0.25 0.75");
		const bad = await here("model", "predict", "job-0001", await file("bad.csv", "1,2\n3,\n"));
		expect(bad).toMatchObject({ code: exitCodes.usage });
		expect(bad.stderr).toContain("row 2, column 2 is not a number");
	});
});

describe("tokens", () => {
	it("a created token is alone on stdout and works until it is revoked", async () => {
		const made = await here("token", "create", "carol", "--role", "data_scientist", "--expires-in-days", "3");
		expect(made.stdout).toMatch(/^althing_[\w-]{43}\n$/);
		const path = await file("carol.token", made.stdout);
		expect((await here("job", "ls", "--token-file", path)).code).toBe(exitCodes.ok);
		const { id = "" } = harness.tokens.list().find(({ name }) => name === "carol") ?? {};
		expect((await here("token", "revoke", id)).code).toBe(exitCodes.ok);
		const revoked = await here("job", "ls", "--token-file", path);
		expect(revoked.code).toBe(exitCodes.notPermitted);
		expect(revoked.stderr).toContain("revoked");
	});
});
