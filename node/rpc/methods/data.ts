/** Methods about this organization's data sets. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { dataset, datasetDetail, jsonObject, shortName } from "../schemas.ts";

const named = z.strictObject({ name: shortName });

export const dataMethods = [
	defineMethod({
		name: "data.add",
		summary: "Register a file as a data set, described by a catalog name or an inline description",
		// Names a path the daemon will read: the operator alone.
		roles: [],
		params: z.strictObject({
			name: shortName,
			/** Absolute: the daemon's working directory is not the caller's. Or an address: postgres://, https://, s3://. */
			path: z
				.string()
				.max(4096)
				.regex(/^(?:\/|[a-z][a-z0-9]*:\/\/)/, "must be an absolute path or an address"),
			description: z.union([shortName, jsonObject]),
			/** Read it in passes whatever its size. */
			stream: z.boolean().optional(),
			/** Postgres: the table or view, with its schema unless that is `public`. */
			table: z.string().min(1).max(256).optional(),
			/** Absolute path of a file with credentials, which only the daemon's user may read. */
			credentials: z.string().max(4096).startsWith("/", "must be an absolute path").optional(),
		}),
		result: datasetDetail,
		errors: [
			"data.exists",
			"data.unreadable",
			"data.bad_description",
			"data.unknown_description",
			"data.cannot_stream",
			"data.bad_address",
		],
		timeoutMs: 120_000,
		handler: (context, params) => context.services.data.add(params, context),
	}),
	defineMethod({
		name: "data.list",
		summary: "List this organization's data sets",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: z.strictObject({}),
		result: z.object({ datasets: z.array(dataset) }),
		handler: async (context) => ({ datasets: await context.services.data.list(context) }),
	}),
	defineMethod({
		name: "data.show",
		summary: "Show a data set: its columns, size and the jobs that use it",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: named,
		result: datasetDetail,
		errors: ["data.not_found"],
		handler: (context, params) => context.services.data.show(params, context),
	}),
	defineMethod({
		name: "data.remove",
		summary: "Forget a data set; the file and the record of its spent budget stay",
		roles: [],
		params: named,
		result: z.object({}),
		errors: ["data.not_found"],
		handler: async (context, params) => {
			await context.services.data.remove(params, context);
			return {};
		},
	}),
] as const;
