/** Reputation through the real protocol: who is left out of a sum, and what lies about one's agreement come to. */
import { describe, expect, test } from "vitest";
import { packRing, unpackRing } from "../../../crypto/ringPacking.ts";
import { SIGN_PROJECTIONS } from "../../../crypto/signProjection.ts";
import type { ScreenStatement } from "../../../protocols/aggregation/messages.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";
import { DIRECTION_LENGTH } from "../../../protocols/robust/outcome.ts";
import { leftOutByReputation } from "../../../protocols/robust/reputation.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";
import { CohortSimulation } from "../aggregation/cohortSimulation.ts";

const LENGTH = 60;
const COORDINATES = 50;
const MODULUS_BITS = 24;
const NORM_BOUND = 10_000;
const PROJECTIONS = SIGN_PROJECTIONS + 1;
const MEMBERS = 7;

const DIRECTION = unitOf(seeded(1)).map((value) => DIRECTION_LENGTH * value);

function seeded(seed: number): Float64Array {
	const random = seededRandomForTests(seed);
	return Float64Array.from({ length: COORDINATES }, () => random() - 0.5);
}

function unitOf(vector: Float64Array): Float64Array {
	const length = Math.hypot(...vector);
	return vector.map((value) => value / length);
}

/** An input of 0.9 bounds that agrees with the direction as much as `along` says, in [-1, 1]. */
function inputOf(index: number, along: number): Uint32Array {
	const ahead = unitOf(DIRECTION);
	const noise = seeded(100 + index);
	const overlap = noise.reduce((sum, value, i) => sum + value * ahead[i]!, 0);
	const aside = unitOf(noise.map((value, i) => value - overlap * ahead[i]!));
	const rest = Math.sqrt(1 - along * along);
	const values = new Float64Array(LENGTH);
	values.set(aside.map((value, i) => 0.9 * NORM_BOUND * (along * ahead[i]! + rest * value)));
	return Uint32Array.from(values, (value) => Math.round(value) & (2 ** MODULUS_BITS - 1));
}

/** Honest ones differ, so that four median deviations are far more than one round moves a score. */
const SPREAD = Float64Array.of(0.5, 0.4, -0.6, 0.6, 0.35, 0.55, 0.45);
const AGREEMENT: Readonly<Record<number, number>> = { 1: 0.55, 2: -0.5, 3: 0.6, 5: -0.6, 6: 0.65 };

function cohortWith(
	options: {
		readonly scores?: Float64Array;
		readonly direction?: Float64Array | undefined;
		readonly agreement?: Readonly<Record<number, number>>;
	} = {},
): CohortSimulation {
	const { scores = new Float64Array(MEMBERS), agreement = AGREEMENT } = options;
	const direction = "direction" in options ? options.direction : DIRECTION;
	return new CohortSimulation({
		members: MEMBERS,
		corruption: 2,
		minimumSurvivors: 4,
		length: LENGTH,
		modulusBits: MODULUS_BITS,
		input: (index) => inputOf(index, agreement[index] ?? 0.6),
		configure: (config) => ({
			...config,
			screening: {
				coordinates: COORDINATES,
				normBound: NORM_BOUND,
				reputation: { attackers: 2, scores, direction },
			},
		}),
	});
}

/** Adds to the last projection of parts of one member's statement, which it signs anew. */
function restate(
	cohort: CohortSimulation,
	index: number,
	change: (statement: ScreenStatement) => Partial<ScreenStatement>,
): void {
	cohort.simulation.intercept((envelope) => {
		const { from, message } = envelope;
		if (from !== cohort.peer(index) || message.kind !== "statement") return undefined;
		const { signature: _, author: __, ...fields } = { ...message.statement, ...change(message.statement) };
		const statement = signStatement<ScreenStatement>(cohort.keys[index]!, fields);
		return [{ ...envelope, message: { ...message, statement } }];
	});
}

function moved(packed: Uint8Array, bounds: number): Uint8Array {
	const values = unpackRing(packed, MODULUS_BITS, PROJECTIONS);
	values[SIGN_PROJECTIONS]! += Math.round(bounds * DIRECTION_LENGTH * NORM_BOUND);
	return packRing(values, MODULUS_BITS);
}

function expectSum(cohort: CohortSimulation, survivors: readonly number[], leftOut: readonly number[]): void {
	const names = survivors.map((i) => cohort.peer(i));
	for (const index of survivors) {
		const released = cohort.released(index);
		expect(released?.survivors).toEqual(names);
		expect(released?.sum).toEqual(cohort.expectedSum(names));
		expect(released?.screening?.sound).toBe(true);
		expect(released?.screening?.leftOut).toEqual(leftOut.map((i) => cohort.peer(i)));
	}
}

const named = (cohort: CohortSimulation, index: number) =>
	(cohort.released(index)?.screening?.offenders ?? []).map(
		({ peer, offence }) => `${cohort.peers.indexOf(peer)} ${offence}`,
	);

describe("a reputation", () => {
	test("leaves out who pulls against the last aggregate, and tells everybody's agreement with it", () => {
		const cohort = cohortWith();
		cohort.runUntilEnded([0, 1, 3, 4, 6]);
		expectSum(cohort, [0, 1, 3, 4, 6], [2, 5]);
		expect(named(cohort, 0)).toEqual([]);
		const { alignments } = cohort.released(3)!.screening!;
		expect([...alignments!.keys()].sort()).toEqual([...cohort.peers].sort());
		for (const [index, along] of Object.entries(AGREEMENT))
			expect(Math.abs(alignments!.get(cohort.peer(Number(index)))! - 0.9 * along)).toBeLessThan(0.1);
	});

	test("is what leaves them out: with the bound alone they are in the sum", () => {
		const cohort = cohortWith({ direction: undefined });
		cohort.runUntilEnded();
		expectSum(cohort, [0, 1, 2, 3, 4, 5, 6], []);
		expect(cohort.released(0)?.screening?.alignments?.size).toBe(0);
	});

	test("remembers: one round of agreement makes up for little", () => {
		const cohort = cohortWith({ agreement: {}, scores: SPREAD });
		cohort.runUntilEnded([0, 1, 3, 4, 5, 6]);
		expectSum(cohort, [0, 1, 3, 4, 5, 6], [2]);
	});

	test("leaves out who has been out for long, whatever its score is now", () => {
		const peers = ["a", "b", "c", "d", "e"];
		const seen = new Map(peers.map((peer, i) => [peer, 0.5 + i / 100]));
		const out = (standings: Float64Array | undefined, kept = peers) =>
			leftOutByReputation(
				peers,
				{
					normBound: 1,
					reputation: { attackers: 1, scores: new Float64Array(5), standings, direction: DIRECTION },
				},
				kept,
				seen,
				0,
			);
		expect(out(undefined)).toEqual([]);
		expect(out(Float64Array.of(1, 1, 1, 5, 1))).toEqual(["d"]);
		// By name, where others are missing.
		expect(out(Float64Array.of(1, 1, 1, 5, 1), peers.slice(1))).toEqual(["d"]);
	});

	test("passes nobody where too few are there to tell", () => {
		const peers = ["a", "b", "c", "d", "e"];
		const rules = {
			normBound: 1,
			reputation: { attackers: 2, scores: new Float64Array(5), direction: DIRECTION },
		};
		const seen = new Map(peers.map((peer, i) => [peer, i === 1 ? -0.5 : 0.5 + i / 100]));
		expect(leftOutByReputation(peers, rules, peers, seen, 0)).toEqual(["b"]);
		expect(leftOutByReputation(peers, rules, peers.slice(1), seen, 0)).toEqual(["b", "c", "d", "e"]);
		// Whom the norm found out is one attacker less to look for.
		expect(leftOutByReputation(peers, rules, peers.slice(1), seen, 1)).toEqual(["b"]);
		expect(leftOutByReputation(peers, rules, peers, seen, 2)).toEqual([]);
	});
});

describe("a lie about one's agreement", () => {
	test("is told from the input that the coordinator holds", () => {
		const cohort = cohortWith();
		restate(cohort, 5, ({ input }) => ({ input: moved(input, 1) }));
		cohort.runUntilEnded([0, 1, 3, 4, 6]);
		expectSum(cohort, [0, 1, 3, 4, 6], [2]);
		const faults = cohort.simulation.faults(cohort.peer(0)).map(({ code }) => code);
		expect(faults).toContain("aggregation.wrong_statement");
	});

	test("by the mask with an honest mate contradicts it, and names the liar alone", () => {
		const cohort = cohortWith();
		restate(cohort, 5, ({ mates }) => ({
			mates: mates.map((mask, place) => (place === 1 ? moved(mask, 1) : mask)),
		}));
		cohort.runUntilEnded([0, 1, 3, 4, 6]);
		expectSum(cohort, [0, 1, 3, 4, 6], [2]);
		expect(named(cohort, 0)).toEqual(["5 wrong_mask"]);
	});

	test("by one's own mask is found out when that is opened: the sum is not used", () => {
		const cohort = cohortWith();
		restate(cohort, 5, ({ self }) => ({ self: moved(self, -1.05) }));
		cohort.runUntilEnded();
		expect(cohort.released(0)?.survivors).toContain(cohort.peer(5));
		for (const index of [0, 1, 6]) {
			expect(cohort.released(index)?.screening?.sound).toBe(false);
			expect(named(cohort, index)).toContain("5 wrong_self_mask");
		}
	});

	test("that two agree on, one taking the other's disagreement, exposes both when one of them is left out", () => {
		// Both state another mask between them: what 2 gains, 5 loses. 2 sorts first or second, hence the sign.
		const cohort = cohortWith();
		const sign = cohort.peer(2) < cohort.peer(5) ? 1 : -1;
		restate(cohort, 2, ({ mates }) => ({
			mates: mates.map((mask, place) => (place === 4 ? moved(mask, -sign * 1.05) : mask)),
		}));
		restate(cohort, 5, ({ mates }) => ({
			mates: mates.map((mask, place) => (place === 2 ? moved(mask, -sign * 1.05) : mask)),
		}));
		cohort.runUntilEnded([0, 1, 3, 4, 6]);
		// 5 would have to disagree by 1.6 bounds, which no input within the bound does. So it drops out, the mask
		// that it shares with 2 is opened, and is not what 2 stated.
		for (const index of [0, 1, 6]) {
			expect(cohort.released(index)?.screening?.sound).toBe(false);
			expect(named(cohort, index).sort()).toEqual(["2 wrong_mask", "5 too_long"]);
		}
	});
});
