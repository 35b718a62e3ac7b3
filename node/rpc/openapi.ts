/** The OpenAPI 3.1 document, generated from the registry. */
import { z } from "zod";
import { modelFormats } from "./modelFormats.ts";
import { PROBLEM_MEDIA_TYPE } from "./problems.ts";
import type { Method } from "./registry.ts";
import { nodeEvent, problemDocument } from "./schemas.ts";

const problem = (description: string) => ({
	description,
	content: { [PROBLEM_MEDIA_TYPE]: { schema: { $ref: "#/components/schemas/Problem" } } },
});

function jsonSchema(schema: z.ZodType, io: "input" | "output"): Record<string, unknown> {
	const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, target: "draft-2020-12" });
	return rest;
}

function operation(method: Method) {
	const area = method.name.slice(0, method.name.indexOf("."));
	const errors = method.errors ?? [];
	return {
		operationId: method.name,
		tags: [area],
		summary: method.summary,
		description: `Roles: ${["admin", ...method.roles].join(", ")}.${
			errors.length > 0 ? ` Error codes: ${errors.join(", ")}.` : ""
		}`,
		"x-althing-roles": ["admin", ...method.roles],
		"x-althing-errors": errors,
		requestBody: {
			required: true,
			content: { "application/json": { schema: jsonSchema(method.params, "input") } },
		},
		responses: {
			"200": {
				description: "Done",
				content: { "application/json": { schema: jsonSchema(method.result, "output") } },
			},
			default: problem("What went wrong; `code` names it for programs, `detail` for people"),
		},
	};
}

/** Builds the document. `version` is the node's version. */
export function openApiDocument(methods: Iterable<Method>, version: string): Record<string, unknown> {
	const paths: Record<string, unknown> = {};
	for (const method of methods) paths[`/rpc/v1/${method.name}`] = { post: operation(method) };
	const text = (
		name: string,
		where: string,
		required: boolean,
		description: string,
		schema: unknown = { type: "string" },
	) => ({
		name,
		in: where,
		required,
		description,
		schema,
	});
	paths["/events"] = {
		get: {
			operationId: "events",
			tags: ["events"],
			summary: "Follow the node's events as Server-Sent Events",
			parameters: [
				text("job", "query", false, "Only events of this job"),
				text(
					"Last-Event-ID",
					"header",
					false,
					"Continue after this id; when it is too old a `stream.gap` event says so",
				),
			],
			responses: {
				"200": {
					description: "Events without end; each `data` line is an Event as JSON",
					content: { "text/event-stream": { schema: { $ref: "#/components/schemas/Event" } } },
				},
				default: problem("Refused"),
			},
		},
	};
	const modelParameters = [
		text("model", "path", true, "Model id"),
		text("format", "path", true, "File format", { enum: [...modelFormats] }),
	];
	const file = {
		"200": {
			description: "The file's bytes",
			content: { "application/octet-stream": { schema: { type: "string", format: "binary" } } },
		},
		default: problem("Refused"),
	};
	paths["/models/{model}/{format}"] = {
		get: {
			operationId: "model.file.main",
			tags: ["model"],
			summary: "Fetch a model's main file, as `model.export` names it",
			parameters: modelParameters,
			responses: file,
		},
	};
	paths["/models/{model}/{format}/{file}"] = {
		get: {
			operationId: "model.file",
			tags: ["model"],
			summary: "Fetch a further file of a model, as `model.export` names it",
			parameters: [...modelParameters, text("file", "path", true, "File name")],
			responses: file,
		},
	};
	return {
		openapi: "3.1.0",
		info: {
			title: "Althing admin RPC",
			version,
			description: "Administration of one Althing node. Served on a unix socket and on loopback.",
			license: { name: "Apache-2.0", identifier: "Apache-2.0" },
		},
		jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
		security: [{ bearer: [] }],
		paths,
		components: {
			securitySchemes: { bearer: { type: "http", scheme: "bearer" } },
			schemas: {
				Problem: jsonSchema(problemDocument, "output"),
				Event: jsonSchema(nodeEvent, "output"),
			},
		},
	};
}
