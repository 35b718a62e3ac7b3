/** What organizations accept, refuse, approve, stop and take up again; budgets that run out. */
import { rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { AlthingError } from "../../crypto/error.ts";
import type { JobDetail } from "../../node/rpc/services.ts";
import { digitsJob, digitsSlice, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 90_000;
const SET = "digits-8x8";
let fleet: Fleet;

/** Four members, three of which are enough; the last two differ in what they accept. */
const STRICT = 2;
const BY_HAND = 3;

beforeAll(async () => {
	fleet = await Fleet.start(4, (index) => ({
		budgets: { epsilon: 50, delta: 1e-5 },
		policy: {
			...(index === STRICT ? { maximumEpsilon: 5, maximumParameters: 1000 } : {}),
			...(index === BY_HAND ? { autoApproveJobs: false } : {}),
		},
	}));
	await fleet.found({ minimumSurvivorFraction: 0.6 });
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

/** A test that failed must not make the next one fail. */
afterEach(async () => {
	const { jobs } = await fleet.node(0).call("job.list", {});
	for (const { id, state } of jobs)
		if (!["completed", "aborted", "rejected"].includes(state))
			await fleet.node(0).call("job.abort", { job: id });
	await Promise.all(fleet.nodes.map((node) => setBudget(node, 50)));
}, TEST_MS);

async function submit(options: Parameters<typeof digitsJob>[0], changes: Record<string, unknown> = {}) {
	const { id } = await fleet.node(0).call("job.submit", { spec: { ...digitsJob(options), ...changes } });
	return id;
}

/** Approves at the node that asks a person. */
async function approved(job: string): Promise<string> {
	const node = fleet.node(BY_HAND);
	await node.untilEvent("job.approval_wanted", (event) => event.job === job);
	await node.call("job.approve", { job });
	return job;
}

function responseOf(detail: JobDetail, node: FleetNode) {
	return detail.participants.find(({ peer }) => peer === node.peer);
}

async function everywhere(job: string, state: string, nodes: readonly FleetNode[] = fleet.nodes) {
	return Promise.all(nodes.map((node) => node.untilJob(job, (detail) => detail.state === state)));
}

async function refusalOf(job: string, node: FleetNode): Promise<string> {
	const detail = await fleet
		.node(0)
		.untilJob(job, (known) => responseOf(known, node)?.decision === "rejected");
	return responseOf(detail, node)?.reason ?? "";
}

async function setBudget(node: FleetNode, epsilon: number): Promise<void> {
	await node.call("budget.set", { dataset: SET, epsilon, delta: 1e-5 });
}

/** Of all accounts: asking for one by name has the tight accountant work, too, and rounds go on meanwhile. */
async function spent(node: FleetNode): Promise<number> {
	const { budgets } = await node.call("budget.show", {});
	return budgets.find(({ dataset }) => dataset === SET)?.epsilonSpent ?? Number.NaN;
}

describe("a job outside the rules", () => {
	it("is refused by the charter before anybody hears of it", { timeout: TEST_MS }, async () => {
		await expect(submit({ epsilon: 9 })).rejects.toMatchObject({
			code: "job.below_privacy_floor",
			message: expect.stringContaining("epsilon 9 is above the allowed 8"),
		});
		await expect(
			submit({}, { privacy: { mechanism: "none" }, training: { algorithm: "fedsgd", rounds: 2 } }),
		).rejects.toMatchObject({ code: "job.below_privacy_floor" });
		await expect(submit({}, { surprise: 1 })).rejects.toMatchObject({
			code: "job.invalid",
			message: expect.stringContaining("surprise"),
		});
		expect((await fleet.node(0).call("job.list", {})).jobs).toEqual([]);
	});

	it("goes on without the organization whose policy it breaks", { timeout: TEST_MS }, async () => {
		const strict = fleet.node(STRICT);
		const job = await approved(await submit({ epsilon: 6, rounds: 2 }));
		expect(await refusalOf(job, strict)).toContain("our policy allows epsilon up to 5");
		const rest = fleet.nodes.filter((node) => node !== strict);
		const [detail] = await everywhere(job, "completed", rest);
		expect(detail?.history.every(({ cohort }) => !cohort.includes(strict.peer))).toBe(true);
		expect((await strict.call("job.show", { job })).state).toBe("rejected");
	});

	it("is refused for a model that is too large, and for data that nobody has", {
		timeout: TEST_MS,
	}, async () => {
		const large = await submit({ epsilon: 2 }, { model: { kind: "multilayer_perceptron", hidden: [64] } });
		expect(await refusalOf(large, fleet.node(STRICT))).toMatch(
			/model has \d+ parameters, our policy allows 1000/,
		);
		await fleet.node(0).call("job.abort", { job: large });

		const path = join(fleet.node(0).directory, "mine.csv");
		await writeFile(path, digitsSlice(0, 8));
		await fleet.node(0).call("data.add", { name: "mine", path, description: SET });
		const lonely = await submit({ set: "mine", epsilon: 2 });
		const [detail] = await everywhere(lonely, "rejected");
		expect(detail?.reason).toContain("we have no data set named mine");
	});

	it("is refused for a technique that the organization does not allow", { timeout: TEST_MS }, async () => {
		const node = fleet.node(STRICT);
		await node.configure({ budgets: { epsilon: 50, delta: 1e-5 }, policy: { techniques: ["query"] } });
		await node.stop();
		await node.start();
		await fleet.connected();
		const job = await submit({ epsilon: 2 });
		expect(await refusalOf(job, node)).toContain("our policy does not allow federated_learning");
		await fleet.node(0).call("job.abort", { job });
		await everywhere(job, "aborted");
		await node.configure({ budgets: { epsilon: 50, delta: 1e-5 } });
		await node.stop();
		await node.start();
		await fleet.connected();
	});
});

describe("a person", () => {
	it("rejects a job for the organization; the others go on", { timeout: TEST_MS }, async () => {
		const node = fleet.node(BY_HAND);
		const job = await submit({ epsilon: 2, rounds: 2 });
		await node.untilEvent("job.approval_wanted", (event) => event.job === job);
		const waiting = await node.call("job.show", { job });
		expect(waiting).toMatchObject({ state: "proposed", decision: "pending" });
		await node.call("job.reject", { job, reason: "not this quarter" });
		expect(await refusalOf(job, node)).toBe("not this quarter");
		await expect(node.call("job.approve", { job })).rejects.toMatchObject({ code: "job.decided" });
		await everywhere(job, "completed", fleet.nodes.slice(0, 3));
		expect((await node.call("job.show", { job })).state).toBe("rejected");
	});

	it("aborts its own job for everybody", { timeout: TEST_MS }, async () => {
		const job = await approved(await submit({ epsilon: 2, rounds: 40 }));
		await fleet.node(1).untilJob(job, ({ history }) => history.length >= 1);
		await fleet.node(0).call("job.abort", { job, reason: "a mistake in the file" });
		const details = await everywhere(job, "aborted");
		expect(details.map(({ reason }) => reason)).toEqual(details.map(() => "a mistake in the file"));
		await expect(fleet.node(0).call("job.resume", { job })).rejects.toMatchObject({ code: "job.ended" });
	});

	it("stops another's job only here, also over a restart, and takes it up again", {
		timeout: TEST_MS,
	}, async () => {
		const node = fleet.node(1);
		const job = await approved(await submit({ epsilon: 2, rounds: 24 }));
		await node.untilJob(job, ({ history }) => history.length >= 1);
		await node.call("job.abort", { job, reason: "we need the machine" });
		await node.stop();
		await node.start();
		const rounds = (await fleet.node(0).call("job.show", { job })).history.length;
		await fleet.node(0).untilJob(job, ({ history }) => history.length > rounds + 1);
		expect(await node.call("job.show", { job })).toMatchObject({
			state: "aborted",
			reason: "we need the machine",
		});
		expect((await fleet.node(0).call("job.show", { job })).history.at(-1)?.survivors).not.toContain(
			node.peer,
		);
		await node.call("job.resume", { job });
		await everywhere(job, "completed");
		expect(await node.modelHash(job)).toBe(await fleet.node(0).modelHash(job));
	});
});

/** Sets the limit to what is spent, so that the next charge of either partition is refused. */
async function exhaust(node: FleetNode): Promise<void> {
	for (let tries = 0; tries < 10; tries++) {
		const limit = await spent(node);
		try {
			await setBudget(node, limit);
			return;
		} catch (error) {
			// A round was charged in between.
			if (!(error instanceof AlthingError) || error.code !== "budget.below_spent") throw error;
		}
	}
	throw new Error("rounds were charged faster than the budget could be set");
}

/** So many that the job is still running when a budget is changed in its first rounds. */
const BUDGET_ROUNDS = 8;
/** On a busy machine a node must not be left out as too slow: who is asked for nothing is refused nothing. */
const LASTING = { epsilon: 4, rounds: BUDGET_ROUNDS, phaseTimeoutMs: 2500 };

/** Once this node's own contribution was in a sum, and so was charged. */
async function untilContributed(node: FleetNode, job: string): Promise<void> {
	await node.untilJob(job, ({ history }) => history.some(({ survivors }) => survivors.includes(node.peer)));
}

describe("a budget", () => {
	it("that does not cover a job refuses it, naming data set and limit", { timeout: TEST_MS }, async () => {
		const node = fleet.node(1);
		const limit = (await spent(node)) + 0.01;
		await setBudget(node, limit);
		const job = await submit({ epsilon: 2, rounds: 2 });
		const reason = await refusalOf(job, node);
		expect(reason).toContain(SET);
		expect(reason).toContain(String(limit));
		await fleet.node(0).call("job.abort", { job });
	});

	it("that runs out midway takes the organization out; the others go on", { timeout: TEST_MS }, async () => {
		const node = fleet.node(1);
		const job = await approved(await submit(LASTING));
		await untilContributed(node, job);
		await exhaust(node);
		const withdrawn = await node.untilEvent("job.withdrawn", (event) => event.job === job);
		expect(withdrawn.data).toMatchObject({ code: "budget.exceeded", reason: expect.stringContaining(SET) });
		const details = await everywhere(job, "completed");
		const others = details[0]?.history.at(-1);
		expect(others?.survivors).not.toContain(node.peer);
		expect(await spent(node)).toBeLessThanOrEqual(
			(await node.call("budget.show", { dataset: SET })).budgets[0]?.epsilon ?? 0,
		);
		await expect(setBudget(node, (await spent(node)) / 2)).rejects.toMatchObject({
			code: "budget.below_spent",
		});
	});

	it("that runs out at too many makes the job wait, until it is raised and resumed", {
		timeout: TEST_MS,
	}, async () => {
		const [first, second] = [fleet.node(1), fleet.node(2)];
		const job = await approved(await submit(LASTING));
		for (const node of [first, second]) {
			await untilContributed(node, job);
			await exhaust(node);
		}
		for (const node of [first, second]) {
			const { reason } = await node.untilJob(job, ({ state }) => state === "waiting");
			expect(reason).toContain(`privacy budget of data set "${SET}"`);
			expect(reason).toContain("limit");
		}
		// The others say what they wait for too.
		const other = await fleet.node(0).untilJob(job, ({ state }) => state === "waiting");
		expect(other.reason).toMatch(/^attempt \d+ at round \d+ ended: ./);
		for (const node of [first, second]) {
			await setBudget(node, 50);
			await node.call("job.resume", { job });
		}
		await everywhere(job, "completed");
		expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(job)))).size).toBe(1);
	});
});

describe("a data file", () => {
	it("that is gone when a job starts withdraws the organization, naming it", {
		timeout: TEST_MS,
	}, async () => {
		const node = fleet.node(1);
		const path = join(node.directory, "digits.csv");
		await rename(path, `${path}.away`);
		const job = await approved(await submit({ epsilon: 2, rounds: 3 }));
		const withdrawn = await node.untilEvent("job.withdrawn", (event) => event.job === job);
		expect(withdrawn.data.reason).toContain(path);
		await fleet.node(0).untilJob(job, ({ state }) => state === "completed");
		await rename(`${path}.away`, path);
		await everywhere(job, "completed");
	});
});
