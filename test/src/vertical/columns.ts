/** A shipped table split by columns over organizations that hold the same records, and a federation of them without a network. */
import { hashFields } from "../../../crypto/hash.ts";
import { catalog, loadCatalogDataset } from "../../../src/data/catalog.ts";
import type { Dataset } from "../../../src/data/dataset.ts";
import { prepare } from "../../../src/data/description.ts";
import { alignByKey } from "../../../src/vertical/alignment.ts";
import type { OwnPart } from "../../../src/vertical/ownPart.ts";
import { VerticalParty } from "../../../src/vertical/party.ts";
import { planVertical, type VerticalPlan } from "../../../src/vertical/verticalPlan.ts";
import { applyVerticalRelease, type VerticalRelease } from "../../../src/vertical/verticalRelease.ts";
import { type VerticalJob, verticalJobSchema } from "../../../src/vertical/verticalSpec.ts";
import type { VerticalState } from "../../../src/vertical/verticalState.ts";

export function columnsOf(dataset: Dataset, columns: readonly number[], order: readonly number[]): Dataset {
	const width = dataset.columns.length;
	return {
		features: Float32Array.from(
			order.flatMap((row) => columns.map((column) => dataset.features[row * width + column]!)),
		),
		labels: Float32Array.from(order, (row) => dataset.labels[row]!),
		rows: order.length,
		columns: columns.map((column) => dataset.columns[column]!),
		labelNames: dataset.labelNames,
		keys: order.map((row) => `patient ${row}`),
	};
}

/** Every organization has its rows in another order; the last one has the labels. */
export function splitByColumns(set: string, parties: number): Dataset[] {
	const { description } = catalog.get(set)!;
	const whole = prepare(loadCatalogDataset(set, "data"), description);
	return Array.from({ length: parties }, (_, party) => {
		const columns = whole.columns.flatMap((_, column) => (column % parties === party ? [column] : []));
		const shift = 101 * party;
		const order = Array.from({ length: whole.rows }, (_, i) => (i + shift) % whole.rows);
		return columnsOf(whole, columns, order);
	});
}

export interface Federation {
	readonly plan: VerticalPlan;
	/** Runs a round with the organizations that are there. */
	round(round: number, away?: readonly number[]): VerticalRelease;
	readonly parts: (OwnPart | undefined)[];
	/** Of the last round, in the order of the organizations that were there. */
	readonly vectors: Uint32Array[];
	readonly participations: (readonly string[])[];
	state: VerticalState;
}

export function federationOf(
	input: Record<string, unknown>,
	datasets: readonly Dataset[],
	seed: number,
): Federation & { readonly spec: VerticalJob } {
	const spec = verticalJobSchema.parse(input);
	const who = { participants: datasets.length, corruption: 0, minimumSurvivors: datasets.length };
	const plan = planVertical(spec, who);
	let drawn = 0;
	const parties = datasets.map(
		(dataset, party) =>
			new VerticalParty({
				spec,
				plan,
				dataset,
				alignment: alignByKey(dataset.keys, spec.data.records, hashFields("job")),
				holdsLabels: party === datasets.length - 1,
				random: () => hashFields("seeded part", seed, party, drawn++),
			}),
	);
	const federation: Federation & { readonly spec: VerticalJob } = {
		spec,
		plan,
		parts: datasets.map(() => undefined),
		vectors: [],
		participations: [],
		state: { seed: hashFields("seeded batches", seed), activations: [] },
		round(round, away = []) {
			const sum = new Uint32Array(plan.length);
			federation.vectors.length = 0;
			federation.participations.length = 0;
			parties.forEach((party, i) => {
				if (away.includes(i)) return;
				const { vector, part, participations } = party.contribute(
					round,
					federation.state,
					federation.parts[i],
				);
				federation.participations.push(participations);
				federation.parts[i] = part;
				federation.vectors.push(vector);
				for (let j = 0; j < sum.length; j++) sum[j]! += vector[j]!;
			});
			const survivors = parties.length - away.length;
			const release = applyVerticalRelease({ spec, plan, round, state: federation.state, sum, survivors });
			federation.state = release.state;
			return release;
		},
	};
	return federation;
}

/** Accuracy of the joined parts of a logistic regression over the held-out records, without the noise that nobody can leave out. */
export function cleanAccuracy({ plan, parts }: Federation, datasets: readonly Dataset[]): number {
	const { trainRecords, heldOutRecords } = plan.schedule;
	const sums = new Float64Array(heldOutRecords);
	let labels = new Float32Array(heldOutRecords);
	datasets.forEach((dataset, party) => {
		const { rows } = alignByKey(dataset.keys, dataset.rows, hashFields("job"));
		const { bottom } = parts[party]!;
		const width = dataset.columns.length;
		for (let i = 0; i < heldOutRecords; i++) {
			const row = rows[trainRecords + i]!;
			sums[i]! += bottom[width]!;
			for (let column = 0; column < width; column++)
				sums[i]! += dataset.features[row * width + column]! * bottom[column]!;
		}
		labels = Float32Array.from(
			{ length: heldOutRecords },
			(_, i) => dataset.labels[rows[trainRecords + i]!]!,
		);
	});
	return sums.filter((sum, i) => (sum > 0 ? 1 : 0) === labels[i]).length / heldOutRecords;
}
