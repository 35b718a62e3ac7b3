import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeCanonical } from "../../../crypto/encoding.ts";
import { AlthingError } from "../../../crypto/error.ts";
import { Budgets } from "../../../node/budget/budgets.ts";
import type { Datasets, RegisteredDataset } from "../../../node/data/datasets.ts";
import type { WorkerResult, WorkerTask } from "../../../node/jobs/trainingTasks.ts";
import { Queries } from "../../../node/queries/queries.ts";
import { answerQuestion, costOfQuestion } from "../../../node/queries/queryWork.ts";
import { localAnswer, localRelease } from "../../../node/rpc/schemas.ts";
import type { CallContext } from "../../../node/rpc/services.ts";
import { openStore, type Store } from "../../../node/store/index.ts";
import { auditLedger } from "../../../src/privacy/budget/audit.ts";
import { parseEntry } from "../../../src/privacy/budget/records.ts";

const context: CallContext = {
	caller: { tokenId: "t1", tokenName: "ann", role: "data_scientist" },
	signal: new AbortController().signal,
};
const RECORDS = 300;
let directory: string;
let store: Store;
let budgets: Budgets;
/** What was done, in order. */
let steps: string[];
/** The ledger's journal. */
let journalled: Uint8Array[];
let answering: () => void;

beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-queries-"));
	store = await openStore({ directory: join(directory, "store"), key: new Uint8Array(32).fill(3) });
	steps = [];
	journalled = [];
	answering = () => undefined;
	const journal = {
		append: (kind: string, body: Uint8Array) => {
			steps.push("journal");
			journalled.push(body);
			return store.journal.append(kind, body);
		},
	};
	budgets = new Budgets({ journal, records: [], defaults: { epsilon: 4, delta: 1e-5 } });
	await budgets.openAccount("people");
	steps = [];
});
afterEach(async () => {
	await store.close();
	await rm(directory, { recursive: true, force: true });
});

/** The service over one data set of 300 people aged 0 to 99, half of them of class a; work is done in this thread. */
async function service(): Promise<Queries> {
	const path = join(directory, "people.csv");
	const rows = Array.from({ length: RECORDS }, (_, i) => `${i % 100},${i % 2 === 0 ? "a" : "b"}`);
	await writeFile(path, ["age,group", ...rows].join("\n"));
	const people: Partial<RegisteredDataset> = {
		path,
		columns: ["age"],
		description: {
			name: "people",
			label: { kind: "class", column: "group", classes: ["a", "b"] },
			features: { count: 1, bounds: [0, 100], scale: "unit" },
		},
	};
	const datasets = {
		require: (name: string) => {
			if (name === "people") return people;
			throw new AlthingError("data.not_found", `there is no data set named ${name}`);
		},
		streamed: () => undefined,
	} as unknown as Datasets;
	const run = async (task: WorkerTask): Promise<WorkerResult> => {
		steps.push(task.kind);
		if (task.kind === "costOfQuestion")
			return { kind: "questionCost", cost: costOfQuestion(task.data, task.question) };
		if (task.kind !== "answerQuestion") throw new Error(task.kind);
		answering();
		return { kind: "questionAnswer", answer: answerQuestion(task.data, task.question) };
	};
	const pool = { run, load: () => ({ waiting: 0, running: 0 }), tell: () => {}, stop: async () => undefined };
	return new Queries({ store, pool: () => pool, datasets, budgets });
}

const count = (privacy: object) => ({ dataset: "people", query: { kind: "count", privacy } }) as never;

async function executions(): Promise<string[]> {
	const ids: string[] = [];
	for await (const [id] of store.mechanismExecutions.entries()) ids.push(id);
	return ids;
}

async function audit() {
	const recorded = (await executions()).map((chargeId) => ({ chargeId }));
	const entries = journalled.map((body) => parseEntry(decodeCanonical(body)));
	return auditLedger(entries, { rounds: [], dead: [], executions: recorded });
}

describe("questions to one's own records", () => {
	it("are planned, charged durably to both parts, and only then answered", async () => {
		const queries = await service();
		const answer = await queries.ask(count({ epsilon: 1 }), context);
		expect(localAnswer.parse(answer)).toBeDefined();
		expect(answer.charged).toEqual({ epsilon: 1, delta: 0 });
		// A standard error of 1.4: far beyond any chance.
		expect(Math.abs((answer.answer as { count: { value: number } }).count.value - RECORDS)).toBeLessThan(60);
		expect(steps).toEqual(["costOfQuestion", "journal", "journal", "journal", "journal", "answerQuestion"]);
		const { train, heldOut } = budgets.ledger.jobSpent("people", answer.id, 1e-6);
		for (const part of [train, heldOut]) {
			expect(part.epsilon).toBeGreaterThan(0.9);
			expect(part.epsilon).toBeLessThan(1.01);
		}
		expect(budgets.ledger.history("people").map(({ analyst }) => analyst)).toEqual(["ann", "ann"]);
		const report = await audit();
		expect(report.differences).toEqual([]);
		expect(report.charges).toMatchObject({ total: 2, released: 2, wasted: 0, open: 0 });
	});

	it("keep the epsilon and delta that are stated, with what is charged beside the event", async () => {
		const queries = await service();
		for (const privacy of [{ epsilon: 1, delta: 1e-6 }, { noiseMultiplier: 5 }]) {
			const { id, charged } = await queries.ask(count(privacy), context);
			expect(charged.delta).toBe(1e-6);
			const { train } = budgets.ledger.jobSpent("people", id, 1e-6);
			expect(train.epsilon).toBeGreaterThan(0);
			const [charge] = budgets.ledger.chargesOf(id, 0);
			expect(charge!.extraDelta).toBeGreaterThan(0);
			expect(charge!.extraDelta).toBeLessThan(1e-8);
			if ("epsilon" in privacy) expect(charged.epsilon).toBe(1);
			else expect(charged.epsilon).toBeGreaterThan(0.5);
		}
	});

	it("cost nothing when they are refused", async () => {
		const queries = await service();
		const refused: [Promise<unknown>, string][] = [
			[queries.ask({ dataset: "nobody", query: {} }, context), "query.invalid"],
			[
				queries.ask({ ...(count({ epsilon: 1 }) as object), dataset: "nobody" } as never, context),
				"data.not_found",
			],
			[
				queries.ask(
					{
						dataset: "people",
						query: { kind: "sum", column: "height", bounds: [0, 1], privacy: { epsilon: 1 } },
					},
					context,
				),
				"query.unknown_column",
			],
			[queries.ask(count({ epsilon: 100, delta: 1e-6 }), context), "query.delta_too_small"],
			[queries.ask(count({ epsilon: 50 }), context), "budget.exceeded"],
			[
				queries.release({ dataset: "people", release: { epsilon: 1, queries: [] } }, context),
				"query.invalid",
			],
		];
		for (const [call, code] of refused) await expect(call).rejects.toMatchObject({ code });
		expect(steps).not.toContain("answerQuestion");
		expect(budgets.ledger.history("people")).toEqual([]);
		expect(await executions()).toEqual([]);
	});

	it("stay charged when the answer fails, for nobody knows what it told", async () => {
		const queries = await service();
		answering = () => {
			throw new Error("the worker died");
		};
		await expect(queries.ask(count({ epsilon: 1 }), context)).rejects.toThrow("the worker died");
		expect(budgets.ledger.history("people").map(({ state }) => state)).toEqual(["released", "released"]);
		expect(await executions()).toEqual([]);
		const report = await audit();
		expect(report.differences).toEqual([]);
		expect(report.charges).toMatchObject({ total: 2, released: 0, wasted: 2 });
		// What is left is no more than before.
		answering = () => undefined;
		await expect(queries.ask(count({ epsilon: 3.9 }), context)).rejects.toMatchObject({
			code: "budget.exceeded",
		});
	});

	it("asked together never spend more than there is", async () => {
		const queries = await service();
		const asked = await Promise.allSettled(
			Array.from({ length: 8 }, () => queries.ask(count({ epsilon: 1 }), context)),
		);
		const answered = asked.filter(({ status }) => status === "fulfilled").length;
		expect(answered).toBeGreaterThanOrEqual(3);
		expect(answered).toBeLessThan(8);
		expect(steps.filter((step) => step === "answerQuestion")).toHaveLength(answered);
		expect(budgets.ledger.spent("people").epsilon).toBeLessThanOrEqual(4);
		expect((await audit()).charges.total).toBe(2 * answered);
	});

	it("are answered several for one epsilon", async () => {
		const queries = await service();
		const release = {
			epsilon: 2,
			queries: [
				{ kind: "count", answers: { least: 0, largest: 1000, step: 1 } },
				{ kind: "mode", by: { column: "group", categories: ["a", "b"] } },
				{ kind: "quantile", column: "age", bounds: [0, 100], fraction: 0.5 },
			],
		};
		const answer = await queries.release({ dataset: "people", release }, context);
		expect(localRelease.parse(answer)).toBeDefined();
		expect(answer.charged).toEqual({ epsilon: 2, delta: 0 });
		expect(answer.answers.map(({ kind }) => kind)).toEqual(["count", "mode", "quantile"]);
		expect((await executions()).sort()).toEqual([`${answer.id}/heldOut`, `${answer.id}/train`]);
	});
});
