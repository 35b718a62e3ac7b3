/** Compressed training: what one record or organization moves, what a round costs, and that models are learnt. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { largestProjectedNorm } from "../../../crypto/signProjection.ts";
import { gather } from "../../../src/data/dataset.ts";
import { createTrainer, type Trainer } from "../../../src/learning/trainer.ts";
import { fromRing } from "../../../src/privacy/fixedPoint.ts";
import { trainingCharges } from "../../../src/training/charges.ts";
import {
	type CommonState,
	decodeCommonState,
	encodeCommonState,
	initialState,
} from "../../../src/training/commonState.ts";
import { Contributor } from "../../../src/training/contribution.ts";
import { checkJobSpec, type ResolvedJobSpec } from "../../../src/training/jobSpec.ts";
import { planHash, planTraining, type TrainingPlan } from "../../../src/training/plan.ts";
import { applyRelease } from "../../../src/training/release.ts";
import { screeningRules } from "../../../src/training/robustUpdate.ts";
import type { SiteData } from "../../../src/training/siteData.ts";
import { seededWordsForTests } from "../privacy/seededWordsForTests.ts";
import { digitsJob, digitsSites, emptySite, TestFederation, WHO } from "./federation.ts";

const shared = { mechanism: "distributed_gaussian", epsilon: 8, delta: 1e-6 };
const records = { ...shared, samplingRate: 1, clippingNorm: 0.5 };
const client = { ...shared, unit: "client", clippingNorm: 0.5 };
const none = { mechanism: "none" };
const plainMean = { mode: "none" };
const model = { kind: "multilayer_perceptron", hidden: [12] };
const sketch = { rows: 5, columns: 100, recovered: 20 };

let trainer: Trainer;
beforeAll(async () => {
	trainer = await createTrainer({ model: planTraining(digitsJob({ model }), WHO).model });
});
afterAll(() => trainer.dispose());
const open: TestFederation[] = [];
afterEach(() => Promise.all(open.splice(0).map((federation) => federation.dispose())));

async function federationOf(job: ResolvedJobSpec): Promise<TestFederation> {
	const federation = await TestFederation.create(job);
	open.push(federation);
	return federation;
}

function recordJob(compression: object, privacy: object = records): ResolvedJobSpec {
	return digitsJob({ model, privacy, compression, training: { rounds: 12, expectedBatch: 1500 } });
}

/** As a site sends it, but for noise and masks; rounded with the same words each time. */
async function update(
	job: ResolvedJobSpec,
	data: SiteData,
	changed: (state: CommonState) => CommonState = (state) => state,
	unsent?: Float32Array,
): Promise<Int32Array> {
	const plan = planTraining(job, WHO);
	const quiet: TrainingPlan = {
		...plan,
		noise: plan.noise.map((level) => ({ ...level, parameterSigma: 0, metricSigma: 0 })),
	};
	const roundingWords = seededWordsForTests(5);
	const contributor = new Contributor({ spec: job, plan: quiet, data, trainer, roundingWords });
	const state = changed(initialState(job, plan, "job", new Uint8Array(32).fill(1)));
	const { vector } = await contributor.contribute(0, state, { unsent });
	return fromRing(vector, plan.encoding.modulusBits).subarray(0, plan.layout.update);
}

function distance(a: Int32Array, b: Int32Array): number {
	return Math.hypot(...a.map((value, i) => value - b[i]!));
}

/** All of a site's training records, and without one that is as far out as the description allows. */
function neighbours(row: number): [SiteData, SiteData] {
	const [site] = digitsSites(8) as [SiteData];
	const train = { ...site.train, features: site.train.features.slice() };
	train.features.fill(1, row * train.columns.length, (row + 1) * train.columns.length);
	const rest = Int32Array.from({ length: train.rows }, (_, i) => i).filter((i) => i !== row);
	return [
		{ ...site, train },
		{ ...site, train: gather(train, rest) },
	];
}

describe("one record", () => {
	const halfKnown = (state: CommonState): CommonState => ({
		...state,
		compression: { ...state.compression!, largest: Uint32Array.from({ length: 100 }, (_, i) => 3 * i) },
	});
	it.each([
		["rotated", { coordinates: "all" }, records, 0.7],
		["not rotated", { rotation: "none" }, records, 0.7],
		["rotated, in adaptive clipping", {}, { ...records, clipping: "adaptive" }, 0.5],
		["sent in part", { coordinates: "random", share: 0.4 }, records, 0.3],
		["sent in part, and not rotated", { coordinates: "random", share: 0.4, rotation: "none" }, records, 0.3],
		["sent in part, half of it known", { coordinates: "informed", share: 0.5 }, records, 0.3],
	] as const)(
		"%s, moves the vector by no more than the sensitivity",
		async (_, compression, privacy, most) => {
			const job = recordJob(compression, privacy);
			const { encoding, compression: compressed } = planTraining(job, WHO);
			let largest = 0;
			for (const row of [1, 3]) {
				const [withRecord, without] = neighbours(row);
				const changed = compressed!.informed > 0 ? halfKnown : undefined;
				const moved = distance(await update(job, withRecord, changed), await update(job, without, changed));
				expect(moved).toBeLessThanOrEqual(encoding.sensitivity);
				largest = Math.max(largest, moved);
			}
			expect(largest).toBeGreaterThan(most * encoding.sensitivity);
		},
	);

	it("costs little more sensitivity than its clipping norm, and the rounding's tail in delta", () => {
		const job = recordJob({});
		const plan = planTraining(job, WHO);
		const plain = planTraining(
			digitsJob({ model, privacy: records, training: { rounds: 12, expectedBatch: 1500 } }),
			WHO,
		);
		const cost = ({ encoding }: TrainingPlan) => encoding.sensitivity / encoding.scale / 0.5;
		expect(cost(plan)).toBeLessThan(1.05 * cost(plain));
		expect(cost(plan)).toBeGreaterThan(1);
		expect(plan.encoding.modulusBits).toBeLessThan(plain.encoding.modulusBits - 3);
		expect(plan.noise[0]!.noiseMultiplier).toBe(plain.noise[0]!.noiseMultiplier);
		const facts = { round: 0, level: 0, samplerDistance: 0, newCycles: 0 };
		const [charge] = trainingCharges(job, plan, WHO, facts);
		expect(charge!.extraDelta).toBeGreaterThan(1.9e-13);
		expect(planHash(new Uint8Array(32), plan, WHO)).not.toEqual(planHash(new Uint8Array(32), plain, WHO));
	});
});

describe("an organization", () => {
	const unsent = new Float32Array(910).fill(3);
	it.each([
		["rotated", {}, undefined],
		["not rotated", { rotation: "none" }, undefined],
		["sent in part", { coordinates: "random", share: 0.3 }, undefined],
		["with what it did not send before", { coordinates: "random", share: 0.3, errorFeedback: true }, unsent],
		["sketched", { sketch }, undefined],
		["in adaptive clipping", {}, undefined],
		["in adaptive clipping, sketched", { sketch }, undefined],
	] as const)("%s, moves the vector by no more than the sensitivity", async (name, compression, kept) => {
		const privacy = name.startsWith("in adaptive") ? { ...client, clipping: "adaptive" } : client;
		const job = digitsJob({
			model,
			privacy,
			compression,
			training: { rounds: 3, algorithm: "fedavg", expectedBatch: undefined, localLearningRate: 1 },
		});
		const { encoding, parameterCount } = planTraining(job, WHO);
		expect(parameterCount).toBe(unsent.length);
		const site = await update(job, digitsSites(5)[0]!, undefined, kept);
		const nobody = await update(job, emptySite());
		expect(distance(site, nobody)).toBeLessThanOrEqual(encoding.sensitivity);
		expect(distance(site, nobody)).toBeGreaterThan(0.6 * encoding.sensitivity);
	});
});

describe("a compressed job", () => {
	const defaults = { rotation: "hadamard", coordinates: "all", errorFeedback: false } as const;
	const trained = { rounds: 24, algorithm: "fedavg", localLearningRate: 0.5, expectedBatch: undefined };
	const bounded = { aggregation: { updateNormBound: 4 }, privacy: none, robustness: plainMean };
	const settings: [string, object, object, number, object?][] = [
		["quantized, under a norm bound", { bits: 6 }, {}, 0.8, { robustness: undefined }],
		["sketched, under a norm bound", { bits: 8, sketch }, { rounds: 40 }, 0.6, { robustness: undefined }],
		["quantized", { bits: 6, largestWeight: 240 }, {}, 0.8],
		["coarsely quantized", { bits: 3, largestWeight: 240 }, {}, 0.7],
		[
			"sent in part",
			{ bits: 8, largestWeight: 240, coordinates: "random", share: 0.25, errorFeedback: true },
			{},
			0.7,
		],
		["sent in part, scaled up", { bits: 8, largestWeight: 1, coordinates: "random", share: 0.5 }, {}, 0.7],
		[
			"informed",
			{ bits: 8, largestWeight: 240, coordinates: "informed", share: 0.25, errorFeedback: true },
			{},
			0.7,
		],
		["informed, without bits", { coordinates: "informed", share: 0.5 }, {}, 0.7],
		["sketched", { bits: 8, largestWeight: 240, sketch: sketch }, { rounds: 40 }, 0.6],
	];
	it.each(settings)("%s, learns", async (_, compression, training, least, more) => {
		const job = digitsJob({
			...bounded,
			...more,
			compression,
			training: { ...trained, serverLearningRate: 1, ...training },
		});
		const federation = await federationOf(job);
		const { rounds } = job.training;
		for (let round = 0; round < rounds; round++) {
			// The encoded state is what the next round starts from, at every node.
			federation.state = decodeCommonState(encodeCommonState(federation.state), 650);
			await federation.round(round % 5 === 4 ? [0, 1, 3, 4] : undefined);
		}
		expect(await federation.accuracyOn(digitsSites(5))).toBeGreaterThan(least);
	});

	it("with private records learns in a third fewer bits", async () => {
		const training = { rounds: 12, expectedBatch: 700 };
		const privacy = { ...shared, samplingRate: 0.5, clippingNorm: 2 };
		const plain = planTraining(digitsJob({ training, privacy }), WHO);
		const federation = await federationOf(digitsJob({ training, privacy, compression: {} }));
		const bits = ({ encoding, length }: TrainingPlan) => encoding.modulusBits * length;
		expect(bits(federation.plan)).toBeLessThan(bits(plain));
		let accuracy = 0;
		for (let round = 0; round < 12; round++) accuracy = (await federation.round()).accuracy ?? 0;
		expect(await federation.accuracyOn(digitsSites(5))).toBeGreaterThan(0.6);
		// The noised evaluation of the last model but one, through its copies.
		expect(accuracy).toBeGreaterThan(0.5);
	});

	it("with local noise learns with what sites did not send", async () => {
		const privacy = {
			mechanism: "site_gaussian",
			epsilon: 50,
			delta: 1e-5,
			samplingRate: 0.2,
			clippingNorm: 1,
		};
		const job = digitsJob({
			privacy,
			training: { ...trained, rounds: 6, localBatch: 100 },
			compression: { bits: 8, coordinates: "random", share: 0.5, errorFeedback: true },
		});
		const federation = await federationOf(job);
		let loss = 0;
		for (let round = 0; round < 6; round++) loss = (await federation.round()).loss ?? 0;
		expect(await federation.accuracyOn(digitsSites(5))).toBeGreaterThan(0.5);
		expect(loss).toBeGreaterThan(0);
	});

	it("tells the figures that it would without compression", async () => {
		const job = digitsJob({ ...bounded, training: { ...trained, rounds: 1 } });
		const plain = await (await federationOf(job)).round();
		const federation = await federationOf({
			...job,
			compression: { ...defaults, bits: 2, largestWeight: 240 },
		});
		expect(federation.plan.encoding.modulusBits).toBe(8);
		const figures = await federation.round();
		expect(figures.accuracy).toBeCloseTo(plain.accuracy!, 4);
		expect(figures.loss).toBeCloseTo(plain.loss!, 3);
	});

	it("gives every node the same bytes, and refuses damaged ones", async () => {
		for (const compression of [{ coordinates: "informed", share: 0.3, errorFeedback: true }, { sketch }]) {
			const job = digitsJob({ ...bounded, model, training: { ...trained, rounds: 2 }, compression });
			const plan = planTraining(job, WHO);
			let state = initialState(job, plan, "job", new Uint8Array(32));
			const words = new Uint32Array(plan.length);
			for (let round = 0; round < 2; round++) {
				seededWordsForTests(round)(words);
				const sum = words.map((word) => word & 0xfffff);
				const released = { spec: job, plan, round, sum, survivors: 5 };
				const next = encodeCommonState(applyRelease({ ...released, state }).state);
				const restored = decodeCommonState(encodeCommonState(state), plan.parameterCount);
				expect(encodeCommonState(applyRelease({ ...released, state: restored }).state)).toEqual(next);
				state = decodeCommonState(next, plan.parameterCount);
			}
			const { compression: kept } = state;
			expect(kept?.largest?.length ?? kept?.tables?.error.length).toBe(plan.compression!.sketch ? 500 : 136);
			const bytes = encodeCommonState(state);
			expect(() => decodeCommonState(bytes.subarray(0, bytes.length - 40), plan.parameterCount)).toThrow();
			const without = { ...state, compression: undefined } as unknown as CommonState;
			expect(() =>
				applyRelease({ spec: job, plan, round: 2, sum: words, survivors: 5, state: without }),
			).toThrow(expect.objectContaining({ code: "training.bad_state" }));
		}
	});
});

describe("compression in a job file", () => {
	const base = {
		name: "digits",
		technique: "federated_learning",
		data: { set: "digits-8x8" },
		model: { kind: "softmax_regression" },
		training: { rounds: 8, algorithm: "fedavg" },
		privacy: none,
	};
	const sampled = { ...base, training: { rounds: 8, expectedBatch: 500 } };
	const recordPrivacy = { ...shared, samplingRate: 0.5 };
	it.each([
		["a share of all", { ...base, compression: { share: 0.5 } }, /share belongs to/],
		[
			"random coordinates without a share",
			{ ...base, compression: { coordinates: "random" } },
			/needs compression.share/,
		],
		["feedback of nothing", { ...base, compression: { errorFeedback: true } }, /everything is sent/],
		["bits without weights", { ...base, robustness: plainMean, compression: { bits: 8 } }, /largestWeight/],
		[
			"weights without bits",
			{ ...base, robustness: plainMean, compression: { largestWeight: 8 } },
			/belongs to compression.bits/,
		],
		[
			"weights under a bound",
			{ ...base, compression: { bits: 8, largestWeight: 8 } },
			/robustness all alike/,
		],
		[
			"a sketch of some",
			{ ...base, compression: { sketch, coordinates: "random", share: 0.5 } },
			/of all coordinates/,
		],
		["a sketch with feedback", { ...base, compression: { sketch, errorFeedback: true } }, /common state/],
		["an even sketch", { ...base, compression: { sketch: { ...sketch, rows: 2 } } }, /odd/],
		[
			"a sketch that recovers too much",
			{ ...base, compression: { sketch: { ...sketch, recovered: 21 } } },
			/at least 5 x recovered/,
		],
		[
			"bits beside noise",
			{ ...sampled, privacy: recordPrivacy, compression: { bits: 8 } },
			/follow from the noise/,
		],
		[
			"feedback of records",
			{
				...sampled,
				privacy: recordPrivacy,
				compression: { coordinates: "random", share: 0.5, errorFeedback: true },
			},
			/not private for records: what is kept/,
		],
		[
			"a sketch of records",
			{ ...sampled, privacy: recordPrivacy, compression: { sketch } },
			/much longer than the gradient/,
		],
		[
			"correlated noise",
			{ ...sampled, privacy: { ...shared, correlation: "tree", minimumSeparation: 4 }, compression: {} },
			/decoded together/,
		],
		[
			"weights beside privacy",
			{ ...base, privacy: { ...client }, compression: { largestWeight: 3 } },
			/weigh alike/,
		],
		[
			"momentum twice",
			{ ...base, training: { ...base.training, momentum: 0.9 }, compression: { sketch } },
			/sketch.momentum/,
		],
		[
			"a sketch with Adam",
			{ ...base, training: { ...base.training, optimizer: "adam" }, compression: { sketch } },
			/use sgd/,
		],
		[
			"a robust rule",
			{ ...base, compression: {}, robustness: { mode: "strict", attackers: 2 } },
			/norm_bound alone/,
		],
		[
			"a momentum of what differs from round to round",
			{ ...base, compression: {}, robustness: { mode: "norm_bound" } },
			/clientMomentum 0/,
		],
	])("is refused with the way out: %s", (_, spec, message) => {
		expect(() => checkJobSpec(spec)).toThrowError(message);
	});

	it("is refused where a sketch is no smaller than the model", () => {
		const job = digitsJob({ privacy: none, compression: { sketch: { ...sketch, columns: 200 } } });
		expect(() => planTraining(job, WHO)).toThrow(expect.objectContaining({ code: "job.invalid" }));
	});

	it("is refused where so many roundings would not fit the delta", () => {
		const spec = recordJob({}, { ...records, delta: 1e-9 });
		const job = (rounds: number) => ({ ...spec, training: { ...spec.training, rounds } });
		expect(planTraining(job(40), WHO).length).toBeGreaterThan(0);
		expect(() => planTraining(job(60), WHO)).toThrowError(/at most 50 training.rounds/);
	});

	it("takes the bits that the cohort needs, and no more", () => {
		const bitsOf = (bits: number, participants: number) => {
			const job = digitsJob({
				privacy: none,
				robustness: plainMean,
				compression: { bits, largestWeight: 1 },
			});
			const { encoding } = planTraining(job, { participants, corruption: 0, minimumSurvivors: 2 });
			expect(participants * encoding.coordinateBound).toBeLessThan(2 ** (encoding.modulusBits - 1));
			expect(encoding.coordinateBound).toBeGreaterThanOrEqual(2 ** (bits - 1) - 1);
			return encoding.modulusBits;
		};
		// The design's table: b bits of 32, 100 and 1000 participants.
		const expected = { 4: [9, 11, 14], 8: [13, 15, 18], 12: [17, 19, 22] };
		for (const [bits, widths] of Object.entries(expected))
			expect([32, 100, 1000].map((n) => bitsOf(Number(bits), n))).toEqual(widths);
	});

	it("takes more bits where vectors are projected: what an honest one comes to must not wrap", () => {
		for (const bits of [2, 8, 16]) {
			const job = digitsJob({ privacy: none, compression: { bits } });
			const plan = planTraining(job, WHO);
			const state = initialState(job, plan, "job", new Uint8Array(32));
			const { normBound } = screeningRules(job, plan, state);
			expect(normBound).toBeLessThan(largestProjectedNorm(plan.encoding.modulusBits));
			expect(plan.encoding.coordinateBound).toBeGreaterThanOrEqual(2 ** (bits - 1) - 1);
		}
	});

	it("keeps honest vectors within the bound that they are screened by, rounding included", async () => {
		for (const compression of [{ bits: 2 }, { bits: 8 }, { coordinates: "random", share: 0.3 }]) {
			const job = digitsJob({ model, privacy: none, aggregation: { updateNormBound: 0.05 }, compression });
			const plan = planTraining(job, WHO);
			const { coordinates, normBound } = screeningRules(
				job,
				plan,
				initialState(job, plan, "job", new Uint8Array(32)),
			);
			const sent = (await update(job, digitsSites(5)[0]!)).subarray(0, coordinates);
			const norm = Math.sqrt(sent.reduce((sum, value) => sum + value * value, 0));
			expect(norm).toBeLessThanOrEqual(normBound);
			expect(norm).toBeGreaterThan(0.3 * normBound);
		}
	});
});
