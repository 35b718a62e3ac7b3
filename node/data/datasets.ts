/** The data sets an organization has registered: where they lie, how they are described, their secret split key. */
import { resolve } from "node:path";
import { z } from "zod";
import { AlthingError } from "../../crypto/error.ts";
import { randomBytes } from "../../crypto/random.ts";
import { catalog } from "../../src/data/catalog.ts";
import { type DataDescription, dataDescriptionSchema } from "../../src/data/description.ts";
import { loadSiteData } from "../../src/training/siteData.ts";
import type { DataService, Dataset, DatasetDetail } from "../rpc/services.ts";
import type { Collection, Store } from "../store/index.ts";
import { isAddress } from "./streaming/address.ts";
import { locate } from "./streaming/locate.ts";
import { locationSchema, type StreamedLocation, type StreamSettings } from "./streaming/location.ts";
import { type StreamOffer, streamOffer } from "./streaming/offer.ts";
import { DataStreams } from "./streaming/streams.ts";
import type { RegisteredStream } from "./streaming/streamTasks.ts";

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
	/** Where the records are read from in passes; absent where they are read whole. */
	streamed: locationSchema.optional(),
});
export type RegisteredDataset = z.infer<typeof registeredSchema>;

type UnreadDataset = Omit<RegisteredDataset, "trainingRows" | "heldOutRows" | "columns" | "streamed">;

interface Reading {
	readonly unread: UnreadDataset;
	/** Null while it is read. */
	error: unknown;
}

interface StreamingConfig extends StreamSettings {
	readonly thresholdMiB: number;
}

/** Registrations that take longer answer before they are done. */
const ANSWER_AFTER_MS = 20_000;

export class Datasets implements DataService {
	readonly #collection: Collection<RegisteredDataset>;
	readonly #known = new Map<string, RegisteredDataset>();
	readonly #openAccount: (dataset: string) => Promise<void>;
	readonly #jobsOf: (dataset: string) => string[];
	readonly #streaming: StreamingConfig;
	readonly streams = new DataStreams();
	/** Data sets that are being read for the first time, or could not be. */
	readonly #reading = new Map<string, Reading>();

	private constructor(
		collection: Collection<RegisteredDataset>,
		openAccount: (dataset: string) => Promise<void>,
		jobsOf: (dataset: string) => string[],
		streaming: StreamingConfig,
	) {
		this.#collection = collection;
		this.#openAccount = openAccount;
		this.#jobsOf = jobsOf;
		this.#streaming = streaming;
	}

	/** @param openAccount gives a new data set its privacy budget */
	static async open(
		store: Store,
		openAccount: (dataset: string) => Promise<void>,
		jobsOf: (dataset: string) => string[],
		streaming: StreamingConfig,
	): Promise<Datasets> {
		const datasets = new Datasets(
			store.collection("datasets", registeredSchema),
			openAccount,
			jobsOf,
			streaming,
		);
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

	/**
	 * Registers a data set after reading all of it once. For one that is read in passes that can take
	 * hours: after {@link ANSWER_AFTER_MS} the answer says that it is being read, and `show` tells how it went.
	 */
	async add(params: {
		name: string;
		path: string;
		description: string | Record<string, unknown>;
		stream?: boolean | undefined;
		table?: string | undefined;
		credentials?: string | undefined;
	}): Promise<DatasetDetail> {
		if (this.#known.has(params.name) || this.#reading.get(params.name)?.error === null) {
			throw new AlthingError(
				"data.exists",
				`there is a data set named ${params.name} already; remove it first or choose another name`,
			);
		}
		const path = isAddress(params.path) ? params.path : resolve(params.path);
		const description = describe(params.description);
		const { thresholdMiB } = this.#streaming;
		const { stream = false, table, credentials } = params;
		const location = await locate({ path, stream, table, credentials, thresholdMiB });
		// A data set that was removed and comes back keeps its key: its records keep their partition, and their budget.
		const splitKey = (await this.#collection.get(keyName(params.name)))?.splitKey ?? randomBytes(32);
		const unread = {
			name: params.name,
			path,
			source: typeof params.description === "string" ? params.description : "inline",
			description,
			splitKey,
			addedAt: new Date().toISOString(),
		};
		if (location !== undefined) return this.#addStreamed(unread, location);
		const { train, heldOut } = loadSiteData(path, description, splitKey);
		return this.#register({
			...unread,
			trainingRows: train.rows,
			heldOutRows: heldOut.rows,
			columns: [...train.columns],
		});
	}

	async #addStreamed(unread: UnreadDataset, streamed: StreamedLocation): Promise<DatasetDetail> {
		const { name, description, splitKey } = unread;
		const reading: Reading = { unread, error: null };
		this.#reading.set(name, reading);
		const registered = this.streams
			.survey({ location: streamed, description, splitKey, settings: this.#streaming })
			.then(async ({ trainingRows, heldOutRows, columns }) => {
				const added = { ...unread, trainingRows, heldOutRows, columns: [...columns], streamed };
				const detail = await this.#register(added);
				this.#reading.delete(name);
				return detail;
			});
		// Kept for whoever asks how it went, if nobody waits any more.
		registered.catch((error: unknown) => {
			reading.error = error;
		});
		const late = AbortSignal.timeout(ANSWER_AFTER_MS);
		const inProgress = new Promise<DatasetDetail>((answer) =>
			late.addEventListener("abort", () => answer(this.#detail(beingRead(unread)))),
		);
		try {
			return await Promise.race([registered, inProgress]);
		} catch (error) {
			this.#reading.delete(name);
			throw error;
		}
	}

	async #register(registered: RegisteredDataset): Promise<DatasetDetail> {
		await this.#openAccount(registered.name);
		await this.#collection.put(registered.name, registered);
		this.#known.set(registered.name, registered);
		return this.#detail(registered);
	}

	/** A data set's stream, if it is read in passes. */
	streamed(name: string): RegisteredStream | undefined {
		const { streamed, ...dataset } = this.#known.get(name) ?? {};
		if (streamed === undefined) return undefined;
		const { description, splitKey, trainingRows, heldOutRows } = dataset as RegisteredDataset;
		return {
			location: streamed,
			settings: this.#streaming,
			description,
			splitKey,
			trainingRows,
			heldOutRows,
		};
	}

	/**
	 * A data set whose records are held in memory.
	 * @throws AlthingError `data.not_found`, `data.cannot_stream` with what cannot be done in passes
	 */
	requireInMemory(name: string, what: string): RegisteredDataset {
		const dataset = this.require(name);
		if (dataset.streamed === undefined) return dataset;
		throw new AlthingError(
			"data.cannot_stream",
			`data set ${name} is read in passes, and ${what} needs its records in memory; add a part of it that fits as a data set of its own`,
			{ name },
		);
	}

	/** What a proposal is judged by. */
	offered(name: string): (RegisteredDataset & { readonly stream?: StreamOffer }) | undefined {
		const dataset = this.#known.get(name);
		if (dataset?.streamed === undefined) return dataset;
		return { ...dataset, stream: streamOffer(dataset, this.#streaming) };
	}

	async list(): Promise<Dataset[]> {
		return [...this.#known.values()].sort((a, b) => (a.name < b.name ? -1 : 1)).map(view);
	}

	async show({ name }: { name: string }): Promise<DatasetDetail> {
		const reading = this.#reading.get(name);
		if (reading === undefined) return this.#detail(this.require(name));
		if (reading.error === null) return this.#detail(beingRead(reading.unread));
		this.#reading.delete(name);
		throw reading.error;
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
			...(this.#reading.has(dataset.name) ? { reading: true } : {}),
		};
	}
}

/** A data set as it is shown while it is read for the first time. */
function beingRead(unread: UnreadDataset): RegisteredDataset {
	return { ...unread, trainingRows: 0, heldOutRows: 0, columns: [] };
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
		...(dataset.streamed === undefined ? {} : { streamed: true }),
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
