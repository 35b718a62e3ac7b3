/** Robustness in the clear: what a site shows, and the rule over what the survivors showed. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256 } from "../../../crypto/hash.ts";
import { loadCatalogDataset } from "../../../src/data/catalog.ts";
import { float32FromBytes, float32ToBytes } from "../../../src/learning/littleEndian.ts";
import { createTrainer, type Trainer } from "../../../src/learning/trainer.ts";
import { trainingCharges } from "../../../src/training/charges.ts";
import { publicBytesOf } from "../../../src/training/clearUpdate.ts";
import {
	type CommonState,
	decodeCommonState,
	encodeCommonState,
	initialState,
} from "../../../src/training/commonState.ts";
import { Contributor, type Memory } from "../../../src/training/contribution.ts";
import type { ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import { planTraining } from "../../../src/training/plan.ts";
import { applyRelease } from "../../../src/training/release.ts";
import { digitsJob, digitsSites, WHO } from "./federation.ts";

/** Everybody survives every round. */
const ALL = { ...WHO, minimumSurvivors: 5 };
const SEED = sha256(new Uint8Array([5]));
const sites = digitsSites(5);
let trainer: Trainer;

beforeAll(async () => {
	trainer = await createTrainer({ model: planTraining(jobWith({}), WHO).model });
});
afterAll(() => trainer.dispose());

function jobWith(robustness: object, more: Parameters<typeof digitsJob>[0] = {}): ResolvedJobSpec {
	return digitsJob({
		privacy: { mechanism: "none" },
		training: { rounds: 12, serverLearningRate: 4, expectedBatch: undefined },
		...more,
		robustness: {
			mode: "clear",
			rule: "coordinate_median",
			attackers: 1,
			clientMomentum: 0.5,
			...robustness,
		},
	});
}

/** Some public records, as they are in files. */
function rootRecords(count: number) {
	const raw = loadCatalogDataset("digits-8x8", "data");
	return Array.from({ length: count }, (_, row) => ({
		features: Array.from(raw.features.subarray(row * 64, (row + 1) * 64)),
		label: raw.labelNames[raw.labels[row]!]!,
	}));
}

/** Rounds in which the first site sends what `attack` makes of its update. */
async function train(spec: ResolvedJobSpec, attack: (update: Float32Array) => Float32Array) {
	const plan = planTraining(spec, ALL);
	const contributors = sites.map((data) => new Contributor({ spec, plan, data, trainer }));
	const memories: Memory[] = sites.map(() => ({}));
	let state: CommonState = initialState(spec, plan, "job", SEED);
	const leftOut: number[] = [];
	let accuracy = 0;
	for (let round = 0; round < spec.training.rounds; round++) {
		const sum = new Uint32Array(plan.length);
		const parts: Uint8Array[] = [];
		for (const [i, contributor] of contributors.entries()) {
			const { vector, publicPart, ...memory } = await contributor.contribute(round, state, memories[i]);
			memories[i] = memory;
			vector.forEach((value, k) => {
				sum[k]! += value;
			});
			parts.push(i === 0 ? float32ToBytes(attack(float32FromBytes(publicPart!))) : publicPart!);
		}
		const shown = { parts, beacon: SEED };
		const applied = applyRelease({ spec, plan, round, state, sum, survivors: 5, shown });
		// As nodes keep it from round to round.
		state = decodeCommonState(encodeCommonState(applied.state), plan.parameterCount);
		leftOut.push(...applied.leftOut!);
		accuracy = applied.metrics.accuracy ?? accuracy;
	}
	return { accuracy, leftOut, state };
}

const flipped = (update: Float32Array) => update.map((value) => -20 * value);

describe("a job in the clear", () => {
	it("shows the update and nothing of it in the masked vector", async () => {
		const spec = jobWith({});
		const plan = planTraining(spec, WHO);
		expect(plan.layout.update).toBe(0);
		expect(publicBytesOf(plan)).toBe(4 * plan.parameterCount);
		const contributor = new Contributor({ spec, plan, data: sites[0]!, trainer });
		const contribution = await contributor.contribute(0, initialState(spec, plan, "job", SEED));
		expect(contribution.vector).toHaveLength(4);
		expect(contribution.publicPart).toHaveLength(4 * plan.parameterCount);
		// Behind it the sum of its weights.
		expect(contribution.momentum).toHaveLength(plan.parameterCount + 1);
	});

	for (const rule of ["coordinate_median", "geometric_median", "multi_krum", "centered_clipping"] as const)
		it(`learns by ${rule} although a site sends the opposite`, async () => {
			const { accuracy, leftOut, state } = await train(jobWith({ rule }), flipped);
			expect(accuracy).toBeGreaterThan(0.7);
			if (rule === "multi_krum") expect(new Set(leftOut)).toEqual(new Set([0]));
			expect(state.lastAggregate === undefined).toBe(rule !== "centered_clipping");
		});

	it("learns with a bounded mean less, and nobody is left out: the attack is one", async () => {
		const { accuracy, leftOut } = await train(jobWith({ rule: "norm_clipping", radius: 1e6 }), flipped);
		expect(accuracy).toBeLessThan(0.5);
		expect(leftOut).toEqual([]);
	});

	it("counts a vector that is not finite as zeros", async () => {
		const { accuracy } = await train(jobWith({ rule: "norm_clipping" }), (update) => update.fill(Number.NaN));
		expect(accuracy).toBeGreaterThan(0.7);
	});

	it("trusts by the root records of the job file", async () => {
		const spec = jobWith({ rule: "trust_score", rootRecords: rootRecords(40) });
		const attackOnOwn = (both: Float32Array) => {
			const length = both.length / 2;
			return both.map((value, i) => (i < length ? -20 * value : value));
		};
		const { accuracy, leftOut } = await train(spec, attackOnOwn);
		expect(accuracy).toBeGreaterThan(0.6);
		expect(leftOut.filter((place) => place === 0)).toHaveLength(spec.training.rounds);
	});

	it("is refused with root records that do not fit, or with a rule that too few would survive for", () => {
		const [record] = rootRecords(1);
		const plan = (robustness: object) => () => planTraining(jobWith(robustness), WHO);
		const trust = (records: object[]) => plan({ rule: "trust_score", rootRecords: records });
		expect(trust([{ ...record, features: [1, 2] }])).toThrow(
			/records of 64 features each, and there is one of 2/,
		);
		expect(trust([{ ...record, label: "ten" }])).toThrow(/label outside the public classes/);
		// Four may be all that is left of five.
		expect(plan({ rule: "krum" })).toThrow(/krum stands 1 attackers among 5/);
	});

	it("charges what it showed for good, although an attempt died", () => {
		const spec = jobWith(
			{},
			{
				privacy: { mechanism: "site_gaussian", epsilon: 8, delta: 1e-5, samplingRate: 0.2 },
				training: { rounds: 2, algorithm: "fedavg", expectedBatch: undefined },
			},
		);
		const plan = planTraining(spec, WHO);
		const charges = trainingCharges(spec, plan, WHO, {
			round: 0,
			level: 0,
			samplerDistance: 0,
			newCycles: 0,
		});
		expect(charges.map(({ partition, standing }) => [partition, standing ?? false])).toEqual([
			["train", true],
			["heldOut", false],
		]);
	});
});
