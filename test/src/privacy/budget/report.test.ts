import { describe, expect, it } from "vitest";
import { gaussian, poissonSampled, selfComposed } from "../../../../src/privacy/accounting/events.ts";
import type { ChargeView } from "../../../../src/privacy/budget/charges.ts";
import { mechanismOf, passes, reportRows } from "../../../../src/privacy/budget/report.ts";

const event = poissonSampled(0.1, gaussian(2));

function charge(round: number, more: Partial<ChargeView> = {}): ChargeView {
	return {
		dataset: "patients",
		partition: "train",
		jobId: "job-1",
		round,
		chargeId: `charge-${round}`,
		event,
		extraDelta: 1e-12,
		at: `2026-01-0${round + 1}T00:00:00.000Z`,
		state: "released",
		liveAttempts: [0],
		deadAttempts: [],
		epsilonAfter: undefined,
		...more,
	};
}

const charges = [
	charge(0),
	charge(1, { state: "refunded" }),
	charge(2, { state: "held" }),
	charge(3, { partition: "heldOut", event: gaussian(9) }),
	charge(4, { jobId: "job-2" }),
];
const deltaOf = () => 1e-6;

describe("a report", () => {
	it("sums charges up by data set, job, mechanism and part, refunds counted and not composed", () => {
		const rows = reportRows(charges, {}, deltaOf);
		expect(rows).toMatchObject([
			{
				jobId: "job-1",
				mechanism: "sampled gaussian",
				partition: "train",
				charges: 3,
				released: 1,
				held: 1,
				refunded: 1,
				firstAt: "2026-01-01T00:00:00.000Z",
				lastAt: "2026-01-03T00:00:00.000Z",
				delta: 1e-6,
			},
			{ mechanism: "gaussian", partition: "heldOut", charges: 1 },
			{ jobId: "job-2", charges: 1 },
		]);
		expect(rows[0]?.question?.event).toEqual({ kind: "composed", events: [selfComposed(event, 2)] });
		expect(rows[0]?.question?.delta).toBeCloseTo(1e-6 - 2e-12, 18);
	});

	it("has nothing to ask for what was all refunded, nor where delta is used up beside the accountant", () => {
		const refunded = [charge(0, { state: "refunded" })];
		expect(reportRows(refunded, {}, deltaOf)[0]?.question).toBeUndefined();
		expect(reportRows([charge(0, { extraDelta: 1e-5 })], {}, deltaOf)[0]?.question).toBeUndefined();
	});

	it("keeps to a mechanism and a time, the end left out", () => {
		const rounds = (filter: Parameters<typeof passes>[1]) =>
			charges.filter((one) => passes(one, filter)).map(({ round }) => round);
		expect(rounds({ since: "2026-01-02T00:00:00Z", until: "2026-01-04T00:00:00Z" })).toEqual([1, 2]);
		expect(rounds({ mechanism: "gaussian" })).toEqual([0, 1, 2, 3, 4]);
		expect(rounds({ mechanism: "sampled gaussian" })).toEqual([0, 1, 2, 4]);
		expect(rounds({ mechanism: "laplace" })).toEqual([]);
	});

	it("names every kind of event", () => {
		const names = [
			mechanismOf({ kind: "composed", events: [gaussian(1), { kind: "laplace", scale: 1 }, gaussian(2)] }),
			mechanismOf({ kind: "composed", events: [] }),
			mechanismOf({ kind: "repeatAndSelect", event: gaussian(1), meanTrials: 3, shape: "poisson" }),
			mechanismOf(selfComposed(event, 4)),
		];
		expect(names).toEqual(["gaussian + laplace", "nothing", "best of gaussian", "sampled gaussian"]);
	});
});
