/**
 * Gossip averaging: training without a coordinator and without a global sum.
 *
 * Every node holds a model of its own. In each round it trains, releases the result to its neighbours,
 * and moves towards theirs; over a sparse expander all models come together. A release is paid for and
 * durable before it leaves, signed and bound to its round, and there is one for each round.
 *
 * @example
 * ```ts
 * const job = new GossipJob({ self, federationId, jobId, configHash, neighbours, rounds, ... });
 * perform(job.start(now));
 * perform(job.receive(from, decodeGossipMessage(bytes), now, blob));
 * // on output { kind: "round", state }: this node's model; on { kind: "done" }: the end
 * ```
 */
export type {
	GossipJobOptions,
	GossipOutput,
	GossipTask,
	GossipTaskResult,
	ReceivedModel,
} from "./contract.ts";
export { GossipJob } from "./job.ts";
export { decodeGossipMessage, encodeGossipMessage, type GossipMessage } from "./messages.ts";
export { bytesNeeded, type PersistedStep, roundsReleased } from "./promises.ts";
