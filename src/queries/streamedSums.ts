/** The exact sums of a query over records that do not fit in memory: chunk by chunk, to the same bits. */
import { type ColumnChunk, type RecordSource, streamedLabel } from "../data/columns.ts";
import type { DataDescription } from "../data/description.ts";
import { chunksUntil } from "../data/streamedPass.ts";
import { layoutOf } from "./plan.ts";
import type { QueryRecords } from "./records.ts";
import { exactSums } from "./siteVector.ts";
import type { QuerySpec } from "./spec.ts";

/**
 * Sums as `exactSums` of the whole records has them: whole numbers, whose order does not matter.
 * @throws AlthingError `query.*` of columns alone, `data.*`
 */
export async function streamedSums(
	source: RecordSource,
	description: DataDescription,
	spec: QuerySpec,
	signal?: AbortSignal,
): Promise<Float64Array> {
	const { length } = layoutOf(spec);
	const sums = new Float64Array(length);
	for await (const chunk of chunksUntil(source, signal)) {
		const part = exactSums(recordsOf(chunk, source, description), spec, length);
		for (let i = 0; i < length; i++) sums[i]! += part[i]!;
	}
	return sums;
}

function recordsOf(chunk: ColumnChunk, source: RecordSource, description: DataDescription): QueryRecords {
	const label = streamedLabel(description);
	const width = chunk.columns.length;
	const features = new Float32Array(chunk.rows * width);
	for (const [i, column] of chunk.columns.entries())
		for (let row = 0; row < chunk.rows; row++) features[row * width + i] = column[row]!;
	return {
		dataset: {
			features,
			labels: chunk.labels.subarray(0, chunk.rows),
			rows: chunk.rows,
			columns: source.columns,
			labelNames: label.kind === "class" ? label.classes : [],
		},
		label,
	};
}
