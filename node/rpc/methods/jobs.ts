/** Methods about jobs. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { jobDetail, jobSummary, jsonObject } from "../schemas.ts";

/** A job's id or an unambiguous prefix of it. */
const job = z.string().min(4).max(128);
const one = z.strictObject({ job });
const oneWithReason = z.strictObject({ job, reason: z.string().min(1).max(500).optional() });

export const jobMethods = [
	defineMethod({
		name: "job.submit",
		summary: "Sign a job spec and propose it to the federation",
		roles: ["data_scientist"],
		params: z.strictObject({ spec: jsonObject }),
		result: jobSummary,
		errors: ["job.invalid", "federation.none"],
		handler: (context, params) => context.services.jobs.submit(params, context),
	}),
	defineMethod({
		name: "job.list",
		summary: "List jobs, newest first",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: z.strictObject({}),
		result: z.object({ jobs: z.array(jobSummary) }),
		handler: async (context) => ({ jobs: await context.services.jobs.list(context) }),
	}),
	defineMethod({
		name: "job.show",
		summary: "Show a job: its spec, participants and rounds",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: one,
		result: jobDetail,
		errors: ["job.not_found"],
		handler: (context, params) => context.services.jobs.show(params, context),
	}),
	defineMethod({
		name: "job.approve",
		summary: "Accept a job in this organization's name",
		roles: ["privacy_officer"],
		params: one,
		result: jobSummary,
		errors: ["job.not_found", "job.decided", "job.refused_by_policy"],
		handler: (context, params) => context.services.jobs.approve(params, context),
	}),
	defineMethod({
		name: "job.reject",
		summary: "Reject a job in this organization's name",
		roles: ["privacy_officer"],
		params: oneWithReason,
		result: jobSummary,
		errors: ["job.not_found", "job.decided"],
		handler: (context, params) => context.services.jobs.reject(params, context),
	}),
	defineMethod({
		name: "job.abort",
		summary: "Stop a job for good",
		roles: ["data_scientist", "privacy_officer"],
		params: oneWithReason,
		result: jobSummary,
		errors: ["job.not_found", "job.ended"],
		handler: (context, params) => context.services.jobs.abort(params, context),
	}),
	defineMethod({
		name: "job.resume",
		summary: "Take up a waiting or failed job from its last agreed round",
		roles: ["data_scientist"],
		params: one,
		result: jobSummary,
		errors: ["job.not_found", "job.ended"],
		handler: (context, params) => context.services.jobs.resume(params, context),
	}),
] as const;
