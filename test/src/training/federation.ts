/** A federation without masks or network: sites over a shipped data set, and rounds as nodes run them. */
import { loadCatalogDataset } from "../../../src/data/catalog.ts";
import { gather } from "../../../src/data/dataset.ts";
import { prepare } from "../../../src/data/description.ts";
import { splitHeldOut } from "../../../src/data/partition.ts";
import { seededRandomForTests } from "../../../src/data/testnetPartition.ts";
import { createTrainer, type Trainer } from "../../../src/learning/trainer.ts";
import { type CommonState, initialState } from "../../../src/training/commonState.ts";
import { type Contribution, Contributor, type Memory } from "../../../src/training/contribution.ts";
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";
import { type Participation, planTraining, type TrainingPlan } from "../../../src/training/plan.ts";
import { applyRelease, type RoundMetrics } from "../../../src/training/release.ts";
import type { SiteData } from "../../../src/training/siteData.ts";
import { NEW_SITE, type SiteState } from "../../../src/training/siteState.ts";
import { seededWordsForTests } from "../privacy/seededWordsForTests.ts";

export const WHO: Participation = { participants: 5, corruption: 1, minimumSurvivors: 4 };

export interface Overrides {
	readonly model?: object;
	readonly training?: object;
	readonly privacy?: object;
	readonly aggregation?: object;
	readonly compression?: object;
	readonly robustness?: object;
	readonly personalization?: object;
}

/** A job on the 8x8 digits; privacy is distributed_gaussian unless overridden. */
export function digitsJob(overrides: Overrides = {}): ResolvedJobSpec {
	return resolveJobSpec(
		checkJobSpec({
			name: "digits",
			technique: "federated_learning",
			data: { set: "digits-8x8" },
			model: overrides.model ?? { kind: "softmax_regression" },
			training: { rounds: 8, serverLearningRate: 2, expectedBatch: 700, ...overrides.training },
			privacy: overrides.privacy ?? {
				mechanism: "distributed_gaussian",
				epsilon: 8,
				delta: 1e-6,
				samplingRate: 0.5,
			},
			aggregation: overrides.aggregation ?? {},
			compression: overrides.compression,
			robustness: overrides.robustness,
			personalization: overrides.personalization,
		}),
	);
}

/** The digits' records, dealt out in turn. */
export function digitsSites(count: number): SiteData[] {
	const { description } = digitsJob().data;
	const all = prepare(loadCatalogDataset("digits-8x8", "data"), description);
	return Array.from({ length: count }, (_, site) => {
		const rows = Int32Array.from({ length: all.rows }, (__, row) => row).filter(
			(row) => row % count === site,
		);
		return splitHeldOut(gather(all, rows), new Uint8Array(32).fill(site), 0.2);
	});
}

/** A site without records. */
export function emptySite(): SiteData {
	const { train } = digitsSites(1)[0]!;
	const empty = { ...train, rows: 0, features: new Float32Array(0), labels: new Float32Array(0) };
	return { train: empty, heldOut: empty };
}

interface Site {
	readonly contributor: Contributor;
	memory: Memory;
}

/** Bytes of a seeded generator: shuffles alone are drawn from it. */
export function seededBytesForTests(seed: number): (length: number) => Uint8Array {
	const random = seededRandomForTests(seed);
	return (length) => Uint8Array.from({ length }, () => Math.floor(256 * random()));
}

/** Sites of one job in one process. `dispose` it. */
export class TestFederation {
	readonly plan: TrainingPlan;
	state: CommonState;
	/** Of the last round. */
	lastSum = new Uint32Array(0);
	readonly #spec: ResolvedJobSpec;
	readonly #trainer: Trainer;
	readonly #sites: readonly Site[];
	#round = 0;

	private constructor(
		spec: ResolvedJobSpec,
		plan: TrainingPlan,
		trainer: Trainer,
		data: readonly SiteData[],
	) {
		this.#spec = spec;
		this.plan = plan;
		this.#trainer = trainer;
		this.#sites = data.map((records, site) => {
			const participationKey = new Uint8Array(32).fill(100 + site);
			const random = seededBytesForTests(site);
			// What is rounded is drawn from a seed, too: a job without noise learns the same in every run.
			const roundingWords = seededWordsForTests(100 + site);
			const contributor = new Contributor({
				spec,
				plan,
				data: records,
				trainer,
				participationKey,
				random,
				roundingWords,
			});
			return { contributor, memory: {} };
		});
		this.state = initialState(spec, plan, "job", new Uint8Array(32));
	}

	static async create(spec: ResolvedJobSpec, data = digitsSites(5), who = WHO): Promise<TestFederation> {
		const plan = planTraining(spec, who);
		return new TestFederation(spec, plan, await createTrainer({ model: plan.model }), data);
	}

	/** One site's contribution to the next round. */
	async contribution(site: number): Promise<Contribution> {
		const { contributor, memory } = this.#sites[site]!;
		const contribution = await contributor.contribute(this.#round, this.state, memory);
		this.#sites[site]!.memory = contribution;
		return contribution;
	}

	/** What a site keeps for itself. */
	own(site: number): SiteState {
		return this.#sites[site]!.memory.own ?? NEW_SITE;
	}

	/** What a site keeps when the job is over. */
	async finished(site: number): Promise<SiteState> {
		return await this.#sites[site]!.contributor.finish(this.#round, this.state, this.own(site));
	}

	/** One round over `present` sites, all of them by default; `lost` ones contribute and are left out of the sum. */
	async round(
		present = this.#sites.map((_, site) => site),
		lost: readonly number[] = [],
	): Promise<RoundMetrics> {
		for (const site of lost) {
			const { memory } = this.#sites[site]!;
			await this.contribution(site);
			this.#sites[site]!.memory = memory;
		}
		const { modulusBits } = this.plan.encoding;
		const mask = modulusBits === 32 ? 0xffffffff : 2 ** modulusBits - 1;
		const sum = new Uint32Array(this.plan.length);
		for (const site of present) {
			const { vector } = await this.contribution(site);
			for (let i = 0; i < sum.length; i++) sum[i] = ((sum[i]! + vector[i]!) & mask) >>> 0;
		}
		this.lastSum = sum;
		const { state, metrics } = applyRelease({
			spec: this.#spec,
			plan: this.plan,
			round: this.#round,
			state: this.state,
			sum,
			survivors: present.length,
		});
		this.state = state;
		this.#round += 1;
		return metrics;
	}

	/** Share of the data's held-out records that the present model gets right. */
	async accuracyOn(data: readonly SiteData[]): Promise<number> {
		let correct = 0;
		let examples = 0;
		for (const { heldOut } of data) {
			const found = await this.#trainer.evaluate(this.state.parameters, heldOut, 8);
			correct += found.correct;
			examples += found.examples;
		}
		return correct / examples;
	}

	dispose(): Promise<void> {
		return this.#trainer.dispose();
	}
}
