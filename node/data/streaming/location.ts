/** Where streamed records lie, as it is registered, and opening it. */
import { stat } from "node:fs/promises";
import { z } from "zod";
import { type RecordSource, streamedLabel } from "../../../src/data/columns.ts";
import type { DataDescription } from "../../../src/data/description.ts";
import { changed } from "../../../src/data/streamedPass.ts";
import { openCsv } from "./csvSource.ts";
import { openParquet } from "./parquetSource.ts";
import { openPostgres } from "./postgresSource.ts";
import { openRemote, type RemoteSettings } from "./remoteSource.ts";

export const locationSchema = z.discriminatedUnion("kind", [
	z.strictObject({
		kind: z.enum(["csv", "parquet"]),
		path: z.string(),
		/** Of the file when it was registered: another size or time means other records. */
		sizeBytes: z.number(),
		modifiedMs: z.number(),
	}),
	z.strictObject({
		kind: z.literal("postgres"),
		host: z.string(),
		port: z.int(),
		database: z.string(),
		schema: z.string(),
		table: z.string(),
		credentialsFile: z.string(),
	}),
	z.strictObject({ kind: z.literal("remote"), url: z.string(), credentialsFile: z.string().optional() }),
]);
export type StreamedLocation = z.infer<typeof locationSchema>;

/** What streaming may take of this machine, from the node's configuration. */
export interface StreamSettings {
	/** For the batches of one job. */
	readonly batchMemoryMiB: number;
	/** For one reading engine. */
	readonly engineMemoryMiB: number;
	readonly engineThreads: number;
	/** Left out where nothing remote may be read. */
	readonly remote?: RemoteSettings | undefined;
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
	switch (location.kind) {
		case "csv":
			return openCsv(location.path, label, limits);
		case "parquet":
			return openParquet(location.path, label, limits);
		case "postgres":
			return openPostgres(location, label);
		case "remote":
			return openRemote(location, label, limits, settings.remote);
	}
}

/** Of a file on this machine; elsewhere the number of records tells. @throws AlthingError `data.changed` */
export async function requireUnchanged(location: StreamedLocation): Promise<void> {
	if (location.kind === "postgres" || location.kind === "remote") return;
	const found = await stampOf(location.path).catch(() => undefined);
	if (found?.sizeBytes !== location.sizeBytes || found.modifiedMs !== location.modifiedMs)
		throw changed(`Data file ${location.path}`);
}

/** Size and time of a file. */
export async function stampOf(
	path: string,
): Promise<{ readonly sizeBytes: number; readonly modifiedMs: number }> {
	const { size, mtimeMs } = await stat(path);
	return { sizeBytes: size, modifiedMs: mtimeMs };
}
