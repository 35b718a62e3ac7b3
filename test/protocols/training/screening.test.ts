/** Jobs whose inputs are screened: an offender is out for good, a bad sum is not applied, a crash loses nothing. */
import { expect, test } from "vitest";
import { encodeMessage } from "../../../protocols/aggregation/index.ts";
import { decodeMessage, type ScreenStatement } from "../../../protocols/aggregation/messages.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";
import { contributionOf, JobSimulation, type JobSimulationOptions } from "./jobSimulation.ts";

const LENGTH = 20;
/** What contributionOf makes is shorter: 20 coordinates of at most 255,000. */
const NORM_BOUND = 255_000 * Math.sqrt(LENGTH);

function screenedJob(settings: JobSimulationOptions): JobSimulation {
	return new JobSimulation({
		members: 6,
		corruption: 1,
		minimumSurvivors: 3,
		...settings,
		configure: (options) => ({
			...options,
			modulusBits: 32,
			screening: () => ({ coordinates: LENGTH, normBound: NORM_BOUND }),
		}),
	});
}

/** Not the first coordinator. */
const OFFENDER = 2;
const tooLong = () => new Uint32Array(LENGTH).fill(40_000_000);

test("an offender is out of the sum at once, and of every later round by certificate", () => {
	const job = screenedJob({ contribution: (index) => (index === OFFENDER ? tooLong() : undefined) });
	job.run();
	const results = job.check();
	expect(results.map(({ outcome }) => outcome)).toEqual(["released", "released", "released"]);
	for (const { survivors, excluded } of results) {
		expect(survivors).toHaveLength(5);
		expect(survivors).not.toContain(job.peer(OFFENDER));
		expect(excluded).toEqual([job.peer(OFFENDER)]);
	}
	const accusations = job.faultCodes(1).filter((code) => code === "aggregation.too_long");
	expect(accusations).toHaveLength(1);
	expect(job.outputs(OFFENDER, "withdrawn").map(({ code }) => code)).toEqual([
		"training.excluded",
		"training.excluded",
	]);
});

test("an offender that coordinates goes on coordinating, and is out of the sums all the same", () => {
	let coordinator = -1;
	const job = screenedJob({ contribution: (index) => (index === coordinator ? tooLong() : undefined) });
	coordinator = job.coordinator;
	job.run();
	for (const { survivors, excluded, outcome, attempt } of job.check()) {
		expect([outcome, attempt]).toEqual(["released", 0]);
		expect(survivors).toHaveLength(5);
		expect(excluded).toEqual([job.peer(coordinator)]);
	}
	expect(job.job(0).term).toBe(0);
});

test("nobody is excluded where all keep to the bound", () => {
	const job = screenedJob({ rounds: 2 });
	job.run();
	for (const { survivors, excluded } of job.check()) {
		expect(survivors).toHaveLength(6);
		expect(excluded).toBeUndefined();
	}
});

test("a sum that rests on a lie is void, and its author out of the rounds that follow", () => {
	const job = screenedJob({});
	job.simulation.intercept((envelope) => {
		const { from, message } = envelope;
		if (from !== job.peer(OFFENDER) || message.kind !== "session") return undefined;
		const inner = decodeMessage(message.body);
		if (inner.kind !== "statement") return undefined;
		const { signature: _, author: __, ...fields } = inner.statement;
		const self = inner.statement.self.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
		const statement = signStatement<ScreenStatement>(job.keys[OFFENDER]!, { ...fields, self });
		return [{ ...envelope, message: { ...message, body: encodeMessage({ kind: "statement", statement }) } }];
	});
	job.run();
	const results = job.check();
	expect(results.map(({ outcome }) => outcome)).toEqual(["void", "released", "released"]);
	for (const { excluded } of results) expect(excluded).toEqual([job.peer(OFFENDER)]);
});

test.each(["screen", "statement", "propose", "certified", "opening"])(
	"a coordinator that dies at the first %s leaves one chain of results, without the offender",
	(kind) => {
		const job = screenedJob({
			rounds: 2,
			contribution: (index) => (index === OFFENDER ? tooLong() : undefined),
		});
		let crashed: number | undefined;
		job.onSend(kind, () => {
			crashed = job.coordinator;
			job.crash(crashed);
		});
		job.run();
		const results = job.check();
		expect(results).toHaveLength(2);
		for (const { survivors } of results) expect(survivors).not.toContain(job.peer(OFFENDER));
		expect(results.at(-1)?.excluded ?? []).toEqual([job.peer(OFFENDER)]);
	},
);

test("a job with a selection sums those that agree, in one chain of results", () => {
	const attackers = [2, 6];
	const job = new JobSimulation({
		members: 10,
		corruption: 2,
		minimumSurvivors: 4,
		rounds: 2,
		contribution: (index, round) =>
			attackers.includes(index) ? contributionOf(job.peer(0), round).map((value) => -3 * value) : undefined,
		configure: (options) => ({
			...options,
			modulusBits: 32,
			screening: () => ({ coordinates: LENGTH, normBound: 3 * NORM_BOUND, selection: { attackers: 2 } }),
		}),
	});
	job.run();
	for (const { outcome, survivors, excluded } of job.check()) {
		expect(outcome).toBe("released");
		expect(excluded).toBeUndefined();
		expect(survivors).toHaveLength(6);
		for (const index of attackers) expect(survivors).not.toContain(job.peer(index));
	}
});

test("a member that restarts finds the exclusion in its journal", () => {
	const job = screenedJob({
		rounds: 4,
		contribution: (index) => (index === OFFENDER ? tooLong() : undefined),
	});
	job.run(300_000, () => job.results().length >= 2);
	job.crash(1);
	job.restart(1);
	job.run();
	for (const { excluded } of job.check()) expect(excluded).toEqual([job.peer(OFFENDER)]);
});

test("a selection goes on without proven attackers, as one against those that are left", () => {
	const attackers = 3;
	const offenders = [1, 2, 5];
	const job = new JobSimulation({
		// 4 f + 1: with three of them out there are fewer than that.
		members: 13,
		corruption: attackers,
		minimumSurvivors: 6,
		rounds: 2,
		contribution: (index) => (offenders.includes(index) ? tooLong() : undefined),
		configure: (options) => ({
			...options,
			modulusBits: 32,
			screening: () => ({ coordinates: LENGTH, normBound: NORM_BOUND, selection: { attackers } }),
		}),
	});
	job.run();
	const [first, second] = job.check();
	const excluded = offenders.map((index) => job.peer(index)).sort();
	expect(first).toMatchObject({ outcome: "released", attempt: 0, excluded });
	// All attackers are proven: nobody is to be left out for being unlike the others.
	expect(first?.survivors).toHaveLength(10);
	// One is assumed again in the rounds that follow, since a session has no fewer; each of two passes drops one.
	expect(second).toMatchObject({ outcome: "released", attempt: 0, excluded });
	expect(second?.survivors).toHaveLength(8);
});

test("those who are not asked judge the screening too: a selection may be smaller than a quorum", () => {
	const minimumSurvivors = 3;
	const job = new JobSimulation({
		members: 8,
		corruption: 1,
		minimumSurvivors,
		rounds: 4,
		contribution: (index) => (index === OFFENDER ? tooLong() : undefined),
		configure: (options) => ({
			...options,
			modulusBits: 32,
			screening: () => ({ coordinates: LENGTH, normBound: NORM_BOUND }),
			selection: {
				choice: { strategy: "fair", size: 4, overselection: 0 },
				characteristics: new Map(),
				minimumSurvivors,
			},
		}),
	});
	job.run();
	const results = job.check();
	expect(results).toHaveLength(4);
	for (const { outcome, attempt, survivors } of results) {
		expect([outcome, attempt]).toEqual(["released", 0]);
		expect(survivors.length).toBeLessThan(5);
		expect(survivors).not.toContain(job.peer(OFFENDER));
	}
	expect(results.at(-1)?.excluded).toEqual([job.peer(OFFENDER)]);
});

test("who the certified state sets aside is not asked, at any node, and is no offender", () => {
	const job = screenedJob({ rounds: 2 });
	const aside = new JobSimulation({
		members: 6,
		corruption: 1,
		minimumSurvivors: 3,
		rounds: 2,
		configure: (options) => ({
			...options,
			modulusBits: 32,
			screening: () => ({ coordinates: LENGTH, normBound: NORM_BOUND }),
			setAside: (_, excluded) => (excluded.length === 0 ? [OFFENDER] : []),
		}),
	});
	job.run();
	aside.run();
	expect(job.check().map(({ survivors }) => survivors.length)).toEqual([6, 6]);
	for (const { survivors, excluded } of aside.check()) {
		expect(survivors).toHaveLength(5);
		expect(survivors).not.toContain(aside.peer(OFFENDER));
		expect(excluded).toBeUndefined();
	}
});
