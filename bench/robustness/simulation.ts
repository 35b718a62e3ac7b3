/** A federation with attackers in one process: momentum at every site, an attack, a defence, one common step. */
import { type Dataset, gather } from "../../src/data/dataset.ts";
import { seededRandomForTests } from "../../src/data/testnetPartition.ts";
import { initialParameters, parameterCount } from "../../src/learning/model.ts";
import {
	BACKDOOR_LABEL,
	withBackdoor,
	withFlippedLabels,
	withTrigger,
} from "../../testnet/attacks/poisonedRecords.ts";
import { type AttackName, vectorAttacks } from "../../testnet/attacks/vectorAttacks.ts";
import { type Defence, type DefenceName, defences } from "./defences.ts";
import { type SparsePerceptron, type SparseRecords, sparse } from "./sparsePerceptron.ts";
import { deal, perceptronOf, type Task } from "./task.ts";

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
/** Attackers that keep no momentum: their vectors are a tenth of what the others send, and noisy. */
const BARE: ReadonlySet<AttackName> = new Set(["bit_flip_bare", "label_flip_bare"]);

/** @param given aggregates in place of the experiment's defence */
export function simulate({ task, attack, defence, seed }: Experiment, given?: Defence): Outcome {
	const { model, sites, test, root } = deal(task, seed);
	const { attackers, rounds } = task;
	const length = parameterCount(model);
	const random = seededRandomForTests(2_000_000 + seed);
	const combine: Defence = given ?? defences[defence]({ length, sites: task.sites, attackers, seed });
	const members = sites.slice(attackers).map((data) => new Site(data, length, task));
	const trusted = new Site(root, length, task);
	const kept = BARE.has(attack) ? 0 : task.clientMomentum;
	const attacking = sites.slice(0, attackers).map((data) => new Site(data, length, task, kept));
	const poisoned = poisonOf(attack, sites.slice(0, attackers)).map(
		(data) => new Site(data, length, task, kept),
	);
	let parameters = initialParameters(model, new Uint8Array(32).fill(seed & 255));
	let previous: Float64Array = new Float64Array(length);
	const memory = {};
	const out = { attackers: 0, honest: 0 };
	const network = perceptronOf(task, model);
	for (let round = 0; round < rounds; round++) {
		const updatesOf = (some: readonly Site[]) => some.map((site) => site.update(network, parameters, random));
		const honest = updatesOf(members);
		let own: Float64Array[] | undefined;
		const sent = vectorAttacks[round < task.attackFrom ? "none" : attack]({
			honest,
			// Most attacks train nothing of the kind, and most of an experiment's time is training.
			get own() {
				own ??= updatesOf(attacking);
				return own;
			},
			poisoned: updatesOf(poisoned),
			attackers,
			participants: task.sites,
			memory,
			random,
			previous,
		});
		const { aggregate, excluded } = combine([...sent, ...honest], round, () =>
			trusted.update(network, parameters, random),
		);
		for (const index of excluded) out[index < attackers ? "attackers" : "honest"]++;
		// Local steps are of that length already.
		const step = task.localEpochs === undefined ? stepAt(task, round) : 1;
		parameters = parameters.map((value, i) => value - step * aggregate[i]!);
		previous = aggregate;
		if (!parameters.every(Number.isFinite)) return DIVERGED;
	}
	return {
		accuracy: network.correct(parameters, sparse(test)) / test.rows,
		backdoorSuccess: backdoorSuccess(network, parameters, test),
		attackersExcluded: out.attackers / (Math.max(1, attackers) * rounds),
		honestExcluded: out.honest / ((task.sites - attackers) * rounds),
	};
}

function stepAt({ learningRate, steps, rounds }: Task, round: number): number {
	return steps === "falling" ? learningRate * (1 - round / rounds) : learningRate;
}

function poisonOf(attack: AttackName, sites: readonly Dataset[]): Dataset[] {
	if (attack === "backdoor") return sites.map((data) => withBackdoor(data));
	const flips = attack === "label_flip" || attack === "label_flip_bare" || attack === "sybil";
	return flips ? sites.map((data) => withFlippedLabels(data, CLASSES)) : [];
}

class Site {
	readonly #data: SparseRecords;
	readonly #task: Task;
	readonly #momentum: Float64Array;
	/** Share of the momentum that a round leaves: the task's, or nothing. */
	readonly #kept: number;
	#rounds = 0;

	constructor(data: Dataset, length: number, task: Task, kept = task.clientMomentum) {
		this.#kept = kept;
		this.#data = sparse(data);
		this.#task = task;
		this.#momentum = new Float64Array(length);
	}

	/** m <- beta m + (1 - beta) g, on a batch of the site's records drawn with replacement, or its local steps. */
	update(network: SparsePerceptron, parameters: Float32Array, random: () => number): Float64Array {
		const { clientMomentum, localEpochs } = this.#task;
		const momentum = this.#momentum;
		for (let i = 0; i < momentum.length; i++) momentum[i]! *= this.#kept;
		if (localEpochs === undefined) {
			const rows = this.#batch(random);
			network.addGradient(parameters, this.#data, rows, (1 - clientMomentum) / rows.length, momentum);
			if (this.#task.correctedMomentum !== true) return momentum;
			const weights = 1 - this.#kept ** ++this.#rounds;
			return momentum.map((value) => value / weights);
		}
		const moved = this.#moved(network, parameters, localEpochs, random);
		for (let i = 0; i < momentum.length; i++) momentum[i]! += (1 - clientMomentum) * moved[i]!;
		return momentum;
	}

	/** All records where a batch is all of them. */
	#batch(random: () => number): Int32Array {
		const { rows } = this.#data;
		const { batch } = this.#task;
		if (!Number.isFinite(batch)) return Int32Array.from({ length: rows }, (_, row) => row);
		return Int32Array.from({ length: batch }, () => Math.floor(random() * rows));
	}

	/** Minus what local steps change. */
	#moved(
		network: SparsePerceptron,
		parameters: Float32Array,
		localEpochs: number,
		random: () => number,
	): Float64Array {
		const { batch, learningRate } = this.#task;
		let local = parameters;
		const steps = Math.max(1, Math.ceil((localEpochs * this.#data.rows) / batch));
		for (let step = 0; step < steps; step++) {
			const gradient = new Float64Array(local.length);
			const rows = this.#batch(random);
			network.addGradient(local, this.#data, rows, 1 / rows.length, gradient);
			local = local.map((value, i) => value - learningRate * gradient[i]!);
		}
		return Float64Array.from(parameters, (value, i) => value - local[i]!);
	}
}

function backdoorSuccess(network: SparsePerceptron, parameters: Float32Array, test: Dataset): number {
	const others = gather(
		test,
		Int32Array.from(test.labels.keys()).filter((row) => test.labels[row] !== BACKDOOR_LABEL),
	);
	const wanted = { ...withTrigger(others), labels: new Float32Array(others.rows).fill(BACKDOOR_LABEL) };
	return network.correct(parameters, sparse(wanted)) / others.rows;
}
