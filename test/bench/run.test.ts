import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { median, quantile } from "../../bench/bench.ts";
import { figuresOf, type Line } from "../../bench/round.ts";

const RUNNER = fileURLToPath(new URL("../../bench/run.ts", import.meta.url));

interface Ended {
	readonly code: number;
	readonly stdout: string;
	readonly stderr: string;
}

function bench(...args: string[]): Promise<Ended> {
	return new Promise((resolve) => {
		execFile(process.execPath, [RUNNER, ...args], (error, stdout, stderr) =>
			resolve({
				code: typeof error?.code === "number" ? error.code : error === null ? 0 : 1,
				stdout,
				stderr,
			}),
		);
	});
}

async function report(...args: string[]) {
	const { code, stdout, stderr } = await bench(...args, "--json");
	expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
	const parsed = JSON.parse(stdout);
	expect(parsed).toMatchObject({
		bench: args[0],
		date: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
		machine: { cpu: expect.any(String), cores: expect.any(Number), memoryGiB: expect.any(Number) },
		versions: { node: process.versions.node },
		loadBefore: [expect.any(Number), expect.any(Number), expect.any(Number)],
		loadAfter: [expect.any(Number), expect.any(Number), expect.any(Number)],
	});
	expect(parsed).toHaveProperty("commit");
	for (const { rows } of parsed.tables) {
		for (const row of rows) {
			// JSON turns what is not a number into null.
			for (const cell of Object.values(row)) expect(cell).not.toBeNull();
		}
	}
	return parsed;
}

describe("bench", () => {
	test("heterogeneity compares common and personal models, mean and worst site", async () => {
		const small = ["--alpha", "1", "--sites", "3", "--records", "400", "--rounds", "2", "--seeds", "1"];
		const { tables } = await report("heterogeneity", "--methods", "FedAvg,FedPer", ...small);
		expect(tables[0].rows).toMatchObject([
			{ method: "FedAvg", "alpha 1: mean %": expect.stringMatching(/^\d+\.\d \(0\.0\)$/) },
			{ method: "FedPer", "alpha 1: worst %": expect.stringMatching(/^\d+\.\d \(0\.0\)$/) },
		]);
	});

	test("streaming measures passes over files it writes", async () => {
		const { tables } = await report(
			"streaming",
			"--size-gb",
			"0.001",
			"--memory-mib",
			"4",
			"--features",
			"8",
		);
		expect(tables[0].rows.map((row: { pass: string }) => row.pass)).toEqual([
			"poisson, parquet",
			"survey, parquet",
			"epoch, parquet",
			"poisson, csv",
			"survey, csv",
			"epoch, csv",
		]);
		for (const { before, peak } of tables[1].rows) expect(peak).toBeGreaterThanOrEqual(before);
		for (const row of tables[0].rows) expect(row.rows).toBeGreaterThan(5000);
		expect(tables[0].rows[0]["rounds a pass"]).toBeGreaterThan(1);
	});

	test("secagg measures each cohort with and without dropout", async () => {
		const { tables } = await report(
			"secagg",
			"--participants",
			"5",
			"--parameters",
			"50",
			"--dropout",
			"0,0.2",
		);
		expect(tables[0].rows).toMatchObject([
			{ participants: 5, dropout: 0, survivors: 5, naiveBytes: 200 },
			{ participants: 5, dropout: 0.2, survivors: 4, naiveBytes: 200 },
		]);
		for (const row of tables[0].rows) {
			expect(row.cpuSecondsInAll).toBeGreaterThan(0);
			// 50 values of 24 bits are the least that a participant can send.
			expect(row.bytesSent).toBeGreaterThan(150);
			expect(row.coordinatorBytesReceived).toBeGreaterThan(150 * (row.survivors - 1));
		}
	});

	test("transport measures payloads and requests beside TCP", async () => {
		const { tables } = await report("transport", "--megabytes", "0.1", "--repeats", "2", "--requests", "5");
		const [payload] = tables[0].rows;
		expect(payload.megabytes).toBe(0.1);
		expect(payload.libp2pOverTcp).toBeCloseTo(payload.libp2pMBPerSecond / payload.tcpMBPerSecond, 9);
		expect(tables[1].rows.map(({ over }: { over: string }) => over)).toEqual(["libp2p", "tcp"]);
	});

	test("dpsgd measures plain and private steps, their noise, memory and ratio", async () => {
		const settings = ["--models", "dense", "--backends", "onnx", "--batch", "32", "--seconds", "0.01"];
		const { tables } = await report("dpsgd", ...settings);
		const [steps, noise, memory, overhead] = tables.map(({ rows }: { rows: unknown }) => rows);
		expect(steps[0]).toMatchObject({ model: "dense", step: "plain", steps: expect.any(Number) });
		expect(steps[1]).toMatchObject({ model: "dense", step: "private", steps: steps[0].steps });
		expect(noise[0]).toMatchObject({ parameters: 203_530, "median ms": expect.any(Number) });
		expect(memory.map(({ step }: { step: string }) => step)).toEqual(["plain", "private"]);
		for (const row of memory) expect(row["peak MB"]).toBeGreaterThan(row["before MB"]);
		expect(overhead[0]).toMatchObject({ "CPU median": expect.stringMatching(/^\d+\.\d\dx$/) });
	});

	test("compression measures bytes beside accuracy, and errors beside the designed ones", async () => {
		const { tables } = await report("compression", "--data", "digits-8x8, epsilon 8", "--seeds", "1");
		const [whole, ...compressed] = tables[0].rows;
		expect(whole).toMatchObject({ compression: "none", "times fewer": 1 });
		for (const row of compressed) {
			expect(row["KB up"]).toBeLessThan(whole["KB up"]);
			expect(Number(row["accuracy %"])).toBeGreaterThan(50);
		}
		for (const row of tables[1].rows) {
			expect(Number(row["error rotated"])).toBeLessThan(Number(row.designed));
			expect(Number(row["error not rotated"])).toBeGreaterThan(10 * Number(row.designed));
		}
	});

	test("prints a table for people by default", async () => {
		const { code, stdout } = await bench(
			"secagg",
			"--participants",
			"3",
			"--parameters",
			"5",
			"--dropout",
			"0",
		);
		expect(code).toBe(0);
		for (const part of ["machine ", "commit ", "versions ", "cpuSecondsPerParticipant"])
			expect(stdout).toContain(part);
	});

	test.each([
		["an unknown benchmark", ["nothing"], "there are secagg, "],
		["an unknown option", ["secagg", "--colour", "3"], "--participants"],
		["a value that is no number", ["secagg", "--participants", "5,x"], "--participants takes numbers"],
		["more rounds than go undisturbed", ["round", "--rounds", "20"], "--rounds is below 20"],
		["an empty list", ["secagg", "--participants", ""], "--participants takes numbers"],
	])("%s is refused with what is allowed", async (_, args, hint) => {
		const { code, stdout, stderr } = await bench(...args);
		expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
		expect(stderr).toContain(hint);
	});
});

test("quantiles are by nearest rank", () => {
	const values = [5, 1, 4, 2, 3];
	expect([median(values), quantile(values, 0.99), quantile(values, 0), quantile([], 0.5)]).toEqual([
		3,
		5,
		1,
		Number.NaN,
	]);
});

describe("a testnet's figures", () => {
	const lines: Line[] = [
		...[0.5, 9, 0.7].map((seconds, i) => ({
			event: "round",
			seconds,
			cpuSecondsPerParticipant: 0.1 * (i + 1),
			bytesSentPerParticipant: 1000 + i,
			bytesReceivedPerParticipant: 2000 + i,
		})),
		{ event: "job.retry" },
		{
			event: "summary",
			ok: true,
			parameters: 650,
			secondsToFirstRound: 6,
			perRound: { naiveBytes: 2002 },
		},
	];

	test("medians of the rounds, and the slowest one", () => {
		expect(figuresOf(lines)).toEqual({
			rounds: 3,
			parameters: 650,
			secondsToFirstRound: 6,
			secondsPerRound: 0.7,
			slowestRoundSeconds: 9,
			cpuSecondsPerParticipant: 0.2,
			bytesSent: 1001,
			bytesReceived: 2001,
			naiveBytes: 2002,
			sentOverNaive: 0.5,
			retries: 1,
		});
	});

	test.each<[string, Line[], string]>([
		["problems", [{ event: "summary", ok: false, problems: ["two models"] }], "two models"],
		["a failure", [{ event: "failed", message: "a port is taken" }], "a port is taken"],
		["nothing", [], "without a summary"],
	])("%s are refused", (_, ended, why) => {
		expect(() => figuresOf([...lines.slice(0, 3), ...ended])).toThrow(why);
	});
});
