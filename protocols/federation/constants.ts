/** Limits and periods of the membership protocol. */

/** Largest message; a chain is sent in pieces below it. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
/** Bytes of chain links put into one message, unless a single link is larger. */
export const CHAIN_PIECE_BYTES = 512 * 1024;
/** Links in one message. */
export const MAX_CHAIN_LINKS = 256;
/** Requests that a member keeps open at once; a status that names all their approvals fits one message. */
export const MAX_PENDING = 64;
/** Open requests of one author, or by one ticket; a candidate may try again with corrected data. */
export const MAX_PENDING_PER_ORIGIN = 4;
/** Proposals kept for one attempt at a version. */
export const MAX_PROPOSALS = 64;
/** Members asked for news in one gossip period. */
export const GOSSIP_FANOUT = 3;
/** Period of gossip between members. */
export const GOSSIP_MS = 5_000;
/** Period of a candidate's repeated request: it hears of its admission only when it asks. */
export const CANDIDATE_RETRY_MS = 1_000;
/** How long each member waits for the members ranked before it to propose. */
export const PROPOSER_PATIENCE_MS = 3_000;
/** How far in the future a proposed version may be dated. */
export const CLOCK_TOLERANCE_MS = 10 * 60_000;
