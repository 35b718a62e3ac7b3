import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { Command } from "commander";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { exitCodes } from "../../node/cli/exitCodes.ts";
import { buildProgram } from "../../node/cli/main.ts";
import { nodeConfigSchema } from "../../node/config/schema.ts";
import { EXIT } from "../../node/lifecycle/exitCodes.ts";
import manifest from "../../package.json" with { type: "json" };
import { references, withReferences } from "../../scripts/reference.ts";
import { dataDescriptionSchema } from "../../src/data/description.ts";
import { parseAnyJob } from "../../src/jobs/specification.ts";
import { parseJobSpec } from "../../src/training/jobSpec.ts";

const root = join(import.meta.dirname, "../..");
const SKIPPED = new Set(["node_modules", "dist", "coverage", "reports", ".git", ".testnet"]);

function markdownFiles(folder: string): string[] {
	return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
		const path = join(folder, entry.name);
		if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : markdownFiles(path);
		return entry.name.endsWith(".md") ? [path] : [];
	});
}

const files = markdownFiles(root).map((path) => ({ name: relative(root, path), path }));
const read = (path: string) => readFileSync(path, "utf8");
const withoutCode = (text: string) => text.replace(/^```.*?^```/gms, "").replace(/`[^`\n]*`/g, "");

/** Fenced blocks of one language. */
function blocks(text: string, language: string): string[] {
	return [...text.matchAll(/^```(\w*)\n(.*?)^```$/gms)].flatMap(([, of, block = ""]) =>
		of === language ? [block] : [],
	);
}

/** Anchor of a heading as code hosts make it. */
function anchors(text: string): string[] {
	return [...withoutCode(text).matchAll(/^#+ (.+)$/gm)].map((match) =>
		(match[1] ?? "")
			.toLowerCase()
			.replace(/[^\p{L}\p{N} _-]/gu, "")
			.replaceAll(" ", "-"),
	);
}

describe("links in the documentation", () => {
	it.each(files)("$name: every relative link resolves", ({ path }) => {
		const text = withoutCode(read(path));
		const broken: string[] = [];
		for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
			if (/^[a-z]+:/.test(target)) continue;
			const [file = "", anchor] = target.split("#");
			const at = file === "" ? path : join(dirname(path), file);
			if (!existsSync(at)) broken.push(target);
			else if (anchor !== undefined && !anchors(read(at)).includes(anchor)) broken.push(target);
		}
		expect(broken).toEqual([]);
	});
});

describe("decisions", () => {
	it("are numbered without a hole, in the file name as in the title", () => {
		const folder = join(root, "docs/decisions");
		readdirSync(folder)
			.sort()
			.forEach((file, index) => {
				const number = String(index + 1).padStart(3, "0");
				expect(file).toMatch(new RegExp(`^${number}-[a-z0-9-]+\\.md$`));
				expect(read(join(folder, file))).toMatch(new RegExp(`^# ${number}: `));
			});
	});
});

describe("paths in ARCHITECTURE.md", () => {
	it("exist", () => {
		const text = read(join(root, "ARCHITECTURE.md")).replace(/^```.*?^```/gms, "");
		const paths = [...text.matchAll(/\b(?:crypto|src|protocols|node|testnet|scripts|bin)\/[\w./-]*\w/g)].map(
			([path]) => path,
		);
		expect(paths.length).toBeGreaterThan(30);
		expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
	});
});

describe("commands in the documentation", () => {
	/** The words of a shell line up to a pipe, redirection, comment or the next command. */
	function words(line: string): string[] {
		const plain = line.replace(/\s#.*$/, "").split(/[|>;]/)[0] ?? "";
		return [...plain.matchAll(/"[^"]*"|\S+/g)].map(([word]) => word.replaceAll('"', ""));
	}

	const lines = files.flatMap(({ name, path }) =>
		["sh", ""]
			.flatMap((language) => blocks(read(path), language))
			.flatMap((block) =>
				block
					.replaceAll("\\\n", " ")
					.split("\n")
					.flatMap((line) => line.split("&&"))
					.map((line) => ({ name, line: line.trim() })),
			),
	);
	// With or without npx, after a prompt or an environment variable; in a container's command it is no call.
	const calls = lines.flatMap(({ name, line }) => {
		const call = /^(?:\$ |\w+=\S+ )?(?:npx )?althing (.*)$/.exec(line)?.[1];
		return call === undefined ? [] : [{ name, args: words(call) }];
	});

	it("are there to be checked", () => expect(calls.length).toBeGreaterThan(50));

	it.each(calls)("$name: althing $args", async ({ args }) => {
		const ran: string[] = [];
		const program = buildProgram((command) => {
			command.action(() => void ran.push(command.name()));
		});
		for (const command of everyCommand(program)) {
			command.exitOverride().configureOutput({ writeErr: () => undefined, writeOut: () => undefined });
		}
		await program.parseAsync(args, { from: "user" });
		expect(ran).toHaveLength(1);
	});

	it("npm scripts exist", () => {
		const text = files.map(({ path }) => read(path)).join("\n");
		const named = new Set([...text.matchAll(/\bnpm run (?:-s )?([a-z:]+)/g)].map((match) => match[1] ?? ""));
		expect([...named].filter((script) => !(script in manifest.scripts))).toEqual([]);
	});

	it("continuous integration runs the README's test command", () => {
		expect(read(join(root, "README.md"))).toMatch(/^npm it /m);
		expect(read(join(root, ".ci/run"))).toMatch(/^step "install and test" npm it$/m);
	});
});

function* everyCommand(command: Command): Generator<Command> {
	yield command;
	for (const child of command.commands) yield* everyCommand(child);
}

describe("examples", () => {
	it("the README's job is valid", () => {
		const [job = ""] = blocks(read(join(root, "README.md")), "yaml").filter((block) =>
			/^technique:/m.test(block),
		);
		expect(() => parseJobSpec(job, "README.md")).not.toThrow();
		expect(() => parseJobSpec(job.replace("rounds:", "round:"), "README.md")).toThrow(/round/);
	});

	it.each(readdirSync(join(root, "configs/jobs")))(
		"configs/jobs/%s is valid and named after its file",
		(file) => {
			const job = parseAnyJob(read(join(root, "configs/jobs", file)), file);
			expect(`${job.name}.yaml`).toBe(file);
		},
	);

	it("the question jobs in the documentation are valid", () => {
		for (const file of ["docs/jobs.md", "docs/queries.md"]) {
			const jobs = blocks(read(join(root, file)), "yaml").filter((block) => /^technique: query/m.test(block));
			expect(jobs, file).not.toEqual([]);
			for (const job of jobs) expect(() => parseAnyJob(job, file)).not.toThrow();
		}
	});

	it("the README's node settings are valid", () => {
		const [network = ""] = blocks(read(join(root, "README.md")), "yaml").filter((block) =>
			/^network:/m.test(block),
		);
		expect(nodeConfigSchema.safeParse({ organization: { name: "x" }, ...parse(network) }).success).toBe(true);
	});

	it("the data description is valid", () => {
		const [description = ""] = blocks(read(join(root, "docs/jobs.md")), "yaml").filter((block) =>
			/^features:/m.test(block),
		);
		expect(dataDescriptionSchema.safeParse(parse(description)).error).toBeUndefined();
	});
});

describe("reference tables", () => {
	it.each(Object.entries(references()))("docs/%s is up to date (npm run docs)", (file, parts) => {
		const text = read(join(root, "docs", file));
		expect(text).toBe(withReferences(text, parts));
		for (const part of Object.values(parts)) expect(part.split("\n").length).toBeGreaterThan(10);
	});

	it("a file without its markers is an error, not left stale", () => {
		expect(() => withReferences("no markers", { keys: "x" })).toThrow(/markers/);
	});

	it("name every exit code", () => {
		const [commandLine = "", daemon = ""] =
			read(join(root, "docs/cli.md")).split("## Exit codes")[1]?.split("alone ends with") ?? [];
		const codes = (text: string) => [...text.matchAll(/^\| (\d+) \|/gm)].map((match) => Number(match[1]));
		expect(codes(commandLine)).toEqual(Object.values(exitCodes));
		expect(codes(daemon)).toEqual(Object.values(EXIT));
	});
});
