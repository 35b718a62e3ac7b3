/**
 * Local training of federated averaging (McMahan et al. 2017, arXiv:1602.05629) and of what came
 * after it (localDescent.ts): several steps on a site's own records; the difference is the site's update.
 *
 * Plain local training gives no privacy of its own: whoever calls it bounds and noises the delta.
 * Private local training is DP-SGD at the site (Abadi et al. 2016, arXiv:1607.00133); the caller
 * supplies sampling and noise, because it is the caller who accounts for them.
 */
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import { type Batch, takeRows } from "./batch.ts";
import type { Clipping } from "./clipping.ts";
import { allFinite } from "./finite.ts";
import { Descent, type DescentRule } from "./localDescent.ts";
import type { Trainer } from "./trainer.ts";

export interface LocalUpdate {
	/** Local parameters minus those that training started from. */
	readonly delta: Float64Array;
	/** Gradient steps taken. */
	readonly steps: number;
}

export interface LocalTrainingPlan extends DescentRule {
	/** Passes over the records, >= 1. */
	readonly epochs: number;
	/** Records a step, >= 1; the last step of an epoch may have fewer. */
	readonly batchSize: number;
	/** Training ends after this many steps, whatever is left of the epochs; >= 1. */
	readonly mostSteps?: number;
}

/** What an epoch hands on: a batch, answered when its step is done. */
export type TakeBatch = (batch: Batch) => Promise<void>;

/**
 * Mini-batch gradient descent over shuffled epochs. No records: a delta of zeros, no steps.
 * @param start where training starts: the common parameters, or a personal model's
 * @param random source of the shuffles' randomness; the system's generator unless a test seeds it
 * @throws AlthingError `learning.invalid_argument`, `learning.not_finite` when training diverges.
 */
export async function trainLocally(
	trainer: Trainer,
	start: Float32Array,
	data: Batch,
	plan: LocalTrainingPlan,
	random: (length: number) => Uint8Array = randomBytes,
): Promise<LocalUpdate> {
	const { mostSteps = Number.POSITIVE_INFINITY, batchSize } = plan;
	let steps = 0;
	return await trainOverEpochs(trainer, start, plan, async (_epoch, take) => {
		const order = shuffledRows(data.rows, random);
		for (let first = 0; first < order.length && steps < mostSteps; first += batchSize) {
			await take(takeRows(data, order.subarray(first, first + batchSize)));
			steps += 1;
		}
	});
}

/**
 * The same over batches that come from elsewhere.
 * @param epoch hands on the batches of one epoch, in the order of the steps
 * @throws AlthingError `learning.invalid_argument`, `learning.not_finite` when training diverges.
 */
export async function trainOverEpochs(
	trainer: Trainer,
	start: Float32Array,
	plan: Omit<LocalTrainingPlan, "mostSteps">,
	epoch: (epoch: number, take: TakeBatch) => Promise<void>,
): Promise<LocalUpdate> {
	requireCount("number of epochs", plan.epochs);
	requireCount("local batch size", plan.batchSize);
	const parameters = start.slice();
	const descent = new Descent(plan, parameters);
	let steps = 0;
	for (let number = 0; number < plan.epochs; number++) {
		await epoch(number, async (batch) => {
			const { sum } = await trainer.gradientSum(parameters, batch);
			descent.step(sum, batch.rows);
			steps += 1;
		});
	}
	return { delta: difference(parameters, start), steps };
}

export interface PrivateLocalTrainingPlan extends DescentRule {
	/** Steps, >= 1. */
	readonly steps: number;
	readonly clipping: Clipping;
	/**
	 * Public number every noisy sum is divided by, > 0. Never the size of the sample or of the data
	 * set: both tell whether a record is present.
	 */
	readonly expectedBatchSize: number;
	/** The Poisson sample of this step: row numbers of the data, each record independently with the accounted rate. */
	sampleRows(step: number): Uint32Array;
	/** Adds this step's accounted noise to the clipped sum, in place; called for empty samples too. */
	addNoise(sum: Float64Array, step: number): void;
}

/**
 * DP-SGD at the site: each step releases (clipped sum + noise) / expected batch size to the local
 * parameters, so the delta is as private as the caller's account of sampling and noise says.
 * @throws AlthingError `learning.invalid_argument`, `learning.not_finite`.
 */
export async function trainLocallyInPrivate(
	trainer: Trainer,
	start: Float32Array,
	data: Batch,
	plan: PrivateLocalTrainingPlan,
): Promise<LocalUpdate> {
	requireCount("number of local steps", plan.steps);
	requirePositive("expected batch size", plan.expectedBatchSize);
	const parameters = start.slice();
	const descent = new Descent(plan, parameters);
	for (let step = 0; step < plan.steps; step++) {
		const batch = takeRows(data, plan.sampleRows(step));
		const { sum } = await trainer.clippedGradientSum(parameters, batch, plan.clipping);
		plan.addNoise(sum, step);
		descent.step(sum, plan.expectedBatchSize);
	}
	return { delta: difference(parameters, start), steps: plan.steps };
}

/** @throws AlthingError `learning.not_finite` when training has diverged */
export function difference(parameters: Float32Array, start: Float32Array): Float64Array {
	const delta = new Float64Array(parameters.length);
	for (let i = 0; i < delta.length; i++) delta[i] = parameters[i]! - start[i]!;
	if (allFinite(delta)) return delta;
	throw diverged();
}

/** The error of training that has left the finite numbers. */
export function diverged(): AlthingError {
	return new AlthingError("learning.not_finite", "Local training diverged: lower the local learning rate.");
}

/** Fisher-Yates with unbiased indices. */
export function shuffledRows(count: number, random: (length: number) => Uint8Array): Uint32Array {
	const rows = Uint32Array.from({ length: count }, (_, i) => i);
	for (let i = count - 1; i > 0; i--) {
		const j = uniformBelow(i + 1, random);
		[rows[i], rows[j]] = [rows[j]!, rows[i]!];
	}
	return rows;
}

function uniformBelow(bound: number, random: (length: number) => Uint8Array): number {
	// Values at or above the largest multiple of the bound would favour the small remainders.
	const limit = 2 ** 32 - (2 ** 32 % bound);
	for (;;) {
		const bytes = random(4);
		const word = new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, true);
		if (word < limit) return word % bound;
	}
}

function requireCount(what: string, value: number): void {
	if (Number.isSafeInteger(value) && value >= 1) return;
	throw new AlthingError(
		"learning.invalid_argument",
		`The ${what} must be a whole number of at least 1, not ${value}.`,
		{
			what,
			value,
		},
	);
}

function requirePositive(what: string, value: number): void {
	if (Number.isFinite(value) && value > 0) return;
	throw new AlthingError(
		"learning.invalid_argument",
		`The ${what} must be a positive number, not ${value}.`,
		{
			what,
			value,
		},
	);
}
