import type { Dataset } from "../../../src/data/dataset.ts";
import type { QueryRecords } from "../../../src/queries/records.ts";

/** One record: age and income, and a class as the label. */
export interface Person {
	readonly age: number;
	readonly income: number;
	readonly group: string;
}

/** Records as a reader would return them: classes in the order of their appearance at this site. */
export function peopleRecords(people: readonly Person[]): QueryRecords {
	const labelNames = [...new Set(people.map(({ group }) => group))];
	const dataset: Dataset = {
		features: Float32Array.from(people.flatMap(({ age, income }) => [age, income])),
		labels: Float32Array.from(people, ({ group }) => labelNames.indexOf(group)),
		rows: people.length,
		columns: ["age", "income"],
		labelNames,
	};
	return { dataset, label: { column: "group", kind: "class" } };
}

/** A fixed population: ages 18 to 89, incomes around 100 x age, groups a (half), b (a third), c. */
export function population(size: number): Person[] {
	return Array.from({ length: size }, (_, i) => ({
		age: 18 + ((i * 37) % 72),
		income: 100 * (18 + ((i * 37) % 72)) + ((i * 101) % 997),
		group: i % 2 === 0 ? "a" : i % 3 === 0 ? "c" : "b",
	}));
}
