import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { parse } from "yaml";
import { AlthingError } from "../../../crypto/error.ts";
import { type ConfigProblem, loadConfig, parseConfig } from "../../../node/config/loadConfig.ts";
import { nearest } from "../../../node/config/nearest.ts";
import { nodeConfigJsonSchema } from "../../../node/config/schema.ts";
import { rulesSchema } from "../../../protocols/federation/rules.ts";

const configs = new URL("../../../configs/", import.meta.url).pathname;

function problems(text: string): readonly ConfigProblem[] {
	try {
		parseConfig(text, "node.yaml");
	} catch (error) {
		if (error instanceof AlthingError && error.code === "config.invalid") {
			return error.facts.problems as ConfigProblem[];
		}
		throw error;
	}
	return [];
}

describe("defaults", () => {
	test("a name is enough", () => {
		const config = parseConfig("organization: { name: Clinic }", "node.yaml");
		expect(config.network.listen).toEqual(["/ip4/0.0.0.0/tcp/4001"]);
		expect(config.network.limits.maximumPayloadMiB).toBe(64);
		expect(config.policy.autoApproveJobs).toBe(false);
		expect(config.rpc.http).toBeUndefined();
		expect(config.training).toEqual({ backend: "onnx", threads: 1 });
	});

	test("the example file states exactly the defaults", async () => {
		const example = await loadConfig(`${configs}node.example.yaml`);
		const bare = parseConfig("organization: { name: Example Hospital }\nrpc: { http: {} }", "node.yaml");
		expect(example).toEqual(bare);
	});

	test("the example of a federation's rules fits the charter's schema", async () => {
		const rules = parse(await readFile(`${configs}federation.example.yaml`, "utf8"));
		expect(rulesSchema.parse(rules)).toMatchObject(rules);
	});

	test("the published JSON schema is current", async () => {
		expect(JSON.parse(await readFile(`${configs}node.schema.json`, "utf8"))).toEqual(
			JSON.parse(JSON.stringify(nodeConfigJsonSchema())),
		);
	});

	test("every key of the schema is described", () => {
		const undescribed: string[] = [];
		const visit = (schema: Record<string, unknown>, path: string) => {
			for (const [name, inner] of Object.entries(
				(schema.properties ?? {}) as Record<string, Record<string, unknown>>,
			)) {
				if (!inner.description) undescribed.push(`${path}${name}`);
				visit(inner, `${path}${name}.`);
			}
		};
		visit(nodeConfigJsonSchema(), "");
		expect(undescribed).toEqual([]);
	});
});

describe("errors name line, column, key and what is allowed", () => {
	test("an unknown key", () => {
		expect(problems("organization:\n  name: Clinic\nnetwork:\n  lisen: []\n")).toEqual([
			{
				line: 4,
				column: 3,
				key: "network.lisen",
				message:
					"is not a known key (did you mean listen?); known here are listen, announce, bootstrap, limits, relay, webSocket",
			},
		]);
	});

	test("an unknown key deep down and one like no other", () => {
		const found = problems("organization: { name: A }\nnetwork:\n  relay:\n    zebra: 1\nxyzzy: 2\n");
		expect(found.map(({ line, column, key }) => [line, column, key])).toEqual([
			[4, 5, "network.relay.zebra"],
			[5, 1, "xyzzy"],
		]);
		expect(found[0]!.message).toBe("is not a known key; known here are serve, use");
	});

	test("a value that is not allowed", () => {
		expect(problems("organization:\n  name: Clinic\nlog:\n  level: inof\n")).toEqual([
			{
				line: 4,
				column: 10,
				key: "log.level",
				message:
					'"inof" is not allowed; allowed are fatal, error, warn, info, debug, trace, silent (did you mean info?)',
			},
		]);
	});

	test("a missing key points at its section, several problems come at once in order", () => {
		const found = problems("policy:\n  maximumEpsilon: -1\norganization: {}\nhealth:\n  port: 70000\n");
		expect(found.map(({ line, key }) => [line, key])).toEqual([
			[2, "policy.maximumEpsilon"],
			[3, "organization.name"],
			[5, "health.port"],
		]);
		expect(found[1]!.message).toMatch(/is missing; string/);
	});

	test("an element of a list", () => {
		const found = problems(
			"organization: { name: A }\nnetwork:\n  bootstrap:\n    - /ip4/192.0.2.1/tcp/1\n    - 192.0.2.1:4001\n",
		);
		expect(found).toMatchObject([{ line: 5, column: 7, key: "network.bootstrap.1" }]);
		expect(found[0]!.message).toContain("/ip4/192.0.2.7/tcp/4001");
	});

	test("broken YAML, a repeated key, an empty file, a list", () => {
		expect(problems("organization:\n  name: [unclosed\n")[0]!.line).toBeGreaterThan(1);
		expect(problems("organization: { name: A }\nlog: {}\nlog: {}\n")).toMatchObject([{ line: 3, column: 1 }]);
		expect(problems("")).toMatchObject([{ line: 1, column: 1, key: "organization" }]);
		expect(problems("- a\n")).toMatchObject([{ line: 1, column: 1 }]);
	});

	test("the message carries file, line and column for a terminal", () => {
		expect(() => parseConfig("organisation:\n  name: A\n", "/etc/althing/node.yaml")).toThrow(
			"/etc/althing/node.yaml:1:1: organisation is not a known key (did you mean organization?)",
		);
	});

	test("a missing file says how to make one", async () => {
		await expect(loadConfig("/nonexistent/node.yaml")).rejects.toMatchObject({
			code: "config.unreadable",
			message: expect.stringContaining("althing init"),
		});
	});
});

describe("admin RPC beyond loopback", () => {
	const withHttp = (http: string) => `organization: { name: A }\nrpc:\n  http: ${http}\n`;

	test.each(["127.0.0.1", "localhost", "'::1'", "127.8.9.1"])("%s needs no TLS", (host) => {
		expect(problems(withHttp(`{ host: ${host} }`))).toEqual([]);
	});

	test.each(["0.0.0.0", "192.0.2.1", "'::'", "node.example.org", "127.0.0.1.example.org"])(
		"%s without TLS is refused",
		(host) => {
			const found = problems(withHttp(`{ host: ${host} }`));
			expect(found).toMatchObject([{ line: 3, key: "rpc.http.host" }]);
			expect(found[0]!.message).toContain("tls");
		},
	);

	test("with TLS it is accepted", () => {
		expect(problems(withHttp("{ host: 0.0.0.0, tls: { certificate: c.pem, key: k.pem } }"))).toEqual([]);
	});
});

test("nearest finds typing errors and stays silent otherwise", () => {
	expect(nearest("organisation", ["organization", "network"])).toBe("organization");
	expect(nearest("autoAproveJobs", ["autoApproveMembers", "autoApproveJobs"])).toBe("autoApproveJobs");
	expect(nearest("zebra", ["listen", "relay"])).toBeUndefined();
	expect(nearest("x", [])).toBeUndefined();
});
