import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256 } from "../../../crypto/hash.ts";
import { drawTopology, neighboursOf, type Topology } from "../../../src/gossip/topology.ts";

const names = (count: number) =>
	Array.from({ length: count }, (_, index) => `peer-${String(index).padStart(4, "0")}`);
const draw = (count: number, degree: number, seed = 1) =>
	drawTopology(names(count), degree, { jobId: "job", beacon: sha256(Uint8Array.of(seed)) });

/** The mixing matrix, whole. */
function matrixOf(topology: Topology): number[][] {
	const { participants } = topology;
	return participants.map((self) => {
		const row = participants.map(() => 0);
		let rest = 1;
		for (const { peer, weight } of neighboursOf(topology, self)) {
			row[participants.indexOf(peer)] = weight;
			rest -= weight;
		}
		row[participants.indexOf(self)] = rest;
		return row;
	});
}

/** All eigenvalues of a symmetric matrix, by Jacobi's rotations: another way than the code's. */
function eigenvaluesForTests(matrix: number[][]): number[] {
	const a = matrix.map((row) => [...row]);
	const n = a.length;
	for (let sweep = 0; sweep < 60; sweep++) {
		for (let p = 0; p < n; p++) {
			for (let q = p + 1; q < n; q++) {
				if (Math.abs(a[p]![q]!) < 1e-15) continue;
				const theta = (a[q]![q]! - a[p]![p]!) / (2 * a[p]![q]!);
				const t = Math.sign(theta || 1) / (Math.abs(theta) + Math.sqrt(theta * theta + 1));
				const c = 1 / Math.sqrt(t * t + 1);
				const s = t * c;
				for (let k = 0; k < n; k++) {
					const [kp, kq] = [a[k]![p]!, a[k]![q]!];
					a[k]![p] = c * kp - s * kq;
					a[k]![q] = s * kp + c * kq;
				}
				for (let k = 0; k < n; k++) {
					const [pk, qk] = [a[p]![k]!, a[q]![k]!];
					a[p]![k] = c * pk - s * qk;
					a[q]![k] = s * pk + c * qk;
				}
			}
		}
	}
	return a.map((row, i) => row[i]!);
}

describe("a drawn topology", () => {
	it("is symmetric, of bounded degree, connected, and doubly stochastic, whatever the beacon", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 2, max: 40 }),
				fc.constantFrom(2, 4, 6),
				fc.nat({ max: 255 }),
				(count, degree, seed) => {
					const topology = draw(count, degree, seed);
					const { neighbours } = topology;
					neighbours.forEach((others, one) => {
						expect(others).not.toContain(one);
						expect(others.length).toBeLessThanOrEqual(Math.min(degree, count - 1));
						for (const other of others) expect(neighbours[other]).toContain(one);
					});
					const reached = new Set([0]);
					for (const one of reached) for (const other of neighbours[one]!) reached.add(other);
					expect(reached.size).toBe(count);
					const matrix = matrixOf(topology);
					for (let i = 0; i < count; i++) {
						expect(matrix[i]![i]).toBeGreaterThan(0);
						expect(matrix.reduce((sum, row) => sum + row[i]!, 0)).toBeCloseTo(1, 12);
						for (let j = 0; j < count; j++) expect(matrix[i]![j]).toBe(matrix[j]![i]);
					}
				},
			),
			{ numRuns: 25 },
		);
	});

	it("is the same for everybody, in whatever order they are named, and another under another beacon", () => {
		const participants = names(20);
		const options = { jobId: "job", beacon: sha256(Uint8Array.of(1)) };
		const one = drawTopology(participants, 4, options);
		expect(drawTopology(participants.toReversed(), 4, options)).toEqual(one);
		expect(draw(20, 4, 2).neighbours).not.toEqual(one.neighbours);
		expect(drawTopology(participants, 4, { ...options, jobId: "other" }).neighbours).not.toEqual(
			one.neighbours,
		);
	});

	it.each([
		[5, 4],
		[12, 2],
		[16, 4],
		[25, 6],
	])("states the spectral gap of its matrix (%i participants, degree %i)", (count, degree) => {
		const topology = draw(count, degree);
		const eigenvalues = eigenvaluesForTests(matrixOf(topology))
			.map(Math.abs)
			.sort((a, b) => b - a);
		expect(eigenvalues[0]).toBeCloseTo(1, 9);
		expect(1 - topology.spectralGap).toBeLessThanOrEqual(eigenvalues[1]! + 1e-9);
		expect(1 - topology.spectralGap).toBeGreaterThan(eigenvalues[1]! * 0.99 - 1e-9);
	});

	it("is an expander: its gap stays when there are many participants, as a ring's does not", () => {
		expect(draw(400, 6).spectralGap).toBeGreaterThan(0.15);
		expect(draw(400, 2).spectralGap).toBeLessThan(0.01);
	});

	it("has everybody with everybody where there are few", () => {
		const topology = draw(5, 4);
		for (const others of topology.neighbours) expect(others.length).toBe(4);
		// All weights 1/5: one exchange gives the mean.
		expect(topology.spectralGap).toBeCloseTo(1, 12);
	});

	it("is refused for an odd degree, one participant, twice the same, and a stranger has no place in it", () => {
		const options = { jobId: "job", beacon: new Uint8Array(32) };
		for (const [who, degree] of [
			[names(9), 3],
			[names(9), 0],
			[names(1), 2],
			[["a", "b", "a"], 2],
		] as const)
			expect(() => drawTopology(who, degree, options)).toThrowError(
				expect.objectContaining({ code: "gossip.bad_topology" }),
			);
		expect(() => neighboursOf(draw(9, 4), "stranger")).toThrowError(/not in the topology/);
	});
});
