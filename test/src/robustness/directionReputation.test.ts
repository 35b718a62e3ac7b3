import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
	alignment,
	excludedByReputation,
	nextReputations,
	nextStandings,
} from "../../../src/robustness/directionReputation.ts";

describe("reputation by direction", () => {
	it("measures how far a bounded update agrees with the aggregate", () => {
		expect(alignment(Float64Array.of(3, 4), Float64Array.of(6, 8), 5)).toBe(1);
		expect(alignment(Float64Array.of(-3, -4), Float64Array.of(6, 8), 10)).toBe(-0.5);
		expect(alignment(Float64Array.of(1, 0), Float64Array.of(0, 0), 1)).toBe(0);
	});

	it("averages over about ten rounds, and leaves who was away as it was", () => {
		let scores = new Float64Array(3);
		for (let round = 0; round < 10; round++)
			scores = nextReputations(scores, [1, undefined, -7]) as typeof scores;
		expect(scores[0]).toBeCloseTo(1 - 0.9 ** 10, 12);
		expect(scores[1]).toBe(0);
		expect(scores[2]).toBeCloseTo(-(1 - 0.9 ** 10), 12);
		expect(() => nextReputations(scores, [1, 1])).toThrow(/3 reputations/);
		expect(() => nextReputations(scores, [1, 1, Number.NaN])).toThrow(/numbers/);
	});

	it("leaves out who is far from the others, below and above, and no more than f", () => {
		const scores = Float64Array.of(0.2, 0.21, 0.19, 0.22, 0.18, -0.5, 0.9);
		expect(excludedByReputation(scores, 2)).toEqual([5, 6]);
		// The one above is farther from the median, 0.2, by 0.7 and 0.7: the later of equals goes first.
		expect(excludedByReputation(scores, 1)).toHaveLength(1);
		expect(excludedByReputation(scores, 0)).toEqual([]);
		expect(excludedByReputation(Float64Array.of(0.2, 0.21, 0.19, 0.22, 0.18), 2)).toEqual([]);
		expect(excludedByReputation(new Float64Array(5), 2)).toEqual([]);
		expect(() => excludedByReputation(scores, 4)).toThrow(/do not stand 4/);
	});

	it("remembers how far scores have been out, on either side, once they have settled", () => {
		const low = Float64Array.of(0.2, 0.21, 0.19, 0.22, 0.18, -0.5, 0.24);
		const high = low.map((score, i) => (i === 5 ? 0.9 : score));
		const all = new Array<boolean>(7).fill(true);
		expect(nextStandings(undefined, low, all, 19)).toBeUndefined();
		let standings = nextStandings(undefined, low, all, 20);
		for (let round = 21; round < 60; round++)
			standings = nextStandings(standings, round % 2 ? high : low, all, round);
		expect(standings![5]).toBeCloseTo(10 * (1 - 0.98 ** 40), 9);
		// In the middle for now, which is where a score passes from one side to the other.
		const between = low.map((score, i) => (i === 5 ? 0.2 : score));
		expect(excludedByReputation(between, 2)).toEqual([]);
		expect(excludedByReputation(between, 2, standings)).toEqual([5]);
		expect(excludedByReputation(between, 0, standings)).toEqual([]);
		// Who is out now comes before who was.
		expect(excludedByReputation(between.with(0, -0.5), 1, standings)).toEqual([0]);
		const away = nextStandings(standings, low, all.with(5, false), 60)!;
		expect(away[5]).toBe(standings![5]);
		expect(nextStandings(standings, low, new Array<boolean>(7).fill(false), 60)).toEqual(standings);
		expect(() => nextStandings(standings, low.subarray(1), all.slice(1), 60)).toThrow(/7 standings of 6/);
	});

	it("counts no more than ten deviations where most scores are alike", () => {
		const standings = nextStandings(undefined, Float64Array.of(0, 0, 0, 0.1), [true, true, true, true], 20)!;
		expect(standings[3]).toBeCloseTo(0.2, 12);
		expect([...standings.subarray(0, 3)]).toEqual([0, 0, 0]);
	});

	it("cannot be made to leave out honest participants close to each other by more than f liars", () => {
		const honest = fc.array(fc.integer({ min: 90, max: 110 }), { minLength: 7, maxLength: 7 });
		const wrong = fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 2, maxLength: 2 });
		fc.assert(
			fc.property(honest, wrong, (good, bad) => {
				const scores = Float64Array.from([...bad, ...good], (value) => value / 1000);
				const excluded = excludedByReputation(scores, 2);
				expect(excluded.length).toBeLessThanOrEqual(2);
				// A liar farther away than any honest one goes first.
				const far = [0, 1].filter((i) => Math.abs(scores[i]! - 0.1) > 0.2);
				if (excluded.length > 0 && far.length > 0) expect(excluded.some((i) => far.includes(i))).toBe(true);
			}),
		);
	});
});
