/** What a worker thread does for questions to this organization's own records. */
import type { DataDescription } from "../../src/data/description.ts";
import type { PrivacyEvent } from "../../src/privacy/accounting/events.ts";
import type { QueryAnswer } from "../../src/queries/answer.ts";
import { planLocally } from "../../src/queries/local.ts";
import {
	type QueryRelease,
	type ReleasedAnswer,
	releaseEvent,
	releaseQueries,
} from "../../src/queries/release.ts";
import type { QuerySpec } from "../../src/queries/spec.ts";
import { readRawRecords } from "../../src/training/siteData.ts";

/** The data set asked, as far as the work needs it. */
export interface QueriedData {
	readonly path: string;
	readonly description: DataDescription;
	readonly columns: readonly string[];
}

/** One query with noise, or several by the exponential mechanism over their public answers. */
export type Question =
	| { readonly kind: "query"; readonly spec: QuerySpec }
	| { readonly kind: "release"; readonly spec: QueryRelease };

/** What the answer will cost: public, worked out before a record is read. */
export interface QuestionCost {
	readonly mechanism: string;
	readonly event: PrivacyEvent;
	readonly totalVariationDistance: number;
}

export type QuestionAnswer = QueryAnswer | readonly ReleasedAnswer[];

/**
 * Plans the answer, and asks it of no records at all, so that a column that does not exist is told
 * before anything is charged.
 * @throws AlthingError `query.*`, `privacy.*`
 */
export function costOfQuestion(data: QueriedData, question: Question): QuestionCost {
	const { label } = data.description;
	const dataset = {
		features: new Float32Array(0),
		labels: new Float32Array(0),
		rows: 0,
		columns: data.columns,
		labelNames: label.kind === "class" ? label.classes : [],
	};
	if (question.kind === "release") {
		releaseQueries({ dataset, label }, question.spec);
		return { mechanism: "exponential", event: releaseEvent(question.spec), totalVariationDistance: 0 };
	}
	const { mechanism, event, totalVariationDistance, answer } = planLocally(question.spec);
	answer({ dataset, label });
	return { mechanism, event, totalVariationDistance };
}

/**
 * Charged before this is called.
 * @param sums of a query over records that are read in passes
 * @throws AlthingError `data.*` when the file cannot be read any more
 */
export function answerQuestion(data: QueriedData, question: Question, sums?: Float64Array): QuestionAnswer {
	const { path, description } = data;
	if (sums !== undefined && question.kind === "query") return planLocally(question.spec).answer({ sums });
	const dataset = readRawRecords(path, description);
	const records = { dataset, label: description.label };
	return question.kind === "release"
		? releaseQueries(records, question.spec)
		: planLocally(question.spec).answer(records);
}
