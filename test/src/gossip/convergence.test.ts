/** Learning by gossip on the shipped digits, dealt unevenly: beside FedAvg, alone, and with one that lies. */
import { beforeAll, describe, expect, it } from "vitest";
import { dealUnevenly, digitsSpec, type Gossiped, trainByGossip } from "../../../bench/gossip.ts";
import { trainTogether } from "../../../bench/sitesInOneProcess.ts";

const SITES = 10;
const ROUNDS = 25;
const SEED = 1;
const LOCAL = { localLearningRateDecay: 0.9, localEpochs: 2 };
const sites = dealUnevenly(SITES, 0.3, SEED);
const spec = (gossip: object) =>
	digitsSpec(
		{ rounds: ROUNDS, epsilon: 0 },
		{ ...LOCAL, schedule: "gossip", gossip: { degree: 4, ...gossip } },
	);

describe("gossip on digits dealt by Dirichlet 0.3 to ten sites", () => {
	let fedavg: number;
	let together: Gossiped;
	beforeAll(async () => {
		const who = { participants: SITES, corruption: 0, minimumSurvivors: SITES };
		fedavg = (await trainTogether(digitsSpec({ rounds: ROUNDS, epsilon: 0 }, LOCAL), who, sites, SEED))
			.accuracy;
		together = await trainByGossip(spec({}), sites, SEED);
	}, 60_000);

	it("comes within four points of FedAvg at every node, with models within a tenth of each other", () => {
		expect(fedavg).toBeGreaterThan(0.9);
		expect(together.mean).toBeGreaterThan(fedavg - 0.03);
		expect(together.worst).toBeGreaterThan(fedavg - 0.04);
		expect(together.distance).toBeLessThan(0.1);
	});

	it("is what the exchange is for: alone the same nodes learn little of what the others know", async () => {
		expect((await trainByGossip(spec({}), sites, SEED, false)).mean).toBeLessThan(0.7);
	}, 60_000);

	it("bears a node that sends its model reversed and a hundredfold, by the radius alone", async () => {
		const lying = (site: number, _: number, model: Float32Array) =>
			site === 0 ? model.map((value) => -100 * value) : model;
		const honest = sites.map((_, site) => site).slice(1);
		const clipped = await trainByGossip(spec({ radius: 1 }), sites, SEED, true, lying, honest);
		expect(clipped.mean).toBeGreaterThan(fedavg - 0.15);
		const unclipped = await trainByGossip(spec({ radius: 1e9 }), sites, SEED, true, lying, honest);
		expect(unclipped.mean).toBeLessThan(0.3);
	}, 60_000);
});
