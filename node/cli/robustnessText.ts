/** What a training job does about wrong updates, in a line: what its file says, or what it got because it said nothing. */
import type { JobDetail } from "../rpc/services.ts";

const MEANINGS: Readonly<Record<string, string>> = {
	none: "the plain mean of what is sent: one participant can ruin the model",
	norm_bound: "every update is held to a public length",
	reputation: "every update is held to a public length, and who disagrees for rounds is left out",
	strict: "only those are summed whom a score over shared sketches selects",
	bucketed: "a robust rule over the means of buckets",
	clear: "every update is seen by all, and a rule judges them",
};

/** @returns undefined for a job that sums no updates */
export function robustnessText({ spec }: Pick<JobDetail, "spec">): string | undefined {
	const { robustness } = spec as { robustness?: { mode?: unknown } };
	const { mode } = robustness ?? {};
	if (typeof mode !== "string") return undefined;
	const meaning = MEANINGS[mode];
	return `Wrong updates (robustness ${mode})${meaning === undefined ? "" : `: ${meaning}`}`;
}
