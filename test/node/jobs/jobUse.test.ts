import { expect, it } from "vitest";
import { JobUses } from "../../../node/jobs/jobUse.ts";

it("what jobs take of the threads is counted for each, failures included, until they end", async () => {
	const uses = new JobUses();
	const gate = Promise.withResolvers<string>();
	const waiting = uses.count("a", (onMeasured) => {
		onMeasured({ waitedMs: 2000, ranMs: 500 });
		return gate.promise;
	});
	await expect(uses.count("b", () => Promise.reject(new Error("no thread")))).rejects.toThrow("no thread");
	await uses.count("a", async (onMeasured) => onMeasured({ waitedMs: 100, ranMs: 1500 }));
	const a = { job: "a", tasks: 2, threadSeconds: 2, longestWaitSeconds: 2 };
	const b = { job: "b", outstanding: 0, tasks: 0, threadSeconds: 0, longestWaitSeconds: 0 };
	expect(uses.all()).toEqual([{ ...a, outstanding: 1 }, b]);
	gate.resolve("done");
	expect(await waiting).toBe("done");
	uses.forget("b");
	expect(uses.all()).toEqual([{ ...a, outstanding: 0 }]);
});
