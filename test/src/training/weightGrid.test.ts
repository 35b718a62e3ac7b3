import { describe, expect, it } from "vitest";
import { planTraining } from "../../../src/training/plan.ts";
import { digitsJob } from "./federation.ts";

const NONE = { mechanism: "none" };
const AT_THE_SITE = { mechanism: "site_gaussian", epsilon: 8, delta: 1e-6, samplingRate: 0.1 };
const MEAN = { robustness: { mode: "none" } };
const LOCAL = { algorithm: "fedavg", rounds: 4, expectedBatch: undefined };

function encodingFor(participants: number, overrides: object) {
	const spec = digitsJob({ training: LOCAL, ...overrides });
	const who = { participants, corruption: 1, minimumSurvivors: participants - 1 };
	return { spec, ...planTraining(spec, who) };
}

describe("the grid of updates that carry no shares of noise", () => {
	it("is as fine as the ring has room for, whatever the cohort", () => {
		for (const participants of [3, 5, 17, 100])
			for (const privacy of [NONE, AT_THE_SITE]) {
				const { encoding } = encodingFor(participants, { ...MEAN, privacy });
				expect(encoding.modulusBits).toBe(32);
				expect(participants * encoding.coordinateBound).toBeLessThan(2 ** 31);
				// A site's own noise keeps some of it free.
				const least = privacy === NONE ? 2 ** 30 - participants : 2 ** 29;
				expect(participants * encoding.coordinateBound).toBeGreaterThanOrEqual(least);
			}
	});

	it("leaves room for the projections of inputs that are screened", () => {
		const { encoding, spec } = encodingFor(5, { privacy: NONE, robustness: { mode: "norm_bound" } });
		expect(64 * encoding.scale * spec.aggregation.updateNormBound).toBeLessThan(2 ** 31);
		expect(64 * encoding.scale * spec.aggregation.updateNormBound).toBeGreaterThan(2 ** 29);
	});

	it("does not round away what a site of ten records sends", () => {
		const { encoding, spec, parameterCount } = encodingFor(5, { ...MEAN, privacy: NONE });
		// Its update is at the norm bound and weighs 10 of 100,000.
		const sentNorm = (spec.aggregation.updateNormBound * 10) / 100_000;
		const roundingNorm = Math.sqrt(parameterCount / 12) / encoding.scale;
		expect(roundingNorm / sentNorm).toBeLessThan(2e-3);
	});
});
