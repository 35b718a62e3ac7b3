/** The job's progress: a line for each round, once those who run have reported it, and what happens between. */
import { bytesText, printable } from "../node/cli/text.ts";
import type { NodeEvent } from "../node/rpc/services.ts";
import type { Daemon } from "./daemon.ts";
import { type RoundReport, termText } from "./eventFeed.ts";
import type { Reporter } from "./reporter.ts";

/** Mean of what the nodes report of one round, each of itself. */
export interface RoundCosts {
	/** Sent by one participant. */
	readonly bytesSent: number;
	readonly bytesReceived: number;
	readonly cpuSeconds: number | undefined;
	/** The longest that any node waited. */
	readonly seconds: number;
}

/** Over the nodes that took part in the round; those catching up have other figures. */
export function roundCosts(reports: ReadonlyMap<Daemon, RoundReport>): RoundCosts {
	const taking = [...reports]
		.filter(([daemon, { survivors }]) => survivors.includes(daemon.peer))
		.map(([, report]) => report);
	const cpu = taking.map(({ cpuSeconds }) => cpuSeconds).filter((value) => value !== undefined);
	return {
		bytesSent: mean(taking.map(({ bytesSent }) => bytesSent)),
		bytesReceived: mean(taking.map(({ bytesReceived }) => bytesReceived)),
		cpuSeconds: cpu.length === 0 ? undefined : mean(cpu),
		seconds: Math.max(0, ...taking.map(({ seconds }) => seconds)),
	};
}

const COLUMNS = [
	["round", 7],
	["coordinator (term)", 36],
	["cohort", 8],
	["survivors", 11],
	["loss", 8],
	["accuracy", 10],
	["epsilon", 9],
	["sent each", 11],
	["seconds", 7],
] as const;

export class Progress {
	readonly #daemons: readonly Daemon[];
	readonly #reporter: Reporter;
	readonly #plannedRounds: number;
	#pending: { readonly round: number; readonly reports: ReadonlyMap<Daemon, RoundReport> } | undefined;
	#headed = false;
	/** What was told already: most of it is told by every node. */
	readonly #told = new Set<string>();

	constructor(daemons: readonly Daemon[], plannedRounds: number, reporter: Reporter) {
		this.#daemons = daemons;
		this.#plannedRounds = plannedRounds;
		this.#reporter = reporter;
	}

	/** A node reported a round; `reports` holds all reports of it so far and grows. */
	report(round: number, reports: ReadonlyMap<Daemon, RoundReport>): void {
		if (this.#pending !== undefined && this.#pending.round < round) this.flush();
		if (this.#pending === undefined) {
			// Reports of rounds already shown come from nodes that catch up.
			if (reports.size > 1) return;
			this.#pending = { round, reports };
		}
		if (round !== this.#pending.round) return;
		if (this.#daemons.every((daemon) => !daemon.running || reports.has(daemon))) this.flush();
	}

	/** Shows the round that is waiting for more reports. */
	flush(): void {
		const pending = this.#pending;
		this.#pending = undefined;
		const first = pending?.reports.values().next().value;
		if (pending === undefined || first === undefined) return;
		const costs = roundCosts(pending.reports);
		const { cohort, survivors, term } = first;
		const name = (peer: string) => this.#nameOf(peer);
		const missing = cohort.filter((peer) => !survivors.includes(peer)).map(name);
		const loss = first.evaluationLoss ?? first.trainingLoss;
		const epsilon = Math.max(...[...pending.reports.values()].map(({ epsilonSpent }) => epsilonSpent));
		if (!this.#headed) {
			this.#headed = true;
			this.#reporter.text(COLUMNS.map(([title, width]) => title.padEnd(width)).join(""));
		}
		const cells = [
			`${pending.round}/${this.#plannedRounds}`,
			first.coordinator === undefined || term === undefined
				? "none"
				: `${name(first.coordinator)} (${termText(term)})`,
			String(cohort.length),
			String(survivors.length),
			loss === undefined ? "-" : loss.toFixed(3),
			first.accuracy === undefined ? "-" : `${(100 * first.accuracy).toFixed(1)} %`,
			epsilon.toFixed(2),
			bytesText(Math.round(costs.bytesSent)),
			costs.seconds.toFixed(1),
		];
		const row = COLUMNS.map(([, width], i) => cells[i]?.padEnd(width)).join("");
		const leftOut = (first.leftOut ?? []).map(name);
		const excluded = (first.excluded ?? []).map(name);
		const remarks = [
			...(missing.length === 0 ? [] : [`without ${missing.join(", ")}`]),
			...(leftOut.length === 0 ? [] : [`rule leaves out ${leftOut.join(", ")}`]),
			...(excluded.length === 0 ? [] : [`excluded ${excluded.join(", ")}`]),
		];
		this.#reporter.say("round", remarks.length === 0 ? row : `${row}  ${remarks.join("; ")}`, {
			round: pending.round,
			attempt: first.attempt,
			term,
			coordinator: first.coordinator,
			coordinatorName: first.coordinator === undefined ? undefined : name(first.coordinator),
			cohort: cohort.map(name),
			survivors: survivors.map(name),
			...(leftOut.length === 0 ? {} : { leftOut }),
			...(excluded.length === 0 ? {} : { excluded }),
			loss,
			accuracy: first.accuracy,
			epsilonSpent: epsilon,
			bytesSentPerParticipant: Math.round(costs.bytesSent),
			bytesReceivedPerParticipant: Math.round(costs.bytesReceived),
			cpuSecondsPerParticipant: costs.cpuSeconds,
			seconds: costs.seconds,
		});
	}

	/** Shows an event between rounds that a reader should know of, once however many nodes tell it. */
	event(daemon: Daemon, { type, data }: NodeEvent): void {
		const told = describe(type, data, (peer) => this.#nameOf(peer));
		if (told === undefined || this.#told.has(told)) return;
		this.#told.add(told);
		const round = typeof data.round === "number" ? { round: data.round + 1 } : {};
		this.#reporter.say(
			type,
			`   ${printable(told)} (says ${daemon.name})`,
			{ organization: daemon.name, ...data, ...round },
			"faint",
		);
	}

	#nameOf(peer: string): string {
		return this.#daemons.find((daemon) => daemon.peer === peer)?.name ?? peer;
	}
}

/** A sentence for people about an event that they should know of. */
function describe(
	type: string,
	{ round, reason, message, peer, state }: NodeEvent["data"],
	nameOf: (peer: string) => string,
): string | undefined {
	const where = `round ${typeof round === "number" ? round + 1 : "unknown"}`;
	switch (type) {
		case "job.retry":
			return `${where}: tried again or fetched: ${reason}`;
		case "job.withdrawn":
			return `${where}: withdrawn: ${reason}`;
		case "job.fault":
			return `fault of ${typeof peer === "string" ? nameOf(peer) : "somebody"}: ${message}`;
		case "job.state":
			return `the job is ${state}${reason === undefined ? "" : `: ${reason}`}`;
		default:
			return undefined;
	}
}

function mean(values: readonly number[]): number {
	return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}
