import { describe, expect, it } from "vitest";
import { encodeCanonical } from "../../../crypto/encoding.ts";
import { planJob } from "../../../src/jobs/jobPlan.ts";
import { answerIn, answerState, contributeToQuery, UNANSWERED } from "../../../src/jobs/queryRound.ts";
import { checkAnyJob, type ResolvedQueryJob } from "../../../src/jobs/specification.ts";
import { slackDelta } from "../../../src/privacy/noiseShares.ts";
import { planQuery } from "../../../src/queries/plan.ts";
import { querySiteVector } from "../../../src/queries/siteVector.ts";
import { resolveJobSpec } from "../../../src/training/jobSpec.ts";
import { peopleRecords, population } from "../queries/recordsForTests.ts";

const who = { participants: 5, corruption: 1, minimumSurvivors: 4 };
const facts = { round: 0, level: 0, samplerDistance: 2 ** -100, newCycles: 0 };

function queryJob(query: object, privacy = { epsilon: 1, delta: 1e-6 }): ResolvedQueryJob {
	const job = {
		name: "question",
		technique: "query",
		data: { set: "breast-cancer" },
		query: { ...query, privacy },
	};
	const resolved = resolveJobSpec(checkAnyJob(job));
	if (resolved.technique !== "query") throw new Error(resolved.technique);
	return resolved;
}

describe("a query job's plan", () => {
	it("charges both parts of the data the event of its noise, as its total says", () => {
		const spec = queryJob({ kind: "count" });
		const plan = planJob(spec, who);
		const { event } = planQuery(spec.query, who);
		expect(plan.rounds).toBe(1);
		expect(plan.total).toEqual([
			{ partition: "train", event },
			{ partition: "heldOut", event },
		]);
		const charges = plan.charges(facts);
		expect(charges.map(({ extraDelta, ...charge }) => charge)).toEqual(plan.total);
	});

	it("charges the noise's distance to its exact law for an account that states more than the query", () => {
		for (const epsilon of [0.1, 1, 30]) {
			const spec = queryJob({ kind: "count" }, { epsilon, delta: 1e-6 });
			const { sigmaLocal, length } = planQuery(spec.query, who);
			const [{ extraDelta } = { extraDelta: 0 }] = planJob(spec, who).charges(facts);
			const slack = { sigmaLocal, length, maximumContributors: 5, samplerDistance: 2 ** -100 };
			expect(extraDelta).toBe(slackDelta({ ...slack, epsilon: Math.max(24, epsilon) }));
			expect(extraDelta).toBeLessThan(1e-8);
		}
	});

	it("is refused where the epsilon and delta asked for could not be kept beside it", () => {
		for (const privacy of [
			{ epsilon: 100, delta: 1e-6 },
			{ epsilon: 60, delta: 1e-6 },
			{ epsilon: 1, delta: 1e-30 },
		]) {
			expect(() => planJob(queryJob({ kind: "count" }, privacy), who)).toThrow(
				expect.objectContaining({ code: "query.delta_too_small" }),
			);
		}
	});

	it("has a hash that the participants and the query decide", () => {
		const hash = (query: object, participants = who) =>
			Buffer.from(planJob(queryJob(query), participants).hash).toString("hex");
		const hashes = [
			hash({ kind: "count" }),
			hash({ kind: "count", maximumRecordsPerSite: 10 }),
			hash({ kind: "count" }, { ...who, participants: 6 }),
			hash({ kind: "count" }, { ...who, minimumSurvivors: 5 }),
			hash({ kind: "count" }, { ...who, corruption: 0 }),
		];
		expect(new Set(hashes).size).toBe(hashes.length);
		expect(hash({ kind: "count" })).toBe(hashes[0]);
	});
});

describe("a query's round", () => {
	const people = population(500);
	const records = peopleRecords(people);
	const { query } = queryJob({ kind: "histogram", by: { column: "group", categories: ["a", "b", "c"] } });
	const plan = planQuery(query, who);

	it("adds up contributions to an answer near the truth, the same bytes for everybody", () => {
		const sum = new Uint32Array(plan.length);
		for (let site = 0; site < 5; site++) {
			const part = peopleRecords(people.filter((_, i) => i % 5 === site));
			const { vector } = contributeToQuery(part, query, plan);
			for (const [i, value] of vector.entries()) sum[i]! += value;
		}
		const state = answerState(query, plan, sum, 5);
		expect(answerState(query, plan, sum.slice(), 5)).toEqual(state);
		const answer = answerIn(state);
		if (answer?.kind !== "histogram") throw new Error(answer?.kind);
		for (const [i, name] of ["a", "b", "c"].entries()) {
			const truth = people.filter(({ group }) => group === name).length;
			// Eight standard errors: a chance below 1e-14.
			expect(Math.abs(answer.counts[i]! - truth)).toBeLessThan(8 * answer.standardError);
		}
	});

	it("contributes noise of this site's share, never the exact numbers, and less than the stated distance off", () => {
		const exact = querySiteVector(records, query, plan);
		let squares = 0;
		const draws = 200;
		for (let i = 0; i < draws; i++) {
			const { vector, samplerDistance } = contributeToQuery(records, query, plan);
			expect(samplerDistance).toBeLessThan(2 ** -100);
			for (const [j, value] of vector.entries())
				squares += (((value - exact[j]!) | 0) / plan.sigmaLocal) ** 2;
		}
		// Chi-square of 600 degrees: six standard deviations to either side, a chance below 1e-6.
		expect(squares).toBeGreaterThan(600 - 6 * Math.sqrt(1200));
		expect(squares).toBeLessThan(600 + 6 * Math.sqrt(1200));
	});

	it("tells no answer before it, and damaged states from answers", () => {
		expect(answerIn(UNANSWERED)).toBeUndefined();
		for (const damaged of [
			new Uint8Array([1, 2, 3]),
			encodeCanonical(null),
			encodeCanonical({}),
			encodeCanonical({ answer: 7 }),
			encodeCanonical({ answer: "{" }),
		]) {
			expect(() => answerIn(damaged)).toThrow(expect.objectContaining({ code: "query.bad_state" }));
		}
	});
});
