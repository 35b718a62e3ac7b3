/** What a round's work charges with correlated noise, through retries, refusals and lost workers. */
import { describe, expect, it } from "vitest";
import type { JobRuntime } from "../../../node/jobs/jobRuntime.ts";
import { RoundWork, type RoundWorkOptions } from "../../../node/jobs/roundWork.ts";
import type { WorkerTask } from "../../../node/jobs/trainingTasks.ts";
import { planJob } from "../../../src/jobs/jobPlan.ts";
import type { CorrelationHistory } from "../../../src/privacy/correlatedNoise/encoder.ts";
import { combine } from "../../../src/privacy/correlatedNoise/encoder.ts";
import { digitsJob, WHO } from "../../src/training/federation.ts";

const spec = digitsJob({
	training: { rounds: 12 },
	privacy: {
		mechanism: "distributed_gaussian",
		epsilon: 8,
		delta: 1e-6,
		correlation: "tree",
		minimumSeparation: 4,
	},
});
const plan = planJob(spec, WHO);
const job = {
	jobId: "job",
	spec,
	plan,
	participation: WHO,
	proposal: { submitter: "someone" },
} as unknown as JobRuntime;

/** RoundWork over a worker that combines empty sums, and a ledger that notes what it is asked. */
function bench() {
	const charged: { readonly chargeId: string; readonly round: number; readonly cost: number }[] = [];
	const refunded: string[] = [];
	const histories: (CorrelationHistory | undefined)[] = [];
	const settled: number[] = [];
	let refuses = false;
	const options = {
		self: { peer: "self" },
		datasets: {
			get: () => ({ path: "", splitKey: new Uint8Array(32) }),
			streamed: () => undefined,
			streams: { forget: async () => {} },
		},
		pool: {
			tell: () => {},
			run: async (task: WorkerTask) => {
				if (task.kind !== "contribute" || plan.work.kind !== "training") throw new Error(task.kind);
				histories.push(task.history);
				const combined = combine(plan.work.plan.correlation!, task.history, task.round, new Float64Array(2));
				return {
					kind: "contribution",
					vector: new Uint32Array(2),
					level: 0,
					samplerDistance: 0,
					...combined,
				};
			},
		},
		budgets: {
			charge: async (charges: { chargeId: string; round: number; partition: string; event: unknown }[]) => {
				if (refuses) throw new Error("budget.exceeded");
				for (const { chargeId, round, partition, event } of charges) {
					if (partition !== "train") continue;
					charged.push({ chargeId, round, cost: (event as { count: number }).count });
				}
			},
			refund: async (chargeId: string) => void refunded.push(chargeId),
			ledger: {
				chargesOf: (_: string, round: number) =>
					charged
						.filter((charge) => charge.round === round)
						.map(({ chargeId }) => ({ chargeId, state: "held", liveAttempts: [0] })),
			},
		},
		siteStates: { settle: async (_: string, content: { round: number }) => void settled.push(content.round) },
		backend: "onnx",
	};
	return {
		work: new RoundWork(options as unknown as RoundWorkOptions),
		charged,
		refunded,
		histories,
		settled,
		refuse: (value: boolean) => {
			refuses = value;
		},
	};
}

type Bench = ReturnType<typeof bench>;

async function round({ work }: Bench, number: number, attempts = [0]): Promise<void> {
	await work.execute(job, { kind: "contribute", round: number, state: new Uint8Array() });
	for (const attempt of attempts) await work.execute(job, { kind: "charge", round: number, attempt });
}

const costs = ({ charged }: Bench) => charged.map(({ cost }) => cost);

describe("rounds with correlated noise", () => {
	it("charge each cycle once, in the round that first shows it, alike for every attempt at that round", async () => {
		const run = bench();
		await round(run, 0, [0, 1]);
		for (const number of [1, 2, 3, 4, 5]) await round(run, number);
		expect(costs(run)).toEqual([1, 1, 0, 0, 0, 1, 0]);
		expect(run.charged[0]!.chargeId).toBe(run.charged[1]!.chargeId);
		expect(run.histories.map((history) => history?.round)).toEqual([undefined, 0, 1, 2, 3, 4]);
	});

	it("charge it in a later round where the budget refused it before", async () => {
		const run = bench();
		run.refuse(true);
		await expect(round(run, 0)).rejects.toThrow("budget.exceeded");
		run.refuse(false);
		await round(run, 1);
		await round(run, 2);
		expect(costs(run)).toEqual([1, 0]);
	});

	it("charge a round that is computed again anew, with a history of its own", async () => {
		const run = bench();
		await round(run, 0);
		await round(run, 1);
		await round(run, 1);
		await round(run, 2);
		expect(costs(run)).toEqual([1, 0, 1, 0]);
	});

	it("take no charge back that later rounds rely on", async () => {
		const run = bench();
		await round(run, 0);
		await run.work.refund("job", 0, 0);
		expect(run.refunded).toEqual([]);
	});

	it("begin anew once the job is forgotten", async () => {
		const run = bench();
		await round(run, 0);
		run.work.forget("job");
		await round(run, 1);
		expect(costs(run)).toEqual([1, 1]);
	});
});

it("settles what the site keeps at every certified round, asked to contribute to the next or not", async () => {
	const { work, settled } = bench();
	for (const number of [0, 1, 2])
		await work.settle("job", {
			round: number,
			attempt: 0,
			outcome: number === 1 ? "void" : "released",
			survivors: [],
		});
	expect(settled).toEqual([0, 1, 2]);
});
