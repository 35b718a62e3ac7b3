/** Who was asked to contribute to the last rounds of a job that asks a part of its participants. */
import type { JobDetail } from "../rpc/services.ts";
import type { Output } from "./output.ts";
import { table } from "./text.ts";

/** Rounds that are shown; `--json` has all of them. */
const LAST_ROUNDS = 10;

/** @returns nothing for a job that asks everybody, or has no round yet */
export function selectionText(job: JobDetail, out: Output): string[] {
	if (job.spec.selection === undefined || job.history.length === 0) return [];
	const organizations = new Map(job.participants.map(({ peer, organization }) => [peer, organization]));
	const names = (peers: readonly string[]) => peers.map((peer) => organizations.get(peer) ?? peer).join(", ");
	const rows = job.history.slice(-LAST_ROUNDS).map(({ round, cohort, survivors }) => {
		const missing = cohort.filter((peer) => !survivors.includes(peer));
		return [round, names(cohort), missing.length === 0 ? undefined : names(missing)];
	});
	return [table(["ROUND", "ASKED", "NOT IN THE SUM"], rows, "", out.colors.bold)];
}
