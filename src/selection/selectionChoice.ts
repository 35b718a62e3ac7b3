/** Which participants are asked to contribute to a round, as a job file states it. */
import { z } from "zod";

/** Names of declared characteristics, and their values: short words, chosen by the organization. */
export const characteristicName = z
	.string()
	.regex(/^[a-z][a-z0-9_-]{0,31}$/, "use lower-case letters, digits, _ and -, at most 32 characters");

/** What an organization declares about itself for selections: public, coarse, and nobody can check it. */
export const characteristicsSchema = z
	.record(characteristicName, characteristicName)
	.refine((declared) => Object.keys(declared).length <= 16, "declare at most 16 characteristics");

export type Characteristics = z.infer<typeof characteristicsSchema>;

const MOST_VALUES = 32;
const size = z
	.int()
	.min(2)
	.max(1024)
	.describe("contributions that a round is for; it goes on with that many, or when a phase's time is over");
const overselection = z
	.number()
	.min(0)
	.max(4)
	.default(0)
	.describe("share of participants asked beyond size, so that the slow and the silent hold nobody up");
const characteristic = characteristicName.describe(
	"characteristic that organizations declare in their configuration (organization.characteristics)",
);
const perValue = <T extends z.ZodType>(of: T) =>
	z
		.record(characteristicName, of)
		.refine((values) => Object.keys(values).length >= 1 && Object.keys(values).length <= MOST_VALUES, {
			message: `name 1 to ${MOST_VALUES} values`,
		});

export const selectionSchema = z.discriminatedUnion("strategy", [
	z.strictObject({
		strategy: z.literal("uniform").describe("every set of that size is as likely as any other"),
		size,
		overselection,
	}),
	z.strictObject({
		strategy: z
			.literal("weighted")
			.describe("one after the other, each with a chance in proportion to its declared weight"),
		size,
		overselection,
		characteristic,
		weights: perValue(z.int().min(1).max(1000)).describe(
			"weight of each declared value; the least of them for whoever declared none of these",
		),
	}),
	z.strictObject({
		strategy: z
			.literal("poisson")
			.describe("each participant by itself with the same probability; at least as many as may survive"),
		probability: z.number().gt(0).max(1),
	}),
	z.strictObject({
		strategy: z.literal("stratified").describe("so many from each declared value, uniformly within it"),
		overselection,
		characteristic,
		strata: perValue(z.int().min(1).max(1024)).describe(
			"contributions from each declared value; where too few declared it, others fill up",
		),
	}),
	z.strictObject({
		strategy: z
			.literal("availability")
			.describe("more often those who lately were among the survivors when they were asked"),
		size,
		overselection,
	}),
	z.strictObject({
		strategy: z.literal("fair").describe("those who were asked least often; nobody gets ahead by two rounds"),
		size,
		overselection,
	}),
	z.strictObject({
		strategy: z
			.literal("power_of_choice")
			.describe(
				"of candidates drawn uniformly those that reported the largest loss; losses are noised and charged",
			),
		size,
		overselection,
		candidates: z.int().min(3).max(1024).describe("drawn uniformly, at least size"),
	}),
	z.strictObject({
		strategy: z
			.literal("utility")
			.describe(
				"those that reported the largest loss or have not reported for long, and others drawn uniformly (Oort); losses are noised and charged",
			),
		size,
		overselection,
		exploration: z
			.number()
			.min(0.1)
			.max(1)
			.default(0.3)
			.describe("share of the selected that is drawn uniformly, whatever anybody reports"),
	}),
]);

export type SelectionChoice = z.infer<typeof selectionSchema>;

/** The characteristic that a strategy goes by, if it does. */
export function characteristicOf(choice: SelectionChoice): string | undefined {
	return "characteristic" in choice ? choice.characteristic : undefined;
}

/** Whether sites report their losses: each its own, in public, with all the noise added at the site. */
export function reportsLosses(choice: SelectionChoice | undefined): boolean {
	return choice?.strategy === "power_of_choice" || choice?.strategy === "utility";
}

interface PrivacyKeys {
	readonly mechanism: string;
	readonly unit?: string | undefined;
	readonly correlation?: string | undefined;
	readonly noiseSchedule?: string | undefined;
}

/** The first contradiction between a selection and the job's privacy, with the way out; undefined where there is none. */
export function selectionContradiction(
	choice: SelectionChoice,
	privacy: PrivacyKeys,
	other: {
		readonly robustness?: { readonly mode: string } | undefined;
		readonly personalization?: unknown;
	} = {},
): string | undefined {
	if ((privacy.correlation ?? "none") !== "none")
		return "selection contradicts privacy.correlation: correlated noise is decoded from what every participant adds in every round; leave one of them out";
	if (choice.strategy === "power_of_choice" && choice.candidates < choice.size)
		return "selection.candidates must not be below selection.size";
	if (reportsLosses(choice)) {
		if (privacy.mechanism !== "distributed_gaussian" || privacy.unit !== "record")
			return `selection.strategy ${choice.strategy} needs privacy.mechanism distributed_gaussian with unit record: reported losses are paid for from the held-out records' part of epsilon`;
		if (privacy.noiseSchedule === "adaptive")
			return `selection.strategy ${choice.strategy} and privacy.noiseSchedule adaptive do not go together: both spend the held-out records' part of epsilon`;
		if ((other.robustness?.mode ?? "none") !== "none" || other.personalization !== undefined)
			return `selection.strategy ${choice.strategy} is not offered with robustness or personalization: losses are reported of the one common model`;
	}
	if ("strata" in choice && Object.values(choice.strata).reduce((sum, size) => sum + size, 0) < 2)
		return "selection.strata ask for a single contribution: a round needs at least 2";
	return undefined;
}
