/** The job's rounds as they are agreed, for a scenario to wait on and the summary to count. */
import { AlthingError } from "../crypto/error.ts";
import type { JobSpec } from "../src/training/jobSpec.ts";
import type { Daemon } from "./daemon.ts";
import { within } from "./deadline.ts";
import type { EventFeed, RoundReport } from "./eventFeed.ts";
import { roundReport } from "./eventFeed.ts";

/** A round may be tried several times around a kill: phases run into their timeouts, terms change. */
const LEAST_ROUND_TIMEOUT_MS = 90_000;
const PHASES_OF_A_ROUND = 10;

export class Rounds {
	readonly #byRound = new Map<number, Map<Daemon, RoundReport>>();
	readonly #plannedRounds: number;
	readonly #timeoutMs: number;
	readonly #signal: AbortSignal;
	readonly #waiters = new Set<(round: RoundReport) => void>();
	readonly #onReport: (daemon: Daemon, report: RoundReport, isFirst: boolean) => void;
	#latest: RoundReport | undefined;
	/** Rounds whose survivors two nodes name differently; stays empty. */
	readonly disagreements: number[] = [];

	/** @param onReport told each node's report of each round, once */
	constructor(
		feed: EventFeed,
		job: string,
		{ training, aggregation }: Pick<JobSpec, "training" | "aggregation">,
		signal: AbortSignal,
		onReport: (daemon: Daemon, report: RoundReport, isFirst: boolean) => void,
	) {
		this.#plannedRounds = training.rounds;
		this.#timeoutMs = Math.max(LEAST_ROUND_TIMEOUT_MS, PHASES_OF_A_ROUND * aggregation.phaseTimeoutMs);
		this.#signal = signal;
		this.#onReport = onReport;
		feed.listen((daemon, event) => {
			const report = roundReport(event, job);
			if (report !== undefined) this.#take(daemon, report);
		});
	}

	/** The newest agreed round, as the first node to report it saw it. */
	get latest(): RoundReport | undefined {
		return this.#latest;
	}

	/** Every node's report of a round. */
	reports(round: number): ReadonlyMap<Daemon, RoundReport> {
		return this.#byRound.get(round) ?? new Map();
	}

	/** All rounds, ascending. */
	get agreed(): readonly number[] {
		return [...this.#byRound.keys()].sort((a, b) => a - b);
	}

	/**
	 * The first round to come that is as wanted; the latest one counts.
	 * Each further round gets its own time to come.
	 * @throws AlthingError `testnet.timeout` when rounds stop coming, `testnet.too_few_rounds` when none is left
	 */
	async next(what: string, wanted: (round: RoundReport) => boolean): Promise<RoundReport> {
		if (this.#latest !== undefined && wanted(this.#latest)) return this.#latest;
		for (;;) {
			if (this.#latest !== undefined && this.#latest.round >= this.#plannedRounds) {
				throw new AlthingError(
					"testnet.too_few_rounds",
					`All ${this.#plannedRounds} rounds were over before this was seen: ${what}. Give more with --rounds.`,
				);
			}
			const { promise: coming, resolve } = Promise.withResolvers<RoundReport>();
			this.#waiters.add(resolve);
			try {
				const round = await within(coming, {
					what: `${what} (rounds stand at ${this.#latest?.round ?? "none"})`,
					timeoutMs: this.#timeoutMs,
					signal: this.#signal,
				});
				if (wanted(round)) return round;
			} finally {
				this.#waiters.delete(resolve);
			}
		}
	}

	/** A round number at or after `round`. */
	reached(round: number): Promise<RoundReport> {
		return this.next(`round ${round}`, (view) => view.round >= round);
	}

	#take(daemon: Daemon, report: RoundReport): void {
		let reports = this.#byRound.get(report.round);
		const isFirst = reports === undefined;
		if (reports === undefined) {
			reports = new Map();
			this.#byRound.set(report.round, reports);
		}
		if (reports.has(daemon)) return;
		const other = [...reports.values()][0];
		reports.set(daemon, report);
		// Without a coordinator each node has a cohort of its own.
		if (other?.coordinator !== undefined && other.survivors.join() !== report.survivors.join()) {
			this.disagreements.push(report.round);
		}
		this.#onReport(daemon, report, isFirst);
		if (!isFirst || report.round < (this.#latest?.round ?? 0)) return;
		this.#latest = report;
		for (const resolve of [...this.#waiters]) resolve(report);
	}
}
