import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { toeplitzSensitivitySquared } from "../../../../src/privacy/accounting/matrixMechanism.ts";
import { type DecoderState, decodeRound } from "../../../../src/privacy/correlatedNoise/decoder.ts";
import { type CorrelationHistory, combine } from "../../../../src/privacy/correlatedNoise/encoder.ts";
import { participationSlots, rowsOfRound } from "../../../../src/privacy/correlatedNoise/participation.ts";
import {
	type CorrelationStrategy,
	correlationStrategy,
	participationReach,
} from "../../../../src/privacy/correlatedNoise/strategy.ts";

const strategies = fc
	.record({
		kind: fc.constantFrom("tree" as const, "banded" as const),
		minimumSeparation: fc.integer({ min: 2, max: 20 }),
		bands: fc.integer({ min: 1, max: 20 }),
	})
	.map((request) =>
		correlationStrategy({ ...request, bands: Math.min(request.bands, request.minimumSeparation) }),
	);

/** The matrix C as the encoder applies it: column j is what a unit sum in round j leads to. */
function matrixOf(strategy: CorrelationStrategy, rounds: number): number[][] {
	let history: CorrelationHistory | undefined;
	return Array.from({ length: rounds }, (_, round) => {
		const unit = new Float64Array(rounds);
		unit[round] = 1;
		const combined = combine(strategy, history, round, unit);
		({ history } = combined);
		return [...combined.values];
	});
}

describe("correlated noise", () => {
	it("decodes what was combined: without noise the rounds' sums come back", () => {
		fc.assert(
			fc.property(
				strategies,
				fc.array(fc.integer({ min: -1000, max: 1000 }), { maxLength: 60 }),
				(strategy, sums) => {
					let history: CorrelationHistory | undefined;
					let state: DecoderState = [];
					for (const [round, value] of sums.entries()) {
						const combined = combine(strategy, history, round, Float64Array.of(value, -value));
						({ history } = combined);
						const decoded = decodeRound(strategy, state, round, combined.values);
						state = decoded.state;
						expect(decoded.estimate[0]).toBeCloseTo(value, 6);
						expect(decoded.estimate[1]).toBeCloseTo(-value, 6);
					}
				},
			),
		);
	});

	it("keeps every participation of a record within the column norm and the releases it is planned with", () => {
		fc.assert(
			fc.property(strategies, fc.nat(19), (strategy, place) => {
				const { minimumSeparation } = strategy;
				const rounds = 3 * minimumSeparation + 1;
				const matrix = matrixOf(strategy, rounds);
				const { columnNorm, releases, rowSum } = participationReach(strategy);
				const mine = Array.from({ length: rounds }, (_, round) => round).filter(
					(round) => round % minimumSeparation === place % minimumSeparation,
				);
				// One participation a cycle, all of them in the worst direction.
				const changes = matrix.map((row) => mine.reduce((sum, round) => sum + row[round]!, 0));
				const squared = changes.reduce((sum, change) => sum + change ** 2, 0);
				expect(squared).toBeLessThanOrEqual(mine.length * columnNorm ** 2 + 1e-9);
				expect(changes.filter((change) => change !== 0).length).toBeLessThanOrEqual(mine.length * releases);
				for (const row of matrix)
					expect(row.reduce((sum, value) => sum + value, 0)).toBeLessThanOrEqual(rowSum + 1e-9);
			}),
		);
	});

	it("costs by the band formula what the published sensitivity says, and the tree its levels", () => {
		for (const minimumSeparation of [2, 7, 16]) {
			const banded = correlationStrategy({ kind: "banded", minimumSeparation });
			const sensitivity = toeplitzSensitivitySquared(banded.coefficients, {
				steps: 3 * minimumSeparation,
				minSeparation: minimumSeparation,
				maxParticipations: 3,
			});
			expect(3 * participationReach(banded).columnNorm ** 2).toBeCloseTo(sensitivity, 9);
		}
		expect(participationReach(correlationStrategy({ kind: "tree", minimumSeparation: 16 })).columnNorm).toBe(
			Math.sqrt(5),
		);
	});

	it("leaves less noise in running sums than independent noise of the same cost", () => {
		const rounds = 64;
		for (const kind of ["tree", "banded"] as const) {
			const strategy = correlationStrategy({ kind, minimumSeparation: rounds, bands: rounds });
			// Decoding unit impulses gives C^-1, whose running column sums are the prefix noise.
			let worst = 0;
			const prefixes = new Float64Array(rounds);
			let state: DecoderState = [];
			for (let round = 0; round < rounds; round++) {
				const impulse = new Float64Array(rounds);
				impulse[round] = 1;
				const decoded = decodeRound(strategy, state, round, impulse);
				state = decoded.state;
				decoded.estimate.forEach((value, i) => {
					prefixes[i]! += value;
				});
				worst = Math.max(
					worst,
					prefixes.reduce((sum, value) => sum + value ** 2, 0),
				);
			}
			const deviation = Math.sqrt(worst) * participationReach(strategy).columnNorm;
			expect(deviation).toBeLessThan(kind === "tree" ? 0.85 * Math.sqrt(rounds) : 0.4 * Math.sqrt(rounds));
		}
	});

	it("combines fewer terms, never others, for a site that was away", () => {
		fc.assert(
			fc.property(
				strategies,
				fc.array(fc.boolean(), { minLength: 30, maxLength: 60 }),
				(strategy, present) => {
					const rounds = present.length;
					const whole = matrixOf(strategy, rounds);
					let history: CorrelationHistory | undefined;
					for (const [round, there] of present.entries()) {
						if (!there) continue;
						const unit = new Float64Array(rounds);
						unit[round] = 1;
						const { values, participations, ...next } = combine(strategy, history, round, unit);
						({ history } = next);
						values.forEach((value, j) => {
							expect(value).toBe(present[j] ? whole[round]![j] : 0);
							if (value !== 0)
								expect(participations).toContain(
									`${history!.name}/${Math.floor(j / strategy.minimumSeparation)}`,
								);
						});
					}
				},
			),
		);
	});

	it("begins a history of another name, with nothing of the first, when a round is combined again", () => {
		for (const kind of ["tree", "banded"] as const) {
			const strategy = correlationStrategy({ kind, minimumSeparation: 4 });
			const first = combine(strategy, undefined, 2, Float64Array.of(1));
			const second = combine(strategy, first.history, 3, Float64Array.of(10));
			expect(second.history.name).toBe(first.history.name);
			expect(second.participations).toEqual(first.participations);
			const again = combine(strategy, second.history, 3, Float64Array.of(10));
			expect(again.values).toEqual(Float64Array.of(10));
			expect(again.participations).not.toEqual(first.participations);
		}
	});

	it("refuses bands that would let a record's rounds overlap", () => {
		expect(() => correlationStrategy({ kind: "banded", minimumSeparation: 4, bands: 5 })).toThrowError(
			/reach/,
		);
		expect(() => correlationStrategy({ kind: "tree", minimumSeparation: 1 })).toThrowError(/at least 2/);
	});
});

describe("participation", () => {
	const dataset = (rows: readonly number[]) => ({
		features: Float32Array.from(rows),
		labels: new Float32Array(rows.length),
		rows: rows.length,
		columns: ["x"],
		labelNames: [],
	});
	const key = new Uint8Array(32).fill(7);

	it("is one round of each cycle, whoever else is there", () => {
		const rows = Array.from({ length: 500 }, (_, i) => i * 0.5);
		const slots = participationSlots(dataset(rows), key, 5);
		for (let cycle = 0; cycle < 2; cycle++) {
			const seen = Array.from({ length: 5 }, (_, i) => [...rowsOfRound(slots, 5, 5 * cycle + i)]).flat();
			expect(seen.sort((a, b) => a - b)).toEqual(rows.map((_, i) => i));
		}
		const without = participationSlots(dataset(rows.slice(1)), key, 5);
		expect([...without]).toEqual([...slots.slice(1)]);
		// All five places are used: one of them empty has probability 5 (4/5)^500 < 1e-47.
		expect(new Set(slots).size).toBe(5);
	});

	it("differs from site to site", () => {
		const rows = Array.from({ length: 64 }, (_, i) => i);
		const other = participationSlots(dataset(rows), new Uint8Array(32).fill(8), 8);
		expect([...other]).not.toEqual([...participationSlots(dataset(rows), key, 8)]);
	});
});
