/** Members of a simulated cohort that drop out, and what is expected of those that stay. */
import { expect } from "vitest";
import type { AggregationMessage } from "../../../protocols/aggregation/index.ts";
import type { PeerId } from "../../../protocols/contract.ts";
import type { CohortSimulation } from "./cohortSimulation.ts";

/** Messages after whose first sending by a member that member dies. */
export const LAST_WORDS = [
	"keys",
	"bundle",
	"ack",
	"input",
	"vote",
	"reveal",
] as const satisfies AggregationMessage["kind"][];

/** Kills members just before (or after) they send a message of some kind. */
export function dropAt(
	cohort: CohortSimulation,
	drops: ReadonlyMap<number, AggregationMessage["kind"]>,
	heard: boolean,
): void {
	const { simulation } = cohort;
	simulation.intercept(({ from, message }) => {
		const index = cohort.peers.indexOf(from);
		if (drops.get(index) !== message.kind || !simulation.isRunning(from)) return undefined;
		simulation.at(simulation.nowMs, () => simulation.isRunning(from) && simulation.crash(from));
		return heard ? undefined : [];
	});
}

/** All that are alive have released the same survivors' exact sum. @returns these survivors */
export function expectAgreement(cohort: CohortSimulation, alive: readonly number[]): readonly PeerId[] {
	const survivors = cohort.released(alive[0] as number)?.survivors ?? [];
	expect(survivors.length).toBeGreaterThan(0);
	for (const index of alive) {
		const released = cohort.released(index);
		expect(released?.survivors).toEqual(survivors);
		expect(released?.sum).toEqual(cohort.expectedSum(survivors));
	}
	return survivors;
}
