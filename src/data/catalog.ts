/**
 * The data sets shipped in data/ and their public descriptions.
 *
 * Bounds come from the sets' public documentation (pixel ranges, percentages) or are round
 * numbers for the physical quantity, chosen once and published here. A federation over its
 * own data must choose its bounds the same way: from what is publicly known of the quantity.
 */
import { join } from "node:path";
import { AlthingError } from "../../crypto/error.ts";
import { csvOptionsOf, readCsv } from "./csv.ts";
import type { Dataset } from "./dataset.ts";
import type { DataDescription } from "./description.ts";
import { readIdx } from "./idx.ts";

export interface CatalogEntry {
	/** Names in the data folder: one CSV, or IDX images and labels. */
	readonly files: readonly [csv: string] | readonly [images: string, labels: string];
	readonly rows: number;
	readonly description: DataDescription;
}

const digits = Array.from({ length: 10 }, (_, i) => String(i));
const letters = Array.from({ length: 26 }, (_, i) => String.fromCharCode(65 + i));

/** Mean, standard error and worst of ten measurements of cell nuclei: radius .. fractal dimension. */
const nuclei: [number, number][] = [
	...([
		[5, 30],
		[5, 40],
		[40, 200],
		[100, 2500],
		[0.05, 0.17],
		[0, 0.35],
		[0, 0.45],
		[0, 0.2],
		[0.1, 0.3],
		[0.04, 0.1],
	] as [number, number][]),
	...([
		[0, 3],
		[0, 5],
		[0, 22],
		[0, 300],
		[0, 0.03],
		[0, 0.14],
		[0, 0.4],
		[0, 0.05],
		[0, 0.08],
		[0, 0.03],
	] as [number, number][]),
	...([
		[5, 40],
		[10, 50],
		[50, 250],
		[150, 4300],
		[0.05, 0.25],
		[0, 1.1],
		[0, 1.3],
		[0, 0.3],
		[0.15, 0.7],
		[0.05, 0.21],
	] as [number, number][]),
];

/** 48 word and 6 character frequencies in percent, clamped where a rate stops telling, and three run lengths of capitals. */
const mail: [number, number][] = [
	...Array.from({ length: 48 }, (): [number, number] => [0, 4]),
	...Array.from({ length: 6 }, (): [number, number] => [0, 1]),
	[0, 10],
	[0, 100],
	[0, 1000],
];

/** By name, as in `althing testnet --data NAME`. */
export const catalog: ReadonlyMap<string, CatalogEntry> = new Map(
	[
		entry(["digits-8x8.csv.gz"], 1797, {
			name: "digits-8x8",
			label: { kind: "class", column: "digit", classes: digits },
			features: { count: 64, bounds: [0, 16], scale: "unit" },
		}),
		entry(["breast-cancer.csv.gz"], 569, {
			name: "breast-cancer",
			label: { kind: "class", column: "diagnosis", classes: ["benign", "malignant"] },
			features: { count: 30, bounds: nuclei, scale: "symmetric" },
		}),
		entry(["spambase.csv.gz"], 4601, {
			name: "spambase",
			label: { kind: "class", column: "type", classes: ["nonspam", "spam"] },
			features: { count: 57, bounds: mail, scale: "unit" },
		}),
		entry(["letter-recognition.csv.gz"], 20000, {
			name: "letter-recognition",
			label: { kind: "class", column: "lettr", classes: letters },
			features: { count: 16, bounds: [0, 15], scale: "symmetric" },
		}),
		entry(["mnist10k-images-idx3-ubyte.gz", "mnist10k-labels-idx1-ubyte.gz"], 10000, {
			name: "mnist10k",
			label: { kind: "class", column: "digit", classes: digits },
			features: { count: 784, bounds: [0, 255], scale: "unit" },
		}),
	].map((item) => [item.description.name, item]),
);

function entry(files: CatalogEntry["files"], rows: number, description: DataDescription): CatalogEntry {
	return { files, rows, description };
}

/**
 * A shipped data set as its files hold it; bring it into shape with `prepare`.
 * @param folder path of the project's data folder
 * @throws AlthingError `data.unknown_dataset`, or what the readers throw
 */
export function loadCatalogDataset(name: string, folder: string): Dataset {
	const found = catalog.get(name);
	if (found === undefined) {
		throw new AlthingError(
			"data.unknown_dataset",
			`There is no shipped data set "${name}". Choose one of: ${[...catalog.keys()].join(", ")}.`,
			{ name },
		);
	}
	const [first, second] = found.files;
	if (second !== undefined) return readIdx(join(folder, first), join(folder, second));
	return readCsv(join(folder, first), csvOptionsOf(found.description));
}
