/** Many jobs at once on a real fleet: daemons as processes of their own, small models on the digits. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { stringify } from "yaml";
import { AlthingError } from "../crypto/error.ts";
import { JOB_ROUND_EVENT } from "../node/rpc/eventTypes.ts";
import { checkJobSpec, type JobSpec } from "../src/training/jobSpec.ts";
import { Daemon } from "../testnet/daemon.ts";
import { sliceDataset } from "../testnet/dataSlices.ts";
import { EventFeed } from "../testnet/eventFeed.ts";
import { foundFederation, linkedUp } from "../testnet/founding.ts";
import { foundOrganizations, type Organization } from "../testnet/organizations.ts";
import { createReporter } from "../testnet/reporter.ts";
import { type Bench, median, quantile, type Table } from "./bench.ts";

interface Options {
	readonly [name: string]: readonly number[] | string;
	readonly jobs: readonly number[];
	readonly rounds: readonly number[];
	readonly nodes: readonly number[];
	readonly running: readonly number[];
	readonly heavy: readonly number[];
	readonly minutes: readonly number[];
}

const DATA = "digits-8x8";
const SAMPLE_MS = 2000;
const DELTA = 1e-6;
/** The most that an account may have; all jobs together have to fit. */
const ACCOUNT_EPSILON = 100;
const SHARES = [0.1, 0.25, 0.5, 0.75, 0.9, 1];

export const jobs: Bench<Options> = {
	name: "jobs",
	summary: "many training jobs at once on a few daemons: fairness, waits, memory and CPU",
	options: {
		jobs: { description: "jobs submitted at once", default: [100] },
		rounds: { description: "rounds of each job", default: [5] },
		nodes: { description: "daemons, 3 to 20", default: [3] },
		running: {
			description: "jobs that train at the same time at a node; the others are queued",
			default: [100],
		},
		heavy: {
			description: "jobs among them that train a perceptron of 64-512-512-10 instead of a softmax regression",
			default: [0],
		},
		minutes: { description: "give up after so many", default: [15] },
	},
	libraries: ["libp2p", "onnxruntime-node", "level"],
	notes: [
		"Real daemons over libp2p on this machine, one worker thread each; every job is private training with noise in shares under masks, charged to the one account of each site's data set.",
		"Progress is the certified rounds of each job at the first node at a share of the whole time; Jain's index is (sum x)^2 / (n sum x^2), 1 when all jobs have had as many rounds.",
		"CPU, memory and event-loop delay are those of the daemons' own metrics, all threads, from the first submission to the last completion; memory per job is the growth from before the submission to the peak, divided by the jobs. Waits are of tasks for the worker thread.",
	],
	async run({ jobs: counts, rounds, nodes, running, heavy, minutes }) {
		const totals: Row[] = [];
		const progress: Row[] = [];
		const retries: Row[] = [];
		for (const count of counts) {
			for (const limit of running) {
				for (const large of heavy) {
					const figures = await measure({
						jobs: count,
						rounds: rounds[0] ?? 5,
						nodes: nodes[0] ?? 3,
						running: limit,
						heavy: large,
						timeoutMs: (minutes[0] ?? 15) * 60_000,
					});
					totals.push(figures.total);
					progress.push(...figures.progress);
					retries.push(...figures.retries);
				}
			}
		}
		return [
			{ title: "jobs", rows: totals },
			{ title: "rounds per job over time", rows: progress },
			{ title: "attempts that ended without a sum", rows: retries },
		];
	},
};

type Row = Table["rows"][number];

interface Setting {
	readonly jobs: number;
	readonly rounds: number;
	readonly nodes: number;
	readonly running: number;
	readonly heavy: number;
	readonly timeoutMs: number;
}

interface Figures {
	readonly total: Row;
	readonly progress: readonly Row[];
	readonly retries: readonly Row[];
}

/** A certified round at the first node. */
interface Certified {
	readonly atMs: number;
	readonly job: string;
}

async function measure(setting: Setting): Promise<Figures> {
	const root = await mkdtemp(join(tmpdir(), "althing-jobs-"));
	const stopping = new AbortController();
	const organizations = await foundOrganizations(root, sliceDataset(DATA, setting.nodes));
	const daemons = organizations.map((one) => new Daemon(one, (error) => stopping.abort(error)));
	const killNow = () => {
		for (const daemon of daemons) daemon.killNow();
	};
	process.once("exit", killNow);
	try {
		await start(daemons, setting, stopping.signal);
		return await train(daemons, setting, stopping.signal);
	} finally {
		stopping.abort();
		await Promise.all(daemons.map((daemon) => daemon.stop()));
		process.removeListener("exit", killNow);
		await rm(root, { recursive: true, force: true });
	}
}

async function start(daemons: readonly Daemon[], setting: Setting, signal: AbortSignal): Promise<void> {
	await Promise.all(
		daemons.map(async (daemon) => {
			await configure(daemon.organization, setting);
			await daemon.start(signal);
			const { dataFile: path } = daemon.organization;
			await daemon.client.call("data.add", { name: DATA, path, description: DATA });
		}),
	);
	const silent = createReporter(true, { write: () => true });
	await foundFederation(daemons, jobOf(setting, 0), silent, signal);
	await linkedUp(daemons, signal);
}

async function configure({ name, configFile }: Organization, { running }: Setting): Promise<void> {
	const configuration = {
		organization: { name },
		network: { listen: ["/ip4/127.0.0.1/tcp/0"] },
		policy: { autoApproveJobs: true, autoApproveMembers: true, maximumDelta: DELTA },
		budgets: { epsilon: ACCOUNT_EPSILON, delta: 1e-3 },
		jobs: { running },
		health: { port: 0 },
	};
	await writeFile(configFile, stringify(configuration), { mode: 0o600 });
}

/** The job of this number: the first ones are the heavy ones. */
function jobOf({ rounds, heavy }: Setting, number: number): JobSpec {
	const model =
		number < heavy ? { kind: "multilayer_perceptron", hidden: [512, 512] } : { kind: "softmax_regression" };
	return checkJobSpec({
		name: `job-${number}`,
		technique: "federated_learning",
		data: { set: DATA },
		model,
		training: { rounds, serverLearningRate: 2, momentum: 0.5, expectedBatch: 700 },
		privacy: { mechanism: "distributed_gaussian", epsilon: 1, delta: DELTA, samplingRate: 0.5 },
		aggregation: { phaseTimeoutMs: 30_000 },
	});
}

async function train(daemons: readonly Daemon[], setting: Setting, signal: AbortSignal): Promise<Figures> {
	const [first] = daemons as [Daemon];
	const feeding = new AbortController();
	const feed = new EventFeed(daemons, AbortSignal.any([signal, feeding.signal]));
	const certified: Certified[] = [];
	const completions = new Map<string, number>();
	const retries = new Map<string, number>();
	let failed = 0;
	feed.listen((daemon, { type, job, data }) => {
		if (job === undefined) return;
		if (type === "job.retry") {
			const reason = String(data.reason);
			retries.set(reason, (retries.get(reason) ?? 0) + 1);
		}
		if (type === JOB_ROUND_EVENT && daemon === first) certified.push({ atMs: performance.now(), job });
		if (type === "job.state" && data.state === "completed")
			completions.set(job, (completions.get(job) ?? 0) + 1);
		if (type === "job.state" && (data.state === "failed" || data.state === "rejected")) failed += 1;
	});
	const before = await Promise.all(daemons.map(metricsOf));
	const samples: Metrics[][] = [before];
	const startedMs = performance.now();
	// Each node is given its jobs one after the other, as a person or a script would.
	const submitted = await Promise.all(
		daemons.map(async ({ client }, node) => {
			const own: string[] = [];
			for (let number = node; number < setting.jobs; number += daemons.length)
				own.push((await client.call("job.submit", { spec: { ...jobOf(setting, number) } })).id);
			return own;
		}),
	);
	const ids = submitted.flat();
	const submittedMs = performance.now();
	const done = () => ids.filter((id) => completions.get(id) === daemons.length).length;
	while (done() < ids.length && failed === 0 && performance.now() - startedMs < setting.timeoutMs) {
		await sleep(SAMPLE_MS, undefined, { signal });
		samples.push(await Promise.all(daemons.map(metricsOf)));
	}
	const endedMs = performance.now();
	const after = await Promise.all(daemons.map(metricsOf));
	feeding.abort();
	const seconds = (endedMs - startedMs) / 1000;
	const waits = samples.flat().flatMap(({ longestWaits }) => longestWaits);
	const peak = daemons.map((_, node) => Math.max(...samples.map((sample) => sample[node]!.residentMiB)));
	const cpu = after.map((metrics, node) => metrics.cpuSeconds - before[node]!.cpuSeconds);
	const growth = peak.map((value, node) => value - before[node]!.residentMiB);
	return {
		total: {
			jobs: setting.jobs,
			heavy: setting.heavy,
			runningLimit: setting.running,
			completed: done(),
			failed,
			retries: [...retries.values()].reduce((sum, count) => sum + count, 0),
			seconds,
			submitSeconds: (submittedMs - startedMs) / 1000,
			roundsPerSecond: certified.length / seconds,
			cpuSecondsPerNode: median(cpu),
			cpuSecondsPerJob: median(cpu) / setting.jobs,
			rssBeforeMiB: median(before.map(({ residentMiB }) => residentMiB)),
			rssPeakMiB: Math.max(...peak),
			rssEndMiB: Math.max(...after.map(({ residentMiB }) => residentMiB)),
			rssPerJobMiB: median(growth) / setting.jobs,
			eventLoopP99Ms: Math.max(...samples.flat().map(({ loopP99Ms }) => loopP99Ms)),
			mostQueued: Math.max(...samples.flat().map(({ queued }) => queued)),
			mostOutstanding: Math.max(...samples.flat().map(({ outstanding }) => outstanding)),
			medianLongestWaitSeconds: median(waits),
			longestWaitSeconds: Math.max(0, ...waits),
		},
		retries: [...retries].map(([reason, times]) => ({
			jobs: setting.jobs,
			heavy: setting.heavy,
			runningLimit: setting.running,
			times,
			reason,
		})),
		progress: SHARES.map((share) => {
			const until = startedMs + share * (endedMs - startedMs);
			const counts = new Map(ids.map((id) => [id, 0]));
			for (const { atMs, job } of certified) if (atMs <= until) counts.set(job, (counts.get(job) ?? 0) + 1);
			const rounds = [...counts.values()];
			return {
				jobs: setting.jobs,
				heavy: setting.heavy,
				runningLimit: setting.running,
				shareOfTime: share,
				least: Math.min(...rounds),
				lowerQuartile: quantile(rounds, 0.25),
				median: median(rounds),
				most: Math.max(...rounds),
				jainIndex: jainIndex(rounds),
			};
		}),
	};
}

/** Jain, Chiu and Hawe, DEC-TR-301 (1984): from 1/n, one has all, to 1, all have as much. */
export function jainIndex(values: readonly number[]): number {
	const sum = values.reduce((total, value) => total + value, 0);
	const squares = values.reduce((total, value) => total + value * value, 0);
	return squares === 0 ? 1 : sum ** 2 / (values.length * squares);
}

interface Metrics {
	readonly cpuSeconds: number;
	readonly residentMiB: number;
	readonly loopP99Ms: number;
	readonly queued: number;
	readonly outstanding: number;
	/** Of each running job, in seconds. */
	readonly longestWaits: readonly number[];
}

/** What a daemon's own /metrics say. */
async function metricsOf(daemon: Daemon): Promise<Metrics> {
	const response = await fetch(`http://127.0.0.1:${await healthPort(daemon)}/metrics`);
	const text = await response.text();
	const values = (name: string) =>
		text
			.split("\n")
			.filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
			.map((line) => Number(line.slice(line.lastIndexOf(" ") + 1)));
	const value = (name: string) => values(name)[0] ?? 0;
	return {
		cpuSeconds: value("process_cpu_seconds_total"),
		residentMiB: value("process_resident_memory_bytes") / 2 ** 20,
		loopP99Ms: value("nodejs_eventloop_lag_p99_seconds") * 1000,
		queued: value("althing_jobs_queued"),
		outstanding: values("althing_job_tasks_outstanding").reduce((sum, one) => sum + one, 0),
		longestWaits: values("althing_job_longest_wait_seconds"),
	};
}

async function healthPort(daemon: Daemon): Promise<number> {
	const log = await readFile(daemon.logFile, "utf8");
	const line = log.split("\n").find((text) => text.includes("health endpoints"));
	if (line === undefined)
		throw new AlthingError("bench.no_health", `${daemon.name} has not said where its metrics are.`);
	return (JSON.parse(line) as { port: number }).port;
}
