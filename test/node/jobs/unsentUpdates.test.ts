import { expect, test } from "vitest";
import type { PeerId } from "../../../crypto/identity.ts";
import { UnsentUpdates } from "../../../node/jobs/unsentUpdates.ts";
import type { RoundResult } from "../../../protocols/training/index.ts";

const self = "self" as PeerId;
const decided = (round: number, outcome: "released" | "void", survivors: readonly string[]): RoundResult =>
	({ round, outcome, survivors }) as unknown as RoundResult;
const first = Float32Array.of(1);
const second = Float32Array.of(2);

function afterRoundZero(): UnsentUpdates {
	const updates = new UnsentUpdates(self);
	expect(updates.before("job", 0, undefined)).toBeUndefined();
	updates.after("job", 0, first);
	return updates;
}

test("what was left out of a released round is for the next one", () => {
	const updates = afterRoundZero();
	expect(updates.before("job", 1, decided(0, "released", ["self", "other"]))).toBe(first);
	updates.after("job", 1, second);
	// Asked again before round 1 is decided: what round 0 left out is still to be made up for.
	expect(updates.before("job", 1, decided(0, "released", ["self"]))).toBe(first);
	expect(updates.before("job", 2, decided(1, "released", ["self"]))).toBe(second);
	expect(updates.before("another", 2, decided(1, "released", ["self"]))).toBeUndefined();
});

test("a round without this site's part, or without a sum, leaves what there was before", () => {
	for (const result of [decided(1, "void", ["self"]), decided(1, "released", ["other"])]) {
		const updates = afterRoundZero();
		expect(updates.before("job", 1, decided(0, "released", ["self"]))).toBe(first);
		updates.after("job", 1, second);
		expect(updates.before("job", 2, result)).toBe(first);
	}
});

test("after rounds that were decided without this node nothing is added, nor for a job that has ended", () => {
	const skipped = afterRoundZero();
	expect(skipped.before("job", 4, decided(3, "released", ["self"]))).toBeUndefined();
	expect(skipped.before("job", 4, decided(3, "released", ["self"]))).toBeUndefined();
	const ended = afterRoundZero();
	ended.forget("job");
	expect(ended.before("job", 1, decided(0, "released", ["self"]))).toBeUndefined();
});
