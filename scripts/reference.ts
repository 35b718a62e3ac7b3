/**
 * The reference tables of docs/, made from the code that they describe: commands from the
 * command line's own tree, configuration and job keys from the schemas that check them, RPC
 * methods from the registry. `node scripts/reference.ts` writes them between their markers;
 * test/scripts/docs.test.ts fails when one is out of date.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { buildProgram } from "../node/cli/main.ts";
import { nodeConfigJsonSchema } from "../node/config/schema.ts";
import { methods } from "../node/rpc/methods/index.ts";
import { queryJobSchema } from "../src/jobs/specification.ts";
import { jobSpecSchema } from "../src/training/jobSpec.ts";
import { verticalJobSchema } from "../src/vertical/verticalSpec.ts";

/** The part of JSON Schema that zod writes for our schemas. */
interface JsonSchema {
	readonly type?: string;
	readonly description?: string;
	readonly default?: unknown;
	readonly const?: unknown;
	readonly enum?: readonly unknown[];
	readonly properties?: Readonly<Record<string, JsonSchema>>;
	readonly required?: readonly string[];
	readonly oneOf?: readonly JsonSchema[];
	readonly anyOf?: readonly JsonSchema[];
	readonly items?: JsonSchema | false;
	readonly prefixItems?: readonly JsonSchema[];
	readonly minimum?: number;
	readonly maximum?: number;
	readonly exclusiveMinimum?: number;
	readonly exclusiveMaximum?: number;
	readonly minLength?: number;
	readonly maxLength?: number;
	readonly minItems?: number;
	readonly maxItems?: number;
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
	const line = (cells: readonly string[]) =>
		`| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
	return [line(head), `|${head.map(() => "---|").join("")}`, ...rows.map(line)].join("\n");
}

const code = (text: string) => `\`${text}\``;

function commandTable(): string {
	const leaves: Command[] = [];
	const collect = (command: Command): void => {
		if (command.commands.length === 0) leaves.push(command);
		else command.commands.forEach(collect);
	};
	collect(buildProgram(() => undefined));
	return table(
		["command", "what it does", "options"],
		leaves.map((leaf) => {
			const names: string[] = [];
			for (let at: Command | null = leaf; at !== null; at = at.parent) names.unshift(at.name());
			const given = leaf.registeredArguments.map((one) =>
				one.required ? `<${one.name()}>` : `[${one.name()}]`,
			);
			const options = leaf.options.map((option) => {
				const choices = option.argChoices === undefined ? "" : `: ${option.argChoices.join(", ")}`;
				const fallback =
					typeof option.defaultValue === "string" || typeof option.defaultValue === "number"
						? ` (default ${option.defaultValue})`
						: "";
				return `${code(option.flags)}${option.mandatory ? " (required)" : ""} ${option.description}${choices}${fallback}`;
			});
			return [code([...names, ...given].join(" ")), leaf.description(), options.join("; ")];
		}),
	);
}

function methodTable(): string {
	return table(
		["method", "what it does", "roles beside admin", "errors of its own"],
		[...methods.values()].map((method) => [
			code(method.name),
			method.summary,
			method.roles.join(", ") || "none",
			(method.errors ?? []).map(code).join(", "),
		]),
	);
}

/** Zod writes the range of a safe integer where a schema names no bound. */
function bound(value: number | undefined): number | undefined {
	return value === undefined || Math.abs(value) === Number.MAX_SAFE_INTEGER ? undefined : value;
}

function allowed(schema: JsonSchema): string {
	if (schema.const !== undefined) return code(String(schema.const));
	if (schema.enum !== undefined) return schema.enum.map((one) => code(String(one))).join(", ");
	const choices = schema.anyOf ?? schema.oneOf;
	if (choices !== undefined) return [...new Set(choices.map(allowed))].join(" or ");
	if (schema.type === "array") {
		if (schema.prefixItems !== undefined) return `[${schema.prefixItems.map(allowed).join(", ")}]`;
		return `list of ${schema.items ? allowed(schema.items) : "anything"}`;
	}
	if (schema.properties !== undefined) return objectKeys(schema);
	const least = bound(schema.minimum);
	const most = bound(schema.maximum);
	const limits = [
		least === undefined ? "" : `at least ${least}`,
		schema.exclusiveMinimum === undefined ? "" : `above ${schema.exclusiveMinimum}`,
		most === undefined ? "" : `at most ${most}`,
		schema.exclusiveMaximum === undefined ? "" : `below ${schema.exclusiveMaximum}`,
		schema.maxLength === undefined ? "" : `at most ${schema.maxLength} characters`,
	].filter((part) => part !== "");
	return [schema.type === "string" ? "text" : (schema.type ?? "anything"), ...limits].join(", ");
}

/** The keys of an object that stands in a list; one that is told apart by a kind has too many shapes to print. */
function objectKeys({ properties = {} }: JsonSchema): string {
	const isOneOfMany = Object.values(properties).some((one) => one.const !== undefined);
	return isOneOfMany ? "object" : code(`{ ${Object.keys(properties).join(", ")} }`);
}

/** The key by whose constant the variants are told apart. */
function discriminatorOf(variants: readonly JsonSchema[] | undefined): string | undefined {
	const [first, ...others] = variants ?? [];
	return Object.entries(first?.properties ?? {}).find(
		([key, one]) =>
			one.const !== undefined && others.every(({ properties }) => properties?.[key]?.const !== undefined),
	)?.[0];
}

function keyRows(schema: JsonSchema, path: string, required: boolean): string[][] {
	const variants = schema.oneOf ?? schema.anyOf;
	const discriminator = discriminatorOf(variants);
	if (variants !== undefined && discriminator !== undefined) {
		const rowsOf = (variant: JsonSchema, keys: readonly string[]) =>
			keys.flatMap((key) =>
				keyRows(variant.properties?.[key] ?? {}, `${path}.${key}`, variant.required?.includes(key) ?? false),
			);
		const isShared = (key: string) =>
			new Set(
				variants.map(({ properties, required: wanted }) =>
					JSON.stringify([properties?.[key] ?? null, wanted?.includes(key) ?? false]),
				),
			).size === 1;
		const own = variants.flatMap((variant) => {
			const { [discriminator]: kind, ...rest } = variant.properties ?? {};
			const name = `${code(`${path}.${discriminator}`)}: ${code(String(kind?.const))}`;
			return [
				[name, "", required ? "required" : "", kind?.description ?? ""],
				...rowsOf(
					variant,
					Object.keys(rest).filter((key) => !isShared(key)),
				),
			];
		});
		const shared = Object.keys(variants[0]?.properties ?? {}).filter(isShared);
		return [...own, ...rowsOf(variants[0] ?? {}, shared)];
	}
	if (schema.properties !== undefined) {
		return Object.entries(schema.properties).flatMap(([key, one]) =>
			keyRows(one, path === "" ? key : `${path}.${key}`, schema.required?.includes(key) ?? false),
		);
	}
	const fallback = schema.default === undefined ? "" : code(JSON.stringify(schema.default));
	return [[code(path), allowed(schema), required ? "required" : fallback, schema.description ?? ""]];
}

function keyTable(schema: JsonSchema): string {
	return table(["key", "allowed", "default", "meaning"], keyRows(schema, "", true));
}

/** Generated parts by file (in docs/) and by the name in their markers. */
export function references(): Readonly<Record<string, Readonly<Record<string, string>>>> {
	return {
		"cli.md": { commands: commandTable() },
		"configuration.md": { keys: keyTable(nodeConfigJsonSchema() as JsonSchema) },
		"jobs.md": {
			keys: keyTable(z.toJSONSchema(jobSpecSchema, { io: "input" }) as JsonSchema),
			"query keys": keyTable(z.toJSONSchema(queryJobSchema, { io: "input" }) as JsonSchema),
		},
		"rpc.md": { methods: methodTable() },
		"vertical.md": { keys: keyTable(z.toJSONSchema(verticalJobSchema, { io: "input" }) as JsonSchema) },
	};
}

/** The text with every generated part replaced. @throws Error when a marker is missing */
export function withReferences(text: string, parts: Readonly<Record<string, string>>): string {
	let result = text;
	for (const [name, part] of Object.entries(parts)) {
		const begin = `<!-- generated: ${name} (npm run docs) -->`;
		const end = `<!-- end: ${name} -->`;
		const from = result.indexOf(begin);
		const to = result.indexOf(end);
		if (from < 0 || to < from) throw new Error(`There are no markers ${begin} ... ${end}.`);
		result = `${result.slice(0, from)}${begin}\n\n${part}\n\n${result.slice(to)}`;
	}
	return result;
}

if (process.argv[1] && resolve(process.argv[1]) === import.meta.filename) {
	for (const [file, parts] of Object.entries(references())) {
		const path = join(import.meta.dirname, "../docs", file);
		writeFileSync(path, withReferences(readFileSync(path, "utf8"), parts));
		console.log(`docs/${file}`);
	}
}
