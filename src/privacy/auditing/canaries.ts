/**
 * Records that exist to be found: the auditor flips a coin for each, trains with those that came
 * up heads through the very path that real records take, and tries to tell which they were.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { randomBytes } from "../../../crypto/random.ts";
import type { Dataset } from "../../data/dataset.ts";
import { takeRows } from "../../learning/batch.ts";
import { type Clipping, contributionBound } from "../../learning/clipping.ts";
import type { Batch, ClippedGradientSum, Evaluation, GradientSum, Trainer } from "../../learning/trainer.ts";
import type { SiteData } from "../../training/siteData.ts";

export type Canary = GradientCanary | ExampleCanary;

/** Its gradient is the clipping norm on one coordinate, the most a record may weigh, and 0 elsewhere. */
interface GradientCanary {
	readonly kind: "gradient";
	readonly coordinate: number;
}

/** A record like others: its gradient is computed and clipped by the trainer itself. */
interface ExampleCanary {
	readonly kind: "example";
	readonly features: Float32Array;
	readonly label: number;
}

/** One gradient canary each on `count` parameters, spread over all of them. */
export function gradientCanaries(parameterCount: number, count: number): Canary[] {
	const used = Math.min(count, parameterCount);
	return Array.from({ length: used }, (_, i) => ({
		kind: "gradient",
		coordinate: Math.floor((i * parameterCount) / used),
	}));
}

/**
 * Records like the site's own with a wrong class: nothing but memory of them explains a model
 * that gets them "right".
 * @param count at most the records there are
 * @throws AlthingError `audit.unsupported` for records without classes
 */
export function mislabelledCanaries(dataset: Dataset, count: number): Canary[] {
	const classes = dataset.labelNames.length;
	if (classes < 2) {
		throw new AlthingError("audit.unsupported", "Only records with classes can be mislabelled.");
	}
	const width = dataset.columns.length;
	const used = Math.min(count, dataset.rows);
	return Array.from({ length: used }, (_, i) => {
		const row = Math.floor((i * dataset.rows) / used);
		return {
			kind: "example",
			features: dataset.features.slice(row * width, (row + 1) * width),
			label: (dataset.labels[row]! + 1) % classes,
		};
	});
}

/** One fair coin a canary, from the system CSPRNG. */
export function tossCoins(count: number): boolean[] {
	return Array.from(randomBytes(count), (byte) => (byte & 1) === 1);
}

/**
 * A site's data with the canaries whose coin came up heads among its training records. They
 * are marked by negative labels, which only a {@link CanaryTrainer} understands.
 */
export function plantCanaries(
	data: SiteData,
	canaries: readonly Canary[],
	included: readonly boolean[],
): SiteData {
	const { train } = data;
	const planted = canaries.flatMap((_, i) => (included[i] ? [i] : []));
	const width = train.columns.length;
	const features = new Float32Array((train.rows + planted.length) * width);
	const labels = new Float32Array(train.rows + planted.length);
	features.set(train.features);
	labels.set(train.labels);
	planted.forEach((canary, i) => {
		labels[train.rows + i] = -1 - canary;
	});
	const combined: Dataset = { ...train, features, labels, rows: train.rows + planted.length };
	return { ...data, train: combined };
}

/**
 * A trainer that knows canaries. Each call's sum of the real records alone is kept in
 * `realSum`: the attacker of differential privacy knows every record but one, and the claim
 * about that one holds whatever the sampling coins of the others show.
 */
export class CanaryTrainer implements Trainer {
	readonly #inner: Trainer;
	readonly #canaries: readonly Canary[];
	/** Clipped gradient sum of the real records of the latest batch. */
	realSum: Float64Array;

	constructor(inner: Trainer, canaries: readonly Canary[]) {
		this.#inner = inner;
		this.#canaries = canaries;
		this.realSum = new Float64Array(inner.parameterCount);
		const lost = canaries.find(
			(canary) =>
				canary.kind === "gradient" && !(canary.coordinate >= 0 && canary.coordinate < inner.parameterCount),
		);
		if (lost !== undefined) {
			throw new AlthingError("audit.bad_argument", "A gradient canary lies outside the model's parameters.");
		}
	}

	get parameterCount(): number {
		return this.#inner.parameterCount;
	}

	get backend(): string {
		return this.#inner.backend;
	}

	async clippedGradientSum(
		parameters: Float32Array,
		batch: Batch,
		clipping: Clipping,
	): Promise<ClippedGradientSum> {
		const real: number[] = [];
		const sampled: Canary[] = [];
		for (let row = 0; row < batch.rows; row++) {
			const label = batch.labels[row]!;
			if (label < 0) sampled.push(this.#canaries[-1 - label]!);
			else real.push(row);
		}
		const records = takeRows(batch, Uint32Array.from(real));
		const alone = await this.#inner.clippedGradientSum(parameters, records, clipping);
		this.realSum = alone.sum;
		const examples = sampled.filter((canary) => canary.kind === "example");
		// Real records and example canaries in one batch, as the path has it.
		const result =
			examples.length === 0
				? { ...alone, sum: alone.sum.slice() }
				: await this.#inner.clippedGradientSum(parameters, append(records, examples), clipping);
		for (const canary of sampled) {
			if (canary.kind === "gradient") result.sum[canary.coordinate]! += contributionBound(clipping);
		}
		return { ...result, examples: batch.rows };
	}

	/** The clipped gradient of one example canary at `parameters`: what the attacker looks for. */
	async gradientOf(
		{ features, label }: ExampleCanary,
		parameters: Float32Array,
		clipping: Clipping,
	): Promise<Float64Array> {
		const batch = { features, labels: Float32Array.of(label), rows: 1 };
		return (await this.#inner.clippedGradientSum(parameters, batch, clipping)).sum;
	}

	gradientSum(parameters: Float32Array, batch: Batch): Promise<GradientSum> {
		return this.#inner.gradientSum(parameters, batch);
	}

	evaluate(parameters: Float32Array, batch: Batch, lossBound: number): Promise<Evaluation> {
		return this.#inner.evaluate(parameters, batch, lossBound);
	}

	predict(parameters: Float32Array, features: Float32Array): Promise<Float32Array> {
		return this.#inner.predict(parameters, features);
	}

	dispose(): Promise<void> {
		return this.#inner.dispose();
	}
}

function append(batch: Batch, examples: readonly ExampleCanary[]): Batch {
	const width = examples[0]!.features.length;
	const features = new Float32Array(batch.features.length + examples.length * width);
	features.set(batch.features);
	examples.forEach((example, i) => {
		features.set(example.features, batch.features.length + i * width);
	});
	return {
		features,
		labels: Float32Array.of(...batch.labels, ...examples.map(({ label }) => label)),
		rows: batch.rows + examples.length,
	};
}
