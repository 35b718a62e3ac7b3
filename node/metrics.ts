/** Every metric of the node itself, declared once; libp2p adds its own to the same registry. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, type Registry } from "prom-client";
import type { JobUse } from "./jobs/jobUse.ts";

export interface NodeMetrics {
	readonly rounds: Counter<"outcome">;
	readonly roundSeconds: Histogram;
	readonly roundBytes: Counter<"direction">;
	readonly retries: Counter;
	readonly faults: Counter<"code">;
	readonly epsilonSpent: Gauge<"dataset">;
	readonly charterVersion: Gauge;
}

/** Declares the metrics in a registry; called once. */
export function declareMetrics(registry: Registry): NodeMetrics {
	const registers = [registry];
	return {
		rounds: new Counter({
			name: "althing_rounds_total",
			help: "Certified training rounds, by outcome.",
			labelNames: ["outcome"],
			registers,
		}),
		roundSeconds: new Histogram({
			name: "althing_round_duration_seconds",
			help: "Time from the start of a round to its certificate.",
			buckets: [0.25, 0.5, 1, 2, 5, 10, 30, 60, 300],
			registers,
		}),
		roundBytes: new Counter({
			name: "althing_round_bytes_total",
			help: "Bytes of training messages and payloads.",
			labelNames: ["direction"],
			registers,
		}),
		retries: new Counter({
			name: "althing_round_retries_total",
			help: "Attempts at a round that ended without a sum here.",
			registers,
		}),
		faults: new Counter({
			name: "althing_peer_faults_total",
			help: "Misbehaviour of peers, by code.",
			labelNames: ["code"],
			registers,
		}),
		epsilonSpent: new Gauge({
			name: "althing_epsilon_spent",
			help: "Epsilon spent of a data set at its budget's delta.",
			labelNames: ["dataset"],
			registers,
		}),
		charterVersion: new Gauge({
			name: "althing_charter_version",
			help: "Version of the charter in force.",
			registers,
		}),
	};
}

/** What the jobs take at the moment a scrape asks. */
export interface JobLoad {
	readonly uses: readonly JobUse[];
	readonly queued: readonly string[];
}

/**
 * Metrics that are read off the node when they are scraped: the jobs' load, and the process's CPU
 * time, memory and event-loop delay under prom-client's usual names. A job's series ends with it.
 */
export function declareLoad(registry: Registry, load: () => JobLoad): void {
	const registers = [registry];
	collectDefaultMetrics({ register: registry });
	const perJob = (name: string, help: string, value: (use: JobUse) => number) =>
		new Gauge({
			name,
			help,
			labelNames: ["job"],
			registers,
			collect() {
				this.reset();
				for (const use of load().uses) this.set({ job: use.job }, value(use));
			},
		});
	perJob(
		"althing_job_tasks_outstanding",
		"Tasks of a running job that worker threads have not finished.",
		({ outstanding }) => outstanding,
	);
	perJob(
		"althing_job_thread_seconds",
		"Seconds that a running job's tasks held worker threads.",
		({ threadSeconds }) => threadSeconds,
	);
	perJob(
		"althing_job_longest_wait_seconds",
		"Longest that a task of a running job waited for a worker thread.",
		({ longestWaitSeconds }) => longestWaitSeconds,
	);
	new Gauge({
		name: "althing_jobs_queued",
		help: "Started jobs that wait until others have ended here.",
		registers,
		collect() {
			this.set(load().queued.length);
		},
	});
}
