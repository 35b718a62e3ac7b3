/**
 * A process of its own for the memory of one kind of step: MODEL BACKEND KIND BATCH STEPS. Prints, as
 * JSON, the resident megabytes (10^6 bytes) before the first step and the most there ever were.
 */
import type { BackendName } from "../src/learning/trainer.ts";
import { type ModelName, prepareSteps, type StepKind } from "./dpsgdStep.ts";

const [, , model, backend, kind, batch, steps] = process.argv;
const { step } = await prepareSteps(model as ModelName, backend as BackendName, Number(batch));
const before = process.memoryUsage.rss();
for (let i = 0; i < Number(steps); i++) await step(kind as StepKind);
// maxRSS is in units of 1024 bytes.
const peak = process.resourceUsage().maxRSS * 1024;
console.log(JSON.stringify({ before: before / 1e6, peak: peak / 1e6 }));
