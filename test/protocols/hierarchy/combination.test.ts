import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { packRing, unpackRing } from "../../../crypto/ringPacking.ts";
import {
	add,
	additionFlaw,
	combine,
	FAN_IN,
	nameOf,
	pathFlaw,
} from "../../../protocols/hierarchy/combination.ts";
import { dealCohorts, dealingHash } from "../../../protocols/hierarchy/dealing.ts";

const SHAPE = { length: 13, modulusBits: 12 };

function sumsOf(count: number, seed = 1) {
	return Array.from({ length: count }, (_, c) => ({
		packed: packRing(
			Uint32Array.from({ length: SHAPE.length }, (__, i) => (c * 977 + i * 31 * seed + 7) % 4096),
			SHAPE.modulusBits,
		),
		survivors: 5 + c,
	}));
}

describe("a tree of cohort sums", () => {
	test.each([1, 2, FAN_IN, FAN_IN + 1, 40])(
		"adds %i of them exactly, and every cohort finds its way to the root",
		(count) => {
			const sums = sumsOf(count);
			const { packed, survivors, paths } = combine(sums, SHAPE);
			const expected = Uint32Array.from({ length: SHAPE.length }, (_, i) =>
				sums.reduce((total, sum) => (total + (unpackRing(sum.packed, 12, 13)[i] as number)) % 4096, 0),
			);
			expect(unpackRing(packed, 12, 13)).toEqual(expected);
			expect(survivors).toBe(sums.reduce((total, sum) => total + sum.survivors, 0));
			for (const [cohort, path] of paths.entries()) {
				expect(path).toHaveLength(count > FAN_IN ? 2 : 1);
				expect(pathFlaw(sums[cohort] as (typeof sums)[number], path, SHAPE)).toBeUndefined();
			}
		},
	);

	test("is refused by whose sum was replaced, left out or counted wrong", () => {
		const sums = sumsOf(5);
		const own = sums[2] as (typeof sums)[number];
		const { addition, packed } = add(sums, SHAPE);
		const replaced = sums.map((sum, c) => (c === 2 ? (sumsOf(5, 9)[2] as typeof sum) : sum));
		const other = add(replaced, SHAPE);
		expect(additionFlaw(other.addition, own, other.packed, SHAPE)).toMatch(/own part is not in it/);
		const without = add(sums.slice(3), SHAPE);
		expect(additionFlaw(without.addition, own, without.packed, SHAPE)).toMatch(/own part is not in it/);
		expect(additionFlaw(addition, { ...own, survivors: 6 }, packed, SHAPE)).toMatch(/own part is not in it/);
		const inflated = { ...addition, total: { ...addition.total, survivors: 99 } };
		expect(additionFlaw(inflated, own, packed, SHAPE)).toMatch(/counts its contributors wrong/);
		expect(pathFlaw(own, [], SHAPE)).toMatch(/no way to the root/);
	});

	test("whose total is not the sum is found out, whatever vector it is and whatever is projected", () => {
		const sums = sumsOf(4);
		const own = sums[0] as (typeof sums)[number];
		const { addition } = add(sums, SHAPE);
		fc.assert(
			fc.property(
				fc.array(fc.integer({ min: 0, max: 4095 }), { minLength: 13, maxLength: 13 }),
				fc.boolean(),
				(values, hides) => {
					const wrong = packRing(Uint32Array.from(values), SHAPE.modulusBits);
					const total = nameOf(wrong, addition.total.survivors);
					if (total.sumHash.every((byte, i) => byte === addition.total.sumHash[i])) return;
					// A liar may state any projections: of the wrong total its true ones, or ones that fit the parts.
					const forged = { ...addition, total };
					const flaw = additionFlaw(
						hides ? forged : { ...forged, totalProjection: addition.totalProjection },
						own,
						wrong,
						SHAPE,
					);
					expect(flaw).toBeDefined();
				},
			),
			{ numRuns: 50, seed: 4 },
		);
	});

	test("takes no more parts than it is made for, and no other vectors", () => {
		expect(() => add(sumsOf(FAN_IN + 1), SHAPE)).toThrow(/1 to 16/);
		expect(() => add([{ packed: new Uint8Array(3), survivors: 1 }], SHAPE)).toThrow(/13 values/);
		expect(() => combine([], SHAPE)).toThrow(/No cohort/);
	});
});

describe("dealing", () => {
	const members = Array.from({ length: 2000 }, (_, i) => `peer-${String(i).padStart(4, "0")}`);
	const rules = {
		members,
		corruption: 200,
		cohortSize: 500,
		toleratedDropout: 0.1,
		seed: new Uint8Array(32).fill(3),
	};

	test("puts everybody into one cohort, by the beacon alone", () => {
		const cohorts = dealCohorts(rules);
		expect(cohorts.map(({ electorate }) => electorate.members.length)).toEqual([500, 500, 500, 500]);
		expect(cohorts.flatMap(({ electorate }) => electorate.members).toSorted()).toEqual(members);
		expect(dealingHash(dealCohorts(rules))).toEqual(dealingHash(cohorts));
		const other = dealCohorts({ ...rules, seed: new Uint8Array(32) });
		expect(dealingHash(other)).not.toEqual(dealingHash(cohorts));
		expect(other[0]?.electorate.members).not.toEqual(cohorts[0]?.electorate.members);
	});

	test("assumes more corruption in a cohort than its share, as chance may have it", () => {
		const [cohort] = dealCohorts(rules);
		expect(cohort?.electorate.corruption).toBeGreaterThan(50);
		expect(cohort?.electorate.corruption).toBeLessThan(150);
		expect(cohort?.electorate.members).toContain(cohort?.coordinator);
		expect(cohort?.parameters.graph).toBe("ring");
	});

	test.each([
		["too small for its corruption", { cohortSize: 60 }, /make cohorts larger/],
		["of two", { cohortSize: 2 }, /cohorts of 2/],
		["of fractions", { cohortSize: 10.5 }, /cohorts of 10.5/],
	])("into cohorts %s is refused", (_, change, message) => {
		expect(() => dealCohorts({ ...rules, corruption: 600, ...change })).toThrow(message);
	});
});
