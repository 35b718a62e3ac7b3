import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { sha256 } from "../../../crypto/hash.ts";
import { mix } from "../../../src/gossip/mixing.ts";
import { drawTopology, neighboursOf } from "../../../src/gossip/topology.ts";

const WIDE = 1e6;

describe("mixing", () => {
	it("is the weighted average where nothing is clipped", () => {
		const { parameters, distances } = mix(
			Float32Array.of(0, 0),
			[
				{ weight: 0.25, parameters: Float32Array.of(4, 0) },
				{ weight: 0.5, parameters: Float32Array.of(0, 3) },
			],
			WIDE,
		);
		expect([...parameters]).toEqual([1, 1.5]);
		expect(distances).toEqual([4, 3]);
	});

	it("keeps our model where no neighbour is there", () => {
		expect([...mix(Float32Array.of(1, 2), [], WIDE).parameters]).toEqual([1, 2]);
	});

	it("lets a neighbour move us by at most its weight times the radius, whatever it sends", () => {
		fc.assert(
			fc.property(
				fc.array(fc.float({ noNaN: true, noDefaultInfinity: true }), { minLength: 3, maxLength: 3 }),
				fc.double({ min: 0.01, max: 0.5, noNaN: true }),
				(sent, weight) => {
					const own = Float32Array.of(1, -2, 3);
					const { parameters } = mix(own, [{ weight, parameters: Float32Array.from(sent) }], 2);
					const moved = Math.hypot(...parameters.map((value, i) => value - own[i]!));
					expect(moved).toBeLessThanOrEqual(weight * 2 + 1e-6);
				},
			),
		);
	});

	it.each([
		["another length", Float32Array.of(1)],
		["a value that is no number", Float32Array.of(1, Number.NaN)],
		["an infinite value", Float32Array.of(Number.POSITIVE_INFINITY, 0)],
	])("refuses %s", (_, parameters) => {
		expect(() => mix(Float32Array.of(0, 0), [{ weight: 0.5, parameters }], WIDE)).toThrowError(
			expect.objectContaining({ code: "gossip.bad_model" }),
		);
	});

	it("brings all models together at the rate of the spectral gap, and keeps their mean", () => {
		const count = 30;
		const participants = Array.from({ length: count }, (_, index) => `p${String(index).padStart(2, "0")}`);
		const topology = drawTopology(participants, 4, { jobId: "job", beacon: sha256(Uint8Array.of(7)) });
		let models = participants.map((_, index) => Float32Array.of(Math.sin(index), index % 3, -index));
		const mean = (coordinate: number) =>
			models.reduce((sum, model) => sum + model[coordinate]!, 0) / models.length;
		const spread = () => {
			const center = [0, 1, 2].map(mean);
			return Math.sqrt(
				models.reduce((sum, model) => sum + center.reduce((s, c, i) => s + (model[i]! - c) ** 2, 0), 0),
			);
		};
		const [start, before] = [[0, 1, 2].map(mean), spread()];
		const rounds = 20;
		for (let round = 0; round < rounds; round++) {
			models = participants.map((self, index) => {
				const received = neighboursOf(topology, self).map(({ peer, weight }) => ({
					weight,
					parameters: models[participants.indexOf(peer)]!,
				}));
				return mix(models[index]!, received, WIDE).parameters;
			}) as typeof models;
		}
		// The eigenvalue is known from below within a per cent.
		expect(spread()).toBeLessThanOrEqual(before * (1.01 * (1 - topology.spectralGap)) ** rounds + 1e-4);
		for (const [coordinate, value] of start.entries()) expect(mean(coordinate)).toBeCloseTo(value, 3);
	});
});
