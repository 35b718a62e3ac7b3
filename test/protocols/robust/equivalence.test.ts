/**
 * What the protocol makes of attacked rounds is what its rule makes of the vectors in the clear: the same
 * survivors, the same sum within rounding, round by round, whoever is found out on the way.
 */
import { describe, expect, test } from "vitest";
import { ProtocolRounds } from "../../../bench/robustness/protocolRounds.ts";
import { medianOf, norm, type Vectors } from "../../../src/robustness/vectors.ts";
import { type AttackName, vectorAttacks } from "../../../testnet/attacks/vectorAttacks.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";

const SITES = 12;
const ATTACKERS = 2;
const LENGTH = 60;
const ROUNDS = 2;

/** Updates of a round: a common direction, and as much of each site's own. */
function honestVectors(round: number): Vectors {
	const random = seededRandomForTests(40 + round);
	const shared = Float64Array.from({ length: LENGTH }, () => random() - 0.5);
	return Array.from({ length: SITES }, () => shared.map((value) => value + random() - 0.5));
}

function clipped(vector: Float64Array, bound: number): Float64Array {
	const length = norm(vector);
	return length > bound ? vector.map((value) => (value * bound) / length) : vector;
}

/** Runs attacked rounds; expects each to be equal, and returns who was in the sum of each and who is out for good. */
function attacked(attack: AttackName, selecting: boolean) {
	const bound = medianOf(honestVectors(0).map(norm));
	const setting = { sites: SITES, attackers: ATTACKERS, length: LENGTH, firstBound: bound, seed: 3 };
	const rounds = new ProtocolRounds({ ...setting, selecting });
	const random = seededRandomForTests(9);
	const memory = {};
	let previous: Float64Array = new Float64Array(LENGTH);
	const survivors: (readonly number[])[] = [];
	let excluded: readonly number[] = [];
	for (let round = 0; round < ROUNDS; round++) {
		const all = honestVectors(round).map((vector) => clipped(vector, bound));
		const own = all.slice(0, ATTACKERS);
		const honest = all.slice(ATTACKERS);
		const view = {
			honest,
			own,
			poisoned: own,
			attackers: ATTACKERS,
			participants: SITES,
			memory,
			random,
			previous,
		};
		const sent = vectorAttacks[attack](view);
		// What is longer than the bound is found out: only garbage does not care.
		const wrong = attack === "garbage" ? sent : sent.map((vector) => clipped(vector, bound));
		const compared = rounds.run([...wrong, ...honest], bound);
		const { protocol, clear } = compared;
		expect(protocol.survivors).toEqual(clear.survivors);
		const furthest = protocol.aggregate.reduce(
			(most, value, i) => Math.max(most, Math.abs(value - clear.aggregate[i]!)),
			0,
		);
		expect(furthest).toBeLessThanOrEqual(rounds.rounding * (1 + 1e-9));
		previous = protocol.aggregate;
		survivors.push(protocol.survivors);
		excluded = compared.excluded;
	}
	return { survivors, excluded };
}

const everybody = Array.from({ length: SITES }, (_, index) => index);
const theHonest = everybody.slice(ATTACKERS);

describe("the norm bound of the protocol is that of the clear", () => {
	test("under attacks that keep to it, which are in the sum", () => {
		for (const attack of ["sign_flip", "alie"] as const)
			expect(attacked(attack, false)).toEqual({ survivors: [everybody, everybody], excluded: [] });
	});

	test("under garbage, whose senders are out of this sum and of all later ones", () => {
		expect(attacked("garbage", false)).toEqual({ survivors: [theHonest, theHonest], excluded: [0, 1] });
	});
});

describe("the selection of the protocol is that of the clear", () => {
	test("under sign flips and min-max, whoever it leaves out", () => {
		const { survivors, excluded } = attacked("sign_flip", true);
		for (const kept of survivors) {
			expect(kept).toHaveLength(SITES - 4);
			expect(kept.filter((index) => index < ATTACKERS)).toEqual([]);
		}
		expect(excluded).toEqual([]);
		attacked("min_max", true);
	});

	test("under garbage: with all attackers proven nobody honest is left out, though fewer than 4 f + 1 are there", () => {
		expect(attacked("garbage", true).excluded).toEqual([0, 1]);
	});
});
