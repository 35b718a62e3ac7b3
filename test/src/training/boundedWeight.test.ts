/** Weights by records under a norm bound: the weighted mean while nothing is cut, and what a claim can do. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { gather } from "../../../src/data/dataset.ts";
import { weightedDivisor, weightedWithin } from "../../../src/training/boundedWeight.ts";
import type { SiteData } from "../../../src/training/siteData.ts";
import { digitsJob, digitsSites, TestFederation } from "./federation.ts";

const WHO = { participants: 3, corruption: 0, minimumSurvivors: 2 };

const job = (robustness: object, more: Parameters<typeof digitsJob>[0] = {}) =>
	digitsJob({
		training: {
			algorithm: "fedavg",
			rounds: 3,
			localLearningRate: 0.1,
			localBatch: 512,
			expectedBatch: undefined,
		},
		privacy: { mechanism: "none" },
		aggregation: { updateNormBound: 10 },
		robustness,
		...more,
	});

/** Of 200, 50 and 10 training records. */
function unevenSites(): SiteData[] {
	return digitsSites(3).map((site, index) => {
		const rows = Int32Array.from({ length: [200, 50, 10][index]! }, (_, row) => row);
		return { ...site, train: gather(site.train, rows) };
	});
}

async function parametersAfter(robustness: object, rounds: number): Promise<Float32Array> {
	const federation = await TestFederation.create(job(robustness), unevenSites(), WHO);
	try {
		for (let round = 0; round < rounds; round++) await federation.round();
		return federation.state.parameters;
	} finally {
		await federation.dispose();
	}
}

const distance = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((value, i) => value - b[i]!));

describe("a weight under a bound", () => {
	test("gives the mean by records where nothing is cut, and not that of equals", async () => {
		const plain = await parametersAfter({ mode: "none" }, 2);
		const weighted = await parametersAfter({ mode: "norm_bound", largestWeight: 200, clientMomentum: 0 }, 2);
		const equal = await parametersAfter({ mode: "norm_bound", clientMomentum: 0 }, 2);
		expect(distance(plain, weighted)).toBeLessThan(1e-3);
		expect(distance(plain, equal)).toBeGreaterThan(0.02);
	});

	test("is shortened with its update, in one direction, and the two are never longer than the bound", () => {
		const values = fc.float64Array({ minLength: 4, maxLength: 4, min: -100, max: 100, noNaN: true });
		const share = fc.double({ min: 0.001, max: 1, noNaN: true });
		fc.assert(
			fc.property(values, share, fc.double({ min: 0.01, max: 50, noNaN: true }), (update, s, bound) => {
				const vector = weightedWithin(update, s, bound);
				expect(Math.hypot(...vector)).toBeLessThanOrEqual(bound * (1 + 1e-12));
				const weight = vector[4]! / (bound / 2);
				expect(weight).toBeLessThanOrEqual(s * (1 + 1e-12));
				update.forEach((value, i) => {
					expect(vector[i]).toBeCloseTo(weight * value, 9);
				});
			}),
			{ seed: 1, numRuns: 200 },
		);
	});

	test("of a site that claims more records than count is that of the largest", async () => {
		const federation = await TestFederation.create(
			job({ mode: "norm_bound", largestWeight: 20, clientMomentum: 0.5 }),
			unevenSites(),
			WHO,
		);
		try {
			const { layout, encoding } = federation.plan;
			const weights: number[] = [];
			for (const site of [0, 1, 2]) {
				const { vector } = await federation.contribution(site);
				weights.push(vector[layout.update - 1]! / encoding.scale / 5);
			}
			expect(weights[0]).toBeCloseTo(1, 3);
			expect(weights[1]).toBeCloseTo(1, 3);
			expect(weights[2]).toBeCloseTo(0.5, 3);
		} finally {
			await federation.dispose();
		}
	});

	test("cannot make the divisor small or negative", () => {
		expect(weightedDivisor(10, 2, 20)).toBe(10);
		expect(weightedDivisor(0.1, 2, 20)).toBe(2.5);
		expect(weightedDivisor(-50, 2, 20)).toBe(2.5);
	});

	test("goes with compression, and is refused where sites weigh alike or a control variate is sent", async () => {
		const weighted = { mode: "norm_bound", largestWeight: 200, clientMomentum: 0 };
		const compressed = job(weighted, { compression: { bits: 12 } });
		const federation = await TestFederation.create(compressed, unevenSites(), WHO);
		try {
			await federation.round();
			const plain = await parametersAfter({ mode: "none" }, 1);
			expect(distance(plain, federation.state.parameters)).toBeLessThan(0.05);
		} finally {
			await federation.dispose();
		}
		const privacy = { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.2 };
		expect(() => job(weighted, { privacy })).toThrow(/private updates weigh alike/);
		const training = { algorithm: "scaffold", rounds: 2, expectedBatch: undefined };
		expect(() => job(weighted, { training })).toThrow(/equal weights alone/);
	});
});
