import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hashFields } from "../../../crypto/hash.ts";
import { emptyHistory, historyAfter, type SelectionHistory } from "../../../src/selection/history.ts";
import { type SelectionRule, selectParticipants } from "../../../src/selection/select.ts";
import { type SelectionChoice, selectionSchema } from "../../../src/selection/selectionChoice.ts";

const peersOf = (count: number) =>
	Array.from({ length: count }, (_, i) => `peer-${String(i).padStart(4, "0")}`);

/** A beacon as the rounds make them, from a seed: the tests are the same each time. */
const beaconOf = (seed: string, round: number) => hashFields("test/beacon", seed, round);

function ruleOf(
	choice: object,
	declared: (peer: string, index: number) => Record<string, string> = () => ({}),
) {
	return (members: readonly string[], minimumSurvivors = 2): SelectionRule => ({
		choice: selectionSchema.parse(choice) as SelectionChoice,
		characteristics: new Map(members.map((peer, index) => [peer, declared(peer, index)])),
		minimumSurvivors,
	});
}

const tiers = ["small", "medium", "large"];
const byTier = (_: string, index: number) => ({ size: tiers[index % 3]! });

const RULES = {
	uniform: ruleOf({ strategy: "uniform", size: 4, overselection: 0.25 }),
	weighted: ruleOf(
		{ strategy: "weighted", size: 4, characteristic: "size", weights: { small: 1, medium: 2, large: 4 } },
		byTier,
	),
	poisson: ruleOf({ strategy: "poisson", probability: 0.3 }),
	stratified: ruleOf(
		{ strategy: "stratified", characteristic: "size", strata: { small: 1, medium: 1, large: 2 } },
		byTier,
	),
	availability: ruleOf({ strategy: "availability", size: 4 }),
	fair: ruleOf({ strategy: "fair", size: 4 }),
	power_of_choice: ruleOf({ strategy: "power_of_choice", size: 4, candidates: 6 }),
	utility: ruleOf({ strategy: "utility", size: 4, exploration: 0.25 }),
};

/** Rounds in which those asked survive as `survives` says. @returns how often each was asked */
function sharesOf(
	rule: SelectionRule,
	members: readonly string[],
	rounds: number,
	survives: (peer: string, round: number) => boolean = () => true,
): { readonly history: SelectionHistory; readonly selected: string[][] } {
	let history = emptyHistory(members.length);
	const selected: string[][] = [];
	for (let round = 0; round < rounds; round++) {
		const beacon = beaconOf("shares", round);
		const invited = selectParticipants(rule, { jobId: "job", round, attempt: 0, members, beacon, history });
		selected.push(invited);
		const survivors = invited.filter((peer) => survives(peer, round));
		history = historyAfter(history, members, { number: round, invited, survivors });
	}
	return { history, selected };
}

describe.each(Object.entries(RULES))("%s", (_, ruleFor) => {
	test("selects sorted participants, the same at every node, in any order of attempts", () => {
		fc.assert(
			fc.property(fc.integer({ min: 3, max: 40 }), fc.integer({ min: 0, max: 1000 }), (count, seed) => {
				const members = peersOf(count);
				const rule = ruleFor(members, 3);
				const at = {
					jobId: "job",
					round: seed,
					members,
					beacon: beaconOf("alike", seed),
					history: emptyHistory(count),
				};
				const first = selectParticipants(rule, { ...at, attempt: 0 });
				expect(first.length).toBeGreaterThanOrEqual(3);
				expect(new Set(first).size).toBe(first.length);
				expect([...first].sort()).toEqual(first);
				expect(members).toEqual(expect.arrayContaining(first));
				let before = first;
				for (let attempt = 1; before.length < count; attempt++) {
					const grown = selectParticipants(rule, { ...at, attempt });
					// A coordinator that lets attempts die gets more, never others.
					expect(grown).toEqual(expect.arrayContaining(before));
					expect(grown.length).toBeGreaterThan(before.length);
					before = grown;
				}
				expect(selectParticipants(rule, { ...at, attempt: 0 })).toEqual(first);
			}),
			{ numRuns: 20, seed: 1 },
		);
	});

	test("follows the beacon: another one, round or job gives another selection", () => {
		const members = peersOf(30);
		const at = { members, attempt: 0, history: emptyHistory(30) };
		const select = (jobId: string, round: number, seed: string) =>
			selectParticipants(ruleFor(members), { ...at, jobId, round, beacon: beaconOf(seed, 0) }).join();
		const seen = new Set([
			select("a", 0, "x"),
			select("b", 0, "x"),
			select("a", 1, "x"),
			select("a", 0, "y"),
		]);
		expect(seen.size).toBe(4);
	});
});

/** 6.5 standard deviations: with a fixed seed the outcome is fixed; the bound tells how surprising a failure would be. */
const DEVIATIONS = 6.5;

function expectShare(count: number, rounds: number, share: number): void {
	const deviation = Math.sqrt(rounds * share * (1 - share));
	expect(Math.abs(count - rounds * share)).toBeLessThan(DEVIATIONS * deviation);
}

describe("long-run shares", () => {
	const rounds = 1000;
	const members = peersOf(12);

	test("uniform: everybody alike", () => {
		const { history } = sharesOf(ruleOf({ strategy: "uniform", size: 4 })(members), members, rounds);
		for (const { invited } of history) expectShare(invited, rounds, 4 / 12);
	});

	/** Chance to be among `draws` without replacement, for one of each weight, by going through all courses. */
	function inclusion(weights: readonly number[], own: number, draws: number): number {
		if (draws === 0) return 0;
		const total = weights.reduce((sum, weight) => sum + weight, 0);
		let chance = weights[own]! / total;
		for (const [other, weight] of weights.entries()) {
			if (other === own) continue;
			const left = weights.filter((_, index) => index !== other);
			chance += (weight / total) * inclusion(left, own - (other < own ? 1 : 0), draws - 1);
		}
		return chance;
	}

	test("weighted: as often as drawing without replacement by weight gives", () => {
		const rule = ruleOf(
			{ strategy: "weighted", size: 3, characteristic: "size", weights: { small: 1, medium: 2, large: 4 } },
			byTier,
		)(members);
		const { history } = sharesOf(rule, members, rounds);
		const weights = members.map((_, index) => [1, 2, 4][index % 3]!);
		for (const [index, { invited }] of history.entries())
			expectShare(invited, rounds, inclusion(weights, index, 3));
	});

	test("poisson: each by its own coin", () => {
		const { history, selected } = sharesOf(RULES.poisson(members, 2), members, rounds);
		// Where fewer than three coins fall for it, the next in line make up three.
		const chance = (k: number) => [1, 12, 66][k]! * 0.3 ** k * 0.7 ** (12 - k);
		const filled = chance(0) * 3 + chance(1) * 2 + chance(2);
		for (const { invited } of history) expectShare(invited, rounds, 0.3 + filled / 12);
		const sizes = selected.map((one) => one.length);
		const mean = sizes.reduce((sum, size) => sum + size, 0) / rounds;
		const variance = sizes.reduce((sum, size) => sum + (size - mean) ** 2, 0) / rounds;
		// Of the larger of three and a binomial of 12 and 0.3 it is about 1.4; the fixed seed fixes what comes out.
		expect(variance).toBeGreaterThan(1.2);
		expect(variance).toBeLessThan(1.6);
	});

	test("stratified: exactly the sizes asked for, in every round", () => {
		const { selected } = sharesOf(RULES.stratified(members), members, 200);
		for (const one of selected) {
			const counts = tiers.map(
				(tier) => one.filter((peer) => tiers[members.indexOf(peer) % 3] === tier).length,
			);
			expect(counts).toEqual([1, 1, 2]);
		}
	});

	test("stratified: others fill up where too few declared a value", () => {
		const rule = ruleOf(
			{ strategy: "stratified", characteristic: "region", strata: { north: 2, south: 2 } },
			(_, index) => (index === 0 ? { region: "north" } : index < 5 ? { region: "south" } : {}),
		)(members);
		const { selected } = sharesOf(rule, members, 50);
		for (const one of selected) {
			expect(one).toHaveLength(4);
			expect(one).toContain(members[0]);
			expect(one.filter((peer) => members.indexOf(peer) > 0 && members.indexOf(peer) < 5)).toHaveLength(3);
		}
	});

	test("availability: the unreliable are asked less often, and never given up", () => {
		const flaky = (peer: string) => members.indexOf(peer) < 4;
		const { history } = sharesOf(RULES.availability(members), members, rounds, (peer) => !flaky(peer));
		const shares = history.map(({ invited }) => invited / rounds);
		const worst = shares.slice(0, 4);
		const best = shares.slice(4);
		expect(Math.max(...worst)).toBeLessThan(Math.min(...best) / 4);
		// Its weight is never below a sixteenth of the best one's.
		expect(Math.min(...worst)).toBeGreaterThan(1 / 16 / 12);
		// Back again, it is asked like everybody within some rounds.
		let recovered = history;
		for (let round = 0; round < 600; round++) {
			const beacon = beaconOf("back", round);
			const at = { jobId: "job", round, attempt: 0, members, beacon, history: recovered };
			const invited = selectParticipants(RULES.availability(members), at);
			recovered = historyAfter(recovered, members, { number: round, invited, survivors: invited });
		}
		for (const { reliability } of recovered) expect(reliability).toBeGreaterThan(900);
	});

	test("fair: no two participants are ever more than one round apart", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 2, max: 25 }),
				fc.array(
					fc.record({ size: fc.integer({ min: 2, max: 25 }), attempt: fc.integer({ min: 0, max: 2 }) }),
					{
						minLength: 1,
						maxLength: 60,
					},
				),
				(count, course) => {
					const all = peersOf(count);
					let history = emptyHistory(count);
					for (const [round, { size, attempt }] of course.entries()) {
						const rule = ruleOf({ strategy: "fair", size })(all);
						const beacon = beaconOf("fair", round);
						const at = { jobId: "job", round, attempt, members: all, beacon, history };
						const invited = selectParticipants(rule, at);
						history = historyAfter(history, all, { number: round, invited, survivors: [] });
						const counts = history.map((record) => record.invited);
						expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
					}
				},
			),
			{ numRuns: 40, seed: 2 },
		);
	});
});

describe("selections by reported losses", () => {
	const members = peersOf(12);
	const losses = (of: (index: number) => number): SelectionHistory =>
		emptyHistory(12).map((record, index) => ({ ...record, lastSurvived: 0, loss: of(index) }));
	const select = (rule: SelectionRule, history: SelectionHistory, round: number) =>
		selectParticipants(rule, {
			jobId: "job",
			round,
			attempt: 0,
			members,
			beacon: beaconOf("losses", round),
			history,
		});

	test("power of choice: of the candidates those with the largest", () => {
		const everybody = ruleOf({ strategy: "power_of_choice", size: 4, candidates: 12 })(members);
		const history = losses((index) => 10 * index);
		expect(select(everybody, history, 1)).toEqual(members.slice(8));
		// Of six candidates the four with the largest: the smallest of all are never among them.
		const chosen = new Set<string>();
		for (let round = 1; round < 100; round++)
			for (const peer of select(RULES.power_of_choice(members), history, round)) chosen.add(peer);
		expect(chosen.has(members[0]!)).toBe(false);
		expect(chosen.has(members[1]!)).toBe(false);
		expect(chosen.size).toBeGreaterThan(8);
	});

	test("who has not reported is tried", () => {
		const silent = losses(() => 100).map((record, index) => {
			const { loss: _, ...rest } = record;
			return index === 3 ? rest : record;
		});
		const everybody = ruleOf({ strategy: "power_of_choice", size: 4, candidates: 12 })(members);
		expect(select(everybody, silent, 1)).toContain(members[3]);
	});

	test("utility: liars have their places and no more, and everybody is explored", () => {
		// Three claim the largest loss in every round; the others report nothing worth asking them for.
		const rounds = 2000;
		const rule = RULES.utility(members);
		const asked = new Map<string, number>();
		for (let round = 1; round <= rounds; round++) {
			const history = losses((index) => (index < 3 ? 254 : 0)).map((record) => ({
				...record,
				lastSurvived: round - 1,
			}));
			const selected = select(rule, history, round);
			expect(selected).toHaveLength(4);
			for (const peer of selected) asked.set(peer, (asked.get(peer) ?? 0) + 1);
		}
		// Of four, one is drawn uniformly among all and three by utility. An honest one is asked at least with
		// probability 1/12; 6.5 standard deviations below that would be 84 of 2,000.
		for (const peer of members.slice(3)) expect(asked.get(peer)).toBeGreaterThan(84);
		for (const peer of members.slice(0, 3)) expect(asked.get(peer)).toBeLessThanOrEqual(rounds);
	});

	test("utility: a long silence outweighs a small loss", () => {
		const rule = ruleOf({ strategy: "utility", size: 4, exploration: 0.1 })(members);
		const history = losses((index) => (index === 5 ? 20 : 100)).map((record, index) => ({
			...record,
			lastSurvived: index === 5 ? 0 : 59,
		}));
		expect(select(rule, history, 60)).toContain(members[5]);
	});

	test("a report without a count leaves the last one standing", () => {
		const invited = members.slice(0, 2);
		const after = historyAfter(
			losses(() => 7),
			members,
			{
				number: 3,
				invited,
				survivors: invited,
				losses: new Map([
					[members[0]!, 255],
					[members[1]!, 9],
				]),
			},
		);
		expect(after.map(({ loss }) => loss).slice(0, 3)).toEqual([7, 9, 7]);
	});
});

describe("over-selection", () => {
	test.each([
		[10, 0, 10],
		[10, 0.1, 11],
		[10, 0.11, 12],
		[3, 0.5, 5],
	])("of %i by %f asks %i", (size, overselection, expected) => {
		const members = peersOf(40);
		const rule = ruleOf({ strategy: "uniform", size, overselection })(members);
		expect(sharesOf(rule, members, 1).selected[0]).toHaveLength(expected);
	});
});
