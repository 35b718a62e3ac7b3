import { beforeEach, describe, expect, it } from "vitest";
import { gaussian, poissonSampled } from "../../../../src/privacy/accounting/events.ts";
import {
	auditLedger,
	type CertifiedRound,
	type DeadAttempt,
	type RecordedExecution,
} from "../../../../src/privacy/budget/audit.ts";
import type { LedgerEntry, LedgerRecord } from "../../../../src/privacy/budget/records.ts";

const event = poissonSampled(0.1, gaussian(2));
const at = "2026-01-02T03:04:05.000Z";
let entries: LedgerEntry[];
let rounds: CertifiedRound[];
let dead: DeadAttempt[];
let executions: RecordedExecution[];

const write = (record: LedgerRecord): void => void entries.push({ at, by: "node", record });

function charge(round: number, partition: "train" | "heldOut" = "train", attempt = 0, suffix = ""): string {
	const chargeId = `job-1/${round}/${partition}${suffix}`;
	write({
		type: "charge",
		dataset: "patients",
		partition,
		jobId: "job-1",
		round,
		chargeId,
		attempt,
		event,
		extraDelta: 0,
	});
	return chargeId;
}

function certified(round: number, more: Partial<CertifiedRound> = {}): void {
	rounds.push({
		jobId: "job-1",
		round,
		outcome: "released",
		attempt: 0,
		included: true,
		evaluated: false,
		isPrivate: true,
		...more,
	});
}

function finalise(chargeId: string): void {
	write({ type: "finalise", chargeId });
	executions.push({ chargeId, event });
}

const audit = () => auditLedger(entries, { rounds, dead, executions });
const codes = () => audit().differences.map(({ code }) => code);

/** Round 0 with an evaluation, after an attempt that died; round 1 lost; round 2 under way. */
beforeEach(() => {
	entries = [];
	rounds = [];
	dead = [{ jobId: "job-1", round: 0, attempt: 0 }];
	executions = [];
	write({ type: "account", dataset: "patients", epsilonLimit: 8, deltaLimit: 1e-5 });
	for (const partition of ["train", "heldOut"] as const) {
		const chargeId = charge(0, partition);
		write({ type: "refund", chargeId, attempt: 0, proof: "dead" });
		charge(0, partition, 1);
		finalise(chargeId);
	}
	certified(0, { attempt: 1, evaluated: true });
	charge(1);
	certified(1, { outcome: "void" });
	charge(2);
});

describe("an audit of the ledger", () => {
	it("finds that what was charged is what was executed: releases, retries, losses, the open round", () => {
		expect(audit()).toEqual({
			charges: { total: 4, released: 2, refunded: 0, wasted: 1, open: 1 },
			releases: 1,
			deadAttempts: 1,
			executions: 2,
			differences: [],
			overdrawn: [],
		});
	});

	it("asks nothing for rounds without privacy, without this site, or paid for by a standing charge", () => {
		certified(3, { isPrivate: false });
		certified(4, { included: false });
		charge(5, "train", 0, "/standing");
		certified(6);
		expect(codes()).toEqual([]);
		// But not for rounds before it.
		certified(4.5);
		expect(codes()).toEqual(["uncharged_release"]);
	});

	it("counts a question that a crash left unanswered as wasted", () => {
		const chargeId = charge(0, "train", 0, "/question");
		(entries.at(-1)?.record as { jobId: string }).jobId = "query-1";
		write({ type: "finalise", chargeId });
		expect(audit()).toMatchObject({ charges: { wasted: 2 }, differences: [] });
		executions.push({ chargeId, event });
		expect(audit()).toMatchObject({ charges: { wasted: 1, released: 3 }, differences: [] });
	});

	it.each([
		["a release that nobody paid for", () => certified(2), "uncharged_release"],
		[
			"an evaluation that nobody paid for",
			() => {
				finalise(charge(3));
				certified(3, { evaluated: true });
			},
			"uncharged_release",
		],
		[
			"a release paid for twice",
			() => {
				finalise(charge(3));
				finalise(charge(3, "train", 0, "/again"));
				certified(3);
			},
			"charged_twice",
		],
		[
			"a final charge of a round that was lost",
			() => finalise(charge(1, "heldOut")),
			"charged_without_release",
		],
		[
			"a charge for another attempt than the one released",
			() => {
				finalise(charge(3, "train", 1));
				certified(3);
			},
			"attempt_differs",
		],
		[
			"a refund that nothing proves",
			() => write({ type: "refund", chargeId: "job-1/2/train", attempt: 0, proof: "dead" }),
			"refund_without_proof",
		],
		[
			"a refund after the release",
			() => write({ type: "refund", chargeId: "job-1/0/train", attempt: 1, proof: "dead" }),
			"refund_after_release",
		],
		["a release without a recorded execution", () => void executions.pop(), "execution_missing"],
		[
			"an execution that was not charged",
			() => void executions.push({ chargeId: "job-1/9/train", event }),
			"execution_uncharged",
		],
		[
			"an execution with less noise than charged",
			() => {
				executions.pop();
				executions.push({ chargeId: "job-1/0/heldOut", event: poissonSampled(0.1, gaussian(1)) });
			},
			"parameters_differ",
		],
		[
			"a charge to an account that was never opened",
			() => {
				charge(7);
				(entries.at(-1)?.record as { dataset: string }).dataset = "nobody";
			},
			"contradiction",
		],
	] as [string, () => void, string][])("names %s", (_, tamper, code) => {
		tamper();
		expect(codes()).toEqual([code]);
	});

	it("names accounts over their limits", () => {
		write({ type: "account", dataset: "patients", epsilonLimit: 0.1, deltaLimit: 1e-5 });
		expect(audit()).toMatchObject({ differences: [], overdrawn: ["patients"] });
	});
});
