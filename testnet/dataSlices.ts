/**
 * The testnet's data: a part kept back from everybody for the final comparison, the rest dealt
 * out unevenly by label. The cut comes from a public seed, so every run deals the same.
 */
import { fileURLToPath } from "node:url";
import { catalog, loadCatalogDataset } from "../src/data/catalog.ts";
import { type Dataset, gather } from "../src/data/dataset.ts";
import { type DataDescription, prepare } from "../src/data/description.ts";
import { dirichletPartitionForTestnets, seededRandomForTests } from "../src/data/testnetPartition.ts";

const DATA_FOLDER = fileURLToPath(new URL("../data", import.meta.url));
/** Share of the records that no site gets. */
const KEPT_BACK_FRACTION = 0.2;
/** Clearly uneven: most sites lack most of some class. */
const CONCENTRATION = 0.5;
/** Every site can hold out some records and train on the others. */
const LEAST_ROWS = 30;
const SEED = 2024;

export interface DataSlices {
	readonly description: DataDescription;
	/** Kept back from all sites, in the shape that models take. */
	readonly test: Dataset;
	/** What the sites have between them, in the shape that models take. */
	readonly pooled: Dataset;
	/** One for each site, as in the data set's own files. */
	readonly sites: readonly Dataset[];
}

/** @throws AlthingError `data.*` when a shipped file is damaged, or there are too few records for so many sites */
export function sliceDataset(name: string, sites: number): DataSlices {
	const raw = loadCatalogDataset(name, DATA_FOLDER);
	const description = catalog.get(name)!.description;
	const order = shuffled(raw.rows);
	const keptBack = Math.round(raw.rows * KEPT_BACK_FRACTION);
	const test = gather(raw, order.slice(0, keptBack));
	const rest = gather(raw, order.slice(keptBack));
	const parts = dirichletPartitionForTestnets({
		labels: rest.labels,
		sites,
		concentration: CONCENTRATION,
		leastRows: Math.min(LEAST_ROWS, Math.floor(rest.rows / sites / 2)),
		seed: SEED,
	});
	return {
		description,
		test: prepare(test, description),
		pooled: prepare(rest, description),
		sites: parts.map((rows) => gather(rest, rows)),
	};
}

/**
 * A site's records as the CSV text that `althing data add` reads.
 * @param labelColumn undefined for records without a label
 */
export function csvText(slice: Dataset, labelColumn: string | undefined): string {
	const width = slice.columns.length;
	const lines = [[...slice.columns, ...(labelColumn === undefined ? [] : [labelColumn])].join(",")];
	for (let row = 0; row < slice.rows; row++) {
		const label = slice.labels[row]!;
		const cells = Array.from(slice.features.subarray(row * width, (row + 1) * width), String);
		const named = labelColumn === undefined ? [] : [slice.labelNames[label] ?? String(label)];
		lines.push([...cells, ...named].join(","));
	}
	return `${lines.join("\n")}\n`;
}

/** `80 records: 45 benign, 35 malignant`, the commonest classes first. */
export function sliceSummary(slice: Dataset): string {
	const counts = new Map<string, number>();
	for (const label of slice.labels) {
		const name = slice.labelNames[label] ?? String(label);
		counts.set(name, (counts.get(name) ?? 0) + 1);
	}
	const commonest = [...counts].sort((a, b) => b[1] - a[1]);
	const shown = commonest.slice(0, 4).map(([name, count]) => `${count} x ${name}`);
	const others = commonest.length - shown.length;
	return `${slice.rows} records: ${shown.join(", ")}${others > 0 ? ` and ${others} other classes` : ""}`;
}

function shuffled(rows: number): Int32Array {
	const random = seededRandomForTests(SEED);
	const order = Int32Array.from({ length: rows }, (_, row) => row);
	for (let i = rows - 1; i > 0; i--) {
		const j = Math.floor(random() * (i + 1));
		[order[i], order[j]] = [order[j]!, order[i]!];
	}
	return order;
}
