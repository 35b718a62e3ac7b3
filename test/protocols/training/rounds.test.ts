import { describe, expect, test } from "vitest";
import { JobSimulation } from "./jobSimulation.ts";

describe("without failures", () => {
	for (const members of [4, 5, 7, 12]) {
		test(`${members} participants finish every round with everybody's contribution`, () => {
			const job = new JobSimulation({ members, rounds: 3 });
			job.run(60_000);
			for (const { survivors, attempt } of job.check()) {
				expect(survivors).toEqual(job.peers);
				expect(attempt).toBe(0);
			}
		});
	}
});
