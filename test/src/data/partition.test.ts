import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Dataset, gather } from "../../../src/data/dataset.ts";
import { splitHeldOut } from "../../../src/data/partition.ts";
import { poissonSample } from "../../../src/data/poissonSampling.ts";
import { dirichletPartitionForTestnets, seededRandomForTests } from "../../../src/data/testnetPartition.ts";

/** Rows [i, i^2] with label i mod 3. */
function table(rows: number): Dataset {
	return {
		features: Float32Array.from({ length: 2 * rows }, (_, i) => (i % 2 === 0 ? i / 2 : ((i - 1) / 2) ** 2)),
		labels: Float32Array.from({ length: rows }, (_, i) => i % 3),
		rows,
		columns: ["a", "b"],
		labelNames: ["x", "y", "z"],
	};
}

const key = new Uint8Array(32).fill(7);
const names = (dataset: Dataset): number[] => [...dataset.features].filter((_, i) => i % 2 === 0);

describe("splitHeldOut", () => {
	it("puts every record into exactly one part, about the asked share held out", () => {
		const { train, heldOut } = splitHeldOut(table(5000), key, 0.2);
		expect([...names(train), ...names(heldOut)].sort((a, b) => a - b)).toEqual(names(table(5000)));
		// Binomial(5000, 0.2): mean 1000, standard deviation 28.3; the key is fixed, so this never flickers.
		expect(Math.abs(heldOut.rows - 1000)).toBeLessThan(5 * 28.3);
		expect(splitHeldOut(table(50), key, 0).heldOut.rows).toBe(0);
	});

	it("never moves another record when one is added or removed", () => {
		const all = table(200);
		const { train, heldOut } = splitHeldOut(all, key, 0.3);
		fc.assert(
			fc.property(fc.integer({ min: 0, max: 199 }), (removed) => {
				const rest = gather(all, Int32Array.from([...Array(200).keys()].filter((i) => i !== removed)));
				const split = splitHeldOut(rest, key, 0.3);
				expect(names(split.train)).toEqual(names(train).filter((name) => name !== removed));
				expect(names(split.heldOut)).toEqual(names(heldOut).filter((name) => name !== removed));
			}),
			{ numRuns: 30 },
		);
	});

	it("depends on the site's key and on the label", () => {
		const other = splitHeldOut(table(300), new Uint8Array(32).fill(8), 0.5);
		const own = splitHeldOut(table(300), key, 0.5);
		expect(names(other.train)).not.toEqual(names(own.train));
		const relabelled = { ...table(300), labels: new Float32Array(300) };
		expect(names(splitHeldOut(relabelled, key, 0.5).train)).not.toEqual(names(own.train));
	});

	it("refuses a short key and a share out of range", () => {
		for (const run of [
			() => splitHeldOut(table(3), new Uint8Array(16), 0.2),
			() => splitHeldOut(table(3), key, 1),
			() => splitHeldOut(table(3), key, Number.NaN),
		]) {
			expect(run).toThrow(expect.objectContaining({ code: "data.bad_split" }));
		}
	});
});

describe("gather", () => {
	it("takes rows in order, repeated if asked, and refuses rows that are not there", () => {
		const taken = gather(table(5), Int32Array.of(4, 0, 4));
		expect(taken.features).toEqual(Float32Array.of(4, 16, 0, 0, 4, 16));
		expect(taken.labels).toEqual(Float32Array.of(1, 0, 1));
		expect(taken.rows).toBe(3);
		expect(gather(table(5), Int32Array.of()).rows).toBe(0);
		expect(() => gather(table(5), Int32Array.of(5))).toThrow(RangeError);
	});
});

/** Uniform words from the named seeded generator. */
function seededWords(seed: number): (target: Uint32Array) => void {
	const random = seededRandomForTests(seed);
	return (target) => {
		for (let i = 0; i < target.length; i++) target[i] = Math.floor(random() * 2 ** 32);
	};
}

describe("poissonSample", () => {
	it("takes each record with probability q and pairs independently", () => {
		// A fixed-size sampler has the right marginals too; only the size's variance and the pairs tell.
		const q = 0.3;
		const runs = 20_000;
		const words = seededWords(5);
		const taken = new Float64Array(4);
		let pairs = 0;
		let sizes = 0;
		let squares = 0;
		for (let run = 0; run < runs; run++) {
			const sample = new Set(poissonSample(4, q, words));
			for (const row of sample) taken[row]!++;
			if (sample.has(0) && sample.has(3)) pairs++;
			sizes += sample.size;
			squares += sample.size ** 2;
		}
		const error = (p: number): number => 5 * Math.sqrt((p * (1 - p)) / runs);
		for (const count of taken) expect(Math.abs(count / runs - q)).toBeLessThan(error(q));
		expect(Math.abs(pairs / runs - q * q)).toBeLessThan(error(q * q));
		const variance = squares / runs - (sizes / runs) ** 2;
		expect(Math.abs(variance - 4 * q * (1 - q))).toBeLessThan(0.05);
	});

	it("is ascending across blocks, everything at q = 1, compares all 53 bits", () => {
		const sample = poissonSample(20_000, 0.5);
		for (let i = 1; i < sample.length; i++) expect(sample[i]!).toBeGreaterThan(sample[i - 1]!);
		expect(sample.at(-1)).toBeGreaterThan(4096);
		expect(poissonSample(10_000, 1)).toEqual(Int32Array.from(Array(10_000).keys()));
		expect(poissonSample(0, 0.5)).toEqual(Int32Array.of());
		// The uniform just below and exactly at the threshold of q = 1/2.
		const at =
			(high: number, low: number) =>
			(target: Uint32Array): void => {
				target[0] = high;
				target[1] = low;
			};
		expect(poissonSample(1, 0.5, at(0x7fffffff, 0xffffffff)).length).toBe(1);
		expect(poissonSample(1, 0.5, at(0x80000000, 0)).length).toBe(0);
	});

	it("refuses a probability outside (0, 1] and a broken row count", () => {
		for (const [rows, q] of [
			[3, 0],
			[3, 1.1],
			[3, Number.NaN],
			[-1, 0.5],
			[1.5, 0.5],
		] as const) {
			expect(() => poissonSample(rows, q)).toThrow(expect.objectContaining({ code: "data.bad_sampling" }));
		}
	});
});

describe("dirichletPartitionForTestnets", () => {
	const labels = table(3000).labels;
	const request = { labels, sites: 5, concentration: 0.5, leastRows: 100, seed: 1 };

	it("deals every row to exactly one site, with the least size kept, the same on every run", () => {
		fc.assert(
			fc.property(fc.integer(), fc.integer({ min: 1, max: 20 }), (seed, sites) => {
				const parts = dirichletPartitionForTestnets({ ...request, seed, sites });
				expect(parts.flatMap((part) => [...part]).sort((a, b) => a - b)).toEqual([...labels.keys()]);
				expect(Math.min(...parts.map((part) => part.length))).toBeGreaterThanOrEqual(100);
			}),
			{ numRuns: 20 },
		);
		expect(dirichletPartitionForTestnets(request)).toEqual(dirichletPartitionForTestnets(request));
	});

	it("is uneven by label at a low concentration and nearly even at a high one", () => {
		const spread = (concentration: number): number => {
			const parts = dirichletPartitionForTestnets({ ...request, concentration, leastRows: 10 });
			const shares = parts.map((part) => part.filter((row) => labels[row] === 0).length / 1000);
			return Math.max(...shares) - Math.min(...shares);
		};
		expect(spread(0.3)).toBeGreaterThan(0.25);
		expect(spread(1e5)).toBeLessThan(0.02);
	});

	it("refuses more sites than the records can fill", () => {
		for (const bad of [{ sites: 31 }, { sites: 0 }, { concentration: 0 }]) {
			expect(() => dirichletPartitionForTestnets({ ...request, ...bad })).toThrow(
				expect.objectContaining({ code: "data.bad_split" }),
			);
		}
	});
});
