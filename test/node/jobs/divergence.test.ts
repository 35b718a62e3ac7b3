import { describe, expect, it } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { divergenceIn } from "../../../node/jobs/jobRuntime.ts";
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
		expect(divergenceIn(applyFailed(thrown))).toMatchObject({ code: "learning.not_finite" });
	});

	it("is not taken for divergence where a worker is lost, or a promise cannot be written", () => {
		expect(divergenceIn(applyFailed(new AlthingError("workers.crashed", "gone")))).toBeUndefined();
		expect(divergenceIn(applyFailed(new Error("unknown")))).toBeUndefined();
		expect(divergenceIn(new AlthingError("learning.not_finite", "elsewhere"))).toBeUndefined();
		expect(divergenceIn(new Error("disk full"))).toBeUndefined();
	});
});
