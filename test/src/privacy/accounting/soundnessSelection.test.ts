import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { epsilonBounds } from "../../../../src/privacy/accounting/accountant.ts";
import { type PrivacyEvent, selfComposed } from "../../../../src/privacy/accounting/events.ts";
import { RDP_ORDERS, rdpOf } from "../../../../src/privacy/accounting/rdp.ts";

/** Law of the best of a Poisson number of randomized responses: nothing, the worse answer, the better one. */
function selectedLaw(meanTrials: number, better: number): readonly number[] {
	const none = Math.exp(-meanTrials);
	return [none, none * Math.expm1(meanTrials * (1 - better)), -Math.expm1(-meanTrials * better)];
}

function renyiDivergence(p: readonly number[], q: readonly number[], order: number): number {
	const logs = p.map((mass, i) => Math.log(mass) + (order - 1) * Math.log(mass / q[i]!));
	const largest = Math.max(...logs);
	return (largest + Math.log(logs.reduce((sum, log) => sum + Math.exp(log - largest), 0))) / (order - 1);
}

describe("selection among a Poisson number of runs, none included", () => {
	it("is bounded at every order, whatever the mean", () => {
		fc.assert(
			fc.property(
				fc.double({ min: Math.log(1e-3), max: Math.log(50), noNaN: true }),
				fc.double({ min: 0.01, max: 3, noNaN: true }),
				fc.boolean(),
				(logMean, epsilon, isBetterFirst) => {
					const meanTrials = Math.exp(logMean);
					const curve = rdpOf({
						kind: "repeatAndSelect",
						event: { kind: "pureDp", epsilon },
						meanTrials,
						shape: "poisson",
					});
					const truth = 1 / (1 + Math.exp(-epsilon));
					const laws = [selectedLaw(meanTrials, truth), selectedLaw(meanTrials, 1 - truth)] as const;
					const [p, q] = isBetterFirst ? laws : [laws[1], laws[0]];
					const margins = RDP_ORDERS.filter((order) => order <= 64).map(
						(order, i) => curve[i]! - renyiDivergence(p, q, order),
					);
					expect(Math.min(...margins)).toBeGreaterThanOrEqual(-1e-9);
				},
			),
			{ numRuns: 60 },
		);
	});

	it("costs something however rarely a run is made, and every time anew", () => {
		const rare: PrivacyEvent = {
			kind: "repeatAndSelect",
			event: { kind: "gaussian", noiseMultiplier: 2 },
			meanTrials: 0.1,
			shape: "poisson",
		};
		expect(Math.min(...rdpOf(rare))).toBeGreaterThan(0);
		// Of 1,000 selections 95 release something on average, and fewer than 40 hardly ever do.
		const hardlyEver = selfComposed({ kind: "gaussian", noiseMultiplier: 2 }, 40);
		expect(epsilonBounds(selfComposed(rare, 1000), 1e-6).upper).toBeGreaterThan(
			epsilonBounds(hardlyEver, 1e-5).lower,
		);
	});
});
