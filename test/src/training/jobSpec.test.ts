import { describe, expect, it } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { checkJobSpec, jobSpecHash, parseJobSpec, resolveJobSpec } from "../../../src/training/jobSpec.ts";

const GOOD = `name: digits
technique: federated_learning
data:
  set: digits-8x8
model:
  kind: softmax_regression
training:
  rounds: 10
  expectedBatch: 500
privacy:
  mechanism: distributed_gaussian
  epsilon: 4
  delta: 1e-6
  samplingRate: 0.3
`;

function refusal(text: string): AlthingError {
	try {
		parseJobSpec(text, "job.yaml");
	} catch (error) {
		if (error instanceof AlthingError) return error;
		throw error;
	}
	throw new Error("was accepted");
}

describe("job files", () => {
	it("are read with their defaults and resolved to a public data description", () => {
		const spec = resolveJobSpec(parseJobSpec(GOOD, "job.yaml"));
		expect(spec.training).toMatchObject({ algorithm: "fedsgd", momentum: 0, evaluateEveryRounds: 1 });
		expect(spec.privacy).toMatchObject({ clippingNorm: 1, unit: "record" });
		expect(spec.data.description.features.count).toBe(64);
		expect(jobSpecHash(spec)).toEqual(jobSpecHash(resolveJobSpec(parseJobSpec(GOOD, "other.yaml"))));
		expect(jobSpecHash(spec)).not.toEqual(
			jobSpecHash(resolveJobSpec(parseJobSpec(GOOD.replace("rounds: 10", "rounds: 11"), "job.yaml"))),
		);
	});

	it("with an unknown key are refused at its line and column", () => {
		const error = refusal(GOOD.replace("  rounds: 10", "  rounds: 10\n  rouns: 3"));
		expect(error.code).toBe("job.invalid_file");
		expect(error.message).toContain('job.yaml:9:10: training.rouns: unknown key "rouns"');
		expect(error.facts).toMatchObject({ line: 9, key: "training.rouns" });
	});

	it("with a wrong value, a syntax error or a later technique say so", () => {
		expect(refusal(GOOD.replace("rounds: 10", "rounds: many")).message).toMatch(
			/job\.yaml:8:11: training\.rounds/,
		);
		expect(refusal("name: [").message).toMatch(/^job\.yaml:1:/);
		expect(refusal(GOOD.replace("federated_learning", "secure_mpc")).message).toMatch(
			/"secure_mpc" is not offered/,
		);
		expect(refusal(GOOD.replace("federated_learning", "magic")).message).toMatch(/unknown technique "magic"/);
	});

	it("whose fields contradict each other are refused with the way out", () => {
		expect(() =>
			parseJobSpec(GOOD.replace("rounds: 10", "rounds: 10\n  algorithm: fedavg"), "job.yaml"),
		).toThrowError(/use site_gaussian/);
		expect(() => parseJobSpec(GOOD.replace("  expectedBatch: 500\n", ""), "job.yaml")).toThrowError(
			/expectedBatch is needed/,
		);
		expect(() =>
			parseJobSpec(GOOD.replace("distributed_gaussian", "site_gaussian"), "job.yaml"),
		).toThrowError(/needs training.algorithm fedavg/);
	});

	it("from elsewhere than a file are checked alike", () => {
		expect(() => checkJobSpec({ name: "x" })).toThrowError(/technique/);
		expect(() =>
			resolveJobSpec(checkJobSpec({ ...parseJobSpec(GOOD, "f"), data: { set: "unknown-set" } })),
		).toThrowError(/is not built in/);
	});
});
