/**
 * Records column by column, a chunk at a time: how data that does not fit in memory is read.
 * Readers (node/data/streaming) yield chunks; {@link RecordShaper} turns a record of one into what a
 * model and the split see, with the same bounds and the same rounding as `prepare` of a data set in memory.
 */
import { AlthingError } from "../../crypto/error.ts";
import {
	boundsOfFeatures,
	type DataDescription,
	requireFeatureCount,
	scaled,
	unknownLabel,
} from "./description.ts";

export interface ColumnChunk {
	readonly rows: number;
	/** Place of its first record in the source, where parts are read out of their order. */
	readonly first?: number;
	/** One array per feature column, in the source's units; NaN where a cell is missing or no number. */
	readonly columns: readonly Float32Array[];
	/** Numbers; or places in the public list of classes, -1 for a class outside it. NaN where missing. */
	readonly labels: Float32Array;
}

/** Records that stand one after another in a source. */
export interface SourcePart {
	readonly first: number;
	readonly rows: number;
}

/** Something to read records from, in passes from the first record to the last. */
export interface RecordSource {
	/** Names it in errors: a path or address, never with a credential. */
	readonly name: string;
	/** Feature columns, in the order of the source. */
	readonly columns: readonly string[];
	/**
	 * Parts that can be read in any order, together all records; undefined where there is one order only.
	 * @throws AlthingError `data.unreadable`
	 */
	parts?(): Promise<readonly SourcePart[] | undefined>;
	/**
	 * One pass. Chunks are valid until the next one is asked for.
	 * @param parts of {@link parts}, in the order in which they are wanted
	 * @throws AlthingError `data.unreadable`, `data.malformed`, `data.not_numeric`
	 */
	chunks(parts?: readonly SourcePart[]): AsyncIterable<ColumnChunk>;
	/** Has a pass under way end with an error, from inside whatever it waits for. */
	interrupt(): void;
	/** Gives back what the source holds, when no pass is under way. */
	close(): Promise<void>;
}

/** What streamed records are labelled with. */
export type StreamedLabel = Exclude<DataDescription["label"], { kind: "none" }>;

/** @throws AlthingError `data.cannot_stream` for records of vertical learning, which are looked up by their keys */
export function streamedLabel({ name, label, key }: DataDescription): StreamedLabel {
	if (label.kind !== "none" && key === undefined) return label;
	throw new AlthingError(
		"data.cannot_stream",
		`Records by "${name}" have ${label.kind === "none" ? "no label" : "a key column"}: vertical learning looks records up by their keys, so they must fit in memory. Add the file without streaming.`,
		{ description: name },
	);
}

/** Brings records of chunks into the described shape, one at a time. */
export class RecordShaper {
	readonly width: number;
	readonly #source: Pick<RecordSource, "name" | "columns">;
	readonly #description: Pick<DataDescription, "name" | "features">;
	readonly #label: StreamedLabel;
	readonly #bounds: readonly (readonly [number, number])[];

	/** @throws AlthingError `data.wrong_feature_count`, `data.cannot_stream` */
	constructor(source: Pick<RecordSource, "name" | "columns">, description: DataDescription) {
		requireFeatureCount(source.columns.length, description);
		this.#source = source;
		this.#description = description;
		this.#label = streamedLabel(description);
		this.#bounds = boundsOfFeatures(description);
		this.width = source.columns.length;
	}

	/**
	 * Writes the scaled features of one record of a chunk.
	 * @param record its number in the pass, from 0: named in errors
	 * @param into room for `width` numbers
	 * @returns its label: a class index, or scaled like features
	 * @throws AlthingError `data.not_numeric`, `data.missing_label`, `data.unknown_label`
	 */
	shape(chunk: ColumnChunk, row: number, record: number, into: Float32Array): number {
		const { features } = this.#description;
		const kind = this.#label;
		for (let i = 0; i < this.width; i++) {
			const value = chunk.columns[i]![row]!;
			if (!Number.isFinite(value)) throw this.#notNumeric(record, this.#source.columns[i]!);
			into[i] = scaled(value, this.#bounds[i]!, features.scale);
		}
		const label = chunk.labels[row]!;
		if (kind.kind === "number") {
			if (!Number.isFinite(label)) throw this.#notNumeric(record, kind.column);
			return Math.fround(scaled(label, kind.bounds, features.scale));
		}
		if (Number.isNaN(label)) throw this.#missingLabel(record, kind.column);
		if (label < 0) throw unknownLabel(record, this.#description.name, kind.classes);
		return label;
	}

	#notNumeric(record: number, column: string): AlthingError {
		return new AlthingError(
			"data.not_numeric",
			`${this.#source.name}, record ${record + 1}, column "${column}": the cell is empty or not a finite number. Fill or remove the record, or drop the column.`,
			{ source: this.#source.name, record: record + 1, column },
		);
	}

	#missingLabel(record: number, column: string): AlthingError {
		return new AlthingError(
			"data.missing_label",
			`${this.#source.name}, record ${record + 1}: the label column "${column}" is empty. Label or remove the record.`,
			{ source: this.#source.name, record: record + 1, column },
		);
	}
}
