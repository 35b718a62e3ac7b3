import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { seededRandomForTests } from "../../src/data/testnetPartition.ts";
import { norm, squaredDistance, type Vectors } from "../../src/robustness/vectors.ts";
import {
	BACKDOOR_LABEL,
	withBackdoor,
	withFlippedLabels,
	withTrigger,
} from "../../testnet/attacks/poisonedRecords.ts";
import { type AttackName, vectorAttacks } from "../../testnet/attacks/vectorAttacks.ts";

const random = seededRandomForTests(3);
const vectorsOf = (count: number): Vectors =>
	Array.from({ length: count }, () => Float64Array.from({ length: 6 }, () => random() + 1));
const honest = vectorsOf(8);
const own = vectorsOf(2);
const poisoned = vectorsOf(2);
const previous = Float64Array.of(1, 1, 1, 1, 1, 1);
const sentBy = (attack: AttackName) =>
	vectorAttacks[attack]({
		honest,
		own,
		poisoned,
		attackers: 2,
		participants: 10,
		memory: {},
		random: seededRandomForTests(9),
		previous,
	});

describe("attacks", () => {
	test("send one vector for each attacker, of the honest length", () => {
		for (const attack of Object.keys(vectorAttacks) as AttackName[]) {
			const sent = sentBy(attack);
			expect([attack, sent.map((vector) => vector.length)]).toEqual([attack, [6, 6]]);
			expect([attack, sent.every((vector) => vector.every(Number.isFinite))]).toEqual([attack, true]);
		}
	});

	test("are what they are called", () => {
		const center = (i: number) => honest.reduce((sum, vector) => sum + vector[i]!, 0) / honest.length;
		expect(sentBy("sign_flip")[0]![2]).toBeCloseTo(-4 * center(2), 9);
		expect(sentBy("inner_product")[1]![5]).toBeCloseTo(-0.5 * center(5), 9);
		expect(sentBy("bit_flip")[1]![0]).toBe(-own[1]![0]!);
		expect(sentBy("label_flip")).toEqual(poisoned);
		expect(sentBy("none")).toEqual(own);
		expect(honest).toContainEqual(sentBy("mimic")[0]);
		expect(sentBy("backdoor")[0]![0]).toBeCloseTo(10 * poisoned[0]![0]!, 9);
		expect(sentBy("backdoor")[1]).toEqual(own[1]);
		expect(norm(sentBy("garbage")[0]!)).toBeGreaterThan(10 * norm(honest[0]!));
	});

	test("min-max is no farther from anybody than two honest vectors are from each other, but nearly", () => {
		const distances = (from: Float64Array) => honest.map((vector) => squaredDistance(from, vector));
		const diameter = Math.max(...honest.flatMap(distances));
		const farthest = Math.max(...distances(sentBy("min_max")[0]!));
		expect(farthest).toBeLessThanOrEqual(diameter * (1 + 1e-9));
		expect(farthest).toBeGreaterThan(0.999 * diameter);
	});

	test("mimic keeps to one victim, the one that the others differ from most in one direction", () => {
		const spread = [0, 1, 2, 9].map((along) => Float64Array.of(along, 1, 1, 1, 1, 1));
		const memory = {};
		const copies = (vectors: Vectors) =>
			vectorAttacks.mimic({
				honest: vectors,
				own,
				poisoned,
				attackers: 2,
				participants: 6,
				memory,
				random,
				previous,
			});
		expect(copies(spread)).toEqual([spread[3], spread[3]]);
		expect(copies(spread.toReversed())).toEqual([spread[0], spread[0]]);
	});

	test("change records: flipped labels, and a trigger beside the records as they were", () => {
		const data = {
			features: Float32Array.of(0, 0, 0, 0.5, 0, 0, 0, 0.5),
			labels: Float32Array.of(3, 9),
			rows: 2,
			columns: ["a", "b", "c", "d"],
			labelNames: [],
		};
		expect([...withFlippedLabels(data, 10).labels]).toEqual([6, 0]);
		expect([...withTrigger(data).features]).toEqual([1, 1, 1, 0.5, 1, 1, 1, 0.5]);
		const both = withBackdoor(data);
		expect(both.rows).toBe(4);
		expect([...both.labels]).toEqual([3, 9, BACKDOOR_LABEL, BACKDOOR_LABEL]);
		expect([...both.features.subarray(0, 8)]).toEqual([...data.features]);
	});
});

test("bench robustness runs its experiments on threads and shows who was left out", async () => {
	const runner = fileURLToPath(new URL("../../bench/run.ts", import.meta.url));
	const stdout = await new Promise<string>((resolve, reject) => {
		execFile(
			process.execPath,
			[runner, "robustness", "--part", "backdoor", "--quick", "yes", "--json"],
			(error, output) => (error === null ? resolve(output) : reject(error)),
		);
	});
	const [accuracy, leftOut, ...rest] = JSON.parse(stdout).tables;
	expect(accuracy.rows.map(({ attack }: { attack: string }) => attack)).toEqual(["none", "backdoor"]);
	expect(Object.keys(accuracy.rows[0])).toEqual([
		"attack",
		"mean %",
		"norm_bound %",
		"norm_bound_reputation %",
	]);
	expect(leftOut.title).toMatch(/left out/);
	// Three rounds prove nothing.
	expect(rest).toEqual([]);
});
