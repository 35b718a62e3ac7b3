/** Follows every node's event stream through kills and restarts, and keeps what each says of the job's rounds. */
import { setTimeout as sleep } from "node:timers/promises";
import { JOB_ROUND_EVENT } from "../node/rpc/eventTypes.ts";
import type { NodeEvent, RoundView } from "../node/rpc/services.ts";
import { epochOf, firstTerm } from "../protocols/election/index.ts";
import type { Daemon } from "./daemon.ts";

const RECONNECT_MS = 200;

/** A round as one node reports it; here rounds count from 1, so that the last one equals their number. */
export interface RoundReport extends RoundView {
	readonly cpuSeconds?: number;
}

/** One event of one node. */
export type FeedListener = (daemon: Daemon, event: NodeEvent) => void;

export class EventFeed {
	readonly #signal: AbortSignal;
	readonly #listeners = new Set<FeedListener>();

	/** Follows until the signal aborts. Each node is connected to once it runs, again and again. */
	constructor(daemons: readonly Daemon[], signal: AbortSignal) {
		this.#signal = signal;
		for (const daemon of daemons) void this.#follow(daemon);
	}

	listen(listener: FeedListener): void {
		this.#listeners.add(listener);
	}

	async #follow(daemon: Daemon): Promise<void> {
		let after: number | undefined;
		while (!this.#signal.aborted) {
			try {
				for await (const event of daemon.client.events({ after, signal: this.#signal })) {
					after = event.id;
					for (const listener of this.#listeners) listener(daemon, event);
				}
			} catch {
				// The node is down or on its way; the launcher reports deaths, not the feed.
			}
			await sleep(RECONNECT_MS, undefined, { signal: this.#signal }).catch(() => undefined);
		}
	}
}

/** The round inside a `job.round` event of a job. */
export function roundReport(event: NodeEvent, job: string): RoundReport | undefined {
	if (event.type !== JOB_ROUND_EVENT || event.job !== job) return undefined;
	const report = event.data as unknown as RoundReport;
	return { ...report, round: report.round + 1 };
}

/** The number, from 1, of the round whose updates a node begins to collect with this event. */
export function inputPhaseOf(event: NodeEvent, job: string): number | undefined {
	if (event.type !== "job.stage" || event.job !== job || event.data.stage !== "input") return undefined;
	return typeof event.data.round === "number" ? event.data.round + 1 : undefined;
}

/** Who coordinates from this event on. */
export function coordinatorOf(event: NodeEvent, job: string): string | undefined {
	if (event.type !== "job.coordinator" || event.job !== job) return undefined;
	return typeof event.data.coordinator === "string" ? event.data.coordinator : undefined;
}

/** A term as epoch and place in line within it, e.g. `1.0`. */
export function termText(term: number): string {
	const epoch = epochOf(term);
	return `${epoch}.${term - firstTerm(epoch)}`;
}
