/** A federation with attackers in one process: momentum at every site, an attack, a defence, one common step. */
import { hasCode } from "../../crypto/error.ts";
import { type Dataset, gather } from "../../src/data/dataset.ts";
import { seededRandomForTests } from "../../src/data/testnetPartition.ts";
import { initialParameters, parameterCount } from "../../src/learning/model.ts";
import { createTrainer, type Trainer } from "../../src/learning/trainer.ts";
import {
	BACKDOOR_LABEL,
	withBackdoor,
	withFlippedLabels,
	withTrigger,
} from "../../testnet/attacks/poisonedRecords.ts";
import { type AttackName, vectorAttacks } from "../../testnet/attacks/vectorAttacks.ts";
import { type Defence, type DefenceName, defences } from "./defences.ts";
import { deal, type Task } from "./task.ts";

export interface Experiment {
	readonly task: Task;
	readonly attack: AttackName;
	readonly defence: DefenceName;
	readonly seed: number;
}

export interface Outcome {
	/** On the test records, in [0, 1], after the last round. */
	readonly accuracy: number;
	/** Share of test records of other labels that the trigger turns into its own. */
	readonly backdoorSuccess: number;
	/** Shares of the attackers' and of the others' vectors that counted for nothing, over all rounds. */
	readonly attackersExcluded: number;
	readonly honestExcluded: number;
}

/** A model whose parameters overflowed is as good as guessing. */
const DIVERGED: Outcome = { accuracy: 0.1, backdoorSuccess: 0, attackersExcluded: 0, honestExcluded: 0 };
const CLASSES = 10;
const LOSS_BOUND = 8;

/** @param given aggregates in place of the experiment's defence */
export async function simulate(
	{ task, attack, defence, seed }: Experiment,
	given?: Defence,
): Promise<Outcome> {
	const { model, sites, test } = deal(task, seed);
	const { attackers, rounds } = task;
	const length = parameterCount(model);
	const random = seededRandomForTests(2_000_000 + seed);
	const combine: Defence = given ?? defences[defence]({ length, sites: task.sites, attackers, seed });
	const members = sites.map((data) => new Site(data, length, task));
	const poisoned = poisonOf(attack, sites.slice(0, attackers)).map((data) => new Site(data, length, task));
	let parameters = initialParameters(model, new Uint8Array(32).fill(seed & 255));
	let previous: Float64Array = new Float64Array(length);
	const out = { attackers: 0, honest: 0 };
	const trainer = await createTrainer({ model });
	try {
		for (let round = 0; round < rounds; round++) {
			const vectors = await updatesOf(members, trainer, parameters, random);
			const wrong = await updatesOf(poisoned, trainer, parameters, random);
			const honest = vectors.slice(attackers);
			const own = vectors.slice(0, attackers);
			const strike = vectorAttacks[round < task.attackFrom ? "none" : attack];
			const sent = strike({ honest, own, poisoned: wrong, random, previous });
			const { aggregate, excluded } = combine([...sent, ...honest], round);
			for (const index of excluded) out[index < attackers ? "attackers" : "honest"]++;
			parameters = parameters.map((value, i) => value - task.learningRate * aggregate[i]!);
			previous = aggregate;
		}
		const { correct } = await trainer.evaluate(parameters, test, LOSS_BOUND);
		return {
			accuracy: correct / test.rows,
			backdoorSuccess: await backdoorSuccess(trainer, parameters, test),
			attackersExcluded: out.attackers / (Math.max(1, attackers) * rounds),
			honestExcluded: out.honest / ((task.sites - attackers) * rounds),
		};
	} catch (error) {
		if (hasCode(error, "learning.not_finite")) return DIVERGED;
		throw error;
	} finally {
		await trainer.dispose();
	}
}

function poisonOf(attack: AttackName, sites: readonly Dataset[]): Dataset[] {
	if (attack === "backdoor") return sites.map(withBackdoor);
	const flips = attack === "label_flip" || attack === "sybil";
	return flips ? sites.map((data) => withFlippedLabels(data, CLASSES)) : [];
}

async function updatesOf(
	sites: readonly Site[],
	trainer: Trainer,
	parameters: Float32Array,
	random: () => number,
): Promise<Float64Array[]> {
	const updates: Float64Array[] = [];
	for (const site of sites) updates.push(await site.update(trainer, parameters, random));
	return updates;
}

class Site {
	readonly #data: Dataset;
	readonly #task: Task;
	readonly #momentum: Float64Array;

	constructor(data: Dataset, length: number, task: Task) {
		this.#data = data;
		this.#task = task;
		this.#momentum = new Float64Array(length);
	}

	/** m <- beta m + (1 - beta) g, on a batch of the site's records drawn with replacement. */
	async update(trainer: Trainer, parameters: Float32Array, random: () => number): Promise<Float64Array> {
		const { batch, clientMomentum } = this.#task;
		const rows = Int32Array.from({ length: batch }, () => Math.floor(random() * this.#data.rows));
		const { sum } = await trainer.gradientSum(parameters, gather(this.#data, rows));
		const momentum = this.#momentum;
		for (let i = 0; i < sum.length; i++)
			momentum[i] = clientMomentum * momentum[i]! + ((1 - clientMomentum) * sum[i]!) / batch;
		return momentum.slice();
	}
}

async function backdoorSuccess(trainer: Trainer, parameters: Float32Array, test: Dataset): Promise<number> {
	const others = gather(
		test,
		Int32Array.from(test.labels.keys()).filter((row) => test.labels[row] !== BACKDOOR_LABEL),
	);
	const wanted = { ...withTrigger(others), labels: new Float32Array(others.rows).fill(BACKDOOR_LABEL) };
	const { correct } = await trainer.evaluate(parameters, wanted, LOSS_BOUND);
	return correct / others.rows;
}
