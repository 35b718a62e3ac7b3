/** The data sets an organization has registered: where they lie, how they are described, their secret split key. */
import { access, constants } from "node:fs/promises";
import { resolve } from "node:path";
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import { catalog } from "../../src/data/catalog.ts";
import { type DataDescription, dataDescriptionSchema } from "../../src/data/description.ts";
import { loadSiteData } from "../../src/training/siteData.ts";
import type { DataService, Dataset, DatasetDetail } from "../rpc/services.ts";
import type { Collection, Store } from "../store/index.ts";

const registeredSchema = z.strictObject({
	name: z.string(),
	path: z.string(),
	/** Catalog name, or `inline`. */
	source: z.string(),
	description: dataDescriptionSchema,
	/** Key of the split into training and held-out records: secret, kept as long as the budget. */
	splitKey: z.custom<Uint8Array>(
		(value) => value instanceof Uint8Array && value.length === 32,
		"must be 32 bytes",
	),
	trainingRows: z.int(),
	heldOutRows: z.int(),
	columns: z.array(z.string()),
	addedAt: z.string(),
});
export type RegisteredDataset = z.infer<typeof registeredSchema>;

export class Datasets implements DataService {
	readonly #collection: Collection<RegisteredDataset>;
	readonly #known = new Map<string, RegisteredDataset>();
	readonly #openAccount: (dataset: string) => Promise<void>;
	readonly #jobsOf: (dataset: string) => string[];

	private constructor(
		collection: Collection<RegisteredDataset>,
		openAccount: (dataset: string) => Promise<void>,
		jobsOf: (dataset: string) => string[],
	) {
		this.#collection = collection;
		this.#openAccount = openAccount;
		this.#jobsOf = jobsOf;
	}

	/** @param openAccount gives a new data set its privacy budget */
	static async open(
		store: Store,
		openAccount: (dataset: string) => Promise<void>,
		jobsOf: (dataset: string) => string[],
	): Promise<Datasets> {
		const datasets = new Datasets(store.collection("datasets", registeredSchema), openAccount, jobsOf);
		for await (const [key, dataset] of datasets.#collection.entries()) {
			if (key === dataset.name) datasets.#known.set(key, dataset);
		}
		return datasets;
	}

	get(name: string): RegisteredDataset | undefined {
		return this.#known.get(name);
	}

	/** @throws AlthingError `data.not_found` */
	require(name: string): RegisteredDataset {
		const dataset = this.#known.get(name);
		if (dataset === undefined) {
			throw new AlthingError(
				"data.not_found",
				`there is no data set named ${name}; \`althing data ls\` lists them`,
				{ name },
			);
		}
		return dataset;
	}

	/** Training records over all data sets, as this organization declares them. */
	totalRecords(): number {
		return [...this.#known.values()].reduce((sum, { trainingRows }) => sum + trainingRows, 0);
	}

	async add(params: {
		name: string;
		path: string;
		description: string | Record<string, unknown>;
	}): Promise<DatasetDetail> {
		if (this.#known.has(params.name)) {
			throw new AlthingError(
				"data.exists",
				`there is a data set named ${params.name} already; remove it first or choose another name`,
			);
		}
		const path = resolve(params.path);
		await access(path, constants.R_OK).catch((cause) => {
			throw new AlthingError(
				"data.unreadable",
				`data file ${path} cannot be read; check that it exists and that the daemon's user may read it`,
				{ path },
				{ cause },
			);
		});
		const description = describe(params.description);
		// A data set that was removed and comes back keeps its key: its records keep their partition, and their budget.
		const splitKey = (await this.#collection.get(keyName(params.name)))?.splitKey ?? randomBytes(32);
		const { train, heldOut } = loadSiteData(path, description, splitKey);
		const registered: RegisteredDataset = {
			name: params.name,
			path,
			source: typeof params.description === "string" ? params.description : "inline",
			description,
			splitKey,
			trainingRows: train.rows,
			heldOutRows: heldOut.rows,
			columns: [...train.columns],
			addedAt: new Date().toISOString(),
		};
		await this.#openAccount(params.name);
		await this.#collection.put(params.name, registered);
		this.#known.set(params.name, registered);
		return this.#detail(registered);
	}

	async list(): Promise<Dataset[]> {
		return [...this.#known.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map(view);
	}

	async show(params: { name: string }): Promise<DatasetDetail> {
		return this.#detail(this.require(params.name));
	}

	async remove(params: { name: string }): Promise<void> {
		const dataset = this.require(params.name);
		await this.#collection.put(keyName(params.name), dataset);
		await this.#collection.delete(params.name);
		this.#known.delete(params.name);
	}

	#detail(dataset: RegisteredDataset): DatasetDetail {
		const { label, key } = dataset.description;
		return {
			...view(dataset),
			columns: [
				...dataset.columns.map((name) => ({ name, kind: "feature" })),
				...(label.kind === "none" ? [] : [{ name: label.column, kind: `label (${label.kind})` }]),
				...(key === undefined ? [] : [{ name: key, kind: "key" }]),
			],
			jobs: this.#jobsOf(dataset.name),
		};
	}
}

/** Where the split key of a removed data set is kept; no data set can have this name. */
function keyName(name: string): string {
	return `removed/${name}`;
}

function view(dataset: RegisteredDataset): Dataset {
	const { label, features } = dataset.description;
	return {
		name: dataset.name,
		path: dataset.path,
		description: dataset.source,
		rows: dataset.trainingRows + dataset.heldOutRows,
		heldOutRows: dataset.heldOutRows,
		features: features.count,
		...(label.kind === "class" ? { classes: label.classes.length } : {}),
		addedAt: dataset.addedAt,
	};
}

function describe(given: string | Record<string, unknown>): DataDescription {
	if (typeof given === "string") {
		const entry = catalog.get(given);
		if (entry !== undefined) return entry.description;
		throw new AlthingError(
			"data.unknown_description",
			`there is no built-in description "${given}"; choose one of ${[...catalog.keys()].join(", ")} or give the description itself`,
		);
	}
	const parsed = dataDescriptionSchema.safeParse(given);
	if (parsed.success) return parsed.data;
	const issue = parsed.error.issues[0];
	throw new AlthingError(
		"data.bad_description",
		`the data description is not valid at ${issue?.path.join(".") || "its top"}: ${issue?.message}`,
	);
}
