/**
 * The model card that accompanies an exported model (Mitchell et al. 2019, arXiv:1810.03993): what
 * was trained, by whom, on what, at what cost in privacy, and what the guarantee does not cover.
 * One value, written as JSON for programs and as markdown for people.
 */
import { toHex } from "../../../crypto/encoding.ts";
import { modelHash, parameterCount, parametersHash } from "../model.ts";
import type { TrainedModel } from "./trainedModel.ts";

interface PrivacySpent {
	/** Whose data set the budget belongs to. */
	readonly subject: string;
	/** What neighbouring data sets differ by, e.g. "one record added or removed". */
	readonly unit: string;
	readonly epsilon: number;
	readonly delta: number;
	/** How epsilon was computed, e.g. "privacy-loss distribution, Poisson-subsampled Gaussian". */
	readonly accountant: string;
}

export interface ModelCardFacts {
	readonly job: { readonly name: string; readonly id: string };
	readonly federation: { readonly name: string; readonly members: number };
	readonly rounds: { readonly completed: number; readonly planned: number };
	readonly data: {
		readonly description: string;
		readonly features: readonly string[];
		readonly label: string;
		readonly licence?: string;
	};
	/** Empty when the model was trained without differential privacy. */
	readonly privacy: readonly PrivacySpent[];
	/** The trainer's runtime, as `Trainer.backend` says. */
	readonly backend: string;
	readonly metrics: Readonly<Record<string, number>>;
	/** What the guarantee does not cover, one sentence each, beside the card's own. */
	readonly limits: readonly string[];
	/** SHA-256 in hex of each exported file. */
	readonly files: Readonly<Record<string, string>>;
}

export interface ModelCard extends ModelCardFacts {
	readonly model: TrainedModel["model"];
	readonly parameterCount: number;
	readonly hashes: { readonly model: string; readonly parameters: string };
}

/** @throws AlthingError `learning.parameter_count`. */
export function createModelCard({ model, parameters }: TrainedModel, facts: ModelCardFacts): ModelCard {
	const limits = [...(facts.privacy.length === 0 ? NOT_PRIVATE : PRIVATE_LIMITS), ...facts.limits];
	return {
		...facts,
		limits,
		model,
		parameterCount: parameterCount(model),
		hashes: { model: toHex(modelHash(model)), parameters: toHex(parametersHash(model, parameters)) },
	};
}

const NOT_PRIVATE = [
	"This model was trained without differential privacy: it may reveal records it was trained on.",
];

const PRIVATE_LIMITS = [
	"The guarantee bounds what the released models reveal about one unit of one subject's data; it does not hide facts that hold for the whole population.",
	"It assumes that each site ran the agreed software on its own data: what a site clipped and sampled cannot be checked by the others.",
];

/** The card as indented JSON. */
export function modelCardJson(card: ModelCard): string {
	return `${JSON.stringify(card, null, "\t")}\n`;
}

/** The card as markdown. Texts from job files and peers are escaped: they show as written and cannot add markup. */
export function modelCardMarkdown(card: ModelCard): string {
	const layers = card.model.layers.map((layer) =>
		layer.kind === "dense"
			? `dense ${layer.units}${layer.useBias ? "" : " (no bias)"}`
			: layer.kind === "activation"
				? layer.function
				: layer.kind,
	);
	const privacy =
		card.privacy.length === 0
			? ["None."]
			: table(
					["Subject", "Unit", "Epsilon", "Delta", "Accountant"],
					card.privacy.map(({ subject, unit, epsilon, delta, accountant }) => [
						subject,
						unit,
						epsilon.toPrecision(4),
						delta.toExponential(2),
						accountant,
					]),
				);
	const pairs = (record: Readonly<Record<string, number | string>>) =>
		Object.entries(record).map(([key, value]): [string, string] => [key, String(value)]);
	return `${[
		`# Model card: ${escapeMarkdown(card.job.name)}`,
		"",
		...table(
			["", ""],
			[
				["Job", card.job.id],
				["Federation", `${card.federation.name} (${card.federation.members} members)`],
				["Rounds", `${card.rounds.completed} of ${card.rounds.planned}`],
				["Task", card.model.task],
				["Layers", [`${card.model.inputs} inputs`, ...layers].join(", ")],
				["Parameters", String(card.parameterCount)],
				["Backend", card.backend],
			],
		),
		"",
		"## Data",
		"",
		escapeMarkdown(card.data.description),
		"",
		`- Features: ${card.data.features.map(escapeMarkdown).join(", ")}`,
		`- Label: ${escapeMarkdown(card.data.label)}`,
		...(card.data.licence === undefined ? [] : [`- Licence: ${escapeMarkdown(card.data.licence)}`]),
		"",
		"## Privacy spent",
		"",
		...privacy,
		"",
		"## Limits of the guarantee",
		"",
		...card.limits.map((limit) => `- ${escapeMarkdown(limit)}`),
		"",
		"## Metrics",
		"",
		...table(["Metric", "Value"], pairs(card.metrics)),
		"",
		"## Hashes (SHA-256)",
		"",
		...table(
			["What", "Hash"],
			[
				["model description", card.hashes.model],
				["parameters", card.hashes.parameters],
				...pairs(card.files),
			],
		),
	].join("\n")}\n`;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
	const line = (cells: readonly string[]) => `| ${cells.map(escapeMarkdown).join(" | ")} |`;
	return [line(head), `|${head.map(() => "---|").join("")}`, ...rows.map(line)];
}

function escapeMarkdown(text: string): string {
	return text.replace(/[\r\n]+/g, " ").replace(/[\\`*_{}[\]<>|#!]/g, "\\$&");
}
