import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeCanonical } from "../../../crypto/encoding.ts";
import { BUDGET_KIND, Budgets } from "../../../node/budget/budgets.ts";
import { createTightAccountant } from "../../../node/budget/tightAccounting.ts";
import { type Journal, openJournal } from "../../../node/store/journal.ts";
import { planJob } from "../../../src/jobs/jobPlan.ts";
import { gaussian, poissonSampled } from "../../../src/privacy/accounting/events.ts";
import type { ChargeRequest } from "../../../src/privacy/budget/charges.ts";
import { type Stated, tightAnswer } from "../../../src/privacy/budget/statement.ts";
import { digitsJob } from "../../src/training/federation.ts";

const defaults = { epsilon: 8, delta: 1e-5 };
const event = poissonSampled(0.01, gaussian(2));
let directory: string;
let journal: Journal;
beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-budgets-"));
	journal = await openJournal({ path: join(directory, "journal") });
});
afterEach(async () => {
	await journal.close();
	await rm(directory, { recursive: true, force: true });
});

async function recordsIn(opened: Journal): Promise<Uint8Array[]> {
	const records: Uint8Array[] = [];
	for await (const { body } of opened.replay(BUDGET_KIND)) records.push(body);
	return records;
}

function request(dataset: string, id: string, more: Partial<ChargeRequest> = {}): ChargeRequest {
	return {
		dataset,
		partition: "train",
		jobId: "job-1",
		round: 0,
		chargeId: id,
		attempt: 0,
		event,
		extraDelta: 1e-25,
		...more,
	};
}

describe("journals written before accounts formed a tree", () => {
	const at = "2026-01-02T03:04:05.000Z";
	const old = [
		{ at, record: { type: "account", dataset: "patients", epsilonLimit: 10, deltaLimit: 1e-5 } },
		{ at, record: { type: "charge", ...request("patients", "a") }, epsilonAfter: 0.4 },
		{ at, record: { type: "charge", ...request("patients", "b", { round: 1 }) }, epsilonAfter: 0.5 },
		{ at, record: { type: "refund", chargeId: "b", attempt: 0, proof: "dead" } },
		{ at, record: { type: "finalise", chargeId: "a" } },
		{ at, record: { type: "account", dataset: "patients", epsilonLimit: 4, deltaLimit: 1e-6 } },
	].map((entry) => encodeCanonical(entry as never));

	it("are read as they were meant, under the filter, which is the stronger promise", async () => {
		const budgets = new Budgets({ journal, records: old, defaults });
		expect(budgets.ledger.account("patients")).toMatchObject({
			kind: "dataset",
			parent: undefined,
			composition: "adaptive",
			limits: { epsilon: 4, delta: 1e-6 },
		});
		expect(budgets.ledger.history()).toMatchObject([
			{ chargeId: "a", state: "released", epsilonAfter: 0.4, at },
			{ chargeId: "b", state: "refunded" },
		]);
		expect(budgets.ledger.spent("patients")).toMatchObject({ method: "rdp-filter", delta: 1e-6 });
		// And go on being used.
		await budgets.openAccount("patients");
		await budgets.change({ type: "limits", account: "patients", epsilonLimit: 5, deltaLimit: 1e-6 }, "ann");
		await budgets.charge([request("patients", "c", { round: 2 })]);
		const again = new Budgets({ journal, records: [...old, ...(await recordsIn(journal))], defaults });
		expect(again.ledger.spent("patients")).toEqual(budgets.ledger.spent("patients"));
		expect(again.changesOf("patients").map(({ by }) => by)).toEqual(["unknown", "unknown", "ann"]);
	});

	it("that contradict themselves are refused, not guessed at", () => {
		const unopened = encodeCanonical({ at, record: { type: "charge", ...request("nobody", "x") } } as never);
		expect(() => new Budgets({ journal, records: [unopened], defaults })).toThrow(
			expect.objectContaining({ code: "budget.not_found" }),
		);
		const nonsense = encodeCanonical({ at, record: { type: "gift" } } as never);
		expect(() => new Budgets({ journal, records: [nonsense], defaults })).toThrow(
			expect.objectContaining({ code: "budget.bad_record" }),
		);
	});
});

it("a thousand accounts and a hundred jobs at once: nothing lost, nothing twice, no limit passed", async () => {
	const budgets = new Budgets({ journal, records: [], defaults: { epsilon: 1, delta: 1e-5 } });
	const open = (
		account: string,
		kind: "organization" | "unit" | "dataset",
		parent?: string,
		epsilonLimit = 8,
	) =>
		budgets.change(
			{
				type: "open",
				account,
				kind,
				...(parent === undefined ? {} : { parent }),
				epsilonLimit,
				deltaLimit: 1e-5,
				composition: "adaptive",
				children: "sequential",
			},
			"test",
		);
	await open("clinic", "organization", undefined, 2);
	await Promise.all(Array.from({ length: 20 }, (_, i) => open(`unit-${i}`, "unit", "clinic", 1.5)));
	await Promise.all(Array.from({ length: 1000 }, (_, i) => open(`set-${i}`, "dataset", `unit-${i % 20}`, 1)));
	expect(budgets.ledger.accounts()).toHaveLength(1021);

	// Each job charges its own data sets, round after round, all jobs at the same time, until refused.
	const noisy = poissonSampled(0.05, gaussian(2));
	const admitted: string[] = [];
	const refused: string[] = [];
	await Promise.all(
		Array.from({ length: 100 }, async (_, job) => {
			for (let round = 0; round < 12; round++) {
				const chargeId = `job-${job}/${round}`;
				const dataset = `set-${(job * 10 + round) % 1000}`;
				const one = request(dataset, chargeId, { jobId: `job-${job}`, round, event: noisy });
				try {
					await budgets.charge([one]);
					// The same charge again, as a retry would: no second charge.
					await budgets.charge([one]);
					admitted.push(chargeId);
				} catch (error) {
					expect(error).toMatchObject({ code: "budget.exceeded" });
					refused.push(chargeId);
				}
			}
		}),
	);
	expect(admitted.length + refused.length).toBe(1200);
	expect(admitted.length).toBeGreaterThan(100);
	expect(refused.length).toBeGreaterThan(0);
	const reopened = new Budgets({ journal, records: await recordsIn(journal), defaults });
	for (const { ledger } of [budgets, reopened]) {
		expect(
			ledger
				.history()
				.map(({ chargeId }) => chargeId)
				.sort(),
		).toEqual([...admitted].sort());
		for (const { id, limits } of ledger.accounts())
			expect(ledger.spent(id).epsilon).toBeLessThanOrEqual(limits.epsilon);
	}
	// The organization was filled to the brim: one more of what was charged does not fit.
	const more = [{ partition: "train" as const, event: noisy, extraDelta: 1e-25 }];
	expect(reopened.ledger.affords("set-999", more)).toBe(false);
	expect(reopened.ledger.spent("clinic").epsilon).toBeCloseTo(budgets.ledger.spent("clinic").epsilon, 9);
});

it("keeps the account that an officer opened for a data set, and refuses one of another kind", async () => {
	const budgets = new Budgets({ journal, records: [], defaults });
	const limits = { epsilonLimit: 2, deltaLimit: 1e-6 };
	const rules = { composition: "planned", children: "sequential" } as const;
	await budgets.change({ type: "open", account: "patients", kind: "dataset", ...limits, ...rules }, "ann");
	await budgets.openAccount("patients");
	expect(budgets.ledger.account("patients")).toMatchObject({
		composition: "planned",
		limits: { epsilon: 2 },
	});
	const unit = { type: "open", account: "ward", kind: "unit", ...limits } as const;
	await budgets.change({ ...unit, composition: "adaptive", children: "sequential" }, "ann");
	await expect(budgets.openAccount("ward")).rejects.toMatchObject({ code: "budget.account_exists" });
});

it("renews an account whose period has ended before it charges, once for all who wait", async () => {
	let nowMs = Date.parse("2026-01-01T00:00:00Z");
	const budgets = new Budgets({ journal, records: [], defaults, nowMs: () => nowMs });
	await budgets.change(
		{
			type: "open",
			account: "patients",
			kind: "dataset",
			epsilonLimit: 1,
			deltaLimit: 1e-5,
			composition: "adaptive",
			children: "sequential",
			renewEveryDays: 30,
		},
		"ann",
	);
	const big = { event: gaussian(5) };
	await budgets.charge([request("patients", "a", big)]);
	await expect(budgets.charge([request("patients", "b", big)])).rejects.toMatchObject({
		code: "budget.exceeded",
	});
	nowMs += 31 * 86_400_000;
	const waiting = ["c", "d", "e"].map((id) =>
		budgets.charge([request("patients", id, { event: gaussian(20) })]),
	);
	await Promise.all(waiting);
	expect(budgets.ledger.account("patients")?.period.number).toBe(1);
	expect(budgets.changesOf("patients")).toMatchObject([{ by: "ann" }, { by: "node" }]);
});

describe("a planned account", () => {
	const open = (budgets: Budgets, epsilonLimit: number) =>
		budgets.change(
			{
				type: "open",
				account: "patients",
				kind: "dataset",
				epsilonLimit,
				deltaLimit: 1e-5,
				composition: "planned",
				children: "sequential",
			},
			"ann",
		);

	it("has the tight accountant asked away from the event loop, and again when another charge came between", async () => {
		const asked: unknown[] = [];
		const tight = async (question: Parameters<typeof tightAnswer>[0]): Promise<Stated> => {
			asked.push(question);
			return { epsilon: 2.9, method: "pld" };
		};
		const budgets = new Budgets({ journal, records: [], defaults, tight });
		await open(budgets, 3);
		// Each alone is below the Renyi bound's word; the two together need the tight one's.
		const half = { event: gaussian(1.97) };
		await Promise.all([
			budgets.charge([request("patients", "a", half)]),
			budgets.charge([request("patients", "b", half)]),
		]);
		expect(asked.length).toBeGreaterThan(0);
		expect(budgets.ledger.spent("patients")).toEqual(
			expect.objectContaining({ epsilon: 2.9, method: "pld" }),
		);
	});

	it("is refused what the tight accountant refuses", async () => {
		const tight = async (): Promise<Stated> => ({ epsilon: 3.1, method: "pld" });
		const budgets = new Budgets({ journal, records: [], defaults, tight });
		await open(budgets, 3);
		await expect(budgets.charge([request("patients", "a", { event: gaussian(1) })])).rejects.toMatchObject({
			code: "budget.exceeded",
		});
		expect(budgets.ledger.history()).toEqual([]);
	});
});

it("the worker's answer is the tight accountant's", async () => {
	const pool = createTightAccountant();
	try {
		const question = { event, delta: 1e-5 };
		expect(await pool.run(question)).toEqual(tightAnswer(question));
	} finally {
		await pool.stop();
	}
});

it("charges nothing, and says why, where the journal cannot be written", async () => {
	const broken = { append: () => Promise.reject(new Error("disk full")) };
	const budgets = new Budgets({ journal: broken, records: [], defaults });
	await expect(budgets.openAccount("patients")).rejects.toThrow("disk full");
	await expect(budgets.charge([request("patients", "a")])).rejects.toThrow("disk full");
	expect(await recordsIn(journal)).toEqual([]);
});

it("states a job's epsilon as its noise was sized, whoever was in the sums and whatever is charged meanwhile", async () => {
	const spec = digitsJob({
		training: {
			algorithm: "fedavg",
			rounds: 8,
			localEpochs: 1,
			localBatch: 24,
			localLearningRate: 0.5,
			evaluateEveryRounds: 4,
		},
		privacy: { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.1 },
		aggregation: { updateNormBound: 3 },
	});
	const plan = planJob(spec, { participants: 10, corruption: 2, minimumSurvivors: 6 });
	const chargeRound = (round: number) =>
		budgets.charge(
			plan
				.charges({ round, level: 0, samplerDistance: 1e-30, newCycles: 0 })
				.map(({ partition, event, extraDelta }) =>
					request("digits", `${round}/${partition}`, { partition, event, extraDelta, round }),
				),
		);
	let interrupt: (() => Promise<void>) | undefined = () => chargeRound(7);
	const budgets = new Budgets({
		journal,
		records: [],
		defaults: { epsilon: 10, delta: 1e-5 },
		tight: async (question) => {
			await interrupt?.();
			interrupt = undefined;
			return tightAnswer(question);
		},
	});
	await budgets.openAccount("digits");
	for (let round = 0; round < 7; round++) await chargeRound(round);
	const spent = await budgets.spentBy("digits", "job-1", { delta: 1e-6 });
	expect(budgets.ledger.chargesOf("job-1", 7)).toHaveLength(1);
	expect(spent).toBeLessThanOrEqual(8);
	expect(spent).toBeGreaterThan(7.9);
});
