import { describe, expect, it } from "vitest";
import { planJob } from "../../../src/jobs/jobPlan.ts";
import { footprintBytes } from "../../../src/training/footprint.ts";
import { digitsJob, type Overrides } from "./federation.ts";

const MODEL = { kind: "multilayer_perceptron", hidden: [512, 512] };

function plannedFor(participants: number, overrides: Overrides) {
	const spec = digitsJob({ model: MODEL, ...overrides });
	return planJob(spec, { participants, corruption: 1, minimumSurvivors: participants - 1 });
}

function footprint(participants: number, overrides: Overrides, facts: { rows?: number } = {}): number {
	const { work } = plannedFor(participants, overrides);
	return footprintBytes(work, { rows: 1000, columns: 64, participants, ...facts });
}

describe("the memory that a job is said to take", () => {
	it("does not grow with the cohort where inputs are added up as they arrive", () => {
		const plain = { robustness: { mode: "none" } };
		// The ring grows by a bit or two with the cohort, and nothing else does.
		expect(footprint(100, plain) / footprint(20, plain)).toBeLessThan(1.2);
		// Below the inputs that wait at most, there are no more than participants.
		expect(footprint(3, plain)).toBeLessThan(footprint(10, plain));
	});

	it("has every input where they are screened, and every update where all see it", () => {
		const open = { privacy: { mechanism: "none" }, training: { expectedBatch: undefined } };
		const bounded = { ...open, robustness: { mode: "norm_bound" } };
		const inputs = (participants: number) => {
			const { length, modulusBits } = plannedFor(participants, bounded);
			return (participants * length * modulusBits) / 8;
		};
		expect(footprint(60, bounded) - footprint(20, bounded)).toBeGreaterThan(inputs(60) - inputs(20));
		const shown = { ...open, robustness: { mode: "clear", rule: "coordinate_median", attackers: 1 } };
		const values = 64 * 512 + 512 * 512 + 512 * 10 + 512 + 512 + 10;
		expect(footprint(20, shown) - footprint(10, shown)).toBeGreaterThan(10 * 4 * values);
	});

	it("has the records of the site", () => {
		const more = footprint(5, {}, { rows: 101_000 }) - footprint(5, {}, { rows: 1000 });
		expect(more).toBe(100_000 * 65 * 4);
	});
});
