/** Methods that plan and audit; none of them charges a budget. */
import {
	allocation,
	auditRequest,
	auditView,
	cost,
	forecastRequest,
	forecastView,
	optimization,
	optimizeRequest,
	planRequest,
	roundsRequest,
} from "../privacySchemas.ts";
import { defineMethod } from "../registry.ts";

const planners = ["data_scientist", "privacy_officer", "auditor"] as const;
/** Compositions by the hundred take seconds on a busy machine. */
const PLANNING_TIMEOUT_MS = 120_000;

export const privacyMethods = [
	defineMethod({
		name: "privacy.plan",
		summary: "Divide epsilon and delta over phases or rounds; the accountant says what it adds up to",
		roles: planners,
		params: planRequest,
		result: allocation,
		errors: ["privacy.bad_plan", "privacy.unreachable_target"],
		timeoutMs: PLANNING_TIMEOUT_MS,
		handler: (context, params) => context.services.privacy.plan(params, context),
	}),
	defineMethod({
		name: "privacy.cost",
		summary:
			"What rounds of training would cost a data set's budget, and how many still fit; charges nothing",
		roles: planners,
		params: roundsRequest,
		result: cost,
		errors: ["data.not_found"],
		timeoutMs: PLANNING_TIMEOUT_MS,
		handler: (context, params) => context.services.privacy.cost(params, context),
	}),
	defineMethod({
		name: "privacy.forecast",
		summary: "When a data set's budget is gone if charges go on as lately, by composition",
		roles: planners,
		params: forecastRequest,
		result: forecastView,
		errors: ["data.not_found"],
		timeoutMs: PLANNING_TIMEOUT_MS,
		handler: (context, params) => context.services.privacy.forecast(params, context),
	}),
	defineMethod({
		name: "privacy.optimize",
		summary:
			"Sampling, rounds and noise that leave most of the signal within a target, and by how much a utility limit is met or missed",
		roles: planners,
		params: optimizeRequest,
		result: optimization,
		errors: ["privacy.bad_plan", "privacy.unreachable_target"],
		timeoutMs: PLANNING_TIMEOUT_MS,
		handler: (context, params) => context.services.privacy.optimize(params, context),
	}),
	defineMethod({
		name: "privacy.audit",
		summary:
			"Train once with canaries on this node's own records and test the job's privacy claim; nothing leaves",
		// Computes for minutes on private records: not for everybody who may read.
		roles: ["privacy_officer"],
		params: auditRequest,
		result: auditView,
		errors: ["data.not_found", "job.invalid", "audit.nothing_claimed", "audit.unsupported"],
		timeoutMs: 3_600_000,
		handler: (context, params) => context.services.privacy.audit(params, context),
	}),
] as const;
