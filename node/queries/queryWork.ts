/** What a worker thread does for a query of this organization's own records. */

import type { DataDescription } from "../../src/data/description.ts";
import type { PrivacyEvent } from "../../src/privacy/accounting/events.ts";
import type { QueryAnswer } from "../../src/queries/answer.ts";
import { planLocally } from "../../src/queries/local.ts";
import type { QuerySpec } from "../../src/queries/spec.ts";
import { readRawRecords } from "../../src/training/siteData.ts";

/** The data set asked, as far as the work needs it. */
export interface QueriedData {
	readonly path: string;
	readonly description: DataDescription;
	readonly columns: readonly string[];
}

/** What the answer will cost: public, worked out before a record is read. */
export interface QueryCost {
	readonly mechanism: string;
	readonly event: PrivacyEvent;
	readonly totalVariationDistance: number;
}

/**
 * Plans the answer, and asks it of no records at all, so that a column that does not exist is told
 * before anything is charged.
 * @throws AlthingError `query.*`, `privacy.*`
 */
export function costOfQuery(data: QueriedData, spec: QuerySpec): QueryCost {
	const { mechanism, event, totalVariationDistance, answer } = planLocally(spec);
	const { label } = data.description;
	const nobody = {
		features: new Float32Array(0),
		labels: new Float32Array(0),
		rows: 0,
		columns: data.columns,
		labelNames: label.kind === "class" ? label.classes : [],
	};
	answer({ dataset: nobody, labelColumn: label.column });
	return { mechanism, event, totalVariationDistance };
}

/** Charged before this is called. @throws AlthingError `data.*` when the file cannot be read any more */
export function answerQuery(data: QueriedData, spec: QuerySpec): QueryAnswer {
	const { path, description } = data;
	return planLocally(spec).answer({
		dataset: readRawRecords(path, description),
		labelColumn: description.label.column,
	});
}
