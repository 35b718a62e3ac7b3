/** Requests that wait for the members' approval, with the verdicts known so far. */
import type { PeerId } from "../../crypto/identity.ts";
import { quorum } from "../certificate/index.ts";
import type { CharterChain } from "./chain.ts";
import { type ChangeRequest, requestIdOf, type Verdict, verifyVerdict } from "./changeRequest.ts";
import { MAX_CHANGES } from "./charter.ts";
import { MAX_PENDING, MAX_PENDING_PER_ORIGIN } from "./constants.ts";
import { ticketKey } from "./ticket.ts";

/** A waiting request as people see it. */
export interface PendingRequest {
	readonly requestId: string;
	readonly request: ChangeRequest;
	/** Current members that approved. */
	readonly approvals: readonly PeerId[];
	readonly rejections: readonly PeerId[];
	/** Approvals that let it be proposed; 0 for leaving. */
	readonly approvalsNeeded: number;
}

export class PendingRequests {
	readonly #requests = new Map<string, { request: ChangeRequest; verdicts: Map<PeerId, Verdict> }>();

	/**
	 * Takes a request that applies to the chain's head at `createdAt` (ISO 8601).
	 * @returns true when it is new; false when known or when too many of its author, of its ticket, or of all are open
	 * @throws AlthingError when it does not apply
	 */
	add(chain: CharterChain, request: ChangeRequest, createdAt: string): boolean {
		const id = requestIdOf(request);
		if (this.#requests.has(id)) return false;
		chain.next([request], createdAt);
		// Counted by ticket as well: a candidate can make any number of keys, but not of tickets.
		const origins = originsOf(request);
		const sameOrigin = [...this.#requests.values()].filter((known) =>
			originsOf(known.request).some((origin) => origins.includes(origin)),
		);
		if (this.#requests.size >= MAX_PENDING || sameOrigin.length >= MAX_PENDING_PER_ORIGIN) return false;
		this.#requests.set(id, { request, verdicts: new Map() });
		return true;
	}

	/** Records a verdict; approval is final. False when it adds nothing, undefined when its signature is bad. */
	judge(chain: CharterChain, verdict: Verdict): boolean | undefined {
		const entry = this.#requests.get(verdict.requestId);
		if (entry === undefined || !chain.electorate.members.includes(verdict.member)) return false;
		const earlier = entry.verdicts.get(verdict.member);
		if (earlier !== undefined && (earlier.approve || !verdict.approve)) return false;
		if (verdict.federationId !== chain.federationId || !verifyVerdict(verdict)) return undefined;
		entry.verdicts.set(verdict.member, verdict);
		return true;
	}

	/** Drops what no longer applies to the chain's head (decided, expired, overtaken). True when anything went. */
	prune(chain: CharterChain, createdAt: string): boolean {
		let dropped = false;
		for (const [id, { request }] of this.#requests) {
			if (applies(chain, [request], createdAt)) continue;
			this.#requests.delete(id);
			dropped = true;
		}
		return dropped;
	}

	/** The approved requests that make one next version together, in the order of their ids. */
	ripe(chain: CharterChain, createdAt: string): ChangeRequest[] {
		const chosen: ChangeRequest[] = [];
		for (const { request, approvals, approvalsNeeded } of this.list(chain)) {
			if (approvals.length < approvalsNeeded || chosen.length >= MAX_CHANGES) continue;
			// Requests may exclude each other: two joins by one ticket, two expulsions of one peer.
			if (applies(chain, [...chosen, request], createdAt)) chosen.push(request);
		}
		return chosen;
	}

	/** Everything waiting, in the order of request ids. */
	list(chain: CharterChain): PendingRequest[] {
		const members = new Set(chain.electorate.members);
		return [...this.#requests]
			.sort(([a], [b]) => (a < b ? -1 : 1))
			.map(([requestId, { request, verdicts }]) => {
				const current = [...verdicts.values()].filter(({ member }) => members.has(member));
				return {
					requestId,
					request,
					approvals: current.filter(({ approve }) => approve).map(({ member }) => member),
					rejections: current.filter(({ approve }) => !approve).map(({ member }) => member),
					approvalsNeeded: request.change.kind === "leave" ? 0 : quorum(chain.electorate),
				};
			});
	}

	get(requestId: string): ChangeRequest | undefined {
		return this.#requests.get(requestId)?.request;
	}

	verdictsOn(requestId: string): Verdict[] {
		return [...(this.#requests.get(requestId)?.verdicts.values() ?? [])];
	}
}

function originsOf({ author, change }: ChangeRequest): string[] {
	return change.kind === "join" ? [author, ticketKey(change.ticket)] : [author];
}

function applies(chain: CharterChain, changes: readonly ChangeRequest[], createdAt: string): boolean {
	try {
		chain.successor(changes, createdAt);
		return true;
	} catch {
		return false;
	}
}
