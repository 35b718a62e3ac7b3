/** A job over a tree of cohorts, of whole nodes: eight in two cohorts of four, of which one each may be away. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digitsJob, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 120_000;
const ROUNDS = 10;

let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(8, () => ({ budgets: { epsilon: 60, delta: 1e-5 } }));
	// One of eight may be corrupt: of cohorts of four, no more could be.
	await fleet.found({ minimumSurvivorFraction: 0.75, assumedCorruptFraction: 0.125 });
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

async function reached(node: FleetNode, job: string, rounds: number) {
	return (await node.untilJob(job, ({ history }) => history.length >= rounds)).history;
}

async function coordinatorOf(node: FleetNode, job: string): Promise<FleetNode> {
	const { coordinator } = await node.untilJob(job, (detail) => detail.coordinator !== undefined);
	const found = fleet.nodes.find(({ peer }) => peer === coordinator);
	if (found === undefined) throw new Error(`no node is ${coordinator}`);
	return found;
}

describe("a job over a tree of cohorts", () => {
	it("goes on without a participant, then without its coordinator, and all end with one model", {
		timeout: TEST_MS,
	}, async () => {
		const spec = {
			...digitsJob({ name: "tree", rounds: ROUNDS }),
			aggregation: { cohortSize: 4, phaseTimeoutMs: 3000 },
		};
		const { id } = await fleet.node(0).call("job.submit", { spec });
		await fleet
			.node(0)
			.untilJob(id, ({ history }) => history.some(({ survivors }) => survivors.length === 8));
		expect((await fleet.node(0).call("job.show", { job: id })).secureSum).toMatchObject({
			participants: 4,
			cohorts: 2,
			minimumSurvivors: 3,
		});

		const coordinator = await coordinatorOf(fleet.node(0), id);
		const witness = fleet.nodes.find((node) => node !== coordinator) as FleetNode;
		const victim = fleet.nodes.find((node) => node !== coordinator && node !== witness) as FleetNode;
		await victim.kill();
		const known = (await witness.call("job.show", { job: id })).history.length;
		const { history } = await witness.untilJob(id, ({ history }) =>
			history.slice(known).some(({ survivors }) => survivors.length > 0 && !survivors.includes(victim.peer)),
		);
		// Of both cohorts at least three each: the cohort of whoever is away is not left out for that.
		expect(history.at(-1)?.survivors.length).toBeGreaterThanOrEqual(6);
		await victim.start();

		await coordinator.kill();
		await witness.untilEvent(
			"job.coordinator",
			({ job, data }) => job === id && data.coordinator !== coordinator.peer && data.certified === true,
		);
		await reached(witness, id, history.length + 2);
		await coordinator.start();
		await Promise.all(fleet.nodes.map((node) => node.untilJob(id, ({ state }) => state === "completed")));
		expect(new Set(await Promise.all(fleet.nodes.map((node) => node.modelHash(id)))).size).toBe(1);
	});

	it("is refused where its cohorts could not be", { timeout: TEST_MS }, async () => {
		const spec = { ...digitsJob({ name: "tree", rounds: 2 }), aggregation: { cohortSize: 5 } };
		await expect(fleet.node(0).call("job.submit", { spec })).rejects.toThrow(/make 1 cohorts/);
	});
});
