/** Models of the organizations' own, where the organizations call things by different names. */
import { afterEach, describe, expect, it } from "vitest";
import { createTrainer } from "../../../src/learning/trainer.ts";
import { decodeCommonState, encodeCommonState, initialState } from "../../../src/training/commonState.ts";
import { personalParameters } from "../../../src/training/personalModel.ts";
import { commonParameterCount, planTraining } from "../../../src/training/plan.ts";
import type { SiteData } from "../../../src/training/siteData.ts";
import { decodeSiteState, encodeSiteState, type SiteState } from "../../../src/training/siteState.ts";
import { digitsJob, digitsSites, TestFederation } from "./federation.ts";

const WHO = { participants: 4, corruption: 0, minimumSurvivors: 3 };
const ROUNDS = 8;
const normalized = {
	kind: "layers",
	layers: [{ kind: "dense", units: 24 }, { kind: "layerNorm" }, { kind: "activation", function: "tanh" }],
};

let federation: TestFederation | undefined;
afterEach(() => federation?.dispose());

function job(personalization: object | undefined, overrides: { training?: object; model?: object } = {}) {
	return digitsJob({
		model: overrides.model ?? { kind: "multilayer_perceptron", hidden: [24] },
		training: {
			algorithm: "fedavg",
			rounds: ROUNDS,
			serverLearningRate: 1,
			expectedBatch: undefined,
			localLearningRate: 0.3,
			localBatch: 32,
			localEpochs: 2,
			...overrides.training,
		},
		privacy: { mechanism: "none" },
		// Clusters cannot have a bound, and what is compared with them has none either.
		robustness: { mode: "none" },
		...(personalization === undefined ? {} : { personalization }),
	});
}

/** Every other site calls digit y by the name 9 - y: no common model can please all. */
function disagreeingSites(): SiteData[] {
	return digitsSites(4).map((site, index) => {
		if (index % 2 === 0) return site;
		const renamed = <T extends { labels: Float32Array }>(data: T): T => ({
			...data,
			labels: data.labels.map((label) => 9 - label),
		});
		return { train: renamed(site.train), heldOut: renamed(site.heldOut) };
	});
}

async function run(spec: ReturnType<typeof job>): Promise<SiteState[]> {
	federation = await TestFederation.create(spec, disagreeingSites(), WHO);
	for (let round = 0; round < ROUNDS; round++) await federation.round();
	const own: SiteState[] = [];
	for (let site = 0; site < 4; site++) own.push(await federation.finished(site));
	return own;
}

const worst = (own: readonly SiteState[]) =>
	Math.min(...own.map(({ evaluation }) => evaluation!.personal.accuracy));

describe("organizations that disagree", () => {
	it.each([
		{ method: "fine_tuning", epochs: 3 },
		{ method: "fedper" },
		{ method: "fedrep" },
		{ method: "ditto", weight: 0.05, epochs: 2 },
		{ method: "pfedme", weight: 0.05, learningRate: 0.3, innerSteps: 3 },
		{ method: "clustered" },
	])(
		"are served by $method, each by its own model, where one common model fails",
		async (personalization) => {
			const own = await run(job(personalization));
			expect(worst(own)).toBeGreaterThan(0.75);
			const models = own.map(
				(state) => personalParameters(personalization as never, federation!.plan, federation!.state, state)!,
			);
			expect(models[0]).not.toEqual(models[1]);
			const trainer = await createTrainer({ model: federation!.plan.model });
			const accuracies: number[] = [];
			for (const [site, { heldOut }] of disagreeingSites().entries()) {
				const { correct } = await trainer.evaluate(models[site]!, heldOut, 8);
				accuracies.push(correct / heldOut.rows);
				// Another's model does not do here.
				const other = await trainer.evaluate(models[(site + 1) % 4]!, heldOut, 8);
				expect(other.correct / heldOut.rows).toBeLessThan(0.5);
			}
			await trainer.dispose();
			expect(accuracies).toEqual(own.map(({ evaluation }) => evaluation!.personal.accuracy));
			expect(own.every(({ final }) => final === true)).toBe(true);
			const common = own.flatMap(({ evaluation }) => evaluation?.common?.accuracy ?? []);
			for (const accuracy of common) expect(accuracy).toBeLessThan(0.7);
		},
	);

	it("choose the same cluster where they agree, and their choices are in no vector by themselves", async () => {
		const own = await run(job({ method: "clustered", clusters: 2 }));
		const [first, second] = [own[0]!.cluster!, own[1]!.cluster!];
		expect(second).toBe(1 - first);
		expect(own.map(({ cluster }) => cluster)).toEqual([first, second, first, second]);
		const { layout, whole } = federation!.plan;
		expect(layout.update).toBe(2 * whole.shared);
	});
});

describe("layers of a site's own", () => {
	it("are in no sum and stay as they began in the common model", async () => {
		const spec = job({ method: "fedper" }, { training: { optimizer: "adam", serverLearningRate: 0.01 } });
		await run(spec);
		const { plan, state } = federation!;
		const count = 24 * 10 + 10;
		expect(plan.shared).toEqual({
			count: plan.parameterCount - count,
			of: plan.parameterCount,
			ranges: [[0, plan.parameterCount - count]],
		});
		expect(plan.layout.update).toBe(plan.parameterCount - count);
		const before = initialState(spec, plan, "job", new Uint8Array(32)).parameters;
		expect(state.parameters.subarray(-count)).toEqual(before.subarray(-count));
		expect(state.parameters.subarray(0, -count)).not.toEqual(before.subarray(0, -count));
	});

	it("of FedBN are the scales and biases of normalization layers", async () => {
		const own = await run(job({ method: "fedbn" }, { model: normalized }));
		const { plan, state } = federation!;
		const norm = 64 * 24 + 24;
		expect(plan.shared.ranges).toEqual([
			[0, norm],
			[norm + 48, plan.parameterCount],
		]);
		expect(state.parameters.subarray(norm, norm + 48)).toEqual(
			Float32Array.from({ length: 48 }, (_, i) => (i < 24 ? 1 : 0)),
		);
		const scales = own.map(({ parameters }) => parameters!.subarray(norm, norm + 48));
		expect(scales[0]).not.toEqual(scales[1]);
	});

	it("come back whole from a site state's bytes", async () => {
		const own = await run(job({ method: "fedrep" }));
		const { plan, state } = federation!;
		const counts = { parameterCount: plan.parameterCount, sharedCount: plan.shared.count };
		const decoded = decodeSiteState(encodeSiteState(own[1]!), counts);
		expect(decoded.parameters).toEqual(own[1]!.parameters);
		expect(decoded.evaluation).toEqual(own[1]!.evaluation);
		expect(decodeCommonState(encodeCommonState(state), commonParameterCount(plan))).toEqual(state);
	});

	it.each([
		[{ method: "fedbn" }, /the model has none/],
		[{ method: "fedper", ownLayers: 2 }, /leaves no layer to share/],
	])("that the model has not got are refused: %j", (personalization, message) => {
		expect(() => planTraining(job(personalization), WHO)).toThrow(message);
	});
});

describe("personal models and privacy", () => {
	const records = {
		mechanism: "distributed_gaussian",
		epsilon: 8,
		delta: 1e-6,
		samplingRate: 0.5,
	};
	const sites = { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.2 };
	const clients = { mechanism: "distributed_gaussian", unit: "client", epsilon: 8, delta: 1e-6 };
	const none = { mechanism: "none" };
	const plan = (personalization: object, privacy: object, training: object) =>
		planTraining(
			digitsJob({
				personalization,
				privacy,
				training: { expectedBatch: undefined, ...training },
				robustness: { mode: "none" },
			}),
			{
				...WHO,
				corruption: 1,
			},
		);
	const sgd = { algorithm: "fedsgd", expectedBatch: 700 };
	const avg = { algorithm: "fedavg" };

	it.each([
		["ditto", records, sgd],
		["ditto", sites, avg],
		["ditto", clients, { algorithm: "scaffold" }],
		["fine_tuning", records, sgd],
		["pfedme", clients, avg],
		["clustered", clients, avg],
		["clustered", none, { algorithm: "fedsgd" }],
	])("%s goes with %j and %j", (method, privacy, training) => {
		expect(plan({ method }, privacy, training).whole.clusters).toBe(method === "clustered" ? 2 : 1);
	});

	it.each([
		["fedper", records, sgd, /which no clipping bounds/],
		["fedrep", sites, avg, /to be charged beside the others/],
		["fedper", none, { algorithm: "fedsgd" }, /needs local steps/],
		["pfedme", sites, avg, /without noise/],
		["pfedme", none, { algorithm: "fedprox" }, /must be fedavg/],
		["pfedme", none, { ...avg, localLearningRate: 0.5 }, /step over/],
		["clustered", records, sgd, /which cluster its site chooses/],
		["clustered", sites, avg, /which cluster its site chooses/],
		["clustered", none, { algorithm: "scaffold" }, /one account/],
	])("%s is refused with %j and %j", (method, privacy, training, message) => {
		expect(() => plan({ method }, privacy, training)).toThrow(message);
	});
});
