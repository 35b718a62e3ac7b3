import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { closingLine, summarize } from "../../scripts/test-summary.ts";

const file = (status: string, ...tests: string[]) => ({
	status,
	assertionResults: tests.map((one) => ({ status: one })),
});
const line = (...testResults: ReturnType<typeof file>[]) => closingLine(summarize({ testResults }));

describe("the closing line", () => {
	it("counts tests", () => {
		expect(line(file("passed", "passed", "passed"), file("failed", "passed", "failed"))).toBe(
			"3 passed, 1 failed",
		);
	});

	it("counts a file that could not be loaded as a failure", () => {
		expect(line(file("passed", "passed"), file("failed"))).toBe("1 passed, 1 failed");
	});

	it("counts a file that failed outside of its tests as a failure", () => {
		expect(line(file("failed", "passed", "passed"))).toBe("2 passed, 1 failed");
	});

	it("names skipped tests, whatever the reason", () => {
		expect(line(file("passed", "passed", "skipped", "pending", "todo"))).toBe(
			"1 passed, 0 failed, 3 skipped",
		);
	});
});

describe("the command", () => {
	const script = join(import.meta.dirname, "../../scripts/test-summary.ts");

	function run(report: object | undefined): { status: number | null; stdout: string } {
		const folder = mkdtempSync(join(tmpdir(), "althing-summary-"));
		try {
			const path = join(folder, "tests.json");
			if (report !== undefined) writeFileSync(path, JSON.stringify(report));
			return spawnSync(process.execPath, [script, path], { encoding: "utf8" });
		} finally {
			rmSync(folder, { recursive: true });
		}
	}

	it("ends well when everything passed", () => {
		const { status, stdout } = run({ testResults: [file("passed", "passed")] });
		expect([status, stdout]).toEqual([0, "1 passed, 0 failed\n"]);
	});

	it.each([
		["a test failed", { testResults: [file("failed", "failed")] }],
		["no test ran", { testResults: [] }],
		["there is no report", undefined],
	])("fails when %s", (_, report) => {
		expect(run(report).status).toBe(1);
	});
});
