import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
	cohortParameters,
	custodyParameters,
	mateCountAgainstChance,
} from "../../../protocols/aggregation/cohortParameters.ts";
import { LARGEST_COMPLETE_COHORT } from "../../../protocols/aggregation/limits.ts";

interface Reference {
	readonly members: number;
	readonly corruption: number;
	readonly dropped: number;
	readonly holders: number | undefined;
	readonly threshold: number | undefined;
	readonly mates: number;
}

/** Rows of the first table: |n|gamma|delta|f|drop|CERT|LOCAL|km|q|...|. */
function referenceRows(): Reference[] {
	const path = new URL("../../vectors/secure-aggregation-parameters/table.txt", import.meta.url);
	const lines = readFileSync(path, "utf8").split("\n\n")[0]?.split("\n").slice(3) ?? [];
	return lines.map((line) => {
		const cells = line.split("|").slice(1);
		const custody = /^k=(\d+) t=(\d+)\.\./.exec(cells[5] ?? "");
		return {
			members: Number(cells[0]),
			corruption: Number(cells[3]),
			dropped: Number(cells[4]),
			holders: custody ? Number(custody[1]) : undefined,
			threshold: custody ? Number(custody[2]) : undefined,
			mates: Number(cells[7]),
		};
	});
}

describe("the parameters of a cohort", () => {
	const rows = referenceRows();

	test("agree with the reference table at 40 bits and an unbiased order", () => {
		expect(rows).toHaveLength(72);
		for (const row of rows) {
			if (row.members > 3) {
				const custody = custodyParameters(row, 41);
				expect([row.members, custody?.holders, custody?.threshold]).toEqual([
					row.members,
					row.holders,
					row.threshold,
				]);
			}
			expect(mateCountAgainstChance(row)).toBe(row.mates);
		}
	});

	test("are a complete graph up to 128 members", () => {
		expect(cohortParameters({ members: LARGEST_COMPLETE_COHORT, corruption: 25, dropped: 60 })).toEqual({
			graph: "complete",
		});
	});

	test("are pinned: they are part of every session id", () => {
		const of = (members: number, corruption: number, dropped: number) => {
			const found = cohortParameters({ members, corruption, dropped });
			return found.graph === "ring"
				? [found.holders, found.threshold, found.mates, found.windowSurvivors]
				: found.graph;
		};
		expect(of(300, 60, 30)).toEqual([74, 48, 72, 49]);
		expect(of(1000, 200, 50)).toEqual([82, 58, 82, 61]);
		expect(of(1000, 200, 100)).toEqual([106, 68, 104, 70]);
		expect(of(1000, 200, 300)).toEqual([216, 102, 208, 103]);
	});

	test("more corruption or dropout never needs fewer neighbours", () => {
		let before = { holders: 0, mates: 0 };
		for (const [corruption, dropped] of [
			[20, 10],
			[40, 10],
			[40, 20],
			[40, 40],
		] as const) {
			const found = cohortParameters({ members: 200, corruption, dropped });
			if (found.graph !== "ring") throw new Error("not sparse");
			expect(found.holders).toBeGreaterThanOrEqual(before.holders);
			expect(found.mates).toBeGreaterThanOrEqual(before.mates);
			before = found;
		}
	});

	test.each([
		[
			"too many corrupt and too many dropouts",
			{ members: 1000, corruption: 333, dropped: 300 },
			/358 share holders/,
		],
		[
			"a majority that drops out",
			{ members: 200, corruption: 40, dropped: 170 },
			/no number of share holders/,
		],
		["a fraction of a member", { members: 200.5, corruption: 40, dropped: 10 }, /integers/],
	])("%s is refused with the reason", (_, assumed, message) => {
		expect(() => cohortParameters(assumed)).toThrow(message);
	});
});
