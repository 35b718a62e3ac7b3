import { describe, expect, it } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { endsJobHere, ownFailureIn } from "../../../node/jobs/jobRuntime.ts";
import { describeError, restoreError } from "../../../node/workers/messages.ts";
import { applyGradient, initialOptimizerState } from "../../../src/learning/optimizer.ts";

function applyFailed(cause: unknown): AlthingError {
	return new AlthingError("training.apply_failed", "a verified sum could not be applied", {}, { cause });
}

describe("an error of training", () => {
	it("ends the job alone where the model would not be finite, as it comes from a worker", () => {
		const settings = { learningRate: 1, momentum: 0 };
		let thrown: unknown;
		try {
			const gradient = Float64Array.of(1e300);
			applyGradient(settings, initialOptimizerState(settings, 1), new Float32Array(1), gradient);
		} catch (error) {
			thrown = restoreError(describeError(error));
		}
		expect(ownFailureIn(applyFailed(thrown))).toMatchObject({ code: "learning.not_finite" });
	});

	it("ends the job alone where its computation exceeded its time or memory", () => {
		for (const code of ["workers.timeout", "workers.memory"]) {
			const thrown = new AlthingError(code, "too much");
			expect(ownFailureIn(applyFailed(thrown))).toBe(thrown);
			expect(ownFailureIn(thrown)).toBeUndefined();
		}
	});

	it("is tried again where a contribution was late, and not where it took too much memory", () => {
		expect(endsJobHere("workers.memory")).toBe(true);
		for (const code of ["workers.timeout", "workers.crashed", "budget.exceeded", "data.changed"])
			expect(endsJobHere(code)).toBe(false);
	});

	it("is not taken for the job's own where a worker is lost, or a promise cannot be written", () => {
		expect(ownFailureIn(applyFailed(new AlthingError("workers.crashed", "gone")))).toBeUndefined();
		expect(ownFailureIn(applyFailed(new Error("unknown")))).toBeUndefined();
		expect(ownFailureIn(new AlthingError("learning.not_finite", "elsewhere"))).toBeUndefined();
		expect(ownFailureIn(new Error("disk full"))).toBeUndefined();
	});
});
