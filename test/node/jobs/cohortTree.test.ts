import { describe, expect, test } from "vitest";
import { cohortSecurityOf } from "../../../node/jobs/cohortSecurity.ts";
import { cohortTreeOf } from "../../../node/jobs/cohortTree.ts";
import { participationOf } from "../../../node/jobs/selection.ts";
import type { Charter } from "../../../protocols/federation/index.ts";
import { rulesSchema } from "../../../protocols/federation/rules.ts";
import type { ResolvedSpecification } from "../../../src/jobs/specification.ts";
import { checkJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";
import { planTraining } from "../../../src/training/plan.ts";
import { TREE_JOB } from "../../src/training/treeJob.ts";

function jobWith(aggregation: Record<string, unknown>) {
	return resolveJobSpec(checkJobSpec({ ...TREE_JOB, aggregation }));
}

function charterOf(members: number, rules: Record<string, unknown>): Charter {
	return {
		members: Array.from({ length: members }, (_, index) => ({ peer: `peer${index}` })),
		rules: rulesSchema.parse(rules),
	} as unknown as Charter;
}

const ONE_OF_TWELVE = { assumedCorruptFraction: 1 / 12, minimumSurvivorFraction: 0.75 };

describe("a job over a tree of cohorts", () => {
	const spec: ResolvedSpecification = jobWith({ cohortSize: 4 });

	test("has sums of one cohort, secured and noised each by itself", () => {
		const charter = charterOf(12, ONE_OF_TWELVE);
		const who = participationOf(spec, charter, 12);
		expect(who).toEqual({ participants: 12, corruption: 1, minimumSurvivors: 3, cohorts: 3 });
		expect(cohortSecurityOf(spec, who)).toMatchObject({
			participants: 4,
			cohorts: 3,
			assumedCorrupt: 1,
			quorum: 3,
			threshold: 3,
		});
		const one = jobWith({});
		const whole = participationOf(one, charter, 12);
		const ofCohort = planTraining(jobWith({ cohortSize: 4 }), who).noise[0]!.parameterSigma;
		const ofAll = planTraining(one, whole).noise[0]!.parameterSigma;
		// Of 9 survivors 8 are honest, of 3 only 2: each share has to be sqrt(4) times as large.
		expect(ofCohort / ofAll).toBeGreaterThan(1.9);
	});

	test.each([
		["with too few participants for two cohorts", 7, ONE_OF_TWELVE, /make 1 cohorts/],
		[
			"where a fifth may be corrupt, in cohorts of four",
			12,
			{ minimumSurvivorFraction: 0.75 },
			/make cohorts larger/,
		],
	])("is refused %s", (_, members, rules, message) => {
		expect(() => participationOf(spec, charterOf(members, rules), members)).toThrow(message);
	});

	test("is dealt alike by all, from what all know", () => {
		expect(cohortTreeOf(spec, charterOf(14, ONE_OF_TWELVE), 14)).toEqual({
			cohortSize: 5,
			toleratedDropout: 0.25,
		});
		expect(cohortTreeOf(jobWith({}), charterOf(14, ONE_OF_TWELVE), 14)).toBeUndefined();
	});
});
