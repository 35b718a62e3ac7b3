/** Where streamed records lie, as it is registered, and opening it. */
import { stat } from "node:fs/promises";
import { z } from "zod";
import { type RecordSource, streamedLabel } from "../../../src/data/columns.ts";
import type { DataDescription } from "../../../src/data/description.ts";
import { changed } from "../../../src/data/streamedPass.ts";
import { openCsv } from "./csvSource.ts";
import { openParquet } from "./parquetSource.ts";

export const locationSchema = z.discriminatedUnion("kind", [
	z.strictObject({
		kind: z.enum(["csv", "parquet"]),
		path: z.string(),
		/** Of the file when it was registered: another size or time means other records. */
		sizeBytes: z.number(),
		modifiedMs: z.number(),
	}),
]);
export type StreamedLocation = z.infer<typeof locationSchema>;

/** What streaming may take of this machine, from the node's configuration. */
export interface StreamSettings {
	/** For the batches of one job. */
	readonly batchMemoryMiB: number;
	/** For one reading engine. */
	readonly engineMemoryMiB: number;
	readonly engineThreads: number;
}

/** @throws AlthingError `data.*`; `data.changed` when a file is not the one that was registered */
export async function openLocation(
	location: StreamedLocation,
	description: DataDescription,
	settings: StreamSettings,
): Promise<RecordSource> {
	const label = streamedLabel(description);
	const limits = { threads: settings.engineThreads, memoryMiB: settings.engineMemoryMiB };
	await requireUnchanged(location);
	return location.kind === "csv"
		? openCsv(location.path, label, limits)
		: openParquet(location.path, label, limits);
}

/** @throws AlthingError `data.changed` */
export async function requireUnchanged(location: StreamedLocation): Promise<void> {
	const found = await stampOf(location.path);
	if (found?.sizeBytes !== location.sizeBytes || found.modifiedMs !== location.modifiedMs)
		throw changed(`Data file ${location.path}`);
}

/** Size and time of a file; undefined where there is none. */
export async function stampOf(
	path: string,
): Promise<{ readonly sizeBytes: number; readonly modifiedMs: number } | undefined> {
	const found = await stat(path).catch(() => undefined);
	return found === undefined ? undefined : { sizeBytes: found.size, modifiedMs: found.mtimeMs };
}
