import fc from "fast-check";
import { expect, it } from "vitest";
import { AttendedClock } from "../../../node/jobs/attendedClock.ts";

it("runs with the wall clock while the loop comes round, and stands still while it is held up", () => {
	let wallMs = 1000;
	const clock = new AttendedClock(() => wallMs);
	for (let look = 0; look < 10; look++) {
		wallMs += 100;
		clock.look();
	}
	expect(clock.nowMs()).toBe(1000);
	// Held up for a minute: what waits is handled before the loop comes round.
	wallMs += 60_000;
	expect(clock.nowMs()).toBe(1300);
	clock.look();
	expect(clock.nowMs()).toBe(1300);
	wallMs += 50;
	expect(clock.nowMs()).toBe(1350);
});

it("never goes back, and never runs ahead", () => {
	fc.assert(
		fc.property(fc.array(fc.tuple(fc.nat({ max: 2000 }), fc.boolean()), { maxLength: 50 }), (steps) => {
			let wallMs = 0;
			const clock = new AttendedClock(() => wallMs);
			let before = 0;
			for (const [passes, looks] of steps) {
				wallMs += passes;
				if (looks) clock.look();
				const now = clock.nowMs();
				expect(now).toBeGreaterThanOrEqual(before);
				expect(now).toBeLessThanOrEqual(wallMs);
				before = now;
			}
		}),
	);
});
