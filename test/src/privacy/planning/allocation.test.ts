import { describe, expect, it } from "vitest";
import { epsilonBounds } from "../../../../src/privacy/accounting/accountant.ts";
import { calibrate } from "../../../../src/privacy/accounting/calibration.ts";
import { type Allocation, allocate, type Strategy } from "../../../../src/privacy/planning/allocation.ts";
import { eventOfPhases, type Phase } from "../../../../src/privacy/planning/phases.ts";
import { seededRandomForTests } from "../../../../testnet/simulate/seededRandom.ts";

const TARGET = { epsilon: 2, delta: 1e-6 };

function phase(overrides: Partial<Phase> = {}): Phase {
	return { name: "phase", rounds: 1, samplingProbability: 1, sensitivity: 1, weight: 1, ...overrides };
}

const rounds = Array.from({ length: 8 }, (_, i) => phase({ name: `round ${i}` }));
const strategies: Strategy[] = [
	{ kind: "uniform" },
	{ kind: "increasing" },
	{ kind: "decreasing" },
	{ kind: "geometric", ratio: 1.3 },
	{ kind: "sensitivityProportional" },
	{ kind: "optimal" },
];

const multipliers = (allocation: Allocation) =>
	allocation.phases.map(({ noiseMultiplier }) => noiseMultiplier);

describe("an allocation", () => {
	it.each(strategies)("spends the target and not more: $kind", (strategy) => {
		const phases = [...rounds, phase({ sensitivity: 3, weight: 2, rounds: 4 })];
		const allocation = allocate({ ...TARGET, phases, strategy });
		const spent = epsilonBounds(eventOfPhases(phases, multipliers(allocation)), TARGET.delta).upper;
		expect(allocation.epsilon).toBe(spent);
		expect(spent).toBeLessThanOrEqual(TARGET.epsilon);
		expect(spent).toBeGreaterThan(TARGET.epsilon * 0.9999);
	});

	it("has the shape of its strategy", () => {
		const of = (strategy: Strategy) => multipliers(allocate({ ...TARGET, phases: rounds, strategy }));
		const uniform = of({ kind: "uniform" });
		expect(Math.max(...uniform)).toBeCloseTo(Math.min(...uniform), 12);
		const increasing = of({ kind: "increasing" });
		expect(increasing).toEqual(increasing.toSorted((a, b) => b - a));
		// rho grows linearly: 1/z^2 in the last round is 8 times that of the first.
		expect((increasing[0]! / increasing[7]!) ** 2).toBeCloseTo(8, 9);
		expect(of({ kind: "decreasing" })).toEqual(increasing.toReversed().map((z) => expect.closeTo(z, 9)));
		const geometric = of({ kind: "geometric", ratio: 4 });
		expect(geometric[2]! / geometric[3]!).toBeCloseTo(2, 9);
	});

	it("refuses plans that are none", () => {
		expect(() => allocate({ ...TARGET, phases: [], strategy: { kind: "uniform" } })).toThrowError(/no phase/);
		const bad = [phase({ rounds: 0 })];
		expect(() => allocate({ ...TARGET, phases: bad, strategy: { kind: "uniform" } })).toThrowError(
			/0 rounds/,
		);
		expect(() =>
			allocate({ ...TARGET, phases: rounds, strategy: { kind: "geometric", ratio: 0 } }),
		).toThrowError(/ratio/);
		expect(() =>
			allocate({ ...TARGET, epsilon: 0, phases: rounds, strategy: { kind: "uniform" } }),
		).toThrowError(/target epsilon/);
	});
});

describe("the optimal allocation", () => {
	const named = [
		phase({ name: "a", rounds: 3, sensitivity: 1, weight: 1 }),
		phase({ name: "b", rounds: 5, sensitivity: 2, weight: 9 }),
		phase({ name: "c", rounds: 2, sensitivity: 0.5, weight: 0.1 }),
	];

	it("is the closed form without sampling: rho proportional to S sqrt(w)", () => {
		const z = multipliers(allocate({ ...TARGET, phases: named, strategy: { kind: "optimal" } }));
		const rho = z.map((value) => 1 / value ** 2);
		const wanted = named.map(({ sensitivity, weight }) => sensitivity * Math.sqrt(weight));
		for (const i of [1, 2]) expect(rho[i]! / rho[0]! / (wanted[i]! / wanted[0]!)).toBeCloseTo(1, 4);
	});

	it("loses less than every other strategy", () => {
		const loss = (strategy: Strategy) => allocate({ ...TARGET, phases: named, strategy }).loss;
		for (const strategy of strategies) {
			expect(loss({ kind: "optimal" })).toBeLessThanOrEqual(loss(strategy) * (1 + 1e-6));
		}
		expect(loss({ kind: "optimal" })).toBeLessThan(loss({ kind: "uniform" }) * 0.9);
	});

	it.each([
		["without sampling", named, 1e-6],
		[
			"with different sampling",
			[
				phase({ name: "a", rounds: 50, samplingProbability: 0.02, weight: 1 }),
				phase({ name: "b", rounds: 10, samplingProbability: 0.2, weight: 4 }),
				phase({ name: "c", rounds: 2, weight: 0.5 }),
			],
			0.01,
		],
	])("is not beaten by its neighbours at the same epsilon, %s", (_, phases, tolerance) => {
		const best = allocate({ ...TARGET, phases, strategy: { kind: "optimal" } });
		const random = seededRandomForTests(1);
		for (let trial = 0; trial < 12; trial++) {
			const direction = multipliers(best).map((z) => z * Math.exp(0.3 * (random() - 0.5)));
			const eventOf = (factor: number) =>
				eventOfPhases(
					phases,
					direction.map((z) => factor * z),
				);
			const scale = calibrate({ ...TARGET, eventOf });
			const loss = phases.reduce(
				(sum, { rounds: count, sensitivity, weight }, i) =>
					sum + count * weight * (scale * direction[i]! * sensitivity) ** 2,
				0,
			);
			expect(loss).toBeGreaterThanOrEqual(best.loss * (1 - tolerance));
		}
	});

	it("serves any convex loss: one that saturates puts noise where it no longer hurts", () => {
		// Phase b hurts with the square of the variance, a linearly.
		const phases = [phase({ name: "a" }), phase({ name: "b" })];
		const loss = (variance: number, { name }: Phase) => (name === "a" ? variance : variance ** 2);
		const [a, b] = multipliers(allocate({ ...TARGET, phases, strategy: { kind: "optimal" }, loss }));
		expect(b!).toBeLessThan(a!);
		// At the optimum the exchange rates agree: L'(v) v^2 is the same in both (rho = 1 / 2v).
		expect((a! ** 4 * 1) / (2 * b! ** 6)).toBeCloseTo(1, 3);
	});
});
