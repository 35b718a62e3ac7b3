/** The small public data set of a trust score: records in the job file itself, the same for everybody. */
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "../data/dataset.ts";
import { type DataDescription, prepare } from "../data/description.ts";
import type { ClearChoice } from "../robustness/robustnessChoice.ts";

/**
 * In the shape that models take.
 * @throws AlthingError `data.wrong_feature_count`, `data.unknown_label` for records that do not fit the
 *   job's description, `job.invalid` without any
 */
export function rootDataOf({ rootRecords = [] }: ClearChoice, description: DataDescription): Dataset {
	const width = description.features.count;
	const ragged = rootRecords.find(({ features }) => features.length !== width);
	if (rootRecords.length === 0 || ragged !== undefined) {
		throw new AlthingError(
			"job.invalid",
			`robustness.rootRecords are records of ${width} features each, and there is one of ${ragged?.features.length ?? 0}`,
		);
	}
	const names = [...new Set(rootRecords.map(({ label }) => String(label)))];
	const numeric = description.label.kind === "number";
	const raw: Dataset = {
		features: Float32Array.from(rootRecords.flatMap(({ features }) => features)),
		labels: Float32Array.from(rootRecords, ({ label }) =>
			numeric ? Number(label) : names.indexOf(String(label)),
		),
		rows: rootRecords.length,
		columns: Array.from({ length: width }, (_, i) => String(i)),
		labelNames: numeric ? [] : names,
	};
	return prepare(raw, description);
}
