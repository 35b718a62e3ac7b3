/**
 * The acceptance's attacks through real sessions: what screening and selection of the protocol make of every
 * round, held against the same rule in the clear.
 */
import { parameterCount } from "../../src/learning/model.ts";
import { nextNormBound } from "../../src/robustness/runningBound.ts";
import { medianOf, norm, type Vectors } from "../../src/robustness/vectors.ts";
import type { AttackName } from "../../testnet/attacks/vectorAttacks.ts";
import type { Table } from "../bench.ts";
import type { Defence } from "./defences.ts";
import { ProtocolRounds } from "./protocolRounds.ts";
import { simulate } from "./simulation.ts";
import { DIGITS, deal, type Task } from "./task.ts";

const ROUNDS = 40;
const SEED = 1;
const ATTACKS = ["none", "garbage", "sign_flip", "alie"] as const satisfies readonly AttackName[];
const MODES = ["norm_bound", "strict"] as const;
type Mode = (typeof MODES)[number];
type Row = Record<string, string | number>;

/** Of the honest norms of the first round, in which a momentum of 0.9 holds a tenth of a gradient. */
const FIRST_BOUND = 15;

/** What comparing every round of a training found. */
interface Comparison {
	equal: number;
	/** Largest difference of two means, in halves of a unit of the encoding: what rounding explains is at most 1. */
	furthest: number;
}

/** @param quick few rounds, to see that it runs */
export function protocolPart(quick: boolean): Table & { readonly failed: number } {
	const task: Task = { ...DIGITS, rounds: quick ? 2 : ROUNDS };
	const rows: Row[] = [];
	let failed = 0;
	for (const attack of ATTACKS) {
		const measured = attacked(attack, task);
		rows.push(...measured.rows);
		failed += measured.failed;
	}
	const title = `digits through real sessions, ${task.sites} sites of which ${task.attackers} attack, ${task.rounds} rounds: protocol and rule in the clear`;
	return { title, rows, failed };
}

/** One attack against the plain mean and modes. */
export function attacked(
	attack: AttackName,
	task: Task,
	modes: readonly Mode[] = MODES,
): { readonly rows: Row[]; readonly failed: number } {
	const plain = simulate({ task, attack, defence: "mean", seed: SEED });
	const rows: Row[] = [{ mode: "plain mean, in the clear", attack, ...percents(plain) }];
	let failed = 0;
	for (const mode of modes) {
		const comparison: Comparison = { equal: 0, furthest: 0 };
		const before = process.cpuUsage();
		const defence = throughProtocol(mode, attack, task, comparison);
		const outcome = simulate({ task, attack, defence: mode, seed: SEED }, defence);
		const { user, system } = process.cpuUsage(before);
		if (comparison.equal < task.rounds) failed++;
		rows.push({
			mode,
			attack,
			...percents(outcome),
			"rounds equal": `${comparison.equal} of ${task.rounds}`,
			"furthest, of rounding": comparison.furthest.toFixed(2),
			"CPU s": ((user + system) / 1e6).toFixed(0),
		});
	}
	return { rows, failed };
}

function percents(outcome: ReturnType<typeof simulate>) {
	const share = (part: number) => (100 * part).toFixed(0);
	return {
		"accuracy %": (100 * outcome.accuracy).toFixed(1),
		"attackers / honest left out %": `${share(outcome.attackersExcluded)} / ${share(outcome.honestExcluded)}`,
	};
}

/** Sums every round by real sessions. Honest sites, and attackers that do not send garbage, keep to the bound. */
function throughProtocol(mode: Mode, attack: AttackName, task: Task, comparison: Comparison): Defence {
	const { sites, attackers } = task;
	const length = parameterCount(deal(task, SEED).model);
	let rounds: ProtocolRounds | undefined;
	let firstBound = 0;
	let bound = 0;
	return (vectors) => {
		if (rounds === undefined) {
			bound = firstBound = FIRST_BOUND * medianOf(vectors.slice(attackers).map(norm));
			const selecting = mode === "strict";
			rounds = new ProtocolRounds({ sites, attackers, length, firstBound, selecting, seed: SEED });
		}
		const sent: Vectors = vectors.map((vector, index) =>
			attack === "garbage" && index < attackers ? vector : clippedTo(vector, bound),
		);
		const { protocol, clear } = rounds.run(sent, bound);
		const same = protocol.survivors.join() === clear.survivors.join();
		const off = same
			? furthest(protocol.aggregate, clear.aggregate) / rounds.rounding
			: Number.POSITIVE_INFINITY;
		comparison.furthest = Math.max(comparison.furthest, off);
		if (off <= 1 + 1e-6) comparison.equal++;
		if (mode === "norm_bound") bound = nextNormBound(protocol.norms, bound, firstBound);
		const excluded = [...vectors.keys()].filter((index) => !protocol.survivors.includes(index));
		return { aggregate: protocol.aggregate, excluded };
	};
}

function clippedTo(vector: Float64Array, bound: number): Float64Array {
	const length = norm(vector);
	return length > bound ? vector.map((value) => (value * bound) / length) : vector;
}

function furthest(one: Float64Array, other: Float64Array): number {
	return one.reduce((most, value, i) => Math.max(most, Math.abs(value - other[i]!)), 0);
}
