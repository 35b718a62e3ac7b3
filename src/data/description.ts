/**
 * What a federation agrees on about a kind of data set, and how a site's records are brought
 * into that shape: only by public bounds, never by statistics of the records themselves
 * (a private mean or maximum would be a release nobody charged for).
 */
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "./dataset.ts";

const boundsSchema = z
	.tuple([z.number(), z.number()])
	.refine(([least, largest]) => least < largest, "the lower bound must be below the upper one");

export const dataDescriptionSchema = z.strictObject({
	name: z
		.string()
		.regex(/^[a-z0-9][a-z0-9-]{0,63}$/, "lower-case letters, digits and hyphens, at most 64 characters"),
	label: z.discriminatedUnion("kind", [
		z.strictObject({
			kind: z.literal("class"),
			column: z.string().min(1),
			/** The public list of classes; its order is the order of a model's outputs. */
			classes: z
				.array(z.string().min(1))
				.min(2)
				.refine((classes) => new Set(classes).size === classes.length, "classes must differ"),
		}),
		z.strictObject({ kind: z.literal("number"), column: z.string().min(1), bounds: boundsSchema }),
		z.strictObject({
			kind: z
				.literal("none")
				.describe("features alone: another organization has the labels (vertical learning)"),
		}),
	]),
	key: z
		.string()
		.min(1)
		.optional()
		.describe(
			"column that names each record, the same way at every organization; no feature, never part of a model",
		),
	features: z
		.strictObject({
			count: z.int().gte(1),
			/** One pair for all features, or one pair per feature, in the order of the columns. */
			bounds: z.union([boundsSchema, z.array(boundsSchema)]),
			/** Range the bounds are mapped to: `symmetric` [-1, 1] or `unit` [0, 1]. */
			scale: z.enum(["symmetric", "unit"]),
		})
		.refine(({ count, bounds }) => isPair(bounds) || bounds.length === count, "as many bounds as features"),
});

export type DataDescription = z.infer<typeof dataDescriptionSchema>;
type Bounds = readonly [number, number];

function isPair(bounds: [number, number] | [number, number][]): bounds is [number, number] {
	return typeof bounds[0] === "number";
}

/** One pair of bounds per feature, in the order of the columns. */
export function boundsOfFeatures({ features: { count, bounds } }: DataDescription): readonly Bounds[] {
	return isPair(bounds) ? Array<Bounds>(count).fill(bounds) : bounds;
}

/** @throws AlthingError `data.wrong_feature_count` */
export function requireFeatureCount(actual: number, { name, features: { count } }: DataDescription): void {
	if (actual === count) return;
	throw new AlthingError(
		"data.wrong_feature_count",
		`The data set has ${actual} feature columns, its description "${name}" says ${count}. Remove or add columns, or correct the description.`,
		{ expected: count, actual },
	);
}

/** @param row of the record, from 0 */
export function unknownLabel(row: number, description: string, classes: readonly string[]): AlthingError {
	return new AlthingError(
		"data.unknown_label",
		`Record ${row + 1} has a label outside the public classes of "${description}": ${classes.join(", ")}. Correct the record or agree on a description with that class.`,
		{ record: row + 1 },
	);
}

/**
 * Features clamped to the public bounds and mapped to the range; class labels as indices into
 * the public list, numeric labels scaled like features.
 * @throws AlthingError `data.wrong_feature_count`, or `data.unknown_label` for a class outside the public list
 */
export function prepare(dataset: Dataset, description: DataDescription): Dataset {
	const { count, scale } = description.features;
	requireFeatureCount(dataset.columns.length, description);
	const perColumn = boundsOfFeatures(description);
	const features = new Float32Array(dataset.features.length);
	for (let i = 0; i < features.length; i++) {
		features[i] = scaled(dataset.features[i]!, perColumn[i % count]!, scale);
	}
	const { label } = description;
	if (label.kind === "none") return { ...dataset, features };
	if (label.kind === "number") {
		return {
			...dataset,
			features,
			labels: numericLabels(dataset).map((value) => scaled(value, label.bounds, scale)),
			labelNames: [],
		};
	}
	const classOf = dataset.labelNames.map((name) => label.classes.indexOf(name));
	const labels = dataset.labels.map((index, row) => {
		const known = classOf[index] ?? -1;
		if (known < 0) throw unknownLabel(row, description.name, label.classes);
		return known;
	});
	return { ...dataset, features, labels, labelNames: label.classes };
}

/**
 * Labels by their own value. A reader that collects values in use (IDX) numbers them by their place
 * in that list, and a place depends on the other records.
 */
function numericLabels({ labels, labelNames }: Dataset): Float32Array {
	if (labelNames.length === 0) return labels;
	const values = labelNames.map(Number);
	return labels.map((index) => values[index]!);
}

/** A value clamped to its bounds, mapped to the range: a double, to be stored as float32. */
export function scaled(value: number, [least, largest]: Bounds, scale: "symmetric" | "unit"): number {
	const unit = (Math.max(least, Math.min(largest, value)) - least) / (largest - least);
	return scale === "unit" ? unit : 2 * unit - 1;
}
