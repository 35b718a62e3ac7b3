import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { catalog, loadCatalogDataset } from "../../../src/data/catalog.ts";
import type { Dataset } from "../../../src/data/dataset.ts";
import { type DataDescription, dataDescriptionSchema, prepare } from "../../../src/data/description.ts";

const dataFolder = join(import.meta.dirname, "../../../data");

const dataset: Dataset = {
	features: Float32Array.of(0, 5, 10, -100, 2.5, 1000),
	labels: Float32Array.of(0, 1, 0),
	rows: 3,
	columns: ["a", "b"],
	labelNames: ["yes", "no"],
};
const description: DataDescription = {
	name: "small",
	label: { kind: "class", column: "kind", classes: ["no", "yes", "never seen"] },
	features: {
		count: 2,
		bounds: [
			[0, 10],
			[0, 5],
		],
		scale: "symmetric",
	},
};

describe("prepare", () => {
	it("scales by the public bounds alone and clamps what lies outside", () => {
		const prepared = prepare(dataset, description);
		expect(prepared.features).toEqual(Float32Array.of(-1, 1, 1, -1, -0.5, 1));
		expect(prepared.labels).toEqual(Float32Array.of(1, 0, 1));
		expect(prepared.labelNames).toEqual(["no", "yes", "never seen"]);
		const unit = prepare(dataset, { ...description, features: { count: 2, bounds: [0, 10], scale: "unit" } });
		expect(unit.features).toEqual(Float32Array.of(0, 0.5, 1, 0, 0.25, 1));
	});

	it("treats a record the same whatever the others are", () => {
		const alone = {
			...dataset,
			features: dataset.features.slice(0, 2),
			labels: dataset.labels.slice(0, 1),
			rows: 1,
		};
		expect(prepare(alone, description).features).toEqual(prepare(dataset, description).features.slice(0, 2));
	});

	it("scales a numeric target by its bounds", () => {
		const target = { ...dataset, labels: Float32Array.of(0, 50, 500), labelNames: [] };
		const label = { kind: "number", column: "y", bounds: [0, 100] as [number, number] } as const;
		expect(prepare(target, { ...description, label }).labels).toEqual(Float32Array.of(-1, 0, 1));
	});

	it("takes a numeric target by its value, not by its place among the values in use", () => {
		const label = { kind: "number", column: "y", bounds: [0, 10] as [number, number] } as const;
		const targets = (labels: number[], labelNames: string[]) =>
			prepare({ ...dataset, labels: Float32Array.from(labels), labelNames }, { ...description, label })
				.labels;
		// The second record says 10 both times: without the first one it would be first in the list.
		expect(targets([0, 1, 1], ["5", "10"])).toEqual(Float32Array.of(0, 1, 1));
		expect(targets([0, 0, 0], ["10"])).toEqual(Float32Array.of(1, 1, 1));
	});

	it("refuses an unknown class by record number, and a wrong number of features", () => {
		const label = { kind: "class", column: "kind", classes: ["yes", "other"] } as const;
		expect(() =>
			prepare(dataset, { ...description, label: { ...label, classes: [...label.classes] } }),
		).toThrow(expect.objectContaining({ code: "data.unknown_label", facts: { record: 2 } }));
		expect(() => prepare({ ...dataset, columns: ["a", "b", "c"] }, description)).toThrow(
			expect.objectContaining({ code: "data.wrong_feature_count" }),
		);
	});

	it("validates descriptions: names, bounds in order and number, distinct classes, no unknown keys", () => {
		expect(dataDescriptionSchema.safeParse(description).success).toBe(true);
		for (const bad of [
			{ ...description, name: "../up" },
			{ ...description, features: { ...description.features, bounds: [1, 1] } },
			{ ...description, features: { ...description.features, bounds: [[0, 1]] } },
			{ ...description, label: { kind: "class", column: "kind", classes: ["a", "a"] } },
			{ ...description, extra: 1 },
		]) {
			expect(dataDescriptionSchema.safeParse(bad).success).toBe(false);
		}
	});
});

describe("the catalog", () => {
	for (const [name, { rows, description: entry }] of catalog) {
		it(`loads ${name} and brings it into shape`, () => {
			expect(dataDescriptionSchema.safeParse(entry).success).toBe(true);
			const prepared = prepare(loadCatalogDataset(name, dataFolder), entry);
			expect(prepared.rows).toBe(rows);
			expect(prepared.features.length).toBe(rows * entry.features.count);
			const least = entry.features.scale === "unit" ? 0 : -1;
			expect(prepared.features.every((value) => value >= least && value <= 1)).toBe(true);
			const perClass = new Map<number, number>();
			for (const label of prepared.labels) perClass.set(label, (perClass.get(label) ?? 0) + 1);
			expect(perClass.size).toBe(entry.label.kind === "class" ? entry.label.classes.length : 0);
		});
	}

	it("refuses a name it does not have, and says which there are", () => {
		expect(() => loadCatalogDataset("iris", dataFolder)).toThrow(/digits-8x8, breast-cancer/);
		expect(() => loadCatalogDataset("digits-8x8", "/nonexistent")).toThrow(
			expect.objectContaining({ code: "data.unreadable" }),
		);
	});
});
