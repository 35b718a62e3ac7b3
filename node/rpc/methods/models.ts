/** Methods about trained models. The files themselves are fetched from `GET /models/...` (`app.ts`). */
import { z } from "zod";
import { toHex } from "../../../crypto/encoding.ts";
import { sha256 } from "../../../crypto/hash.ts";
import { defineMethod } from "../registry.ts";
import { modelDetail, modelFile, modelFormat, modelSummary, predictions } from "../schemas.ts";

const personal = z.boolean().optional().describe("this organization's own model instead of the common one");
const job = z.string().min(4).max(128);

/** Where a model's file is served: the main file at the format's own path, the others beneath it. */
export function modelFilePath(model: string, format: string, name: string, isMain: boolean): string {
	const base = `/models/${encodeURIComponent(model)}/${format}`;
	return isMain ? base : `${base}/${encodeURIComponent(name)}`;
}

export const modelMethods = [
	defineMethod({
		name: "model.list",
		summary: "List models, newest first",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: z.strictObject({}),
		result: z.object({ models: z.array(modelSummary) }),
		handler: async (context) => ({ models: await context.services.models.list(context) }),
	}),
	defineMethod({
		name: "model.show",
		summary: "Show the latest model of a job with its model card",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: z.strictObject({ job }),
		result: modelDetail,
		errors: ["model.not_found"],
		handler: (context, params) => context.services.models.show(params, context),
	}),
	defineMethod({
		name: "model.export",
		summary: "Name the files of a job's latest model in a format, with hashes and where to fetch them",
		roles: ["data_scientist"],
		params: z.strictObject({ job, format: modelFormat, personal }),
		result: z.object({ model: z.string(), format: modelFormat, files: z.array(modelFile) }),
		errors: ["model.not_found", "model.no_personal", "model.clustered"],
		handler: async (context, { job, format, personal = false }) => {
			const shown = await context.services.models.show({ job }, context);
			const id = personal ? `${shown.id}-personal` : shown.id;
			const artifacts = await context.services.models.artifacts({ model: id, format }, context);
			const files = artifacts.map(({ name, mediaType, bytes }, index) => ({
				name,
				mediaType,
				sizeBytes: bytes.byteLength,
				sha256: toHex(sha256(bytes)),
				path: modelFilePath(id, format, name, index === 0),
			}));
			return { model: id, format, files };
		},
	}),
	defineMethod({
		name: "model.predict",
		summary: "Apply a job's latest model to rows of features",
		roles: ["data_scientist"],
		params: z.strictObject({ job, rows: z.array(z.array(z.number()).min(1)).min(1).max(10_000), personal }),
		result: predictions,
		errors: ["model.not_found", "model.bad_input", "model.no_personal", "model.clustered"],
		handler: (context, params) => context.services.models.predict(params, context),
	}),
] as const;
