/** Selection on shared sketches through the real protocol: attackers inside the norm bound, lying dealers and holders. */
import { describe, expect, test } from "vitest";
import type { SigningKey } from "../../../crypto/identity.ts";
import type { AggregationMessage, AggregationSession } from "../../../protocols/aggregation/index.ts";
import type { MessageOf, Sketch } from "../../../protocols/aggregation/messages.ts";
import { vectorHash } from "../../../protocols/aggregation/sessionId.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";
import { CohortSimulation } from "../aggregation/cohortSimulation.ts";
import { encoded, honestInput, lieAsHolder } from "./selectionCohort.ts";

const MEMBERS = 10;
const ATTACKERS = 2;
const LENGTH = 80;
const MODULUS_BITS = 24;
const NORM_BOUND = 20_000;
/** Honest inputs: one direction and some of each one's own. */
const honest = (index: number) => honestInput(index, LENGTH);
const flipped = (index: number) => honest(index).map((value) => -3 * value);

function selectingCohort(inputs: Readonly<Record<number, Float64Array>>, selecting = true): CohortSimulation {
	const rules = { coordinates: LENGTH, normBound: NORM_BOUND };
	return new CohortSimulation({
		members: MEMBERS,
		corruption: ATTACKERS,
		minimumSurvivors: 4,
		length: LENGTH,
		modulusBits: MODULUS_BITS,
		input: (index) => encoded(inputs[index] ?? honest(index)),
		configure: (config) => ({
			...config,
			screening: selecting ? { ...rules, selection: { attackers: ATTACKERS } } : rules,
		}),
	});
}

function corrupt<K extends AggregationMessage["kind"]>(
	cohort: CohortSimulation,
	index: number,
	kind: K,
	change: (message: MessageOf<K>) => MessageOf<K>,
): void {
	cohort.simulation.intercept((envelope) =>
		envelope.from === cohort.peer(index) && envelope.message.kind === kind
			? [{ ...envelope, message: change(envelope.message as MessageOf<K>) }]
			: undefined,
	);
}

/** A dealer that shares another sketch than its input's. */
function lieAboutSketch(
	cohort: CohortSimulation,
	index: number,
	sketch: (true_: Float64Array) => Float64Array,
): void {
	const session = cohort.sessions.get(cohort.peer(index)) as AggregationSession;
	const completed = session.completed.bind(session);
	session.completed = (workId, result, nowMs) =>
		workId === "sketch" && !(result instanceof Error) && result.kind === "sketch"
			? completed(workId, { ...result, sketch: sketch(result.sketch) }, nowMs)
			: completed(workId, result, nowMs);
}

const survivorsOf = (cohort: CohortSimulation, index: number) =>
	cohort.released(index)?.survivors.map((peer) => cohort.peers.indexOf(peer)) ?? [];
const named = (cohort: CohortSimulation, index: number) =>
	cohort
		.released(index)
		?.screening?.offenders.map(({ peer, offence }) => `${cohort.peers.indexOf(peer)} ${offence}`);

/** All that are to end do, with the same survivors and their exact sum; returns the survivors. */
function outcome(cohort: CohortSimulation, ending: readonly number[]): number[] {
	cohort.runUntilEnded(ending);
	const [first] = ending as [number];
	const survivors = survivorsOf(cohort, first);
	for (const index of ending) {
		expect(survivorsOf(cohort, index)).toEqual(survivors);
		expect(cohort.released(index)?.sum).toEqual(cohort.expectedSum(survivors.map((i) => cohort.peer(i))));
		expect(cohort.released(index)?.screening?.sound).toBe(true);
	}
	return survivors;
}

const ALL = Array.from({ length: MEMBERS }, (_, i) => i);
const without = (...gone: number[]) => ALL.filter((index) => !gone.includes(index));
const FLIPPED = { 3: flipped(3), 7: flipped(7) };

describe("a selection", () => {
	test("leaves out attackers that keep to the norm bound; a norm bound alone does not", () => {
		const survivors = outcome(selectingCohort(FLIPPED), ALL);
		// Two passes, each of which drops the two that differ most.
		expect(survivors).toHaveLength(6);
		expect(survivors).not.toContain(3);
		expect(survivors).not.toContain(7);
		expect(outcome(selectingCohort(FLIPPED, false), ALL)).toEqual(ALL);
	});

	test("leaves them out whatever two of its holders open, and names nobody for it", () => {
		const cohort = selectingCohort(FLIPPED);
		lieAsHolder(cohort, 3);
		lieAsHolder(cohort, 7);
		const survivors = outcome(cohort, ALL);
		expect(survivors).toHaveLength(6);
		expect(survivors).not.toContain(3);
		expect(survivors).not.toContain(7);
		expect(named(cohort, 0)).toEqual([]);
	});

	test("goes on without a member that shares no sketch", () => {
		const cohort = selectingCohort({ 3: flipped(3) });
		cohort.simulation.intercept(({ from, message }) =>
			from === cohort.peer(7) && message.kind === "sketch" ? [] : undefined,
		);
		const survivors = outcome(cohort, without(7));
		expect(survivors).not.toContain(7);
		expect(survivors).not.toContain(3);
	});
});

describe("a dealer that lies about its sketch", () => {
	test("is contradicted by its own projections, and named by everybody", () => {
		const cohort = selectingCohort(FLIPPED);
		lieAboutSketch(cohort, 3, (sketch) => sketch.map((value) => -value / 3).map(Math.round));
		const survivors = outcome(cohort, without(3));
		expect(survivors).not.toContain(3);
		expect(survivors).not.toContain(7);
		for (const index of [0, 5]) expect(named(cohort, index)).toEqual(["3 wrong_sketch"]);
	});

	test("to hide an input that is too long is named too", () => {
		const long = honest(3).map((value) => value * 40);
		const cohort = selectingCohort({ 3: long });
		lieAboutSketch(cohort, 3, (sketch) => sketch.map((value) => Math.round(value / 40)));
		outcome(cohort, without(3));
		expect(named(cohort, 0)).toEqual(["3 wrong_sketch"]);
	});

	test("or tells the truth about a long one is named for the length", () => {
		const cohort = selectingCohort({ 3: honest(3).map((value) => value * 40) });
		expect(outcome(cohort, without(3))).not.toContain(3);
		expect(named(cohort, 0)).toEqual(["3 too_long"]);
	});

	test("and seals shares that do not verify is no candidate", () => {
		const cohort = selectingCohort(FLIPPED);
		corrupt(cohort, 3, "sketch", (message) => {
			const { signature: _, author: __, ...fields } = message.sketch;
			const response = message.response.map((byte, i) => (i === 0 ? byte ^ 1 : byte));
			const sketch = signStatement<Sketch>(cohort.keys[3] as SigningKey, {
				...fields,
				responseHash: vectorHash(response),
			});
			return { ...message, sketch, response };
		});
		expect(outcome(cohort, without(3))).not.toContain(3);
		expect(named(cohort, 0)).toEqual([]);
	});
});

test("a coordinator that passes on other screenings than it proposes gets no vote", () => {
	const cohort = selectingCohort(FLIPPED);
	corrupt(cohort, 0, "propose", (message) => ({
		...message,
		...(message.screening === undefined
			? {}
			: { screening: { ...message.screening, leftOut: [cohort.peer(1)] } }),
	}));
	cohort.simulation.run({ untilMs: 20_000, until: () => false });
	for (const index of without(0)) expect(cohort.released(index)).toBeUndefined();
	const codes = cohort.simulation.faults(cohort.peer(4)).map(({ code }) => code);
	expect(codes).toContain("aggregation.bad_proposal");
});

test("what holders opened and somebody lacks is fetched from others; shares that nobody signed for are not taken", () => {
	const cohort = selectingCohort(FLIPPED);
	let lost = 0;
	cohort.simulation.intercept((envelope) => {
		const { from, to, message, blob } = envelope;
		if (message.kind !== "publicPart" || blob === undefined) return undefined;
		// Member 4 gets nothing from the authors, and from the coordinator other shares than they signed for.
		if (to === cohort.peer(4) && message.author === from) {
			lost++;
			return [];
		}
		if (to === cohort.peer(4) && from === cohort.peer(0))
			return [{ ...envelope, blob: blob.map((byte) => byte ^ 1) }];
		return undefined;
	});
	const survivors = outcome(cohort, ALL);
	expect(survivors).not.toContain(3);
	expect(survivors).not.toContain(7);
	expect(lost).toBeGreaterThanOrEqual(MEMBERS - 2);
});

test("a coordinator that shows each holder other sketches gets combinations of every sketch for one set only", () => {
	const cohort = selectingCohort({});
	const { simulation } = cohort;
	const coordinator = cohort.peer(0);
	const confirmations = new Map<string, MessageOf<"confirm">["confirmation"]>();
	/** By dealer, the sets of sketches that combinations of its sketch were opened for. */
	const opened = new Map<string, Set<string>>();
	const dealersShown = new Map<string, string[]>();
	simulation.intercept((envelope) => {
		const { from, to, message } = envelope;
		if (message.kind === "sketches") {
			// Another one is left out for each holder, so that each draws other combinations.
			const left = cohort.peer(1 + (cohort.peers.indexOf(to) % (MEMBERS - 1)));
			const dealt = message.dealt.filter(({ sketch }) => sketch.author !== left);
			dealersShown.set(
				to,
				dealt.map(({ sketch }) => sketch.author),
			);
			return [{ ...envelope, message: { ...message, dealt } }];
		}
		if (message.kind === "confirm") {
			confirmations.set(from, message.confirmation);
			const all = { kind: "confirmed" as const, confirmations: [...confirmations.values()] };
			if (confirmations.size === MEMBERS - 1)
				simulation.at(simulation.nowMs, () => {
					for (const peer of cohort.peers.slice(1)) {
						const session = cohort.sessions.get(peer) as AggregationSession;
						simulation.perform(peer, session.receive(coordinator, all, simulation.nowMs));
					}
				});
			return [];
		}
		if (message.kind === "statement" && message.products !== undefined) {
			const { basis, refused } = message.products;
			for (const [place, dealer] of (dealersShown.get(from) ?? []).entries())
				if (!refused.includes(place))
					opened.set(dealer, (opened.get(dealer) ?? new Set()).add(Buffer.from(basis).toString("hex")));
		}
		return undefined;
	});
	simulation.run({ untilMs: 40_000 });
	expect(new Set([...confirmations.values()].map(({ basis }) => basis.join())).size).toBe(MEMBERS - 1);
	expect(opened.size).toBe(MEMBERS - 1);
	for (const sets of opened.values()) expect(sets.size).toBe(1);
});
