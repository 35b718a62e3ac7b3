/** Through the admin RPC, as people would do it: the federation is founded, the others invited and admitted. */
import { AlthingError } from "../crypto/error.ts";
import { selectionLeavesOut } from "../src/robustness/spectralSelection.ts";
import type { JobSpec } from "../src/training/jobSpec.ts";
import type { Daemon } from "./daemon.ts";
import { until } from "./deadline.ts";
import type { Reporter } from "./reporter.ts";

export const FEDERATION = "demo";
const ADMISSION_TIMEOUT_MS = 90_000;
const LINKS_TIMEOUT_MS = 60_000;

/**
 * Rules for a federation of this size: one member may always be away, of every cohort where the job has cohorts,
 * or left out by the job's robustness, and the job fits the privacy floor. Of cohorts as small as those here no
 * more than one member can be assumed corrupt.
 */
function rulesFor(members: number, job: JobSpec): Record<string, unknown> {
	const { privacy, robustness, aggregation } = job;
	const leftOut = leftOutBy(robustness);
	const summed = Math.min(aggregation.cohortSize ?? members, members);
	return {
		minimumCohort: Math.min(3, members),
		minimumSurvivorFraction: Math.min(0.8, (summed - leftOut) / summed),
		...(aggregation.cohortSize === undefined ? {} : { assumedCorruptFraction: 1 / members }),
		privacyFloor:
			privacy.mechanism === "none"
				? { requireDifferentialPrivacy: false, techniques: ["none"] }
				: { maximumEpsilon: Math.max(8, privacy.epsilon), techniques: [privacy.mechanism] },
	};
}

/** Members that a round may be without because of the job's robustness, or one that is away. */
function leftOutBy(robustness: JobSpec["robustness"]): number {
	if (robustness?.mode === "strict") return selectionLeavesOut(robustness.attackers);
	if (robustness?.mode === "reputation") return robustness.attackers;
	// An attacker that is found out may take the rest of its bucket with it.
	if (robustness?.mode === "bucketed") return robustness.attackers * robustness.bucketSize;
	return 1;
}

/** Founds the federation at the first node and brings the others in, all at once. */
export async function foundFederation(
	daemons: readonly Daemon[],
	job: JobSpec,
	reporter: Reporter,
	signal: AbortSignal,
): Promise<void> {
	const [founder, ...others] = daemons as [Daemon, ...Daemon[]];
	const { id } = await founder.client.call("federation.create", {
		name: FEDERATION,
		rules: rulesFor(daemons.length, job),
	});
	reporter.say(
		"federation.founded",
		`${founder.name} founded federation ${FEDERATION} (${id.slice(0, 12)}) and invites the others`,
		{
			organization: founder.name,
			federation: id,
		},
	);
	await Promise.all(
		others.map(async ({ name, client }) => {
			const { ticket } = await founder.client.call("federation.invite", { organization: name });
			await client.call("federation.join", { ticket });
		}),
	);
	await Promise.all(daemons.map((daemon) => untilAdmitted(daemon, daemons.length, signal)));
	const { charterVersion, quorum, corruption, mayBeDown } = await founder.client.call("federation.show", {});
	reporter.say(
		"federation.complete",
		`All ${daemons.length} are members (charter version ${charterVersion}): f = ${corruption}, quorum ${quorum}, ${mayBeDown} may be down`,
		{ members: daemons.length, charterVersion, corruption, quorum, mayBeDown },
	);
}

async function untilAdmitted(daemon: Daemon, members: number, signal: AbortSignal): Promise<void> {
	let known = "it knows of no federation yet";
	await until(
		async () => {
			try {
				const view = await daemon.client.call("federation.show", {});
				known = `it is a ${view.standing} and knows ${view.members.length} members`;
				return view.standing === "member" && view.members.length === members ? true : undefined;
			} catch (error) {
				if (error instanceof AlthingError && error.code === "federation.none") return undefined;
				throw error;
			}
		},
		{
			what: `${daemon.name} to be admitted and know all ${members} members`,
			timeoutMs: ADMISSION_TIMEOUT_MS,
			signal,
		},
		() => known,
	);
}

/** Waits until every node has a link to every other: found through the one bootstrap address. */
export async function linkedUp(daemons: readonly Daemon[], signal: AbortSignal): Promise<void> {
	await Promise.all(
		daemons.map(async (daemon) => {
			let missing: string[] = [];
			await until(
				async () => {
					const { members } = await daemon.client.call("federation.show", {});
					missing = members.filter(({ connected, self }) => !connected && !self).map((m) => m.organization);
					return missing.length === 0 ? true : undefined;
				},
				{ what: `${daemon.name} to be linked to all members`, timeoutMs: LINKS_TIMEOUT_MS, signal },
				() => `it has no link to ${missing.join(", ")}`,
			);
		}),
	);
}
