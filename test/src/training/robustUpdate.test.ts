import { describe, expect, test } from "vitest";
import {
	centredResidue,
	largestProjectedNorm,
	projectSigns,
	SQUARES_LIMIT,
} from "../../../crypto/signProjection.ts";
import { gather } from "../../../src/data/dataset.ts";
import { fromRing } from "../../../src/privacy/fixedPoint.ts";
import { trainingCharges } from "../../../src/training/charges.ts";
import { decodeCommonState, encodeCommonState, initialState } from "../../../src/training/commonState.ts";
import { planTraining } from "../../../src/training/plan.ts";
import { normBoundAfter, robustUpdate, screeningRules } from "../../../src/training/robustUpdate.ts";
import { digitsJob, digitsSites, TestFederation, WHO } from "./federation.ts";

const job = (more: { robustness?: object; updateNormBound?: number; privacy?: object } = {}) =>
	digitsJob({
		training: {
			algorithm: "fedavg",
			rounds: 8,
			expectedBatch: undefined,
			serverLearningRate: 1,
			localEpochs: 2,
			localBatch: more.privacy === undefined ? 16 : 64,
		},
		privacy: more.privacy ?? { mechanism: "none" },
		aggregation: { updateNormBound: more.updateNormBound ?? 2 },
		robustness: { mode: "norm_bound", ...more.robustness },
	});
const spec = job();
const plan = planTraining(spec, WHO);
const start = initialState(spec, plan, "job", new Uint8Array(32));
const norm = (values: ArrayLike<number>) =>
	Math.sqrt(Array.from(values).reduce((sum, value) => sum + value * value, 0));

describe("an update under a norm bound", () => {
	test("weighs the same whatever number of records its site has, and is held to the round's bound", async () => {
		const [whole] = digitsSites(5);
		const few = { ...whole!, train: gather(whole!.train, Int32Array.of(0, 1, 2, 3)) };
		const even = job({ robustness: { clientMomentum: 0 } });
		const federation = await TestFederation.create(even, [whole!, few], { ...WHO, participants: 2 });
		try {
			const { layout, encoding } = federation.plan;
			for (const normBound of [2, 0.05]) {
				federation.state = { ...federation.state, normBound };
				for (const site of [0, 1]) {
					const { vector } = await federation.contribution(site);
					const lifted = fromRing(vector, encoding.modulusBits);
					expect(lifted[layout.weight]! / encoding.scale).toBeCloseTo(2, 5);
					const sent = norm(lifted.subarray(0, layout.update)) / encoding.scale;
					expect(sent).toBeLessThan(normBound * (1 + 1e-4));
					if (normBound < 1) expect(sent).toBeGreaterThan(normBound * (1 - 1e-4));
				}
			}
		} finally {
			await federation.dispose();
		}
		const decoded = decodeCommonState(encodeCommonState({ ...start, normBound: 0.5 }), plan.parameterCount);
		expect(decoded.normBound).toBe(0.5);
	});

	test("with momentum is held to the bound after it", () => {
		const sent = { update: Float64Array.of(1.5, 2), weight: 2 };
		const kept = job({ robustness: { clientMomentum: 0.5 } });
		const { update, momentum } = robustUpdate(kept, { ...start, normBound: 0.5 }, sent, undefined);
		expect(norm(update)).toBeCloseTo(0.5, 12);
		expect(norm(momentum!.subarray(0, 2))).toBeCloseTo(1.25, 12);
	});

	test("is averaged with the site's earlier ones by its momentum, in full length from the first on", () => {
		const sent = { update: Float64Array.of(1, 0), weight: 2 };
		const halves = job({ robustness: { clientMomentum: 0.5 } });
		const first = robustUpdate(halves, start, sent, undefined);
		expect([...first.update]).toEqual([1, 0]);
		const second = robustUpdate(halves, start, { ...sent, update: Float64Array.of(0, 1) }, first.momentum);
		expect([...second.update]).toEqual([0.25 / 0.75, 0.5 / 0.75]);
		const third = robustUpdate(halves, start, { ...sent, update: Float64Array.of(0, 1) }, undefined);
		expect([...third.update]).toEqual([0, 1]);
	});
});

describe("the bound", () => {
	const next = (normBound: number, middle: number) =>
		normBoundAfter(spec, plan, { ...start, normBound }, [1e30, 0, middle * plan.encoding.scale, 1e30])
			.normBound;

	test("follows two fifths of the certified norms, a little above them and step by step", () => {
		expect(next(1, 0.8)).toBeCloseTo(1, 12);
		expect(next(1, 1)).toBeCloseTo(1.25, 12);
		expect(next(1, 1000)).toBe(1.5);
		expect(next(1, 0)).toBeCloseTo(1 / 1.5, 12);
		expect(next(1.9, 1000)).toBe(2);
		expect(next(2 ** -9, 0)).toBe(2 * 2 ** -10);
	});

	test("stays where no norms were certified, and is none where the job has none", () => {
		expect(normBoundAfter(spec, plan, { ...start, normBound: 1 }, undefined)).toEqual({ normBound: 1 });
		expect(start.normBound).toBe(2);
		const { normBound: _, ...without } = start;
		expect(normBoundAfter(spec, plan, without, [1])).toEqual({});
	});

	test("fits the ring at any size of federation", () => {
		for (const participants of [3, 20, 64]) {
			const who = { participants, corruption: 0, minimumSurvivors: 3 };
			const { normBound } = screeningRules(spec, planTraining(spec, who), start);
			expect(normBound).toBeLessThan(largestProjectedNorm(32));
		}
	});
});

test.each([
	{ mechanism: "none" },
	{ mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.2 },
])("what honest sites send passes the screening of every round, with %o", async (privacy) => {
	const honest = job({ privacy, updateNormBound: 1 });
	const federation = await TestFederation.create(honest, digitsSites(5));
	try {
		const { scale, modulusBits } = federation.plan.encoding;
		for (let round = 0; round < 3; round++) {
			const { coordinates, normBound } = screeningRules(honest, federation.plan, federation.state);
			const { vector } = await federation.contribution(round);
			const update = vector.subarray(0, coordinates);
			const lifted = Array.from(update, (value) => centredResidue(value, modulusBits));
			expect(norm(lifted)).toBeLessThanOrEqual(normBound);
			expect(norm(lifted) / scale).toBeGreaterThan(0.01);
			const squares = [...projectSigns(new Uint8Array(32).fill(round), update, modulusBits)]
				.map((value) => centredResidue(value, modulusBits) ** 2)
				.reduce((sum, value) => sum + value, 0);
			expect(squares).toBeLessThan(SQUARES_LIMIT * normBound * normBound);
			await federation.round();
		}
	} finally {
		await federation.dispose();
	}
});

test.each(["norm_bound", "strict"])(
	"%s charges for good what its screening shows before the vote",
	(mode) => {
		const who = { participants: 12, corruption: 2, minimumSurvivors: 8 };
		const privacy = { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.2 };
		const private_ = job({ robustness: { mode, ...(mode === "strict" ? { attackers: 2 } : {}) }, privacy });
		const facts = { round: 0, level: 0, samplerDistance: 0, newCycles: 0 };
		const charges = trainingCharges(private_, planTraining(private_, who), who, facts);
		// A coordinator could let every attempt die, or go on without the site: 16 projections a time would be free.
		expect(charges.map(({ partition, standing = false }) => [partition, standing])).toEqual([
			["train", true],
			["heldOut", false],
		]);
	},
);

describe("a selection", () => {
	const strict = (attackers: number) => job({ robustness: { mode: "strict", attackers } });
	const plan = (attackers: number, participants: number, minimumSurvivors: number) => () =>
		planTraining(strict(attackers), { participants, corruption: attackers, minimumSurvivors });

	test("is screened against the job's own bound, which does not move", () => {
		const fitting = plan(2, 12, 8)();
		const first = initialState(strict(2), fitting, "job", new Uint8Array(32));
		expect(first.normBound).toBeUndefined();
		const { selection, normBound } = screeningRules(strict(2), fitting, first);
		expect(selection).toEqual({ attackers: 2 });
		expect(normBound / fitting.encoding.scale).toBeCloseTo(2, 2);
	});

	test("is refused against fewer than may be corrupt: they could read sketches, and name honest sites", () => {
		const who = { participants: 12, corruption: 2, minimumSurvivors: 8 };
		expect(() => planTraining(strict(2), who)).not.toThrow();
		expect(() => planTraining(strict(1), who)).toThrow(/set robustness.attackers to 2 or more/);
	});

	test("is refused among too few or too many, or where it leaves too few", () => {
		expect(plan(1, 9, 4)).toThrow(/needs 10 participants, not 9/);
		expect(plan(3, 12, 4)).toThrow(/needs 13 participants, not 12/);
		expect(plan(2, 102, 80)).toThrow(/for 101 participants at most/);
		expect(plan(2, 12, 9)).toThrow(/selects 8 of 12 participants, fewer than the 9/);
	});
});

describe("a job that names no robustness", () => {
	const none = { mechanism: "none" };
	const rounds = { rounds: 2, algorithm: "fedavg", expectedBatch: undefined };
	const chosen = (training: object, more: Parameters<typeof digitsJob>[0] = {}) =>
		digitsJob({ training: { ...rounds, ...training }, privacy: none, ...more }).robustness;

	test("has the enforced bound, in the specification that everybody signs for", () => {
		const bound = { mode: "norm_bound", clientMomentum: 0 };
		expect(chosen({})).toEqual(bound);
		expect(chosen({ algorithm: "scaffold" })).toEqual(bound);
		expect(chosen({}, { compression: { bits: 8 } })).toEqual(bound);
		const gradients = { algorithm: "fedsgd" };
		expect(chosen(gradients)).toEqual({ mode: "norm_bound", clientMomentum: 0.9 });
		expect(chosen(gradients, { compression: { bits: 8 } })).toEqual(bound);
		expect(chosen({ ...gradients, schedule: "buffered", bufferSize: 3 })).toEqual(bound);
		const local = { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.2 };
		expect(chosen({}, { privacy: local })).toEqual(bound);
	});

	test("has none, said as well, where noise in shares rules a bound out", () => {
		expect(digitsJob().robustness).toEqual({ mode: "none" });
	});

	test("is refused where a bound would bound nothing, and says how to do without", () => {
		for (const [training, more, why] of [
			[{ algorithm: "fednova" }, {}, /number of steps that sites claim/],
			[{}, { personalization: { method: "clustered" } }, /sites claim to have chosen/],
		] as const) {
			expect(() => chosen(training, more)).toThrow(why);
			expect(() => chosen(training, more)).toThrow(/robustness: {mode: none}/);
			expect(chosen(training, { ...more, robustness: { mode: "none" } })).toEqual({ mode: "none" });
			expect(() => chosen(training, { ...more, robustness: { mode: "norm_bound" } })).toThrow(why);
		}
	});

	test("is refused where the corrupt of a buffer could keep it from ever having a sum", () => {
		const buffered = digitsJob({
			training: { ...rounds, schedule: "buffered", bufferSize: 4 },
			privacy: none,
		});
		const who = { participants: 4, corruption: 2, minimumSurvivors: 3 };
		expect(() => planTraining(buffered, who)).toThrow(/raise it to 5/);
		expect(planTraining(buffered, { ...who, corruption: 1 }).length).toBeGreaterThan(0);
	});

	test("is refused among more contributors than can be screened", () => {
		const many = { participants: 129, corruption: 12, minimumSurvivors: 100 };
		expect(() => planTraining(spec, many)).toThrow(/128 contributors to a round at most, not 129/);
	});

	test("keeps control variates whole, and buffered updates short: no momentum, and no rule that leaves updates out", () => {
		const buffered = { schedule: "buffered", bufferSize: 3 };
		expect(chosen(buffered)).toEqual({ mode: "norm_bound", clientMomentum: 0 });
		for (const robustness of [
			{ mode: "norm_bound" },
			{ mode: "reputation", attackers: 1, clientMomentum: 0 },
		])
			expect(() => chosen(buffered, { robustness })).toThrow(/bound of the round that takes it/);
		for (const robustness of [{ mode: "norm_bound" }, { mode: "strict", attackers: 2 }])
			expect(() => chosen({ algorithm: "scaffold" }, { robustness })).toThrow(
				/clientMomentum 0 and equal weights alone/,
			);
	});
});

test("a job under a norm bound learns, with the sites' mean of equal weights", async () => {
	const data = digitsSites(5);
	const federation = await TestFederation.create(job({ robustness: { clientMomentum: 0.5 } }), data);
	try {
		for (let round = 0; round < 8; round++) await federation.round();
		expect(await federation.accuracyOn(data)).toBeGreaterThan(0.85);
	} finally {
		await federation.dispose();
	}
});
