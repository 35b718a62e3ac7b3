/** Methods about the federation: founding, membership, approvals. */
import { z } from "zod";
import { defineMethod } from "../registry.ts";
import { federationView, jsonObject, peerId, pendingRequest, shortName, time } from "../schemas.ts";

const nothing = z.strictObject({});
const requestId = z.string().min(1).max(128);
const reason = z.string().min(1).max(500);
/** Organizations are named for people: any printable text. */
const organization = z.string().min(1).max(200);
/** Tickets carry addresses and a signature; 16 KiB is far above any real one. */
const ticket = z.string().trim().min(1).max(16_384);
const requested = z.object({ requestId: z.string() });

export const federationMethods = [
	defineMethod({
		name: "federation.create",
		summary: "Found a federation with this node as its first member",
		roles: [],
		params: z.strictObject({ name: shortName, rules: jsonObject.default({}) }),
		result: federationView,
		errors: ["federation.already_member", "federation.bad_rules"],
		handler: (context, params) => context.services.federation.create(params, context),
	}),
	defineMethod({
		name: "federation.invite",
		summary: "Issue a single-use, expiring invitation ticket for an organization",
		roles: [],
		params: z.strictObject({ organization, expiresInHours: z.int().min(1).max(720).default(72) }),
		result: z.object({ ticket: z.string(), expiresAt: time }),
		errors: ["federation.none"],
		handler: (context, params) => context.services.federation.invite(params, context),
	}),
	defineMethod({
		name: "federation.join",
		summary: "Ask for admission with an invitation ticket",
		roles: [],
		params: z.strictObject({ ticket, declaration: jsonObject.default({}) }),
		result: requested,
		errors: ["federation.already_member", "federation.bad_ticket", "federation.ticket_expired"],
		timeoutMs: 60_000,
		handler: (context, params) => context.services.federation.join(params, context),
	}),
	defineMethod({
		name: "federation.pending",
		summary: "List requests that wait for members' approval",
		roles: ["privacy_officer", "auditor"],
		params: nothing,
		result: z.object({ pending: z.array(pendingRequest) }),
		errors: ["federation.none"],
		handler: async (context) => ({ pending: await context.services.federation.pending(context) }),
	}),
	defineMethod({
		name: "federation.approve",
		summary: "Approve a pending request in this organization's name",
		roles: ["privacy_officer"],
		params: z.strictObject({ requestId }),
		result: pendingRequest,
		errors: ["federation.request_not_found"],
		handler: (context, params) => context.services.federation.approve(params, context),
	}),
	defineMethod({
		name: "federation.reject",
		summary: "Reject a pending request in this organization's name",
		roles: ["privacy_officer"],
		params: z.strictObject({ requestId, reason: reason.optional() }),
		result: pendingRequest,
		errors: ["federation.request_not_found"],
		handler: (context, params) => context.services.federation.reject(params, context),
	}),
	defineMethod({
		name: "federation.show",
		summary: "Show the charter, its members, the quorum and how many members may be down",
		roles: ["data_scientist", "privacy_officer", "auditor"],
		params: nothing,
		result: federationView,
		errors: ["federation.none"],
		handler: (context) => context.services.federation.show(context),
	}),
	defineMethod({
		name: "federation.leave",
		summary: "Leave the federation",
		roles: [],
		params: nothing,
		result: requested,
		errors: ["federation.none"],
		handler: (context) => context.services.federation.leave(context),
	}),
	defineMethod({
		name: "federation.expel",
		summary: "Propose to expel a member; takes effect when a quorum approves",
		roles: [],
		params: z.strictObject({ peer: peerId, reason }),
		result: requested,
		errors: ["federation.none", "federation.not_member", "federation.member_not_found"],
		handler: (context, params) => context.services.federation.expel(params, context),
	}),
] as const;
