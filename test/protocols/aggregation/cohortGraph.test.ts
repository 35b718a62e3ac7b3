import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cohortGraph, graphSeedOf } from "../../../protocols/aggregation/cohortGraph.ts";
import type { CohortParameters } from "../../../protocols/aggregation/cohortParameters.ts";
import { decodeMembers, encodeMembers } from "../../../protocols/aggregation/memberSet.ts";

const SPARSE: CohortParameters = { graph: "ring", holders: 6, threshold: 4, mates: 4, windowSurvivors: 2 };
const seed = new Uint8Array(32).fill(5);
const members = Array.from({ length: 20 }, (_, i) => `peer-${String(i).padStart(2, "0")}`);

describe("a ring", () => {
	const graph = cohortGraph(members, SPARSE, seed);

	test("is a permutation that follows from the seed", () => {
		expect([...graph.order].sort()).toEqual(members);
		expect(cohortGraph(members, SPARSE, seed).order).toEqual(graph.order);
		expect(cohortGraph(members, SPARSE, new Uint8Array(32)).order).not.toEqual(graph.order);
	});

	test("has the nearest on both sides as neighbours, mutually", () => {
		for (const member of members) {
			expect(graph.holdersOf(member)).toHaveLength(6);
			expect(new Set(graph.matesOf(member)).size).toBe(4);
			expect(graph.neighboursOf(member)).toEqual(graph.holdersOf(member));
			for (const holder of graph.holdersOf(member)) expect(graph.holdersOf(holder)).toContain(member);
			for (const mate of graph.matesOf(member)) expect(graph.matesOf(mate)).toContain(member);
		}
		const [last, first] = [graph.order.at(-1) as string, graph.order[0] as string];
		expect(graph.matesOf(last)).toContain(first);
		expect(graph.positionOf("stranger")).toBe(-1);
	});

	test("finds the two disjoint windows with the fewest survivors, wherever they lie", () => {
		fc.assert(
			fc.property(fc.subarray(members), fc.constantFrom(4, 6, 10), (survivors, mates) => {
				const width = mates / 2;
				const strict = cohortGraph([...members], { ...SPARSE, mates, windowSurvivors: 2 * width }, seed);
				const alive = new Set(survivors);
				const count = (first: number) =>
					Array.from({ length: width }, (_, i) => strict.order[(first + i) % 20] as string).filter((peer) =>
						alive.has(peer),
					).length;
				let least = 2 * width;
				for (let a = 0; a < 20; a++) {
					for (let b = 0; b < 20; b++) {
						const disjoint = (b - a + 20) % 20 >= width && (a - b + 20) % 20 >= width;
						if (disjoint) least = Math.min(least, count(a) + count(b));
					}
				}
				const spot = strict.thinSpot(survivors);
				if (least === 2 * width) expect(spot).toBeUndefined();
				else expect(spot).toContain(`only ${least} survivors`);
			}),
			{ numRuns: 300 },
		);
	});

	/** Whether the honest survivors are connected by masks. */
	function connected(honest: ReadonlySet<string>): boolean {
		const [start] = honest;
		if (start === undefined) return true;
		const reached = new Set([start]);
		for (const member of reached) {
			for (const mate of graph.matesOf(member)) if (honest.has(mate)) reached.add(mate);
		}
		return reached.size === honest.size;
	}

	test("without a thin spot stays connected whoever drops out, unless two windows hold w corrupt members", () => {
		let parted = 0;
		let accepted = 0;
		fc.assert(
			fc.property(
				fc.uniqueArray(fc.constantFrom(...members), { maxLength: 5 }),
				fc.uniqueArray(fc.constantFrom(...members), { maxLength: 8 }),
				(corrupt, dropped) => {
					const survivors = members.filter((member) => !dropped.includes(member));
					const honest = new Set(survivors.filter((member) => !corrupt.includes(member)));
					const sound = graph.thinSpot(survivors) === undefined;
					const whole = connected(honest);
					if (!whole) parted++;
					if (sound) accepted++;
					if (!sound || whole) return;
					// Then S2 is what failed: find the two windows.
					const counts = members.map(
						(_, at) => [0, 1].filter((i) => corrupt.includes(graph.order[(at + i) % 20] as string)).length,
					);
					const most = Math.max(
						...counts.flatMap((a, i) =>
							counts.map((b, j) => ((j - i + 20) % 20 > 1 && (i - j + 20) % 20 > 1 ? a + b : 0)),
						),
					);
					expect(most).toBeGreaterThanOrEqual(2);
				},
			),
			{ numRuns: 2000, seed: 11 },
		);
		expect(parted).toBeGreaterThan(20);
		expect(accepted).toBeGreaterThan(200);
	});

	test("with two gaps beside a victim has a thin spot, with one it has none", () => {
		const [first, second] = [graph.order.slice(4, 6), graph.order.slice(9, 11)];
		const without = (gone: readonly string[]) => members.filter((member) => !gone.includes(member));
		expect(graph.thinSpot(without([...first, ...second]))).toMatch(/only 0 survivors/);
		expect(graph.thinSpot(without(first))).toBeUndefined();
		// Across the seam of the ring as well.
		const seam = [graph.order[19] as string, graph.order[0] as string];
		expect(graph.thinSpot(without([...seam, ...first]))).toBeDefined();
	});
});

describe("a complete graph", () => {
	const graph = cohortGraph(members, { graph: "complete" }, seed);

	test("has everybody for everything and a majority as threshold", () => {
		expect(graph.holdersOf("peer-03")).toEqual(members.filter((member) => member !== "peer-03"));
		expect(graph.matesOf("peer-03")).toEqual(graph.neighboursOf("peer-03"));
		expect([graph.threshold(20), graph.threshold(5)]).toEqual([11, 3]);
		expect(graph.thinSpot([])).toBeUndefined();
	});
});

test("the seed is stretched, and differs from beacon to beacon", () => {
	const stretched = graphSeedOf(seed);
	expect(stretched).toHaveLength(32);
	expect(graphSeedOf(seed)).toEqual(stretched);
	expect(graphSeedOf(new Uint8Array(32))).not.toEqual(stretched);
});

describe("a set of members", () => {
	test("comes back as it was", () => {
		fc.assert(
			fc.property(fc.subarray(members), fc.integer({ min: 0, max: 20 }), (subset, size) => {
				const cohort = members.slice(0, size);
				const inside = subset.filter((member) => cohort.includes(member));
				expect(decodeMembers(cohort, encodeMembers(cohort, inside))).toEqual(inside);
			}),
			{ seed: 2 },
		);
	});

	test("of a wrong length, or with bits beyond the cohort, is refused", () => {
		expect(decodeMembers(members, new Uint8Array(2))).toBeUndefined();
		expect(decodeMembers(members, new Uint8Array(4))).toBeUndefined();
		expect(decodeMembers(members, Uint8Array.of(0, 0, 16))).toBeUndefined();
		expect(decodeMembers(members, Uint8Array.of(0, 0, 8))).toEqual(["peer-19"]);
	});
});
