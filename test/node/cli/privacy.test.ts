/** `althing privacy ...` against a node of fake services: what is asked, what is printed, exit codes. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodes } from "../../../node/cli/exitCodes.ts";
import { type Harness, startHarness } from "../rpc/harness.ts";
import { runCli } from "./cli.ts";

let harness: Harness;
let files: string;
beforeAll(async () => {
	harness = await startHarness();
	files = await mkdtemp(join(tmpdir(), "althing-cli-"));
});
afterAll(async () => {
	await harness.stop();
	await rm(files, { recursive: true, force: true });
});
const here = (...args: string[]) => runCli(["privacy", ...args, "--data-dir", harness.directory]);
const TARGET = ["--epsilon", "2", "--delta", "1e-6"];

async function jobFile(epsilon: number): Promise<string> {
	const path = join(files, `job-${epsilon}.yaml`);
	await writeFile(
		path,
		`name: audited
technique: federated_learning
data: { set: digits-8x8 }
model: { kind: softmax_regression }
training: { rounds: 2, expectedBatch: 100 }
privacy: { mechanism: distributed_gaussian, epsilon: ${epsilon}, delta: 1e-6, samplingRate: 0.1 }
`,
	);
	return path;
}

describe("althing privacy plan", () => {
	it("cuts rounds into phases, few enough to plan", async () => {
		const { code, stdout } = await here("plan", ...TARGET, "--rounds", "90", "--json");
		expect(code).toBe(exitCodes.ok);
		const { phases } = JSON.parse(stdout) as { phases: { name: string; rounds: number }[] };
		expect(phases).toHaveLength(20);
		expect(phases.reduce((sum, { rounds }) => sum + rounds, 0)).toBe(90);
		expect(phases[0]!.name).toBe("rounds 1 to 5");
		expect(phases.at(-1)!.name).toMatch(/to 90$/);
	});

	it("takes phases from a file", async () => {
		const path = join(files, "phases.yaml");
		await writeFile(
			path,
			"phases:\n  - { name: warm-up, rounds: 3 }\n  - { name: main, rounds: 9, sensitivity: 2 }\n",
		);
		const { code, stdout } = await here("plan", ...TARGET, "--phases", path);
		expect(code).toBe(exitCodes.ok);
		expect(stdout).toMatch(
			/PHASE +ROUNDS +NOISE +SIGMA +EPSILON ALONE\nwarm-up +3 +2 +2 +1\nmain +9 +2 +4 +1\n/,
		);
		expect(stdout).toContain("epsilon 2 at delta 0.000001");
	});

	it("refuses a strategy that there is none of, and a file with unknown keys", async () => {
		expect((await here("plan", ...TARGET, "--strategy", "hopeful")).code).toBe(exitCodes.usage);
		const path = join(files, "wrong.yaml");
		await writeFile(path, "phases:\n  - { name: a, noise: 3 }\n");
		expect((await here("plan", ...TARGET, "--phases", path)).code).toBe(exitCodes.usage);
	});
});

describe("althing privacy cost, forecast and optimize", () => {
	it("print what the node answers", async () => {
		const cost = await here("cost", "digits", "--rounds", "50", "--noise", "2", "--sampling", "0.1");
		expect(cost.stdout).toMatch(
			/epsilon now: +1\nafter 50 rounds: +2\ncost: +1\nfits: +yes\nrounds that fit: +100/,
		);
		const forecast = await here("forecast", "digits");
		expect(forecast.stdout).toMatch(/epsilon spent: +1.5 of 8\n/);
		expect(forecast.stdout).toMatch(/budget gone: +2026-01-02T03:04:05.000Z\n/);
		const numbers = ["--records", "10000", "--parameters", "650"];
		const optimize = await here("optimize", ...TARGET, ...numbers, "--frontier", "0.5,1");
		expect(optimize.code).toBe(exitCodes.ok);
		expect(optimize.stdout).toContain("The limit is missed by a factor of 2. 20000 records would meet it.");
		expect((await here("optimize", ...TARGET, ...numbers, "--frontier", "1,x")).code).toBe(exitCodes.usage);
	});
});

describe("althing privacy audit", () => {
	it("ends with 0 where nothing was found, and says that this is no proof", async () => {
		const { code, stdout } = await here("audit", "--data", "digits", "--job", await jobFile(8));
		expect(code).toBe(exitCodes.ok);
		expect(stdout).toContain("No violation found. That is no proof of privacy");
	});

	it("ends with 1 on a violation, loudly", async () => {
		const asked = ["audit", "--data", "digits", "--job", await jobFile(1)];
		const { code, stdout, stderr } = await here(...asked);
		expect(code).toBe(exitCodes.failed);
		expect(stdout).not.toContain("No violation");
		expect(stderr).toMatch(
			/error: The training leaks more than it claims: epsilon 1.000 .*\(audit.violation\)\n$/,
		);
		const json = await here(...asked, "--json");
		expect(json.code).toBe(exitCodes.failed);
		expect(JSON.parse(json.stdout)).toMatchObject({ violated: true, claimedEpsilon: 1 });
	});

	it("is for the privacy officer", async () => {
		const token = join(files, "scientist.token");
		await writeFile(token, await harness.token("data_scientist"));
		const asked = ["audit", "--data", "digits", "--job", await jobFile(8), "--token-file", token];
		expect((await here(...asked)).code).toBe(exitCodes.notPermitted);
	});
});
