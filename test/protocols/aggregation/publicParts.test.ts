import { describe, expect, test } from "vitest";
import { AggregationSession } from "../../../protocols/aggregation/index.ts";
import { CohortSimulation } from "./cohortSimulation.ts";

const partOf = (index: number) => new Uint8Array(12).fill(index + 1);
const ALL = [0, 1, 2, 3, 4];

function cohortWithParts(options: ConstructorParameters<typeof CohortSimulation>[0] = {}): CohortSimulation {
	return new CohortSimulation({ publicPart: partOf, ...options });
}

function expectParts(
	cohort: CohortSimulation,
	indices: readonly number[],
	survivors: readonly number[],
): void {
	for (const index of indices) {
		const released = cohort.released(index);
		expect(released?.survivors).toEqual(survivors.map((i) => cohort.peer(i)));
		expect(released?.publicParts?.map((part) => [...part])).toEqual(survivors.map((i) => [...partOf(i)]));
		expect(released?.sum).toEqual(cohort.expectedSum(released!.survivors));
	}
}

function runUntilReleased(cohort: CohortSimulation, indices: readonly number[]): void {
	cohort.simulation.run({
		untilMs: 120_000,
		until: () => indices.every((index) => cohort.released(index) !== undefined),
	});
}

describe("public parts of inputs", () => {
	test("come with the sum, those of the certified survivors alone", () => {
		const cohort = cohortWithParts();
		cohort.simulation.crash(cohort.peer(3));
		runUntilReleased(cohort, [0, 1, 2, 4]);
		expectParts(cohort, [0, 1, 2, 4], [0, 1, 2, 4]);
		for (const peer of cohort.peers) expect(cohort.simulation.faults(peer)).toEqual([]);
	});

	test("that were lost on the way are fetched from others", () => {
		const cohort = cohortWithParts();
		let lost = 0;
		cohort.simulation.intercept((envelope) => {
			if (envelope.message.kind !== "publicPart" || envelope.message.author !== envelope.from)
				return undefined;
			// Only the coordinator gets them from their authors.
			if (envelope.to === cohort.peer(0) || envelope.from === cohort.peer(0)) return undefined;
			lost++;
			return [];
		});
		runUntilReleased(cohort, ALL);
		expect(lost).toBe(12);
		expectParts(cohort, ALL, ALL);
	});

	test("are fetched from the voters when the coordinator gives none", () => {
		const cohort = cohortWithParts();
		cohort.simulation.intercept((envelope) => {
			const { from, to, message } = envelope;
			if (message.kind === "publicPart" && message.author !== from && from === cohort.peer(0)) return [];
			return message.kind === "publicPart" && to === cohort.peer(4) && message.author === from && from !== to
				? []
				: undefined;
		});
		runUntilReleased(cohort, ALL);
		expectParts(cohort, ALL, ALL);
	});

	test("are the signed ones, whatever else their author sends to some", () => {
		const cohort = cohortWithParts();
		cohort.simulation.intercept((envelope) => {
			const { from, to, message } = envelope;
			const twisted = message.kind === "publicPart" && from === cohort.peer(2) && to === cohort.peer(4);
			return twisted && message.author === from ? [{ ...envelope, blob: partOf(77) }] : undefined;
		});
		runUntilReleased(cohort, ALL);
		expectParts(cohort, ALL, ALL);
	});

	test("that their author and the coordinator keep from the others stop every vote for them", () => {
		const cohort = cohortWithParts();
		const voters = new Set<string>();
		cohort.simulation.intercept((envelope) => {
			const { from, to, message } = envelope;
			if (message.kind === "vote" && message.ballot.value !== null) voters.add(from);
			const [coordinator, author] = [cohort.peer(0), cohort.peer(3)];
			if (message.kind !== "publicPart" || message.author !== author || to === coordinator) return undefined;
			return from === author || from === coordinator ? [] : undefined;
		});
		cohort.simulation.run({ untilMs: 20_000 });
		expect([...voters].sort()).toEqual([cohort.peer(0), cohort.peer(3)].sort());
		for (const index of ALL) expect(cohort.released(index)).toBeUndefined();
		// The next coordinator cannot get them either, and the attempt ends without having shown a sum.
		cohort.changeCoordinator(2, 1);
		cohort.simulation.run({
			untilMs: 120_000,
			until: () => [1, 2, 4].every((index) => cohort.output(index, "dead") !== undefined),
		});
		for (const index of ALL) expect(cohort.output(index, "certified")).toBeUndefined();
	});

	test("survive the coordinator: the next one finishes the same set", () => {
		const cohort = cohortWithParts();
		let certified = false;
		cohort.simulation.intercept(({ message }) => {
			if (message.kind === "certified") certified = true;
			return undefined;
		});
		cohort.simulation.run({ untilMs: 60_000, until: () => certified });
		cohort.simulation.crash(cohort.peer(0));
		cohort.changeCoordinator(2, 1);
		runUntilReleased(cohort, [1, 2, 3, 4]);
		expectParts(cohort, [1, 2, 3, 4], ALL);
	});

	test("of a wrong size name their sender, and without them an input does not count", () => {
		const cohort = cohortWithParts();
		cohort.simulation.intercept((envelope) => {
			const { from, message } = envelope;
			return message.kind === "publicPart" && from === cohort.peer(3) && message.author === from
				? [{ ...envelope, blob: new Uint8Array(11) }]
				: undefined;
		});
		runUntilReleased(cohort, [0, 1, 2, 4]);
		expectParts(cohort, [0, 1, 2, 4], [0, 1, 2, 4]);
		const codes = cohort.simulation.faults(cohort.peer(0)).map(({ peer, code }) => `${peer} ${code}`);
		expect(new Set(codes)).toEqual(new Set([`${cohort.peer(3)} aggregation.bad_public_part`]));
	});

	test("are refused where none are asked for, or not as long as asked for", () => {
		const cohort = cohortWithParts();
		expect(() => new AggregationSession({ ...cohort.configs[0]!, publicBytes: 0 })).toThrow(
			/public part has 1 byte or more/,
		);
		const plain = new CohortSimulation();
		plain.provide = false;
		plain.simulation.run({ untilMs: 4000, until: () => plain.output(0, "input_wanted") !== undefined });
		const session = plain.sessions.get(plain.peer(0))!;
		expect(() => session.provideInput(plain.inputs[0]!, 0, partOf(0))).toThrow(
			/12 bytes; the session's have 0/,
		);
	});
});
