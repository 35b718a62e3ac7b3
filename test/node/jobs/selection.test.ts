import { describe, expect, test } from "vitest";
import { declaredFor, participationOf, patientTiming } from "../../../node/jobs/selection.ts";
import { quorum } from "../../../protocols/certificate/index.ts";
import { type Charter, corruptionOf, rulesSchema } from "../../../protocols/federation/index.ts";
import { DEFAULT_TIMING } from "../../../protocols/training/index.ts";
import { selectionSchema } from "../../../src/selection/selectionChoice.ts";
import { digitsJob } from "../../src/training/federation.ts";

const own = { region: "north", size: "medium" };
const by = (characteristic: string) =>
	selectionSchema.parse({ strategy: "stratified", characteristic, strata: { north: 2, south: 2 } });

describe("what an organization declares with its acceptance", () => {
	test("is the one characteristic that the job goes by", () => {
		expect(declaredFor(by("region"), own)).toEqual({ region: "north" });
	});

	test("is nothing where the job goes by none, or by one it has not", () => {
		expect(declaredFor(undefined, own)).toBeUndefined();
		expect(declaredFor(selectionSchema.parse({ strategy: "fair", size: 3 }), own)).toBeUndefined();
		expect(declaredFor(by("speed"), own)).toBeUndefined();
	});
});

describe("participants of a job that a start leaves others out of", () => {
	const charterOf = (members: number, assumedCorruptFraction: number): Charter => ({
		format: "althing/charter/1",
		federation: "demo",
		version: 1,
		previous: new Uint8Array(32),
		members: Array.from({ length: members }, (_, i) => ({
			peer: `peer-${i}`,
			joinedVersion: 1,
			organization: "Org",
			declared: {},
			addresses: [],
		})),
		rules: rulesSchema.parse({ assumedCorruptFraction, minimumSurvivorFraction: 0.51 }),
		createdAt: new Date(0).toISOString(),
		changes: [],
	});

	test("decide once and keep their secrets though every corrupt member is among them, or do not start", () => {
		const job = digitsJob({ privacy: { mechanism: "none" } });
		let refused = 0;
		for (const fraction of [0.1, 0.2, 1 / 3]) {
			for (let members = 4; members <= 120; members += 4) {
				const charter = charterOf(members, fraction);
				const corrupt = corruptionOf(charter);
				const electorate = (of: number, corruption: number) => ({
					members: new Array<string>(of).fill(""),
					corruption,
				});
				for (
					let participants = quorum(electorate(members, corrupt));
					participants <= members;
					participants++
				) {
					let who: ReturnType<typeof participationOf>;
					try {
						who = participationOf(job, charter, participants);
					} catch (error) {
						expect(error).toMatchObject({ code: "job.cohort_too_small" });
						refused++;
						continue;
					}
					// Two quorums of the participants share more than the corrupt.
					const needed = quorum(electorate(participants, who.corruption));
					expect(2 * needed - participants).toBeGreaterThan(corrupt);
					// The smallest roster's threshold is above them.
					expect(Math.floor(who.minimumSurvivors / 2) + 1).toBeGreaterThan(corrupt);
				}
			}
		}
		expect(refused).toBeGreaterThan(0);
	});
});

describe("a coordinator", () => {
	const withPhases = (phaseTimeoutMs: number) =>
		digitsJob({ privacy: { mechanism: "none" }, aggregation: { phaseTimeoutMs } });

	test("does not stall as long as the job's phases may last", () => {
		expect(patientTiming(withPhases(5000), DEFAULT_TIMING)).toEqual(DEFAULT_TIMING);
		const { stallMs } = patientTiming(withPhases(600_000), DEFAULT_TIMING);
		expect(stallMs).toBeGreaterThanOrEqual(8 * 600_000);
	});
});
