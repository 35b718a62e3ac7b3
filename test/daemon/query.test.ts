/** Questions to one organization and to a federation of whole nodes: answers near the truth, paid for, alike everywhere. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { QueryAnswer } from "../../src/queries/answer.ts";
import { type Run, runCli } from "../node/cli/cli.ts";
import { digitsSlice, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 90_000;
const SET = "digits-8x8";
const DELTA = "1e-6";
let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(3, () => ({ budgets: { epsilon: 6, delta: 1e-5 } }));
	await fleet.found();
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

function query(node: FleetNode, ...args: string[]): Promise<Run> {
	return runCli(["--data-dir", node.directory, "--json", "query", ...args, "--data", SET]);
}

async function spent(node: FleetNode): Promise<number> {
	return (await node.call("budget.show", { dataset: SET })).budgets[0]?.epsilonSpent ?? Number.NaN;
}

/** Records of a digit among every `count`th row from `index` on. */
function trueCount(digit: string, index: number, count: number): number {
	return digitsSlice(index, count)
		.split("\n")
		.filter((line) => line.endsWith(`,${digit}`)).length;
}

/** Seven standard errors: a false alarm once in 10^11. */
function expectNear(answer: QueryAnswer, truth: number): void {
	if (answer.kind !== "count") throw new Error(`asked for a count, got ${answer.kind}`);
	expect(Math.abs(answer.count.value - truth)).toBeLessThan(7 * answer.count.standardError + 1);
	expect(answer.count.standardError).toBeGreaterThan(0);
}

describe("a query of the federation", () => {
	it("is answered near the truth, alike at every node, and charged at every node", {
		timeout: TEST_MS,
	}, async () => {
		const asker = fleet.node(0);
		const { code, stdout, stderr } = await query(
			asker,
			...["count", "--where", "digit=3", "--epsilon", "1", "--delta", DELTA, "--federation"],
		);
		expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
		const { job, survivors, answer } = JSON.parse(stdout);
		expect(survivors).toBe(3);
		expectNear(answer, trueCount("3", 0, 1));
		for (const node of fleet.nodes) {
			const detail = await node.untilJob(job, ({ state }) => state === "completed");
			expect(detail.answer).toEqual(answer);
			expect(detail.technique).toBe("query");
			expect(detail.model).toBeUndefined();
			expect(await spent(node)).toBeGreaterThan(0.5);
		}
	});

	it("answers a histogram over the classes", { timeout: TEST_MS }, async () => {
		const by = "digit=0,1,2,3,4,5,6,7,8,9";
		const { code, stdout } = await query(
			fleet.node(1),
			...["histogram", "--by", by, "--epsilon", "1", "--delta", DELTA, "--federation"],
		);
		expect(code).toBe(0);
		const { answer } = JSON.parse(stdout);
		for (const [digit, count] of answer.counts.entries())
			expect(Math.abs(count - trueCount(String(digit), 0, 1))).toBeLessThan(7 * answer.standardError + 1);
	});

	it("is refused before anything leaves when the budget does not allow it", {
		timeout: TEST_MS,
	}, async () => {
		const before = await spent(fleet.node(2));
		const { code, stdout } = await query(
			fleet.node(2),
			...["count", "--epsilon", "7.9", "--delta", DELTA, "--federation"],
		);
		expect(code).toBe(6);
		expect(JSON.parse(stdout)).toMatchObject({ code: "policy.query_refused" });
		expect(await spent(fleet.node(2))).toBe(before);
	});

	it("is refused with the key that is wrong", { timeout: TEST_MS }, async () => {
		const { code, stdout } = await query(
			fleet.node(0),
			...["mean", "--column", "digit", "--epsilon", "1", "--delta", DELTA, "--federation"],
		);
		expect(code).toBe(2);
		expect(JSON.parse(stdout).detail).toContain("query.bounds");
	});
});
