import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { JobSlots } from "../../../node/jobs/jobSlots.ts";

describe("slots of jobs", () => {
	it("are taken first come first served, and the next begins when one is free", () => {
		const slots = new JobSlots(2, 100);
		expect(["a", "b", "c", "d"].map((job) => slots.enter(job, 0))).toEqual([true, true, false, false]);
		expect(slots.queue).toEqual(["c", "d"]);
		expect(slots.next(1)).toEqual([]);
		slots.leave("a");
		expect(slots.next(2)).toEqual(["c"]);
		expect(slots.holds("c")).toBe(true);
		expect(slots.enter("c", 3)).toBe(true);
		expect(slots.enter("d", 3)).toBe(false);
		slots.leave("d");
		slots.leave("b");
		expect(slots.next(4)).toEqual([]);
	});

	it("do not let a newcomer pass those that wait", () => {
		const slots = new JobSlots(1, 100);
		slots.enter("a", 0);
		slots.enter("b", 0);
		slots.leave("a");
		expect(slots.enter("c", 1)).toBe(false);
		expect(slots.next(1)).toEqual(["b"]);
	});

	it("are lent to the next while a job makes no progress, and count again when it does", () => {
		const slots = new JobSlots(1, 100);
		slots.enter("stuck", 0);
		slots.enter("b", 10);
		slots.enter("c", 10);
		expect(slots.next(99)).toEqual([]);
		expect(slots.next(100)).toEqual(["b"]);
		expect(slots.holds("stuck")).toBe(true);
		slots.progressed("stuck", 150);
		slots.leave("b");
		expect(slots.next(160)).toEqual([]);
		slots.progressed("b", 160);
		expect(slots.holds("b")).toBe(false);
		slots.leave("stuck");
		expect(slots.next(161)).toEqual(["c"]);
	});

	/** Two members with one slot each that took up two jobs in opposite orders wait for each other. */
	it("end a wait of two members for each other's job", () => {
		const [one, other] = [new JobSlots(1, 100), new JobSlots(1, 100)];
		one.enter("a", 0);
		one.enter("b", 0);
		other.enter("b", 0);
		other.enter("a", 0);
		expect([one.next(100), other.next(100)]).toEqual([["b"], ["a"]]);
	});

	it("are never more than there are while every job makes progress, and every job gets one", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 1, max: 5 }),
				fc.array(fc.nat({ max: 30 }), { maxLength: 60 }),
				(count, arrivals) => {
					const slots = new JobSlots(count, 1e9);
					const training = new Set<string>();
					const began: string[] = [];
					const admit = (job: string) => {
						training.add(job);
						began.push(job);
						expect(training.size).toBeLessThanOrEqual(count);
					};
					arrivals.forEach((choice, index) => {
						if (slots.enter(`${index}`, index)) admit(`${index}`);
						const ended = [...training][choice];
						if (ended === undefined) return;
						training.delete(ended);
						slots.leave(ended);
						for (const job of slots.next(index)) admit(job);
					});
					for (let turn = 0; training.size > 0 && turn < 100; turn++) {
						const [ended] = training;
						training.delete(ended!);
						slots.leave(ended!);
						for (const job of slots.next(1000)) admit(job);
					}
					expect(began).toEqual(arrivals.map((_, index) => `${index}`));
				},
			),
		);
	});
});
