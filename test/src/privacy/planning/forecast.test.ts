import { describe, expect, it } from "vitest";
import { roundEvent } from "../../../../src/privacy/accounting/calibration.ts";
import { gaussian, selfComposed } from "../../../../src/privacy/accounting/events.ts";
import {
	type BudgetState,
	costOfMore,
	epsilonOfState,
	forecast,
	largestJob,
} from "../../../../src/privacy/planning/forecast.ts";

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 10, 23);
const event = roundEvent(0.02, 2);

/** One charge of 20 rounds a day over the last `days`. */
function stateOf(days: number, overrides: Partial<BudgetState> = {}): BudgetState {
	return {
		epsilonLimit: 2,
		filterEpsilon: 2,
		delta: 1e-6,
		composition: "adaptive",
		charged: Array.from({ length: days }, (_, i) => ({ atMs: NOW - (i + 0.5) * DAY, event, count: 20 })),
		...overrides,
	};
}

describe.each(["adaptive", "planned"] as const)(
	"a forecast of an account with %s composition",
	(composition) => {
		it("says when the budget is gone: one window earlier everything fits, one later not", () => {
			const state = stateOf(10, { composition });
			const { epsilonSpent, exhaustedAtMs, recentCharges, course } = forecast(state, NOW, 5 * DAY);
			expect(recentCharges).toBe(100);
			expect(epsilonSpent).toBe(epsilonOfState(state, [selfComposed(event, 200)]));
			const days = (exhaustedAtMs! - NOW) / DAY;
			const spentAfter = (more: number) => epsilonOfState(state, [selfComposed(event, 200 + 20 * more)]);
			expect(spentAfter(Math.floor(days))).toBeLessThanOrEqual(2);
			expect(spentAfter(Math.floor(days) + 1)).toBeGreaterThan(2);
			expect(course[0]).toEqual({ atMs: NOW, epsilon: epsilonSpent });
			expect(course.at(-1)!.epsilon).toBeGreaterThan(2);
		});

		it("costs more rounds by composition and finds the largest job that fits", () => {
			const state = stateOf(10, { composition });
			const most = largestJob(state, event);
			expect(costOfMore(state, event, most).fits).toBe(true);
			expect(costOfMore(state, event, most + 1).fits).toBe(false);
			const { before, after, cost } = costOfMore(state, event, 100);
			expect(after - before).toBeCloseTo(cost, 12);
			expect(cost).toBeGreaterThan(0);
		});
	},
);

describe("forecasts", () => {
	it("are not a straight line", () => {
		const state = stateOf(10);
		const { epsilonSpent, exhaustedAtMs } = forecast(state, NOW, 10 * DAY);
		const straight = (2 / epsilonSpent - 1) * 10 * DAY;
		expect(Math.abs(exhaustedAtMs! - NOW - straight) / straight).toBeGreaterThan(0.3);
	});

	it("say nothing without recent charges, and now when nothing is left", () => {
		const idle = forecast(stateOf(3), NOW + 100 * DAY, DAY);
		expect(idle.exhaustedAtMs).toBeUndefined();
		expect(idle.recentCharges).toBe(0);
		const spent = stateOf(2, { epsilonLimit: 0.01 });
		expect(forecast(spent, NOW, 5 * DAY).exhaustedAtMs).toBe(NOW);
		expect(largestJob(spent, event)).toBe(0);
	});

	it("of an untouched account start at zero", () => {
		const state = stateOf(0);
		expect(forecast(state, NOW, DAY)).toEqual({ epsilonSpent: 0, recentCharges: 0, course: [] });
		expect(costOfMore(state, gaussian(100), 1).fits).toBe(true);
		expect(() => forecast(state, NOW, 1000)).toThrowError(/an hour/);
	});
});
