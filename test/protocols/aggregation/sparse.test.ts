/** Sessions over a forced sparse graph: 14 members with 6 share holders, 4 masked mates each. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomBytes } from "../../../crypto/random.ts";
import { cohortGraph } from "../../../protocols/aggregation/cohortGraph.ts";
import type { AggregationMessage, CohortParameters } from "../../../protocols/aggregation/index.ts";
import type { MessageOf, RosterHeader } from "../../../protocols/aggregation/messages.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";
import { type CohortOptions, CohortSimulation } from "./cohortSimulation.ts";
import { dropAt, expectAgreement, LAST_WORDS } from "./dropouts.ts";

const SPARSE: CohortParameters = { graph: "ring", holders: 6, threshold: 3, mates: 4, windowSurvivors: 1 };
const MEMBERS = 14;

function sparseCohort(options: CohortOptions = {}): CohortSimulation {
	return new CohortSimulation({
		members: MEMBERS,
		corruption: 2,
		minimumSurvivors: 8,
		length: 9,
		cohort: SPARSE,
		...options,
	});
}

const graphOf = (cohort: CohortSimulation, seed = 1) =>
	cohortGraph(cohort.peers, SPARSE, new Uint8Array(32).fill(seed));

describe("a sparse cohort", () => {
	test("releases the exact sum, each member knowing its neighbours only", () => {
		const cohort = sparseCohort();
		const graph = graphOf(cohort);
		const shown = new Map<string, Set<string>>();
		cohort.simulation.intercept(({ to, message }) => {
			const seen = shown.get(to) ?? new Set<string>();
			shown.set(to, seen);
			if (message.kind === "roster") for (const { author } of message.adverts) seen.add(author);
			if (message.kind === "shares") for (const { bundle } of message.dealt) seen.add(bundle.author);
			if (message.kind === "propose") for (const { author } of message.evidence.metas) seen.add(author);
			return undefined;
		});
		cohort.runUntilEnded();
		expectAgreement(cohort, [...cohort.peers.keys()]);
		for (const [peer, seen] of shown) {
			if (peer !== cohort.peer(0))
				expect([...seen].sort()).toEqual([...graph.neighboursOf(peer), peer].sort());
		}
	});

	test("votes are told to the coordinator and the nearest on the ring", () => {
		const cohort = sparseCohort();
		const graph = graphOf(cohort);
		const heard = new Set<string>();
		cohort.simulation.intercept(({ from, to, message }) => {
			if (message.kind === "vote" && from === cohort.peer(5)) heard.add(to);
			return undefined;
		});
		cohort.runUntilEnded();
		expect(heard).toEqual(new Set([cohort.peer(0), ...graph.witnessesOf(cohort.peer(5))]));
	});

	test.each(LAST_WORDS)("sums exactly without those that die instead of sending %s", (kind) => {
		const cohort = sparseCohort();
		dropAt(
			cohort,
			new Map([
				[4, kind],
				[9, kind],
			]),
			false,
		);
		const alive = [...cohort.peers.keys()].filter((index) => index !== 4 && index !== 9);
		cohort.runUntilEnded(alive);
		expectAgreement(cohort, alive);
		for (const index of alive) expect(cohort.simulation.faults(cohort.peer(index))).toEqual([]);
	});
});

test("sums are exact for random dropouts in every phase, with lost messages", () => {
	let released = 0;
	fc.assert(
		fc.property(
			fc.integer({ min: 1, max: 1e6 }),
			fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: MEMBERS - 1 }), fc.constantFrom(...LAST_WORDS)), {
				maxLength: 3,
				selector: ([index]) => index,
			}),
			fc.boolean(),
			(seed, drops, heard) => {
				const cohort = sparseCohort({ seed, lossProbability: 0.05 });
				dropAt(cohort, new Map(drops), heard);
				const gone = drops.map(([index]) => index);
				const alive = [...cohort.peers.keys()].filter((index) => !gone.includes(index));
				// Three that leave may take too many of one member's holders with them: then nothing is released.
				cohort.runUntilEnded(alive, 400_000);
				const ended = alive.filter((index) => cohort.released(index) !== undefined);
				if (ended.length === 0) return;
				released++;
				expectAgreement(cohort, ended);
			},
		),
		{ numRuns: 12, seed: 5 },
	);
	expect(released).toBeGreaterThan(9);
});

describe("the coordinator of a sparse cohort dies", () => {
	for (const kind of ["roster", "shares", "shareSet", "propose", "certified", "opening"] as const) {
		for (const reaching of [0, 6, 13]) {
			test(`at ${kind}, having reached ${reaching}: the same survivors complete, or the attempt is dead`, () => {
				const cohort = sparseCohort();
				const { simulation } = cohort;
				let sent = 0;
				simulation.intercept(({ from, message }) => {
					if (from !== cohort.peer(0) || message.kind !== kind) return undefined;
					if (sent === 0)
						simulation.at(simulation.nowMs, () => simulation.isRunning(from) && simulation.crash(from));
					return sent++ < reaching ? undefined : [];
				});
				simulation.run({ untilMs: 20_000 });
				cohort.changeCoordinator(2, 1);
				const others = [...cohort.peers.keys()].slice(1);
				cohort.runUntilEnded(others, 200_000);
				const outcomes = others.map(
					(index) => cohort.released(index)?.survivors.join() ?? cohort.output(index, "dead")?.kind,
				);
				expect(new Set(outcomes).size).toBe(1);
				expect(outcomes[0]).toBeDefined();
				if (outcomes[0] !== "dead") expectAgreement(cohort, others);
			});
		}
	}
});

describe("a malicious coordinator of a sparse cohort", () => {
	function change<K extends AggregationMessage["kind"]>(
		cohort: CohortSimulation,
		kind: K,
		changed: (message: MessageOf<K>, to: string) => AggregationMessage | null,
	): void {
		cohort.simulation.intercept((envelope) => {
			if (envelope.from !== cohort.peer(0) || envelope.message.kind !== kind) return undefined;
			const message = changed(envelope.message as MessageOf<K>, envelope.to);
			return message === null ? [] : [{ ...envelope, message }];
		});
	}

	/** Members that are neither the coordinator nor among `without`. */
	const honest = (cohort: CohortSimulation, without: readonly string[]) =>
		[...cohort.peers.keys()].filter((index) => index > 0 && !without.includes(cohort.peer(index)));

	test("that leaves a victim's mates out moves nobody, and is refused for the thin spot", () => {
		const cohort = sparseCohort({ seed: 3, minimumSurvivors: 6 });
		const graph = graphOf(cohort, 3);
		// Without the coordinator and its mates, which are needed to go on.
		const victim = graph.order[(graph.positionOf(cohort.peer(0)) + 7) % MEMBERS] as string;
		const mates = graph.matesOf(victim);
		cohort.simulation.intercept(({ from, message }) =>
			message.kind === "input" && mates.includes(from) ? [] : undefined,
		);
		cohort.simulation.run({ untilMs: 60_000 });
		// The honest coordinator's code refuses by itself; nobody's seed was opened.
		expect(cohort.openedSeeds).toEqual([]);
		const reason = cohort.output(cohort.peers.indexOf(victim), "dead")?.reason;
		expect(reason).toMatch(/too few neighbours sent their input: only 0 survivors/);
	});

	test("that proposes such a survivor set all the same gets no vote, and is blamed", () => {
		const forced: CohortParameters = { ...SPARSE, windowSurvivors: 0 } as CohortParameters;
		const cohort = sparseCohort({
			seed: 3,
			minimumSurvivors: 6,
			// Only the coordinator does not look.
			configure: (config, index) => (index === 0 ? { ...config, cohort: forced } : config),
		});
		// It would be in another session: give the others its session id by the same hash.
		cohort.simulation.run({ untilMs: 10_000 });
		expect(cohort.openedSeeds).toEqual([]);
		expect(cohort.simulation.faults(cohort.peer(1))[0]).toMatchObject({
			peer: cohort.peer(0),
			code: "aggregation.session_mismatch",
		});
	});

	test("that shows two rosters is found out by members side by side on the ring", () => {
		const cohort = sparseCohort();
		const graph = graphOf(cohort);
		const fooled = graph.order.slice(0, 7).filter((peer) => peer !== cohort.peer(0));
		change(cohort, "roster", (message, to) => {
			if (!fooled.includes(to)) return message;
			const { signature: _, author: __, ...header } = message.header;
			const other = signStatement<RosterHeader>(cohort.keys[0] as (typeof cohort.keys)[number], {
				...header,
				rosterRoot: new Uint8Array(32).fill(9),
			});
			return { ...message, header: other };
		});
		cohort.simulation.run({ untilMs: 30_000 });
		expect(cohort.openedSeeds).toEqual([]);
		for (const index of honest(cohort, [])) expect(cohort.output(index, "certified")).toBeUndefined();
		for (const peer of fooled) {
			const codes = cohort.simulation.faults(peer).map(({ code }) => code);
			expect(codes).toContain("aggregation.bad_roster");
		}
	});

	test("that leaves a neighbour's keys out of what it shows is blamed", () => {
		const cohort = sparseCohort({ minimumSurvivors: 8 });
		const victim = cohort.peer(6);
		change(cohort, "roster", (message, to) =>
			to === victim ? { ...message, adverts: message.adverts.slice(1) } : message,
		);
		cohort.simulation.run({ untilMs: 4000 });
		expect(cohort.simulation.faults(victim)[0]).toMatchObject({
			peer: cohort.peer(0),
			code: "aggregation.bad_roster",
		});
		expect(cohort.output(6, "input_wanted")).toBeUndefined();
	});

	test("that hides a survivor's signed input from its neighbours gets neither their votes nor their shares", () => {
		const cohort = sparseCohort();
		const victim = cohort.peer(6);
		change(cohort, "propose", (message) => ({
			...message,
			evidence: {
				...message.evidence,
				metas: message.evidence.metas.filter(({ author }) => author !== victim),
			},
		}));
		cohort.simulation.run({ untilMs: 30_000 });
		const around = graphOf(cohort)
			.neighboursOf(victim)
			.filter((peer) => peer !== cohort.peer(0));
		for (const peer of around) {
			const [fault] = cohort.simulation.faults(peer);
			expect(fault).toMatchObject({ peer: cohort.peer(0), code: "aggregation.bad_proposal" });
			expect(cohort.openedSeeds).not.toContain(peer);
		}
		expect(cohort.openedSeeds).not.toContain(victim);
	});

	test("that asks for both kinds of secret of one member gets the certified kind alone", () => {
		const cohort = sparseCohort();
		// Everybody is asked for a share of everybody; the simulation checks every answer.
		cohort.simulation.intercept(({ from, to, message }) => {
			if (from !== cohort.peer(0) || message.kind !== "certified") return undefined;
			const proposalHash = message.certified.certificate.value;
			const targets = [...graphOf(cohort).neighboursOf(to)];
			const asked = [
				{ kind: "shareRequest", proposalHash, targets } as const,
				{ kind: "edgeRequest", proposalHash, targets } as const,
			];
			return [{ from, to, message }, ...asked.map((one) => ({ from, to, message: one }))];
		});
		cohort.runUntilEnded();
		expectAgreement(cohort, [...cohort.peers.keys()]);
	});
});

describe("a malicious member of a sparse cohort", () => {
	test("that shares another mask key than it advertised and drops out: its edges are opened instead", () => {
		const liar = 6;
		const cohort = sparseCohort({
			configure: (config, index) => (index === liar ? { ...config, random: lyingRandom() } : config),
		});
		dropAt(cohort, new Map([[liar, "input" as const]]), false);
		const alive = [...cohort.peers.keys()].filter((index) => index !== liar);
		cohort.runUntilEnded(alive);
		const survivors = expectAgreement(cohort, alive);
		expect(survivors).not.toContain(cohort.peer(liar));
		const codes = cohort.simulation.faults(cohort.peer(0)).map(({ peer, code }) => [peer, code]);
		expect(codes).toContainEqual([cohort.peer(liar), "aggregation.wrong_secret"]);
	});

	test("that signs a false projection is blamed, its input resent and compared instead", () => {
		const cohort = sparseCohort();
		const liar = cohort.peer(6);
		const asked = new Set<string>();
		cohort.simulation.intercept((envelope) => {
			const { from, to, message } = envelope;
			if (message.kind === "inputRequest") asked.add(to);
			if (from !== liar || (message.kind !== "vote" && message.kind !== "reveal")) return undefined;
			if (message.projection === undefined) return undefined;
			const { signature: _, author: __, ...fields } = message.projection;
			const packed = fields.packed.map((byte) => byte ^ 1);
			const projection = signStatement<NonNullable<typeof message.projection>>(
				cohort.keys[6] as (typeof cohort.keys)[number],
				{ ...fields, packed },
			);
			return [{ ...envelope, message: { ...message, projection } as AggregationMessage }];
		});
		cohort.runUntilEnded();
		expectAgreement(cohort, [...cohort.peers.keys()]);
		expect(asked.size).toBeGreaterThan(10);
		const blamed = cohort.simulation.faults(cohort.peer(0)).map(({ peer, code }) => [peer, code]);
		expect(blamed).toEqual([[liar, "aggregation.wrong_projection"]]);
	});
});

/**
 * A participant draws mask key, channel key, self seed, then its polynomials: the mask key is another one while
 * it is copied into what is shared.
 */
function lyingRandom(): (length: number) => Uint8Array {
	const drawn: Uint8Array[] = [];
	return (length) => {
		const bytes = randomBytes(length);
		drawn.push(bytes);
		const maskKey = drawn[0] as Uint8Array;
		if (drawn.length === 3 || drawn.length === 4) maskKey[8] = (maskKey[8] as number) ^ 0xff;
		return bytes;
	};
}
