/** Many jobs at one node: they all end, beyond its limit one after the other, over a restart as well. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digitsJob, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 120_000;
const JOBS = 6;
let fleet: Fleet;

beforeAll(async () => {
	fleet = await Fleet.start(3, (index) => ({
		// Members need not have the same limits.
		jobs: { running: index === 0 ? 2 : 3, taskSeconds: 30 },
		policy: { maximumMemoryMiB: 8 },
		budgets: { epsilon: 60, delta: 1e-5 },
	}));
	await fleet.found();
	await fleet.addDigits();
}, TEST_MS);

afterAll(() => fleet?.end());

describe("many jobs at once", () => {
	it("are queued beyond the node's limit, go on after a restart, and all end", {
		timeout: TEST_MS,
	}, async () => {
		const [first, second] = fleet.nodes as [FleetNode, FleetNode, FleetNode];
		const specs = Array.from({ length: JOBS }, (_, index) => digitsJob({ name: `job-${index}`, rounds: 4 }));
		const submitted = specs.map((spec, index) => fleet.node(index % 3).call("job.submit", { spec }));
		const ids = (await Promise.all(submitted)).map(({ id }) => id);
		await first.untilEvent("job.state", ({ data }) => data.state === "queued");
		const { runningJobs, work } = await first.call("node.status", {});
		expect(runningJobs).toBeLessThanOrEqual(2);
		for (const { job } of work) expect(ids).toContain(job);
		await second.kill();
		await second.start();
		for (const node of fleet.nodes)
			for (const id of ids)
				expect((await node.untilJob(id, ({ state }) => state === "completed")).round).toBe(4);
		expect(await first.call("node.status", {})).toMatchObject({ runningJobs: 0, queuedJobs: [] });
		const { body } = await first.health("/metrics");
		expect(body).toMatch(/^althing_jobs_queued 0$/m);
		expect(body).toMatch(/^nodejs_eventloop_lag_p99_seconds /m);
	});

	it("do not take up one that needs more memory than a job may have", { timeout: TEST_MS }, async () => {
		const model = { kind: "multilayer_perceptron", hidden: [512, 512] };
		const { id } = await fleet.node(0).call("job.submit", { spec: { ...digitsJob(), name: "large", model } });
		const detail = await fleet.node(1).untilJob(id, ({ state }) => state === "rejected");
		expect(detail.reason).toMatch(/MiB of memory here, our policy allows 8/);
	});
});
