import { describe, expect, it } from "vitest";
import {
	checkAnyJob,
	parseAnyJob,
	privacyPromiseOf,
	roundsOf,
	specificationHash,
} from "../../../src/jobs/specification.ts";
import { resolveJobSpec } from "../../../src/training/jobSpec.ts";

const privacy = { epsilon: 1, delta: 1e-6 };
const query = { kind: "count", privacy };
const job = { name: "how-many", technique: "query", data: { set: "breast-cancer" }, query };
const training = {
	name: "train",
	technique: "federated_learning",
	data: { set: "breast-cancer" },
	model: { kind: "logistic_regression" },
	training: { rounds: 3 },
	privacy: { mechanism: "none" },
};

describe("job specifications of any technique", () => {
	it("a query is checked by its own keys, defaults filled in", () => {
		expect(checkAnyJob(job)).toEqual({
			...job,
			query: { ...query, where: [], maximumRecordsPerSite: 1_000_000 },
			aggregation: { phaseTimeoutMs: 5000 },
		});
		expect(roundsOf(checkAnyJob(job))).toBe(1);
		expect(privacyPromiseOf(checkAnyJob(job))).toEqual({ mechanism: "distributed_gaussian", ...privacy });
	});

	it("training is checked by the keys of training", () => {
		const spec = checkAnyJob(training);
		expect(spec.technique).toBe("federated_learning");
		expect(roundsOf(spec)).toBe(3);
		expect(privacyPromiseOf(spec)).toBeUndefined();
	});

	it("are refused for what is wrong, by key", () => {
		const bad: [unknown, string | RegExp][] = [
			[undefined, /job/],
			["query", /job/],
			[{ ...job, technique: undefined }, 'unknown technique "undefined"'],
			[{ ...job, technique: "sorcery" }, 'unknown technique "sorcery"; allowed: federated_learning, query'],
			[{ ...job, technique: "secure_mpc" }, 'technique "secure_mpc" is not offered by this version'],
			[{ ...job, technique: "federated_learning" }, "query"],
			[{ ...training, technique: "query" }, "query"],
			[{ ...job, model: training.model }, 'unknown key "model"'],
			[{ ...job, privacy }, 'unknown key "privacy"'],
			[{ ...job, aggregation: { updateNormBound: 1 } }, 'aggregation: unknown key "updateNormBound"'],
			[{ ...job, query: { ...query, kind: "median" } }, "query.kind"],
			[{ ...job, query: { ...query, privacy: { epsilon: 1 } } }, "query.privacy.delta: a delta is needed"],
			[{ ...job, query: { ...query, privacy: { noiseMultiplier: 2 } } }, "query.privacy"],
			[{ ...job, query: { ...query, privacy: { ...privacy, epsilon: 1e6 } } }, "query.privacy.epsilon"],
			[{ ...job, query: { ...query, privacy: { ...privacy, delta: 0 } } }, "query.privacy.delta"],
			[{ ...job, name: "../x" }, "name"],
			[JSON.parse(JSON.stringify(job).replace('"kind"', '"__proto__":{"kind":"sum"},"kind"')), "__proto__"],
		];
		for (const [value, message] of bad) {
			expect(() => checkAnyJob(value), JSON.stringify(value)).toThrow(
				expect.objectContaining({
					code: "job.invalid",
					message:
						typeof message === "string" ? expect.stringContaining(message) : expect.stringMatching(message),
				}),
			);
		}
	});

	it("are refused as files with line and column", () => {
		const file = ["name: how-many", "technique: query", "data: { set: x }", "query:", "  kind: count"];
		const at = (text: string) => () => parseAnyJob(text, "job.yaml");
		expect(at([...file, "  privacy: { epsilon: 1 }"].join("\n"))).toThrow(
			/^job\.yaml:6:\d+: query\.privacy\.delta/,
		);
		expect(at([...file, "  privacy: { epsilon: 1, delta: 1e-6 }", "  colum: age"].join("\n"))).toThrow(
			/^job\.yaml:7:\d+: query\.colum/,
		);
		expect(at("name: [")).toThrow(expect.objectContaining({ code: "job.invalid_file" }));
		const valid = parseAnyJob([...file, "  privacy: { epsilon: 1, delta: 1e-6 }"].join("\n"), "job.yaml");
		expect(valid.technique).toBe("query");
	});

	it("are refused as files whose aliases grow without bound", () => {
		const levels = Array.from({ length: 9 }, (_, i) => {
			const inner = i === 0 ? "x" : `*a${i - 1}`;
			return `a${i}: &a${i} [${Array(9).fill(inner).join(", ")}]`;
		});
		expect(() => parseAnyJob(levels.join("\n"), "bomb.yaml")).toThrow(
			expect.objectContaining({ code: "job.invalid_file", message: expect.stringContaining("bomb.yaml") }),
		);
	});

	it("are resolved with a known data description, or with their own", () => {
		const resolved = resolveJobSpec(checkAnyJob(job));
		expect(resolved.data.description.label).toMatchObject({ column: "diagnosis" });
		const unknown = checkAnyJob({ ...job, data: { set: "nowhere" } });
		expect(() => resolveJobSpec(unknown)).toThrow(expect.objectContaining({ code: "job.unknown_data" }));
		const given = { set: "nowhere", description: resolved.data.description };
		expect(resolveJobSpec(checkAnyJob({ ...job, data: given })).data.description).toEqual(
			resolved.data.description,
		);
	});

	it("have a hash that every key changes and the order of keys does not", () => {
		const hash = (value: unknown) =>
			Buffer.from(specificationHash(resolveJobSpec(checkAnyJob(value)))).toString("hex");
		const reordered = Object.fromEntries(Object.entries(job).reverse());
		expect(hash(reordered)).toBe(hash(job));
		const others = [
			{ ...job, name: "others" },
			{ ...job, description: "why" },
			{ ...job, query: { ...query, privacy: { ...privacy, epsilon: 1.5 } } },
			{ ...job, query: { ...query, maximumRecordsPerSite: 999 } },
			{ ...job, aggregation: { phaseTimeoutMs: 6000 } },
			training,
		];
		expect(new Set([job, ...others].map(hash)).size).toBe(others.length + 1);
	});
});
