/** Sessions whose members are dealt to buckets: each bucket's sum by itself, and nothing of a bucket that is too small. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BucketGraph, byBucket } from "../../../protocols/aggregation/bucketGraph.ts";
import { AggregationSession } from "../../../protocols/aggregation/index.ts";
import { CohortSimulation } from "./cohortSimulation.ts";

const MEMBERS = 12;
const LENGTH = 40;
const BOUND = 20_000;
const RULES = { size: 3, survivors: 2, attackers: 1 };

/** Inputs well within the bound; every coordinate of member i is i + 1. */
const inputOf = (index: number) => new Uint32Array(LENGTH).fill(index + 1);
const tooLong = () => new Uint32Array(LENGTH).fill(100_000);

function bucketed(
	input: (index: number) => Uint32Array = inputOf,
	rulesOf: (index: number) => typeof RULES = () => RULES,
): CohortSimulation {
	return new CohortSimulation({
		members: MEMBERS,
		corruption: 1,
		minimumSurvivors: 6,
		length: LENGTH,
		input,
		configure: (config, index) => ({
			...config,
			buckets: rulesOf(index),
			screening: { coordinates: LENGTH, normBound: BOUND },
		}),
	});
}

const graphOf = (cohort: CohortSimulation) =>
	new BucketGraph(cohort.peers, RULES, cohort.configs[0]!.graphSeed);
const indicesOf = (cohort: CohortSimulation, bucket: readonly string[]) =>
	bucket.map((peer) => cohort.peers.indexOf(peer));

/** Everybody that ended released the same buckets with their exact sums; returns the buckets' survivors. */
function outcome(cohort: CohortSimulation, ending: readonly number[]): number[][] {
	cohort.runUntilEnded(ending);
	const [first] = ending as [number];
	const buckets = cohort.released(first)!.buckets!;
	for (const index of ending) {
		const released = cohort.released(index)!;
		expect(released.screening?.sound).toBe(true);
		expect(released.buckets).toEqual(buckets);
		expect(released.buckets!.flat().sort()).toEqual(released.survivors);
		const sums = buckets.map((bucket) => cohort.expectedSum(bucket));
		expect([...released.sum]).toEqual(sums.flatMap((sum) => [...sum]));
	}
	return buckets.map((bucket) => indicesOf(cohort, bucket));
}

const ALL = Array.from({ length: MEMBERS }, (_, i) => i);
const without = (...gone: number[]) => ALL.filter((index) => !gone.includes(index));

describe("a session in buckets", () => {
	test("opens each bucket's sum, of the members that the beacon dealt to it", () => {
		const cohort = bucketed();
		const buckets = outcome(cohort, ALL);
		expect(buckets).toEqual(
			byBucket(graphOf(cohort), cohort.peers).map((bucket) => indicesOf(cohort, bucket)),
		);
		expect(buckets.map(({ length }) => length)).toEqual([3, 3, 3, 3]);
	});

	test("goes on without a member of a bucket, and opens nothing of a bucket that loses two", () => {
		const cohort = bucketed();
		const [one, two, three] = byBucket(graphOf(cohort), cohort.peers).map((bucket) =>
			indicesOf(cohort, bucket),
		);
		// Not the coordinator, which is the first.
		const gone = [...one!.filter((index) => index > 0).slice(0, 2), two!.find((index) => index > 0)!];
		for (const index of gone)
			cohort.simulation.intercept(({ from, message }) =>
				from === cohort.peer(index) && message.kind === "input" ? [] : undefined,
			);
		const buckets = outcome(cohort, without(...gone, ...one!));
		expect(buckets[0]).toEqual([]);
		expect(buckets[1]).toHaveLength(2);
		expect(buckets[2]).toEqual(three);
		// The last of the void bucket is a dropout: its self seed stays closed.
		const [left] = one!.filter((index) => !gone.includes(index));
		expect(cohort.openedSeeds).not.toContain(cohort.peer(left!));
	});

	test("leaves an oversized input out of its bucket, and its author is named", () => {
		const cohort = bucketed((index) => (index === 5 ? tooLong() : inputOf(index)));
		const buckets = outcome(cohort, without(5));
		expect(buckets.flat()).not.toContain(5);
		expect(cohort.released(0)?.screening?.offenders).toEqual([{ peer: cohort.peer(5), offence: "too_long" }]);
	});

	test("dies where too few buckets are left", () => {
		const cohort = bucketed();
		const [one, two] = byBucket(graphOf(cohort), cohort.peers).map((bucket) => indicesOf(cohort, bucket));
		const gone = [one, two].flatMap((bucket) => bucket!.filter((index) => index > 0).slice(0, 2));
		for (const index of gone)
			cohort.simulation.intercept(({ from, message }) =>
				from === cohort.peer(index) && message.kind === "input" ? [] : undefined,
			);
		cohort.runUntilEnded(without(...gone));
		expect(cohort.output(0, "dead")?.reason).toMatch(/below the threshold: 0 of 12/);
	});

	test("survives the loss of its coordinator after the vote", () => {
		const cohort = bucketed();
		cohort.simulation.intercept(({ from, message }) => {
			if (from === cohort.peer(0) && message.kind === "certified") cohort.simulation.crash(cohort.peer(0));
			return undefined;
		});
		cohort.simulation.run({ untilMs: 20_000, until: () => !cohort.simulation.isRunning(cohort.peer(0)) });
		cohort.changeCoordinator(2, 4);
		outcome(cohort, without(0));
	});

	test("is refused where inputs are not screened, or buckets are too small or too few", () => {
		const config = bucketed().configs[1]!;
		const attempt = (changes: object) => () => new AggregationSession({ ...config, ...changes });
		expect(attempt({ screening: undefined })).toThrow(/the inputs of buckets are screened/);
		expect(attempt({ buckets: { ...RULES, survivors: 1 } })).toThrow(/cannot be opened by themselves/);
		expect(attempt({ buckets: { ...RULES, survivors: 4 } })).toThrow(/cannot be opened by themselves/);
		expect(attempt({ buckets: { ...RULES, attackers: 2 } })).toThrow(/fewer than 5 buckets of 3/);
	});

	test("whose members were told other buckets does not come about", () => {
		const cohort = bucketed(inputOf, (index) => (index < 9 ? RULES : { ...RULES, size: 4 }));
		cohort.simulation.run({ untilMs: 30_000, until: () => false });
		for (const index of [9, 10, 11]) expect(cohort.released(index)).toBeUndefined();
	});
});

test("buckets are of nearly one size, symmetric, and drawn anew with the seed", () => {
	const peers = Array.from({ length: 30 }, (_, i) => `peer-${String(i).padStart(2, "0")}`);
	fc.assert(
		fc.property(fc.integer({ min: 6, max: 30 }), fc.integer({ min: 2, max: 6 }), (count, size) => {
			const members = peers.slice(0, count);
			const graph = new BucketGraph(members, { ...RULES, size }, new Uint8Array(32).fill(count));
			const buckets = byBucket(graph, members);
			expect(buckets.flat().sort()).toEqual(members);
			const sizes = buckets.map(({ length }) => length);
			expect(Math.min(...sizes)).toBeGreaterThanOrEqual(size);
			expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
			for (const member of members)
				for (const mate of graph.matesOf(member)) expect(graph.matesOf(mate)).toContain(member);
		}),
	);
	const drawn = [1, 2].map((byte) =>
		byBucket(new BucketGraph(peers, RULES, new Uint8Array(32).fill(byte)), peers),
	);
	expect(drawn[0]).not.toEqual(drawn[1]);
});
