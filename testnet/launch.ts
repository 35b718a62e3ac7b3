/**
 * `npm run testnet`: several organizations on one machine found a federation and train a model
 * in private, while nodes are killed and come back. Everything goes through what real
 * organizations use: the same daemon, the same admin RPC, one process each.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { AlthingError } from "../crypto/error.ts";
import { boundsOfFeatures } from "../src/data/description.ts";
import type { JobSpec } from "../src/training/jobSpec.ts";
import { attackingModule, attackOf } from "./attacks/nodeAttacks.ts";
import { Daemon } from "./daemon.ts";
import { type DataSlices, sliceDataset, sliceSummary } from "./dataSlices.ts";
import { until } from "./deadline.ts";
import { coordinatorOf, EventFeed, inputPhaseOf } from "./eventFeed.ts";
import { foundFederation, linkedUp } from "./founding.ts";
import { parseOptions, type TestnetOptions, USAGE } from "./options.ts";
import { foundOrganizations, writeConfiguration } from "./organizations.ts";
import { Progress } from "./progress.ts";
import { createReporter, type Reporter } from "./reporter.ts";
import { Rounds } from "./rounds.ts";
import { dropScenario, gossipScenario, type Incidents, type Stage, scriptedScenario } from "./scenario.ts";
import { concluded, saySummary } from "./summary.ts";
import { trainingJob } from "./trainingJob.ts";

const EXIT = { held: 0, failed: 1, usage: 2, interrupted: 130 } as const;
const FREE_PORT = "/ip4/127.0.0.1/tcp/0";
const COMPLETION_TIMEOUT_MS = 60_000;

/** Runs the testnet. @returns the process's exit code */
export async function launch(args: readonly string[]): Promise<number> {
	let options: TestnetOptions;
	try {
		options = parseOptions(args);
	} catch (error) {
		process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
		return EXIT.usage;
	}
	if (options.help) {
		process.stdout.write(`${USAGE}\n`);
		return EXIT.held;
	}
	const reporter = createReporter(options.json, process.stdout);
	const stopping = new AbortController();
	const interrupt = () => stopping.abort(new Interrupted());
	for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, interrupt);
	const net = new Testnet(options, reporter, stopping);
	// The last resort when this process ends in a way that runs no `finally`.
	process.on("exit", () => net.killNow());
	try {
		return (await net.run()) ? EXIT.held : EXIT.failed;
	} catch (error) {
		const cause: unknown = stopping.signal.aborted ? stopping.signal.reason : error;
		if (cause instanceof Interrupted) {
			reporter.say("interrupted", "Interrupted.", {}, "bad");
			return EXIT.interrupted;
		}
		const { code = "testnet.failed", message } =
			cause instanceof AlthingError ? cause : { message: String(cause) };
		net.keepDirectories();
		reporter.say("failed", `The testnet failed: ${message}`, { code, message }, "bad");
		reporter.text(`The nodes' directories and logs are left in ${net.directory}.`);
		return EXIT.failed;
	} finally {
		await net.close();
	}
}

class Interrupted extends Error {}

/** With what the attackers do to their records before they train on them. */
function poisonedSlices(slices: DataSlices, { attack, attackers }: TestnetOptions): DataSlices {
	const poison = attack === undefined ? undefined : attackOf(attack).records;
	if (poison === undefined) return slices;
	const bounds = boundsOfFeatures(slices.description);
	const sites = slices.sites.map((site, index) =>
		index < slices.sites.length - attackers ? site : poison(site, (feature) => bounds[feature]![1]),
	);
	return { ...slices, sites };
}

class Testnet {
	readonly #options: TestnetOptions;
	readonly #reporter: Reporter;
	readonly #stopping: AbortController;
	readonly #feeding = new AbortController();
	#daemons: readonly Daemon[] = [];
	#root: string | undefined;
	#keepsDirectories: boolean;

	constructor(options: TestnetOptions, reporter: Reporter, stopping: AbortController) {
		this.#options = options;
		this.#reporter = reporter;
		this.#stopping = stopping;
		this.#keepsDirectories = options.keep;
	}

	get directory(): string | undefined {
		return this.#root;
	}

	/** Leaves what was written, for those who look for the cause of a failure. */
	keepDirectories(): void {
		this.#keepsDirectories = true;
	}

	get #signal(): AbortSignal {
		return this.#stopping.signal;
	}

	/** @returns whether everything held */
	async run(): Promise<boolean> {
		const options = this.#options;
		const job = await trainingJob(options);
		const slices = poisonedSlices(sliceDataset(job.data.set, options.nodes), options);
		await this.#startNodes(slices, job);
		const feed = new EventFeed(this.#daemons, AbortSignal.any([this.#signal, this.#feeding.signal]));
		await foundFederation(this.#daemons, job, this.#reporter, this.#signal);
		await linkedUp(this.#daemons, this.#signal);
		await this.#pinAddresses(job);
		const held = await this.#train(job, slices, feed);
		if (options.keep) await this.#keepRunning();
		return held;
	}

	/** Stops every process that this testnet started, and removes what it wrote unless it is to be kept. */
	async close(): Promise<void> {
		this.#feeding.abort();
		await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
		if (this.#root === undefined || this.#keepsDirectories) return;
		// A directory that was named is the caller's; what was made in it goes, it stays.
		if (this.#options.directory === undefined) await rm(this.#root, { recursive: true, force: true });
		else {
			for (const { organization } of this.#daemons) {
				await rm(join(this.#root, organization.slug), { recursive: true, force: true });
			}
			await rm(join(this.#root, "attackers"), { recursive: true, force: true });
		}
	}

	killNow(): void {
		for (const daemon of this.#daemons) daemon.killNow();
	}

	async #startNodes(slices: DataSlices, job: JobSpec): Promise<void> {
		const { directory } = this.#options;
		if (directory !== undefined) await mkdir(directory, { recursive: true });
		this.#root = directory === undefined ? await mkdtemp(join(tmpdir(), "althing-")) : resolve(directory);
		this.#reporter.say(
			"testnet.starting",
			`Starting ${slices.sites.length} organizations over ${slices.description.name}, in ${this.#root}`,
			{ nodes: slices.sites.length, data: slices.description.name, directory: this.#root },
		);
		const organizations = await foundOrganizations(this.#root, slices);
		const died = (error: AlthingError) => this.#stopping.abort(error);
		const { attack, attackers } = this.#options;
		const first = organizations.length - attackers;
		const folder = join(this.#root, "attackers");
		this.#daemons = organizations.map((organization, index) => {
			const ring = { folder, attackers, participants: organizations.length, place: index - first };
			const preload = attack === undefined || index < first ? undefined : attackingModule(attack, ring);
			return new Daemon(organization, died, preload);
		});
		for (const { attacks, name } of this.#daemons)
			if (attacks)
				this.#reporter.say(
					"node.attacks",
					`  ${name} will ATTACK the federation: ${attack}`,
					{ organization: name, attack },
					"bad",
				);
		await Promise.all(
			this.#daemons.map(async (daemon, index) => {
				await writeConfiguration(daemon.organization, job, { listen: FREE_PORT, bootstrap: [] });
				await daemon.start(this.#signal);
				await daemon.client.call("data.add", {
					name: job.data.set,
					path: daemon.organization.dataFile,
					description: job.data.set,
				});
				this.#reporter.say(
					"node.started",
					`  ${daemon.name.padEnd(30)} ${daemon.peer.slice(-8)}  ${sliceSummary(slices.sites[index]!)}`,
					{ organization: daemon.name, peer: daemon.peer, rows: daemon.organization.rows },
				);
			}),
		);
	}

	/** A site keeps its address; from now on each node has its port, and the founder's address to find the others. */
	async #pinAddresses(job: JobSpec): Promise<void> {
		const addresses = await Promise.all(
			this.#daemons.map(async (daemon) => {
				const { addresses: own } = await daemon.client.call("node.status", {});
				const address = own.find((text) => text.includes("/tcp/"));
				if (address !== undefined) return address;
				throw new AlthingError("testnet.no_address", `${daemon.name} listens on no TCP address.`);
			}),
		);
		const [bootstrap = ""] = addresses;
		await Promise.all(
			this.#daemons.map((daemon, index) =>
				writeConfiguration(daemon.organization, job, {
					listen: addresses[index]!.replace(/\/p2p\/.*$/, ""),
					bootstrap: index === 0 ? [] : [bootstrap],
				}),
			),
		);
	}

	async #train(spec: JobSpec, slices: DataSlices, feed: EventFeed): Promise<boolean> {
		const reporter = this.#reporter;
		const daemons = this.#daemons;
		const plannedRounds = spec.training.rounds;
		const progress = new Progress(daemons, plannedRounds, reporter);
		const [submitter] = daemons as [Daemon];
		const { id: job } = await submitter.client.call("job.submit", { spec: { ...spec } });
		reporter.say(
			"job.submitted",
			`${submitter.name} submitted job ${spec.name} (${job.slice(0, 12)}): ${plannedRounds} rounds${
				spec.privacy.mechanism === "none"
					? ""
					: `, epsilon ${spec.privacy.epsilon}, delta ${spec.privacy.delta}`
			}`,
			{ organization: submitter.name, job, name: spec.name, rounds: plannedRounds },
		);
		let coordinator: string | undefined;
		let secondsToFirstRound: number | undefined;
		const inputPhases = new Set<{ from: number; resolve: (round: number) => void }>();
		const rounds = new Rounds(feed, job, spec, this.#signal, (_, report) => {
			if (secondsToFirstRound === undefined) {
				secondsToFirstRound = performance.now() / 1000;
				reporter.say(
					"round.first",
					`First aggregated round ${secondsToFirstRound.toFixed(1)} s after the start`,
					{ seconds: secondsToFirstRound },
					"faint",
				);
			}
			progress.report(report.round, rounds.reports(report.round));
		});
		feed.listen((daemon, event) => {
			if (event.job !== job) return;
			coordinator = coordinatorOf(event, job) ?? coordinator;
			const collecting = inputPhaseOf(event, job);
			for (const waiter of inputPhases) {
				if (collecting === undefined || collecting < waiter.from) continue;
				inputPhases.delete(waiter);
				waiter.resolve(collecting);
			}
			progress.event(daemon, event);
		});
		const stage: Stage = {
			daemons,
			rounds,
			plannedRounds,
			job,
			coordinator: () => coordinator,
			inputPhase: (from) => new Promise((resolve) => inputPhases.add({ from, resolve })),
			reporter,
			signal: this.#signal,
		};
		const incidents = await this.#play(stage, spec);
		await rounds.reached(plannedRounds);
		await this.#untilCompleted(job, plannedRounds);
		progress.flush();
		const outcome = await concluded({
			daemons,
			job,
			dataset: spec.data.set,
			plannedRounds,
			rounds,
			slices,
			secondsToFirstRound: secondsToFirstRound ?? 0,
			incidents,
			hasCommonModel: spec.training.schedule !== "gossip",
			isPersonal: spec.personalization !== undefined,
		});
		saySummary(outcome, performance.now() / 1000, reporter);
		return outcome.problems.length === 0;
	}

	#play(stage: Stage, spec: JobSpec): Promise<Incidents> {
		const { drop } = this.#options;
		if (spec.training.schedule === "gossip") return gossipScenario(stage);
		return drop === undefined ? scriptedScenario(stage) : dropScenario(stage, drop);
	}

	async #untilCompleted(job: string, plannedRounds: number): Promise<void> {
		await Promise.all(
			this.#daemons.map((daemon) => {
				let known = "";
				return until(
					async () => {
						const { state, round, reason } = await daemon.client.call("job.show", { job });
						known = `there it is ${state} at round ${round}${reason === undefined ? "" : ` (${reason})`}`;
						return state === "completed" ? true : undefined;
					},
					{
						what: `the job to be completed at ${daemon.name}, all ${plannedRounds} rounds`,
						timeoutMs: COMPLETION_TIMEOUT_MS,
						signal: this.#signal,
					},
					() => known,
				);
			}),
		);
	}

	/** Says how to use each node, and waits for Ctrl-C. */
	async #keepRunning(): Promise<void> {
		const executable = relative(process.cwd(), fileURLToPath(new URL("../bin/althing.mjs", import.meta.url)));
		this.#reporter.text("\nThe nodes go on running until Ctrl-C. Use each one with, for example:");
		for (const { name, organization } of this.#daemons) {
			this.#reporter.say(
				"node.kept",
				`  ${name.padEnd(30)} npx node ${executable} --data-dir ${organization.dataDirectory} status`,
				{ organization: name, dataDirectory: organization.dataDirectory },
			);
		}
		if (this.#signal.aborted) return;
		await new Promise<void>((done) => this.#signal.addEventListener("abort", () => done(), { once: true }));
		const { reason } = this.#signal;
		if (!(reason instanceof Interrupted)) throw reason;
	}
}
