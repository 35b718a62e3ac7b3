/**
 * The federation: its charter, the verified chain of charter versions, invitation tickets,
 * and the protocol by which members change the charter without all being online at once.
 *
 * @example
 * ```ts
 * const chain = CharterChain.found(key, { federation: "demo", rules: rulesSchema.parse({}), declaration, createdAt });
 * const member = new Membership({ self: key, chain, policy, promises: [], random: randomBytes, unixOffsetMs });
 * const { text } = member.invite({ organization: "North Clinic", expiresAt, addresses });
 * // On the other node, where no chain is known yet:
 * const candidate = new Membership({ self: other, chain: undefined, policy, promises: [], random: randomBytes, unixOffsetMs });
 * carryOut(candidate.requestJoin(parseTicket(text), declaration, nowMs));
 * ```
 */
export {
	type ChainLink,
	CharterChain,
	chainLinkSchema,
	charterSlot,
	type ForkProof,
	verifyForkProof,
} from "./chain.ts";
export { type Change, type ChangeRequest, requestIdOf, type Verdict } from "./changeRequest.ts";
export {
	type Charter,
	charterHash,
	charterHashText,
	charterSchema,
	corruptionOf,
	electorateOf,
	type Member,
	memberOf,
	minimumSurvivorsOf,
} from "./charter.ts";
export { type Declaration, declarationSchema, federationName, organizationName } from "./declaration.ts";
export { Membership, type MembershipInit } from "./membership.ts";
export { decodeFederationMessage, encodeFederationMessage, type FederationMessage } from "./messages.ts";
export type { FederationOutput, MembershipPolicy } from "./outputs.ts";
export type { PendingRequest } from "./pendingRequests.ts";
export { type Rules, rulesSchema } from "./rules.ts";
export { formatTicket, issueTicket, parseTicket, type Ticket, verifyTicket } from "./ticket.ts";
