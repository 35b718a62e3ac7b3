import { describe, expect, it } from "vitest";
import { generateIdentitySeed, signingKeyFromSeed } from "../../../crypto/identity.ts";
import { type JobPolicy, judgeJob, requireCharter } from "../../../node/jobs/acceptance.ts";
import { cohortSecurityOf } from "../../../node/jobs/cohortSecurity.ts";
import type { Charter } from "../../../protocols/federation/index.ts";
import { rulesSchema } from "../../../protocols/federation/index.ts";
import { planJob } from "../../../src/jobs/jobPlan.ts";
import { BudgetLedger } from "../../../src/privacy/budget/ledger.ts";
import { checkJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";

const keys = Array.from({ length: 5 }, () => signingKeyFromSeed(generateIdentitySeed()));

function charter(rules: object = {}, organizations: readonly { peer: string }[] = keys): Charter {
	return {
		format: "althing/charter/1",
		federation: "demo",
		version: 5,
		previous: new Uint8Array(32),
		members: organizations
			.map(({ peer }) => ({ peer, joinedVersion: 1, organization: "Org", declared: {}, addresses: [] }))
			.sort((a, b) => (a.peer < b.peer ? -1 : 1)),
		rules: rulesSchema.parse(rules),
		createdAt: new Date(0).toISOString(),
		changes: [],
	};
}

const organizations = (count: number) => Array.from({ length: count }, (_, i) => ({ peer: `peer-${i}` }));

const POLICY: JobPolicy = {
	maximumEpsilon: 8,
	maximumDelta: 1e-5,
	techniques: ["federated_learning"],
	dataSets: "all",
	maximumParameters: 1_000_000,
	maximumMemoryMiB: 256,
	autoApproveJobs: true,
};

function spec(overrides: { privacy?: object; aggregation?: object; training?: object } = {}) {
	return resolveJobSpec(
		checkJobSpec({
			name: "digits",
			technique: "federated_learning",
			data: { set: "digits-8x8" },
			model: { kind: "softmax_regression" },
			training: { rounds: 5, expectedBatch: 500, ...overrides.training },
			privacy: {
				mechanism: "distributed_gaussian",
				epsilon: 4,
				delta: 1e-6,
				samplingRate: 0.3,
				...overrides.privacy,
			},
			aggregation: overrides.aggregation ?? {},
		}),
	);
}

function judge(
	overrides: {
		spec?: ReturnType<typeof spec>;
		rules?: object;
		policy?: Partial<JobPolicy>;
		rows?: number | undefined;
		limit?: number;
		classes?: string[];
		submitter?: string;
	} = {},
) {
	const ledger = new BudgetLedger();
	ledger.prepareChange(
		{
			type: "open",
			account: "digits-8x8",
			kind: "dataset",
			epsilonLimit: overrides.limit ?? 10,
			deltaLimit: 1e-5,
			composition: "adaptive",
			children: "sequential",
		},
		{ at: new Date(0).toISOString(), by: "test" },
	);
	return judgeJob({
		spec: overrides.spec ?? spec(),
		charter: charter(overrides.rules),
		policy: { ...POLICY, ...overrides.policy },
		ledger,
		plan: async (spec, who) => planJob(spec, who),
		dataset: () => {
			const rows = "rows" in overrides ? overrides.rows : 300;
			const known = spec().data.description;
			const classes = overrides.classes ?? (known.label.kind === "class" ? known.label.classes : []);
			const description = { ...known, label: { kind: "class" as const, column: "digit", classes } };
			return rows === undefined ? undefined : { trainingRows: rows, heldOutRows: rows / 4, description };
		},
		jobId: "job-1",
		submitter: overrides.submitter ?? "somebody else",
		self: "us",
	});
}

describe("an organization's answer to a proposed job", () => {
	it("is yes within charter, policy, data and budget; a person's where the policy asks for one", async () => {
		expect(await judge()).toEqual({ decision: "accept" });
		expect(await judge({ policy: { autoApproveJobs: false } })).toEqual({ decision: "ask" });
		const own = { policy: { autoApproveJobs: false }, submitter: "us" };
		expect(await judge(own)).toEqual({ decision: "accept" });
	});

	it.each([
		["epsilon above the charter's floor", { spec: spec({ privacy: { epsilon: 9 } }) }, /above the allowed 8/],
		[
			"no privacy where it is required",
			{ spec: { ...spec(), privacy: { mechanism: "none" as const } } },
			/requires differential privacy/,
		],
		[
			"a mechanism the charter does not allow",
			{ rules: { privacyFloor: { techniques: ["site_gaussian"] } } },
			/not among/,
		],
		[
			"fewer survivors than the charter asks for",
			{ spec: spec({ aggregation: { minimumSurvivors: 3 } }) },
			/the charter asks for 4/,
		],
		[
			"more survivors than members",
			{ spec: spec({ aggregation: { minimumSurvivors: 6 } }) },
			/6 survivors of 5/,
		],
		["epsilon above our policy", { policy: { maximumEpsilon: 2 } }, /our policy allows epsilon up to 2/],
		["delta above our policy", { policy: { maximumDelta: 1e-7 } }, /delta up to/],
		[
			"a technique we do not take part in",
			{ policy: { techniques: [] } },
			/does not allow federated_learning/,
		],
		["a data set we do not lend", { policy: { dataSets: [] } }, /does not lend/],
		["a model too large", { policy: { maximumParameters: 100 } }, /650 parameters, our policy allows 100/],
		[
			"more memory than we give a job",
			{
				spec: {
					...spec(),
					model: { kind: "multilayer_perceptron" as const, hidden: [512, 512], activation: "tanh" as const },
				},
				policy: { maximumMemoryMiB: 10 },
			},
			/would take [1-9]\d MiB of memory here, our policy allows 10/,
		],
		["a data set we do not have", { rows: undefined }, /no data set named/],
		["another description of our records", { classes: ["0", "1"] }, /under another description/],
		[
			"fewer records than the charter asks for",
			{ rules: { dataRequirements: { minimumRecords: 1000 } } },
			/asks for 1000 records/,
		],
		["a public batch smaller than our own sample", { rows: 2000 }, /samples more than/],
		["a budget that does not cover it", { limit: 1 }, /limit is epsilon 1/],
	])("is no for %s, with the reason", async (_, overrides, reason) => {
		const answer = await judge(overrides);
		expect(answer.decision).toBe("refuse");
		expect(answer).toHaveProperty("reason", expect.stringMatching(reason));
	});
});

describe("a job of a large cohort", () => {
	const rules = { assumedCorruptFraction: 0.2, minimumSurvivorFraction: 0.6 };

	it("gets a sparse graph whose parameters are told", () => {
		const large = charter(rules, organizations(200));
		const job = spec({ aggregation: { minimumSurvivors: 180 } });
		const who = requireCharter(job, large);
		expect(cohortSecurityOf(job, who)).toEqual({
			participants: 200,
			assumedCorrupt: 40,
			quorum: 121,
			minimumSurvivors: 180,
			graph: "ring",
			shareHolders: 60,
			threshold: 40,
			maskedNeighbours: 60,
			windowSurvivors: 40,
		});
	});

	it("is refused when its numbers allow no secure graph, with what to change", () => {
		const large = charter({ ...rules, assumedCorruptFraction: 1 / 3 }, organizations(1000));
		expect(() => requireCharter(spec({ aggregation: { minimumSurvivors: 700 } }), large)).toThrow(
			/Raise aggregation.minimumSurvivors/,
		);
	});

	it("of a small one is masked against everybody", () => {
		const job = spec();
		expect(cohortSecurityOf(job, requireCharter(job, charter()))).toMatchObject({
			graph: "complete",
			shareHolders: 4,
			threshold: 3,
		});
	});
});
