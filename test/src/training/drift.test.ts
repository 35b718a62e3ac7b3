/** Algorithms against drift between sites, on least squares whose answer is known. */
import { afterEach, describe, expect, it } from "vitest";
import type { Dataset } from "../../../src/data/dataset.ts";
import { seededRandomForTests } from "../../../src/data/testnetPartition.ts";
import { decodeCommonState, encodeCommonState, initialState } from "../../../src/training/commonState.ts";
import { Contributor } from "../../../src/training/contribution.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";
import { commonParameterCount, planTraining } from "../../../src/training/plan.ts";
import { applyRelease } from "../../../src/training/release.ts";
import type { SiteData } from "../../../src/training/siteData.ts";
import { decodeSiteState, encodeSiteState } from "../../../src/training/siteState.ts";
import { digitsJob, TestFederation } from "./federation.ts";

const WHO = { participants: 3, corruption: 0, minimumSurvivors: 2 };

let federation: TestFederation | undefined;
afterEach(() => federation?.dispose());

/** The plain mean by records, which fednova and clusters need; of the others a bound would be one more thing. */
const PLAIN = { robustness: { mode: "none" } };

function lineJob(training: object, more: object = PLAIN): ResolvedJobSpec {
	return resolveJobSpec(
		checkJobSpec({
			name: "line",
			technique: "federated_learning",
			data: {
				set: "line",
				description: {
					name: "line",
					label: { kind: "number", column: "y", bounds: [-8, 8] },
					features: { count: 2, bounds: [-4, 4], scale: "symmetric" },
				},
			},
			model: { kind: "linear_regression" },
			training: { rounds: 400, localLearningRate: 0.1, localBatch: 512, localEpochs: 10, ...training },
			privacy: { mechanism: "none" },
			...more,
		}),
	);
}

/** Sites whose records lie differently and follow different lines: what is best for one is wrong for all. */
function lineSites(rows: readonly number[] = [64, 64, 64], spread = 1): SiteData[] {
	const random = seededRandomForTests(7);
	return rows.map((count, site) => {
		const features = new Float32Array(2 * count);
		const labels = new Float32Array(count);
		for (let row = 0; row < count; row++) {
			const x = [(2 * random() - 1) * (1 + spread * site), 2 * random() - 1] as const;
			features.set(x, 2 * row);
			labels[row] = (site - 1) * x[0] + 0.5 * x[1] + (site === 1 ? 1 : -0.5);
		}
		const train: Dataset = { features, labels, rows: count, featureCount: 2 } as unknown as Dataset;
		return {
			train,
			heldOut: { ...train, rows: 0, features: new Float32Array(), labels: new Float32Array() },
		};
	});
}

/** The least mean squared error over all records: normal equations in three unknowns. */
function leastSquares(sites: readonly SiteData[]): number[] {
	const a = Array.from({ length: 3 }, () => new Array<number>(4).fill(0));
	for (const { train } of sites) {
		for (let row = 0; row < train.rows; row++) {
			const x = [train.features[2 * row]!, train.features[2 * row + 1]!, 1];
			x.forEach((left, i) => {
				x.forEach((right, j) => {
					a[i]![j]! += left * right;
				});
				a[i]![3]! += left * train.labels[row]!;
			});
		}
	}
	for (let pivot = 0; pivot < 3; pivot++) {
		for (let row = 0; row < 3; row++) {
			if (row === pivot) continue;
			const factor = a[row]![pivot]! / a[pivot]![pivot]!;
			for (let column = pivot; column < 4; column++) a[row]![column]! -= factor * a[pivot]![column]!;
		}
	}
	return a.map((row, i) => row[3]! / row[i]!);
}

async function distanceAfter(
	training: object,
	rounds: number,
	sites = lineSites(),
	each: (round: number) => readonly [present: number[], lost: number[]] = () => [[0, 1, 2], []],
): Promise<number> {
	const controlled = "algorithm" in training && training.algorithm === "scaffold";
	const job = lineJob(training, controlled ? {} : PLAIN);
	federation = await TestFederation.create(job, sites, WHO);
	for (let round = 0; round < rounds; round++) await federation.round(...each(round));
	const best = leastSquares(sites);
	return Math.hypot(...best.map((value, i) => value - federation!.state.parameters[i]!));
}

describe("drift between sites", () => {
	it("leaves averaged local epochs beside the best common model; control variates take them there", async () => {
		const averaged = await distanceAfter({ algorithm: "fedavg" }, 150);
		await federation?.dispose();
		const controlled = await distanceAfter({ algorithm: "scaffold" }, 150);
		expect(averaged).toBeGreaterThan(0.1);
		expect(controlled).toBeLessThan(0.02);
	});

	it("is less with steps pulled towards the common model", async () => {
		const averaged = await distanceAfter({ algorithm: "fedavg" }, 120);
		await federation?.dispose();
		const pulled = await distanceAfter({ algorithm: "fedprox", proximalWeight: 2 }, 120);
		expect(pulled).toBeLessThan(0.7 * averaged);
	});

	it("of sites that take more steps than others is evened out by dividing by the steps", async () => {
		// 32, 8 and 8 steps a round. Small ones over records of equal spread leave their imbalance as the main error.
		const rows = [4096, 1024, 1024];
		const training = { localBatch: 256, localEpochs: 2, localLearningRate: 0.01 };
		const plain = await distanceAfter({ ...training, algorithm: "fedavg" }, 60, lineSites(rows, 0));
		await federation?.dispose();
		const even = await distanceAfter({ ...training, algorithm: "fednova" }, 60, lineSites(rows, 0));
		expect(plain).toBeGreaterThan(0.1);
		expect(even).toBeLessThan(0.3 * plain);
	});
});

describe("steps that are evened out", () => {
	it("go beside quantized updates as whole as beside others", async () => {
		const training = { algorithm: "fednova", localBatch: 256, localEpochs: 2, localLearningRate: 0.01 };
		const sites = lineSites([1024, 256, 256], 0);
		const compression = { bits: 16, largestWeight: 1024, rotation: "none" };
		const ends: Float32Array[] = [];
		for (const spec of [lineJob(training), lineJob(training, { ...PLAIN, compression })]) {
			federation = await TestFederation.create(spec, sites, WHO);
			for (let round = 0; round < 3; round++) await federation.round();
			ends.push(federation.state.parameters);
			await federation.dispose();
		}
		// Both are rounded, one of them at random: 60 runs were 0.0015 to 0.0061 apart. Steps left out, or scaled
		// like the update, would be off by more than 0.3.
		ends[0]!.forEach((value, i) => {
			expect(Math.abs(ends[1]![i]! - value)).toBeLessThan(0.05);
		});
	});
});

describe("the common state", () => {
	it.each([
		[{ algorithm: "scaffold" }, undefined],
		[{ algorithm: "fednova", optimizer: "yogi", serverLearningRate: 0.01 }, undefined],
		[{ algorithm: "fedavg" }, { method: "clustered", jointRounds: 2 }],
	])(
		"follows from the sums alone, bit for bit, also at a node that resumes from bytes: %j",
		async (training, personalization) => {
			const spec = lineJob(
				{ ...training, rounds: 6 },
				{ personalization, ...(training.algorithm === "scaffold" ? {} : PLAIN) },
			);
			federation = await TestFederation.create(spec, lineSites(), WHO);
			const count = commonParameterCount(federation.plan);
			let other = federation.state;
			for (let round = 0; round < 6; round++) {
				const before = encodeCommonState(other);
				await federation.round();
				const { state } = applyRelease({
					spec,
					plan: federation.plan,
					round,
					state: decodeCommonState(before, count),
					sum: federation.lastSum,
					survivors: 3,
				});
				other = state;
				expect(encodeCommonState(other)).toEqual(encodeCommonState(federation.state));
			}
		},
	);
});

describe("control variates", () => {
	it("stay one account through sites that are away, or contribute and are left out of the sum", async () => {
		const distance = await distanceAfter({ algorithm: "scaffold" }, 160, lineSites(), (round) => {
			const site = round % 3;
			if (round % 4 === 1) return [[0, 1, 2].filter((other) => other !== site), [site]];
			if (round % 4 === 3) return [[0, 1, 2].filter((other) => other !== site), []];
			return [[0, 1, 2], []];
		});
		expect(distance).toBeLessThan(0.02);
		const { state } = federation!;
		const mean = [0, 1, 2].map(
			(i) => [0, 1, 2].reduce((sum, site) => sum + federation!.own(site).controlVariate![i]!, 0) / 3,
		);
		state.controlVariate!.forEach((value, i) => {
			expect(value).toBeCloseTo(mean[i]!, 4);
		});
	});

	it("come back whole from a state's bytes, and damaged ones are refused", async () => {
		federation = await TestFederation.create(lineJob({ algorithm: "scaffold" }), lineSites(), WHO);
		await federation.round();
		const count = commonParameterCount(federation.plan);
		const bytes = encodeCommonState(federation.state);
		expect(decodeCommonState(bytes, count)).toEqual(federation.state);
		const own = federation.own(0);
		const counts = { parameterCount: 3, sharedCount: 3 };
		expect(decodeSiteState(encodeSiteState(own), counts).controlVariate).toEqual(own.controlVariate);
		for (const damaged of [
			{ ...own, controlVariate: Float64Array.of(1, Number.NaN, 2) },
			{ ...own, controlVariate: Float64Array.of(1) },
			{ ...own, parameters: new Float32Array(4) },
		])
			expect(() => decodeSiteState(encodeSiteState(damaged), counts)).toThrow(
				expect.objectContaining({ code: "training.bad_site_state" }),
			);
	});

	it("and the update are one vector under unit client: together within the sensitivity", async () => {
		const job = digitsJob({
			training: { algorithm: "scaffold", expectedBatch: undefined, localLearningRate: 0.5 },
			privacy: {
				mechanism: "distributed_gaussian",
				unit: "client",
				epsilon: 8,
				delta: 1e-6,
				clippingNorm: 0.5,
			},
		});
		const who = { participants: 5, corruption: 1, minimumSurvivors: 4 };
		const plan = planTraining(job, who);
		expect(plan.whole).toMatchObject({ shared: 650, variates: 650, length: 1300 });
		const quiet = {
			...plan,
			noise: plan.noise.map((level) => ({ ...level, parameterSigma: 0, metricSigma: 0 })),
		};
		federation = await TestFederation.create(job, undefined, who);
		const { digitsSites } = await import("./federation.ts");
		const { createTrainer } = await import("../../../src/learning/trainer.ts");
		const trainer = await createTrainer({ model: plan.model });
		const site = new Contributor({ spec: job, plan: quiet, data: digitsSites(5)[0]!, trainer });
		const { vector } = await site.contribute(1, initialState(job, plan, "job", new Uint8Array(32)));
		await trainer.dispose();
		const values = Int32Array.from(vector.subarray(0, plan.layout.update), (value) => {
			const half = 2 ** (plan.encoding.modulusBits - 1);
			return value >= half ? value - 2 * half : value;
		});
		expect(values.subarray(650).some((value) => value !== 0)).toBe(true);
		expect(Math.hypot(...values)).toBeLessThanOrEqual(plan.encoding.sensitivity);
		expect(Math.hypot(...values)).toBeGreaterThan(0.5 * plan.encoding.sensitivity);
	});
});
