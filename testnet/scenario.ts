/**
 * What goes wrong on the way, on purpose: a participant is killed and comes back, then the
 * coordinator; or a share of the participants at once. Each part waits for the rounds that
 * show its effect and fails when they do not come.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { AlthingError } from "../crypto/error.ts";
import type { Daemon } from "./daemon.ts";
import { until, within } from "./deadline.ts";
import { type RoundReport, termText } from "./eventFeed.ts";
import type { Reporter } from "./reporter.ts";
import type { Rounds } from "./rounds.ts";

/** Rounds that a killed node misses before it is started again. */
const ROUNDS_AWAY = 2;
/** It comes back after this long even when no round was agreed meanwhile: they may be waiting for it. */
const LONGEST_AWAY_MS = 15_000;
const CATCH_UP_TIMEOUT_MS = 60_000;
/** Fewer rounds leave no room for two kills and two returns. */
export const LEAST_ROUNDS_FOR_SCRIPT = 20;
const LEAST_ROUNDS_FOR_DROP = 5;
const PHASE_TIMEOUT_MS = 60_000;

export interface Stage {
	readonly daemons: readonly Daemon[];
	readonly rounds: Rounds;
	readonly plannedRounds: number;
	readonly job: string;
	/** The coordinator in office as the nodes last told. */
	readonly coordinator: () => string | undefined;
	/** Resolves when some node begins to collect updates in a round from `round` on, with its number. */
	readonly inputPhase: (round: number) => Promise<number>;
	readonly reporter: Reporter;
	readonly signal: AbortSignal;
}

/** What was shown, for the summary. */
export interface Incidents {
	readonly killed: string[];
	readonly returned: string[];
	/** Coordinators that were killed, with who finished the round. */
	readonly takeovers: { readonly killed: string; readonly successor: string; readonly round: number }[];
}

/** Whether a job has too few rounds for anything to happen on the way; says so. */
function isTooShort({ plannedRounds, reporter }: Stage, leastRounds: number): boolean {
	if (plannedRounds >= leastRounds) return false;
	const text = `With fewer than ${leastRounds} rounds nothing is killed on the way.`;
	reporter.say("scenario.skipped", text, { leastRounds }, "faint");
	return true;
}

/** A participant is killed and returns; then the coordinator is, and the next in line takes over. */
export async function scriptedScenario(stage: Stage): Promise<Incidents> {
	const incidents: Incidents = { killed: [], returned: [], takeovers: [] };
	if (isTooShort(stage, LEAST_ROUNDS_FOR_SCRIPT)) return incidents;
	const { rounds, plannedRounds } = stage;
	const start = await rounds.reached(Math.max(2, Math.floor(plannedRounds * 0.15)));
	const participant = survivorOtherThan(stage, coordinatorOf(stage, start));
	await killAndReturn(stage, incidents, participant, "participant");

	const latest = await rounds.next(`${participant.name} taking part again`, (round) =>
		round.survivors.includes(participant.peer),
	);
	const coordinator = daemonOf(stage, coordinatorOf(stage, latest));
	await killAndReturn(stage, incidents, coordinator, "coordinator");
	await takingPart(stage, [coordinator]);
	return incidents;
}

/** Without a coordinator: a node is killed, the others go on among themselves, and it returns. */
export async function gossipScenario(stage: Stage): Promise<Incidents> {
	const incidents: Incidents = { killed: [], returned: [], takeovers: [] };
	if (isTooShort(stage, LEAST_ROUNDS_FOR_SCRIPT)) return incidents;
	const { rounds, plannedRounds, daemons } = stage;
	await rounds.reached(Math.max(2, Math.floor(plannedRounds * 0.3)));
	await killAndReturn(stage, incidents, daemons.at(-1)!, "participant");
	return incidents;
}

/** A share of the participants is killed while one round collects their updates; they return together. */
export async function dropScenario(stage: Stage, share: number): Promise<Incidents> {
	const incidents: Incidents = { killed: [], returned: [], takeovers: [] };
	if (isTooShort(stage, LEAST_ROUNDS_FOR_DROP)) return incidents;
	const { rounds, plannedRounds, reporter, daemons, signal } = stage;
	const start = await rounds.reached(Math.max(2, Math.floor(plannedRounds * 0.3)));
	const count = Math.max(1, Math.round(share * daemons.length));
	const during = await within(stage.inputPhase(start.round + 1), {
		what: "a round to collect updates",
		timeoutMs: PHASE_TIMEOUT_MS,
		signal,
	});
	const coordinator = coordinatorOf(stage, start);
	const victims = daemons
		.filter(({ peer }) => peer !== coordinator && start.survivors.includes(peer))
		.slice(-count);
	await Promise.all(victims.map((victim) => victim.kill()));
	const names = victims.map(({ name }) => name);
	incidents.killed.push(...names);
	reporter.say(
		"nodes.killed",
		`>> ${names.join(", ")} killed while round ${during} collects updates (kill -9, ${victims.length} of ${daemons.length} participants)`,
		{ organizations: names, duringRound: during },
		"notable",
	);
	await awhile(stage, during + ROUNDS_AWAY);
	await Promise.all(victims.map((victim) => comeBack(stage, incidents, victim)));
	await takingPart(stage, victims);
	return incidents;
}

async function killAndReturn(
	stage: Stage,
	incidents: Incidents,
	daemon: Daemon,
	role: "participant" | "coordinator",
): Promise<void> {
	const { rounds, reporter } = stage;
	const before = rounds.latest?.round ?? 0;
	await daemon.kill();
	incidents.killed.push(daemon.name);
	reporter.say(
		`${role}.killed`,
		`>> ${daemon.name}${role === "coordinator" ? ", the coordinator," : ""} killed without warning after round ${before} (kill -9)`,
		{ organization: daemon.name, peer: daemon.peer, afterRound: before },
		"notable",
	);
	if (role === "coordinator") {
		const after = await rounds.next(
			`another coordinator than ${daemon.name} finishing a round`,
			(round) => round.round > before && round.coordinator !== daemon.peer,
		);
		const { coordinator = "", term = 0 } = after;
		const successor = daemonOf(stage, coordinator).name;
		incidents.takeovers.push({ killed: daemon.name, successor, round: after.round });
		reporter.say(
			"coordinator.takeover",
			`>> ${successor}, next in line, took over as coordinator (term ${termText(term)}) and finished round ${after.round}`,
			{ organization: successor, peer: coordinator, term, round: after.round },
			"good",
		);
	}
	await awhile(stage, before + ROUNDS_AWAY);
	await comeBack(stage, incidents, daemon);
}

/** Until they are among a round's survivors; the job may end before that, and they hold its model all the same. */
async function takingPart({ rounds, plannedRounds }: Stage, daemons: readonly Daemon[]): Promise<void> {
	const names = daemons.map(({ name }) => name).join(" and ");
	await rounds.next(
		`${names} taking part again`,
		({ round, survivors }) => round >= plannedRounds || daemons.every(({ peer }) => survivors.includes(peer)),
	);
}

/** Until a round is agreed, or long enough that it will not be without those who are away. */
async function awhile({ rounds, signal }: Stage, round: number): Promise<void> {
	const agreed = rounds.reached(round).then(() => undefined);
	agreed.catch(() => undefined);
	await Promise.race([agreed, sleep(LONGEST_AWAY_MS, undefined, { signal })]);
}

async function comeBack(
	{ rounds, job, reporter, signal }: Stage,
	incidents: Incidents,
	daemon: Daemon,
): Promise<void> {
	reporter.say(
		"node.restarted",
		`>> ${daemon.name} starts again with its old data directory`,
		{ organization: daemon.name },
		"notable",
	);
	await daemon.start(signal);
	const resumed = (await daemon.client.call("job.show", { job })).round;
	const caughtUp = await until(
		async () => {
			const { round } = await daemon.client.call("job.show", { job });
			return round >= (rounds.latest?.round ?? 0) ? round : undefined;
		},
		{ what: `${daemon.name} to catch up with the others`, timeoutMs: CATCH_UP_TIMEOUT_MS, signal },
		() => `the others are at round ${rounds.latest?.round}`,
	);
	incidents.returned.push(daemon.name);
	reporter.say(
		"node.caught_up",
		`>> ${daemon.name} is back and has caught up to round ${caughtUp} (its journal ended at round ${resumed})`,
		{ organization: daemon.name, resumedAt: resumed, round: caughtUp },
		"good",
	);
}

/** The newest word on who coordinates, or who did in the round given. */
function coordinatorOf({ coordinator }: Stage, round: RoundReport): string {
	return coordinator() ?? round.coordinator ?? "";
}

function daemonOf({ daemons }: Stage, peer: string): Daemon {
	const daemon = daemons.find((candidate) => candidate.peer === peer);
	if (daemon !== undefined) return daemon;
	throw new AlthingError("testnet.unknown_peer", `${peer} is none of the testnet's organizations.`);
}

/** Not the first node either: its files are those that a reader looks at first. */
function survivorOtherThan({ daemons, rounds }: Stage, coordinator: string): Daemon {
	const survivors = rounds.latest?.survivors ?? [];
	const candidates = daemons.filter(({ peer }) => peer !== coordinator && survivors.includes(peer));
	const chosen = candidates.at(-1);
	if (chosen !== undefined) return chosen;
	throw new AlthingError("testnet.no_participant", "There is no participant beside the coordinator to kill.");
}
