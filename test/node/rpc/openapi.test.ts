import { describe, expect, it } from "vitest";
import { methods } from "../../../node/rpc/methods/index.ts";
import { openApiDocument } from "../../../node/rpc/openapi.ts";
import { send, startHarness } from "./harness.ts";

/** Every `$ref` of the document must lead somewhere inside it. */
function* references(value: unknown): Generator<string> {
	if (typeof value !== "object" || value === null) return;
	for (const [key, inner] of Object.entries(value)) {
		if (key === "$ref") yield String(inner);
		else yield* references(inner);
	}
}

function lookUp(document: unknown, reference: string): unknown {
	return reference
		.slice(2)
		.split("/")
		.reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
}

describe("the OpenAPI document", () => {
	const document = openApiDocument(methods.values(), "1.2.3") as {
		openapi: string;
		info: { version: string };
		paths: Record<string, Record<string, Record<string, never>>>;
	};

	it("is 3.1 and holds each method once, with parameters, result and problem", () => {
		expect(document.openapi).toBe("3.1.0");
		expect(document.info.version).toBe("1.2.3");
		const calls = Object.keys(document.paths).filter((path) => path.startsWith("/rpc/"));
		expect(calls).toEqual([...methods.keys()].map((name) => `/rpc/v1/${name}`));
		for (const path of calls) {
			const operation = document.paths[path]?.post as unknown as {
				requestBody: { content: Record<string, { schema: { type: string; additionalProperties: boolean } }> };
				responses: Record<string, { content: object }>;
			};
			const { schema } = operation.requestBody.content["application/json"] ?? { schema: undefined };
			expect([path, schema?.type, schema?.additionalProperties]).toEqual([path, "object", false]);
			expect(Object.keys(operation.responses)).toEqual(["200", "default"]);
			expect(operation.responses.default?.content).toHaveProperty(["application/problem+json"]);
		}
	});

	it("has unique operation ids and no dangling reference", () => {
		const ids = Object.values(document.paths).flatMap((path) =>
			Object.values(path).map((operation) => (operation as unknown as { operationId: string }).operationId),
		);
		expect(new Set(ids).size).toBe(ids.length);
		const found = [...references(document)];
		expect(found.length).toBeGreaterThan(methods.size);
		for (const reference of found) {
			expect(reference).toMatch(/^#\/components\//);
			expect(lookUp(document, reference), reference).toBeDefined();
		}
	});

	it("is served without a token, but not under a foreign host name", async () => {
		const harness = await startHarness();
		try {
			const where = { socketPath: harness.socketPath };
			const answer = await send(where, "/openapi.json");
			expect(answer.status).toBe(200);
			expect(answer.json()).toMatchObject({ openapi: "3.1.0", info: { version: "0.0.0-test" } });
			const foreign = await send(where, "/openapi.json", { headers: { host: "evil.example" } });
			expect(foreign.json()).toMatchObject({ code: "rpc.wrong_host", status: 421 });
		} finally {
			await harness.stop();
		}
	});
});
