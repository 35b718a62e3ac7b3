/** What the membership machine tells its node, and what it asks of the organization's policy. */
import type { PeerId } from "../../crypto/identity.ts";
import type { CharterChain, ForkProof } from "./chain.ts";
import type { ChangeRequest } from "./changeRequest.ts";
import type { PendingRequest } from "./pendingRequests.ts";

/** What the organization answers without asking a person. */
export interface MembershipPolicy {
	autoApprove(request: ChangeRequest): boolean;
}

export type FederationOutput =
	/** The chain grew (or was received whole by a new member): keep it. */
	| { readonly kind: "charter"; readonly chain: CharterChain }
	/** The set of waiting requests or of verdicts on them changed. */
	| { readonly kind: "pending"; readonly requests: readonly PendingRequest[] }
	/** This node's request to join was granted. */
	| { readonly kind: "joined"; readonly version: number }
	/** A member says the request to join cannot be taken. A hint: others may see it differently. */
	| { readonly kind: "refused"; readonly by: PeerId; readonly code: string; readonly reason: string }
	/** This node is no member any more. */
	| { readonly kind: "left"; readonly version: number; readonly expelledFor?: string | undefined }
	/** Two certified versions at one height: raise the alarm, stop trusting either. */
	| { readonly kind: "fork"; readonly proof: ForkProof };
