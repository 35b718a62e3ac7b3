/**
 * Prints one line, `N passed, N failed`, from vitest's JSON report (and `, N skipped` if any were).
 * A test file that could not be loaded, or failed outside of a test, counts as one failure.
 * Usage: `node scripts/test-summary.ts [REPORT]`; exit code 1 when something failed, when no
 * test ran, or when there is no report.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

interface Report {
	readonly testResults: readonly {
		readonly status: string;
		readonly assertionResults: readonly { readonly status: string }[];
	}[];
}

export interface Summary {
	readonly passed: number;
	readonly failed: number;
	readonly skipped: number;
}

export function summarize(report: Report): Summary {
	let [passed, failed, skipped] = [0, 0, 0];
	for (const file of report.testResults) {
		const count = (status: string) => file.assertionResults.filter((test) => test.status === status).length;
		const failedTests = count("failed");
		passed += count("passed");
		skipped += file.assertionResults.length - count("passed") - failedTests;
		failed += failedTests === 0 && file.status !== "passed" ? 1 : failedTests;
	}
	return { passed, failed, skipped };
}

/** The closing line that continuous integration reads. */
export function closingLine({ passed, failed, skipped }: Summary): string {
	return `${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}`;
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
	const path = resolve(process.argv[2] ?? join(import.meta.dirname, "../reports/tests.json"));
	const summary = summarize(JSON.parse(readFileSync(path, "utf8")) as Report);
	console.log(closingLine(summary));
	process.exitCode = summary.failed === 0 && summary.passed > 0 ? 0 : 1;
}
