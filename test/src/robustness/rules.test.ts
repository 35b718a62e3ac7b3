import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256 } from "../../../crypto/hash.ts";
import { seededRandomForTests } from "../../../src/data/testnetPartition.ts";
import { leastVectors, requireBreakdown } from "../../../src/robustness/breakdown.ts";
import { centeredClipping, medianNorm, normClippedMean } from "../../../src/robustness/clipping.ts";
import { coordinateMedian, meanAroundMedian, trimmedMean } from "../../../src/robustness/coordinates.ts";
import { geometricMedian } from "../../../src/robustness/geometricMedian.ts";
import { squaredDistances } from "../../../src/robustness/gram.ts";
import { bulyan, krum, selectByKrum } from "../../../src/robustness/krum.ts";
import { mixBuckets, mixNearestNeighbours, publicPermutation } from "../../../src/robustness/mixing.ts";
import { requireChoiceFits, robustAggregate } from "../../../src/robustness/robustAggregate.ts";
import { CLEAR_RULES } from "../../../src/robustness/robustnessChoice.ts";
import { trustScoredMean } from "../../../src/robustness/trustScore.ts";
import { mean, norm, type Vectors } from "../../../src/robustness/vectors.ts";
import { distance, rows, vectorsOf } from "./vectorsForTests.ts";

const SEED = sha256(new Uint8Array([1]));
const f = 2;
const n = 11;

describe("coordinate rules", () => {
	it("take the median, the trimmed mean and the mean around the median of each coordinate", () => {
		const vectors = rows([1, 10], [2, 30], [3, 20], [4, 40], [100, -5]);
		expect([...coordinateMedian(vectors, 1)]).toEqual([3, 20]);
		expect([...coordinateMedian(vectors.slice(0, 4), 1)]).toEqual([2.5, 25]);
		expect([...trimmedMean(vectors, 1)]).toEqual([3, 20]);
		expect([...trimmedMean(vectors, 2)]).toEqual([3, 20]);
		expect([...meanAroundMedian(vectors, 3)]).toEqual([3, 20]);
		expect([...meanAroundMedian(rows([0], [4], [5], [6], [7]), 3)]).toEqual([5]);
	});

	it("stay within the honest values, whatever the attackers send", () => {
		fc.assert(
			fc.property(vectorsOf(n - f), vectorsOf(f), (honest, wrong) => {
				const all = [...wrong, ...honest];
				for (const result of [coordinateMedian(all, f), trimmedMean(all, f)]) {
					for (const [i, value] of result.entries()) {
						const values = honest.map((vector) => vector[i]!);
						expect(value).toBeGreaterThanOrEqual(Math.min(...values) - 1e-9);
						expect(value).toBeLessThanOrEqual(Math.max(...values) + 1e-9);
					}
				}
			}),
		);
	});
});

describe("Krum, multi-Krum and Bulyan", () => {
	const cluster = rows([0, 0], [1, 0], [0, 1], [1, 1], [0.5, 0.5], [50, 50]);

	it("choose who has its neighbours near", () => {
		expect(krum(cluster, 1, 1).selected).toEqual([4]);
		expect(selectByKrum(squaredDistances(cluster), 1, 5)).toEqual([0, 1, 2, 3, 4]);
		expect([...krum(cluster, 1, 5).aggregate]).toEqual([0.5, 0.5]);
	});

	it("of Bulyan's selection take the values around the median", () => {
		const { aggregate, selected } = bulyan([...cluster, ...rows([0.4, 0.6])], 1);
		expect(selected).not.toContain(5);
		expect(selected).toHaveLength(5);
		for (const value of aggregate) expect(value).toBeLessThanOrEqual(1);
	});

	it("leave out far vectors, wherever they are", () => {
		const far = fc.array(fc.double({ min: 1e7, max: 1e9, noNaN: true }), { minLength: 5, maxLength: 5 });
		fc.assert(
			fc.property(vectorsOf(n - f), fc.array(far, { minLength: f, maxLength: f }), (honest, wrong) => {
				// Not near each other: two equal ones would be neighbours, as many as f can be.
				const all = [
					...honest,
					...wrong.map((vector, i) => Float64Array.from(vector, (v) => v * (i === 0 ? 1 : 1000))),
				];
				expect(krum(all, f, n - f).selected.every((index) => index < n - f)).toBe(true);
				expect(bulyan(all, f).selected.every((index) => index < n - f)).toBe(true);
			}),
		);
	});
});

describe("the geometric median", () => {
	it("is the middle of a line, and the point of a majority", () => {
		expect(geometricMedian(rows([0], [1], [10]), 1)[0]).toBeCloseTo(1, 5);
		expect([...geometricMedian(rows([2, 2], [2, 2], [2, 2], [9, 9]), 1)]).toEqual([2, 2]);
	});

	it("is nearer to all in sum than any point beside it, wherever they lie", () => {
		const total = (vectors: Vectors, point: ArrayLike<number>) =>
			vectors.reduce((sum, vector) => sum + distance(vector, point), 0);
		fc.assert(
			fc.property(vectorsOf(n), fc.integer({ min: -1e6, max: 1e6 }), (vectors, offset) => {
				const shifted = vectors.map((vector) => vector.map((value) => value + offset));
				const median = geometricMedian(shifted, f);
				const least = total(shifted, median);
				for (let i = 0; i < median.length; i++)
					for (const step of [-0.1, 0.1]) {
						const beside = median.map((value, k) => (k === i ? value + step : value));
						expect(least).toBeLessThanOrEqual(total(shifted, beside) + 1e-4);
					}
			}),
			{ numRuns: 50, seed: 12 },
		);
	});

	it("stays within 2 (n - f) / (n - 2 f) of the honest radius", () => {
		fc.assert(
			fc.property(vectorsOf(n - f), vectorsOf(f), (honest, wrong) => {
				const all = [...honest, ...wrong.map((vector) => vector.map((value) => 1e6 * value))];
				const center = mean(honest);
				const radius = Math.max(...honest.map((vector) => distance(vector, center)));
				const bound = ((2 * (n - f)) / (n - 2 * f)) * radius;
				expect(distance(geometricMedian(all, f), center)).toBeLessThanOrEqual(bound * (1 + 1e-6) + 1e-6);
			}),
			{ numRuns: 50 },
		);
	});
});

describe("clipping", () => {
	it("scales to the radius, around zero or around the reference", () => {
		expect(distance(normClippedMean(rows([3, 4], [0, 1], [0, 0]), 1, 1), [0.2, 0.6])).toBeLessThan(1e-12);
		expect(medianNorm(rows([3, 4], [0, 1], [0, 0]))).toBe(1);
		expect(normClippedMean(rows([3, 4], [0, 1], [0, 0]), 1)[1]).toBeCloseTo(0.6, 12);
		const near = rows([10, 10], [10, 10], [10, 10]);
		expect([...centeredClipping(near, 1, Float64Array.of(10, 10), 1)]).toEqual([10, 10]);
		expect(centeredClipping(near, 1, new Float64Array(2), 1)[0]).toBeCloseTo(3 / Math.SQRT2, 12);
	});

	it("bounds what the attackers move", () => {
		fc.assert(
			fc.property(vectorsOf(n - f), vectorsOf(f), vectorsOf(f), (honest, one, other) => {
				const radius = 7;
				const before = normClippedMean([...honest, ...one], f, radius);
				const after = normClippedMean([...honest, ...other.map((v) => v.map((x) => 1e5 * x))], f, radius);
				expect(distance(before, after)).toBeLessThanOrEqual((2 * f * radius) / n + 1e-9);
				const reference = new Float64Array(5).fill(3);
				const moved = centeredClipping([...honest, ...other], f, reference, radius);
				expect(distance(moved, reference)).toBeLessThanOrEqual(3 * radius + 1e-9);
			}),
		);
	});

	it("refuses a radius that is none", () => {
		for (const radius of [0, -1, Number.NaN, Number.POSITIVE_INFINITY])
			expect(() => normClippedMean(rows([1], [2], [3]), 1, radius)).toThrow(/radius/);
	});
});

describe("mixing", () => {
	it("averages each vector with its nearest", () => {
		const mixed = mixNearestNeighbours(rows([0], [1], [2], [100]), 1);
		expect(mixed.map(([value]) => value)).toEqual([1, 1, 1, 103 / 3]);
	});

	it("puts everybody into one bucket, in an order that the seed decides", () => {
		const vectors = rows([1], [2], [3], [4], [5]);
		const { means, buckets } = mixBuckets(vectors, 2, SEED);
		expect(buckets.flat().sort()).toEqual([0, 1, 2, 3, 4]);
		expect(buckets.map((bucket) => bucket.length)).toEqual([2, 2, 1]);
		expect(means[2]![0]).toBe(buckets[2]![0]! + 1);
		expect(publicPermutation(9, SEED)).toEqual(publicPermutation(9, SEED));
		expect(publicPermutation(9, SEED)).not.toEqual(publicPermutation(9, sha256(SEED)));
		expect(() => mixBuckets(vectors, 0, SEED)).toThrow(/bucket/);
	});
});

describe("trust by root data", () => {
	it("counts nobody that points away, and nobody for more than the root's length", () => {
		const { aggregate, trust } = trustScoredMean(
			rows([100, 0], [-5, 0], [0, 3], [0, 0]),
			Float64Array.of(2, 0),
		);
		expect([...trust]).toEqual([1, 0, 0, 0]);
		expect([...aggregate]).toEqual([2, 0]);
	});

	it("takes no step when nobody is trusted", () => {
		expect([...trustScoredMean(rows([-1, 0]), Float64Array.of(1, 0)).aggregate]).toEqual([0, 0]);
	});

	it("is never longer than the root update", () => {
		fc.assert(
			fc.property(vectorsOf(4), vectorsOf(1), (vectors, [root]) => {
				expect(norm(trustScoredMean(vectors, root!).aggregate)).toBeLessThanOrEqual(norm(root!) * (1 + 1e-9));
			}),
		);
	});
});

describe("every rule", () => {
	const choice = (rule: (typeof CLEAR_RULES)[number], mixing: "none" | "nearest_neighbours" | "bucketing") =>
		({ rule, mixing, attackers: f }) as const;
	const extras = { seed: SEED, reference: new Float64Array(5) };

	it("does not depend on who is called what, but for rounding", () => {
		// Ties are broken by order. Random reals have none, but Bulyan makes them: of the last few that
		// are left, two that are each other's nearest have one score.
		const random = seededRandomForTests(5);
		for (const rule of CLEAR_RULES.filter((name) => name !== "bulyan"))
			for (let run = 0; run < 20; run++) {
				const vectors = Array.from({ length: n }, () =>
					Float64Array.from({ length: 5 }, () => random() - 0.4),
				);
				const root = Float64Array.of(1, 2, 3, 4, 5);
				const order = publicPermutation(n, sha256(new Uint8Array([run])));
				const shuffled = order.map((index) => vectors[index]!);
				const one = robustAggregate(choice(rule, "none"), { ...extras, root, vectors });
				const other = robustAggregate(choice(rule, "none"), { ...extras, root, vectors: shuffled });
				expect([rule, distance(one.aggregate, other.aggregate) < 1e-6]).toEqual([rule, true]);
				expect(other.excluded.map((place) => order[place]!).sort((a, b) => a - b)).toEqual([...one.excluded]);
			}
	});

	it("is repeated bit for bit", () => {
		const vectors = fc.sample(vectorsOf(n), { numRuns: 1, seed: 3 })[0]!;
		for (const rule of CLEAR_RULES) {
			const input = { ...extras, root: vectors[0]!, vectors };
			expect(robustAggregate(choice(rule, "none"), input)).toEqual(
				robustAggregate(choice(rule, "none"), input),
			);
		}
	});

	it("keeps equal vectors as they are", () => {
		const vectors = Array.from({ length: 3 * n }, () => Float64Array.of(1, 2, 3, 4, 5));
		for (const rule of CLEAR_RULES)
			for (const mixing of ["none", "nearest_neighbours", "bucketing"] as const) {
				const input = { seed: SEED, reference: vectors[0]!, root: vectors[0]!, vectors };
				expect(distance(robustAggregate(choice(rule, mixing), input).aggregate, vectors[0]!)).toBeLessThan(
					1e-9,
				);
			}
	});

	it("is refused among fewer vectors than it stands its attackers in", () => {
		for (const rule of CLEAR_RULES) {
			const least = leastVectors(rule, f);
			expect(() => requireBreakdown(rule, least, f)).not.toThrow();
			if (least > 1) expect(() => requireBreakdown(rule, least - 1, f)).toThrow(/stands 2 attackers among/);
			expect(() => requireBreakdown(rule, 100, -1)).toThrow(/whole number/);
		}
		const few = rows([1], [2], [3], [4]);
		for (const rule of CLEAR_RULES.filter((name) => name !== "trust_score"))
			expect(() =>
				robustAggregate(choice(rule, "none"), { seed: SEED, reference: new Float64Array(1), vectors: few }),
			).toThrow(/more participants/);
		// Six buckets of eleven, of which two may be spoiled, are too few for Krum.
		expect(() => requireChoiceFits(choice("krum", "bucketing"), 11)).toThrow(
			/krum stands 2 attackers among 7/,
		);
		expect(() => requireChoiceFits(choice("krum", "bucketing"), 13)).not.toThrow();
		expect(() => requireChoiceFits(choice("trust_score", "nearest_neighbours"), 4)).toThrow(/nearest/);
	});

	it("refuses vectors of unequal length or that are not finite, and trust without root data", () => {
		const bad = { ...extras, root: new Float64Array(5) };
		for (const rule of CLEAR_RULES) {
			const good = Array.from({ length: n }, (_, i) => new Float64Array(5).fill(i));
			const short = [...good.slice(1), new Float64Array(4)];
			const infinite = [...good.slice(1), new Float64Array(5).fill(Number.NaN)];
			for (const vectors of [short, infinite, []])
				expect(() => robustAggregate(choice(rule, "none"), { ...bad, vectors })).toThrow(/[Vv]ector/);
		}
		expect(() =>
			robustAggregate(choice("trust_score", "none"), { ...extras, vectors: [new Float64Array(5)] }),
		).toThrow(/root data/);
	});
});
