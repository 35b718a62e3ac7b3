import { describe, expect, it } from "vitest";
import { discreteLaplace } from "../../../src/privacy/samplers/discreteLaplace.ts";
import { sampleExactGaussian } from "../../../src/privacy/samplers/exactGaussian.ts";
import { RandomWords } from "../../../src/privacy/samplers/randomWords.ts";
import { type QueryAnswer, releaseQuery } from "../../../src/queries/answer.ts";
import { laplaceLaw } from "../../../src/queries/estimate.ts";
import { planLocally } from "../../../src/queries/local.ts";
import { planQuery } from "../../../src/queries/plan.ts";
import { querySiteVector } from "../../../src/queries/siteVector.ts";
import { parseQuerySpec, type QuerySpec } from "../../../src/queries/spec.ts";
import { seededWordsForTests } from "../privacy/seededWordsForTests.ts";
import { type Person, peopleRecords, population } from "./recordsForTests.ts";

const who = { participants: 5, corruption: 1, minimumSurvivors: 4 };
const TRIALS = 1000;
/** 95 % intervals may miss this often in so many trials; a correct one exceeds it with a chance below 1e-6. */
const MOST_MISSES = 0.05 * TRIALS + 4.9 * Math.sqrt(0.05 * 0.95 * TRIALS);

function seeded(seed: number): RandomWords {
	return new RandomWords(seededWordsForTests(seed));
}

/** Answers of a federation of five sites, of which `survivors` arrive; only the noise is fresh each time. */
function federated(
	people: readonly Person[],
	spec: QuerySpec,
	survivors: number,
	seed: number,
): () => QueryAnswer {
	const plan = planQuery(spec, who);
	const words = seeded(seed);
	const sum = new Int32Array(plan.length);
	for (let site = 0; site < survivors; site++) {
		const records = peopleRecords(people.filter((_, i) => i % survivors === site));
		for (const [i, value] of querySiteVector(records, spec, plan).entries()) sum[i]! += value;
	}
	return () => {
		const noised = sum.slice();
		for (let i = 0; i < sum.length; i++) {
			for (let site = 0; site < survivors; site++) noised[i]! += sampleExactGaussian(plan.sigmaLocal, words);
		}
		return releaseQuery(spec, plan, noised, survivors);
	};
}

function misses(trials: number, interval: () => readonly [number, number], truth: number): number {
	let missed = 0;
	for (let i = 0; i < trials; i++) {
		const [low, high] = interval();
		if (truth < low || truth > high) missed++;
	}
	return missed;
}

describe("answers of a federation", () => {
	const privacy = { epsilon: 2, delta: 1e-6 };

	it("count and sum: the interval holds the truth as often as it says, and not much more often", () => {
		const people = population(400);
		const count = federated(people, parseQuerySpec({ kind: "count", privacy }), 4, 1);
		const counted = () => {
			const answer = count();
			if (answer.kind !== "count") throw new Error(answer.kind);
			return answer.count.interval;
		};
		const missed = misses(TRIALS, counted, 400);
		expect(missed).toBeLessThan(MOST_MISSES);
		expect(missed).toBeGreaterThan(0.05 * TRIALS - 4.9 * Math.sqrt(0.05 * 0.95 * TRIALS));
		const spec = parseQuerySpec({ kind: "sum", column: "age", bounds: [0, 100], privacy });
		const sum = federated(people, spec, 5, 2);
		const summed = () => {
			const answer = sum();
			if (answer.kind !== "sum") throw new Error(answer.kind);
			return answer.sum.interval;
		};
		const truth = people.reduce((total, { age }) => total + age, 0);
		expect(misses(TRIALS, summed, truth)).toBeLessThan(MOST_MISSES);
	});

	it("mean and variance: the interval holds, down to the fewest records that are answered for", () => {
		for (const { kind, people, seed } of [
			{ kind: "mean", people: population(40), seed: 3 },
			{ kind: "mean", people: population(2000), seed: 4 },
			{ kind: "variance", people: population(80), seed: 5 },
			{ kind: "variance", people: population(2000), seed: 6 },
		] as const) {
			const answer = federated(
				people,
				parseQuerySpec({ kind, column: "age", bounds: [10, 100], privacy }),
				4,
				seed,
			);
			const mean = people.reduce((sum, { age }) => sum + age, 0) / people.length;
			const variance = people.reduce((sum, { age }) => sum + (age - mean) ** 2, 0) / people.length;
			let answered = 0;
			const interval = (): readonly [number, number] => {
				const found = answer();
				if (found.kind !== "mean" && found.kind !== "variance") throw new Error(found.kind);
				if (found.estimate === null) return [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
				answered++;
				return found.estimate.interval;
			};
			const missed = misses(TRIALS, interval, kind === "mean" ? mean : variance);
			expect(answered, `${kind} of ${people.length}`).toBeGreaterThan(0.2 * TRIALS);
			expect(missed, `${kind} of ${people.length}`).toBeLessThan(
				0.05 * answered + 4.9 * Math.sqrt(0.05 * 0.95 * answered),
			);
		}
	});

	it("say that there are too few records instead of dividing by noise", () => {
		for (const kind of ["mean", "variance", "quantiles"]) {
			const spec = parseQuerySpec({ kind, column: "age", bounds: [0, 100], privacy });
			const answer = federated(population(3), spec, 4, 7);
			for (let i = 0; i < 20; i++) {
				const found = answer();
				if (found.kind === "quantiles") expect(found.quantiles).toBeNull();
				else if (found.kind === "mean" || found.kind === "variance") expect(found.estimate).toBeNull();
				else throw new Error(found.kind);
			}
		}
	});

	it("quantiles: each interval holds, also with half the records at one value", () => {
		const spread = population(3000);
		const heaped = spread.map((person, i) => (i % 2 === 0 ? { ...person, age: 50 } : person));
		for (const [people, seed] of [
			[spread, 8],
			[heaped, 9],
		] as const) {
			const spec = parseQuerySpec({
				kind: "quantiles",
				column: "age",
				bounds: [0, 128],
				levels: 3,
				fractions: [0.1, 0.5, 0.9],
				privacy,
			});
			const answer = federated(people, spec, 4, seed);
			const sorted = people.map(({ age }) => age).sort((a, b) => a - b);
			const trials = 150;
			const missed = [0, 0, 0];
			for (let i = 0; i < trials; i++) {
				const found = answer();
				if (found.kind !== "quantiles" || found.quantiles === null) throw new Error("no quantiles");
				for (const [position, { fraction, value, interval }] of found.quantiles.entries()) {
					const truth = sorted[Math.ceil(fraction * sorted.length) - 1]!;
					if (truth < interval[0] || truth > interval[1]) missed[position]!++;
					expect(value).toBeGreaterThanOrEqual(interval[0]);
					expect(value).toBeLessThanOrEqual(interval[1]);
					expect(interval[1] - interval[0]).toBeLessThan(20);
				}
			}
			const most = 0.05 * trials + 4.9 * Math.sqrt(0.05 * 0.95 * trials);
			expect(Math.max(...missed)).toBeLessThan(most);
		}
	});

	it("tables: cells, margins and totals agree, each with its own error", () => {
		const people = population(1200);
		const spec = parseQuerySpec({
			kind: "contingencyTable",
			by: [
				{ column: "group", categories: ["a", "b", "c"] },
				{ column: "age", edges: [0, 40, 120] },
			],
			privacy,
		});
		const answer = federated(people, spec, 5, 10);
		let missed = 0;
		for (let i = 0; i < TRIALS; i++) {
			const found = answer();
			if (found.kind !== "contingencyTable") throw new Error(found.kind);
			const [groups, ages] = found.margins;
			expect(found.counts).toHaveLength(6);
			expect(found.axes[1]?.cells).toEqual(["[0, 40)", "[40, 120]"]);
			expect(groups!.counts[2]).toBeCloseTo(found.counts[4]! + found.counts[5]!, 9);
			expect(ages!.standardError).toBeCloseTo(found.standardError * Math.sqrt(3), 9);
			const truth = people.filter(({ group }) => group === "c").length;
			if (Math.abs(groups!.counts[2]! - truth) > groups!.halfWidth95) missed++;
		}
		expect(missed).toBeLessThan(MOST_MISSES);
	});

	it("top k: in order, with intervals that hold for all of them at once", () => {
		const people = population(1200);
		const by = { column: "group", categories: ["c", "nobody", "b", "a"] };
		const answer = federated(people, parseQuerySpec({ kind: "topK", by, k: 4, privacy }), 4, 11);
		const truth = (name: string) => people.filter(({ group }) => group === name).length;
		let missed = 0;
		for (let i = 0; i < TRIALS; i++) {
			const found = answer();
			if (found.kind !== "topK") throw new Error(found.kind);
			expect(found.top.map(({ category }) => category)).toEqual(["a", "b", "c", "nobody"]);
			const outside = found.top.some(
				({ category, count: { interval } }) => truth(category) < interval[0] || truth(category) > interval[1],
			);
			if (outside) missed++;
		}
		expect(missed).toBeLessThan(MOST_MISSES);
	});

	it("refuse a sum of another length", () => {
		const spec = parseQuerySpec({ kind: "count", privacy });
		expect(() => releaseQuery(spec, planQuery(spec, who), new Int32Array(2), 4)).toThrow(
			expect.objectContaining({ code: "query.wrong_length" }),
		);
	});
});

describe("answers of one site", () => {
	const people = population(800);
	const records = peopleRecords(people);

	it("cost exactly epsilon without a delta", () => {
		for (const query of [
			{ kind: "count" },
			{ kind: "sum", column: "age", bounds: [0, 100] },
			{ kind: "variance", column: "age", bounds: [0, 100] },
			{ kind: "quantiles", column: "age", bounds: [0, 100], levels: 4 },
		]) {
			const plan = planLocally(parseQuerySpec({ ...query, privacy: { epsilon: 0.7 } }));
			const { event } = plan;
			const [single, times] =
				event.kind === "selfComposed" ? ([event.event, event.count] as const) : ([event, 1] as const);
			if (single.kind !== "discreteLaplace") throw new Error(single.kind);
			expect((times * single.sensitivity) / single.scale).toBeLessThanOrEqual(0.7);
			expect((times * single.sensitivity) / single.scale).toBeCloseTo(0.7, 12);
			expect(plan.totalVariationDistance).toBe(0);
			expect(plan.answer(records, seeded(12)).kind).toBe(query.kind);
		}
	});

	it("cost a Gaussian with one", () => {
		const plan = planLocally(parseQuerySpec({ kind: "count", privacy: { epsilon: 1, delta: 1e-6 } }));
		expect(plan.event.kind).toBe("gaussian");
		expect(plan.mechanism).toBe("discrete Gaussian");
		expect(plan.totalVariationDistance).toBeGreaterThan(0);
		expect(plan.totalVariationDistance).toBeLessThan(1e-30);
		const answer = plan.answer(records, seeded(13));
		if (answer.kind !== "count") throw new Error(answer.kind);
		expect(Math.abs(answer.count.value - 800)).toBeLessThan(8 * answer.count.standardError);
	});

	it("have intervals that hold for Laplace noise, too", () => {
		for (const [kind, truth, epsilon, seed] of [
			["count", 800, 0.3, 14],
			// Noise so narrow that only whole numbers matter.
			["count", 800, 3, 15],
			["sum", people.reduce((sum, { age }) => sum + age, 0), 1, 16],
			["mean", people.reduce((sum, { age }) => sum + age, 0) / 800, 1, 17],
			["variance", undefined, 1, 18],
		] as const) {
			const column = kind === "count" ? {} : { column: "age", bounds: [0, 100] };
			const plan = planLocally(parseQuerySpec({ kind, ...column, privacy: { epsilon } }));
			const words = seeded(seed);
			const mean = people.reduce((sum, { age }) => sum + age, 0) / 800;
			const expected = truth ?? people.reduce((sum, { age }) => sum + (age - mean) ** 2, 0) / 800;
			const noise = () => {
				const answer = plan.answer(records, words);
				if (answer.kind === "count") return answer.count.interval;
				if (answer.kind === "sum") return answer.sum.interval;
				if (answer.kind !== "mean" && answer.kind !== "variance") throw new Error(answer.kind);
				if (answer.estimate === null) throw new Error("too few records");
				return answer.estimate.interval;
			};
			const trials = 1000;
			const most = 0.05 * trials + 4.9 * Math.sqrt(0.05 * 0.95 * trials);
			expect(misses(trials, noise, expected), `${kind} at ${epsilon}`).toBeLessThan(most);
		}
	});

	it("use a width for Laplace noise that sums of several need no more than", () => {
		const scale = 40;
		const law = laplaceLaw(scale, 1, 0);
		const sample = discreteLaplace(scale);
		const words = seeded(19);
		for (const weights of [[1], [1, 1], [1, 0.3], [1, 1, 1, 1, 1], [3, -1, 1]]) {
			const deviation =
				law.standardDeviation * Math.sqrt(weights.reduce((sum, weight) => sum + weight ** 2, 0));
			let beyond = 0;
			const trials = 20_000;
			for (let i = 0; i < trials; i++) {
				const noise = weights.reduce((sum, weight) => sum + weight * sample(words), 0);
				if (Math.abs(noise) > law.deviationsFor95 * deviation) beyond++;
			}
			expect(beyond / trials).toBeLessThan(0.05 + 4.9 * Math.sqrt((0.05 * 0.95) / trials));
			expect(beyond / trials).toBeGreaterThan(0.035);
		}
	});
});
