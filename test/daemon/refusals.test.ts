/** Nodes that must not start, data that cannot be read, files that do not say what they should. */
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runCli } from "../node/cli/cli.ts";
import { digitsSlice, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 60_000;
let fleet: Fleet;
let node: FleetNode;

/** One founder with a data set, stopped: every test starts it, or fails to, and leaves it stopped. */
beforeAll(async () => {
	fleet = await Fleet.start(1);
	node = fleet.node(0);
	await node.call("federation.create", { name: "alone" });
	await fleet.addDigits();
	await node.stop();
}, TEST_MS);

afterAll(() => fleet?.end());

async function listening(port: number): Promise<Server> {
	const server = createServer();
	await new Promise<void>((resolve, reject) => {
		server.once("error", reject);
		server.listen(port, "127.0.0.1", resolve);
	});
	return server;
}

function closed(server: Server): Promise<void> {
	return new Promise((resolve) => server.close(() => resolve()));
}

describe("a node that must not start", () => {
	it("ends with 77 on a wrong passphrase, saying so and nothing secret", { timeout: TEST_MS }, async () => {
		const passphraseFile = join(fleet.base, "wrong");
		await writeFile(passphraseFile, "not the passphrase\n", { mode: 0o600 });
		const { code, stderr } = await node.launch({ passphraseFile });
		expect(code).toBe(77);
		expect(stderr).toMatch(/passphrase/i);
		expect(stderr).not.toContain("not the passphrase");
	});

	it("ends with 75 while another instance has the data directory", { timeout: TEST_MS }, async () => {
		await node.start();
		const again = await runCli([
			"--data-dir",
			node.directory,
			"start",
			"--passphrase-file",
			node.passphraseFile,
		]);
		expect(again.code).toBe(75);
		expect(again.stderr).toContain(node.directory);
		expect(again.stderr).toContain("running already");
		// The first one is none the worse for it.
		expect((await node.call("node.status", {})).ready).toBe(true);
		expect((await node.stop()).code).toBe(0);
	});

	it("ends with 75 and names the port when the network's port is taken", { timeout: TEST_MS }, async () => {
		const server = await listening(node.port);
		try {
			const { code, stderr } = await node.launch();
			expect({ code, stderr }).toMatchObject({
				code: 75,
				stderr: expect.stringContaining(`Port ${node.port} `),
			});
		} finally {
			await closed(server);
		}
	});

	it("ends with 75 and names the port when the health port is taken", { timeout: TEST_MS }, async () => {
		const server = await listening(0);
		const { port } = server.address() as { port: number };
		try {
			await node.configure({ health: { port } });
			const { code, stderr } = await node.launch();
			expect({ code, stderr }).toMatchObject({ code: 75, stderr: expect.stringContaining(`Port ${port} `) });
		} finally {
			await closed(server);
			await node.configure({});
		}
	});

	it("ends with 78 and names line, key and allowed values on a wrong configuration", {
		timeout: TEST_MS,
	}, async () => {
		await node.configure({ policy: { autoApproveJobs: "maybe" } });
		const { code, stderr } = await node.launch();
		await node.configure({});
		expect(code).toBe(78);
		expect(stderr).toMatch(/node\.yaml:\d+/);
		expect(stderr).toContain("policy.autoApproveJobs");
	});

	it("ends with 74 and names file and offset when a bit of the journal flipped", {
		timeout: TEST_MS,
	}, async () => {
		const directory = join(node.directory, "store");
		const files = (await readdir(directory, { recursive: true })).filter((name) => /journal/.test(name));
		const name = files.find((file) => /\d/.test(file)) ?? files[0] ?? "";
		const path = join(directory, name);
		const sound = await readFile(path);
		const flipped = Buffer.from(sound);
		const at = Math.floor(sound.length / 3);
		flipped[at] = (flipped[at] ?? 0) ^ 0x10;
		await writeFile(path, flipped);
		const { code, stderr } = await node.launch();
		expect({ code, stderr }).toMatchObject({ code: 74, stderr: expect.stringContaining(path) });
		expect(stderr).toMatch(/offset \d+/);
		// It changed nothing: with the bit set right again everything is there.
		expect((await readFile(path)).equals(flipped)).toBe(true);
		await writeFile(path, sound);
		await node.start();
		expect((await node.call("federation.show", {})).name).toBe("alone");
		expect((await node.call("data.list", {})).datasets).toHaveLength(1);
		await node.stop();
	});
});

describe("input that does not hold", () => {
	beforeAll(() => node.start(), TEST_MS);
	afterAll(() => node.stop());

	it("names a data file that cannot be read", { timeout: TEST_MS }, async () => {
		const path = join(node.directory, "missing.csv");
		await expect(
			node.call("data.add", { name: "missing", path, description: "digits-8x8" }),
		).rejects.toMatchObject({ code: "data.unreadable", message: expect.stringContaining(path) });
		expect((await node.call("data.list", {})).datasets.map(({ name }) => name)).toEqual(["digits-8x8"]);
		expect((await node.call("budget.show", {})).budgets.map(({ dataset }) => dataset)).toEqual([
			"digits-8x8",
		]);
	});

	it("names file and line of a record that is not a number", { timeout: TEST_MS }, async () => {
		const path = join(node.directory, "broken.csv");
		const lines = digitsSlice(0, 60).split("\n");
		lines[3] = (lines[3] ?? "").replace(/^[^,]*/, "oops");
		await writeFile(path, lines.join("\n"));
		const failure = await node
			.call("data.add", { name: "broken", path, description: "digits-8x8" })
			.catch((error: Error) => error);
		expect(failure).toBeInstanceOf(Error);
		expect((failure as Error).message).toContain("broken.csv");
		expect((failure as Error).message).toContain(`${path}, line 4, column`);
		await rm(path);
	});

	it("refuses a job file with an unknown key, naming its line, with exit code 2", {
		timeout: TEST_MS,
	}, async () => {
		const path = join(node.directory, "job.yaml");
		await writeFile(
			path,
			[
				"name: digits",
				"technique: federated_learning",
				"data: { set: digits-8x8 }",
				"model: { kind: softmax_regression }",
				"training:",
				"  algorithm: fedsgd",
				"  rounds: 3",
				"  roundz: 4",
				"privacy: { mechanism: none }",
				"",
			].join("\n"),
		);
		const { code, stderr } = await runCli(["--data-dir", node.directory, "job", "submit", path]);
		expect(code).toBe(2);
		expect(stderr).toContain(`${path}:8:`);
		expect(stderr).toContain("roundz");
		expect((await node.call("job.list", {})).jobs).toEqual([]);
	});
});
