/** Nodes that die while they train, and come back. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digitsJob, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 90_000;
const ROUNDS = 8;

let fleet: Fleet;

/** Four members of which one may be down: quorum 3, and sums of three are opened. */
beforeAll(async () => {
	fleet = await Fleet.start(4, () => ({ budgets: { epsilon: 60, delta: 1e-5 } }));
	await fleet.found({ minimumSurvivorFraction: 0.6 });
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

async function submitted(rounds = ROUNDS, name = "digits"): Promise<string> {
	const { id } = await fleet.node(0).call("job.submit", { spec: digitsJob({ name, rounds }) });
	return id;
}

async function reached(node: FleetNode, job: string, rounds: number): Promise<void> {
	await node.untilJob(job, ({ history }) => history.length >= rounds);
}

/** All four finish with one and the same model. */
async function expectSameModel(job: string, nodes: readonly FleetNode[] = fleet.nodes): Promise<void> {
	await Promise.all(nodes.map((node) => node.untilJob(job, ({ state }) => state === "completed")));
	const hashes = await Promise.all(nodes.map((node) => node.modelHash(job)));
	expect(new Set(hashes).size).toBe(1);
}

async function spent(node: FleetNode): Promise<number> {
	const { budgets } = await node.call("budget.show", { dataset: "digits-8x8" });
	return budgets[0]?.epsilonSpent ?? Number.NaN;
}

async function coordinatorOf(job: string): Promise<FleetNode> {
	const { coordinator } = await fleet.node(0).untilJob(job, (detail) => detail.coordinator !== undefined);
	const node = fleet.nodes.find(({ peer }) => peer === coordinator);
	if (node === undefined) throw new Error(`no node is ${coordinator}`);
	return node;
}

describe("a node killed without warning", () => {
	it("catches up when a participant comes back", { timeout: TEST_MS }, async () => {
		const job = await submitted();
		await reached(fleet.node(0), job, 2);
		const coordinator = await coordinatorOf(job);
		const victim = fleet.nodes.find((node) => node !== coordinator && node !== fleet.node(0)) as FleetNode;
		await victim.kill();
		const others = fleet.nodes.filter((node) => node !== victim);
		await reached(fleet.node(0), job, 5);
		const during = (await fleet.node(0).call("job.show", { job })).history[4];
		expect(during?.survivors).not.toContain(victim.peer);
		expect(during?.survivors).toHaveLength(3);
		await victim.start();
		await expectSameModel(job);
		const finished = await Promise.all(others.map((node) => node.call("job.show", { job })));
		expect(finished.map(({ history }) => history.length)).toEqual([ROUNDS, ROUNDS, ROUNDS]);
	});

	it("is replaced by the next in line under a certified term when it coordinates", {
		timeout: TEST_MS,
	}, async () => {
		const job = await submitted();
		await reached(fleet.node(0), job, 2);
		const coordinator = await coordinatorOf(job);
		const witness = fleet.nodes.find((node) => node !== coordinator) as FleetNode;
		await coordinator.kill();
		const change = await witness.untilEvent(
			"job.coordinator",
			(event) =>
				event.job === job && event.data.coordinator !== coordinator.peer && event.data.certified === true,
		);
		expect(change.data.term).toBeGreaterThan(0);
		await reached(witness, job, 5);
		await coordinator.start();
		await expectSameModel(job);
	});

	it("goes on from the last agreed round when all were killed", { timeout: TEST_MS }, async () => {
		const job = await submitted();
		await reached(fleet.node(0), job, 4);
		const before = await Promise.all(fleet.nodes.map(spent));
		const agreed = await Promise.all(fleet.nodes.map((node) => node.call("job.show", { job })));
		await Promise.all(fleet.nodes.map((node) => node.kill()));
		await Promise.all(fleet.nodes.map((node) => node.start()));
		const after = await Promise.all(fleet.nodes.map(spent));
		// Up to last bits: each figure is rounded up, and by how much depends on the order of additions.
		for (const [index, figure] of after.entries())
			expect(figure).toBeGreaterThanOrEqual((before[index] ?? Number.NaN) * (1 - 1e-12));
		await expectSameModel(job);
		const { history } = await fleet.node(0).call("job.show", { job });
		// A round that was certified but not yet shown when the process died is not shown later either.
		const rounds = history.map(({ round }) => round);
		expect(rounds).toEqual([...new Set(rounds)].sort((a, b) => a - b));
		expect(rounds.at(-1)).toBe(ROUNDS - 1);
		// Rounds agreed before the crash were not run again.
		expect(history.slice(0, 4)).toEqual(agreed[0]?.history.slice(0, 4));
	});

	it("stops cleanly on SIGTERM in the middle of a round, and resumes", { timeout: TEST_MS }, async () => {
		const job = await submitted();
		const node = fleet.node(1);
		await node.untilEvent("job.stage", (event) => event.job === job && Number(event.data.round) >= 2);
		const beganMs = Date.now();
		const { code, stderr } = await node.stop();
		expect({
			code,
			tookMs: Date.now() - beganMs < 10_000,
			stderr: stderr.split("\n").slice(-4),
		}).toMatchObject({
			code: 0,
			tookMs: true,
		});
		await reached(fleet.node(0), job, 5);
		await node.start();
		await expectSameModel(job);
	});
});

it("trains two jobs at once to the end", { timeout: TEST_MS }, async () => {
	const [first, second] = await Promise.all([submitted(3, "first"), submitted(3, "second")]);
	await expectSameModel(first);
	await expectSameModel(second);
	expect(await fleet.node(0).modelHash(first)).not.toBe(await fleet.node(0).modelHash(second));
});
