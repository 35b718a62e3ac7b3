/** Inputs screened through the real protocol: who is left out, who is named, and that nobody honest ever is. */
import { describe, expect, test } from "vitest";
import { equalBytes } from "../../../crypto/encoding.ts";
import type { SigningKey } from "../../../crypto/identity.ts";
import { packRing, unpackRing } from "../../../crypto/ringPacking.ts";
import type { AggregationMessage, AggregationSession } from "../../../protocols/aggregation/index.ts";
import type { InputMeta, MessageOf, ScreenStatement } from "../../../protocols/aggregation/messages.ts";
import { vectorHash } from "../../../protocols/aggregation/sessionId.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";
import { CohortSimulation } from "../aggregation/cohortSimulation.ts";

const LENGTH = 60;
const COORDINATES = 50;
const MODULUS_BITS = 24;
const NORM_BOUND = 1000;

/** An input whose first coordinates have an L2 norm of `norm`, and whose last ones are free. */
function inputOf(index: number, norm = 0.95 * NORM_BOUND): Uint32Array {
	const random = seededRandomForTests(500 + index);
	const values = Float64Array.from({ length: LENGTH }, () => random() - 0.5);
	const length = Math.sqrt(values.subarray(0, COORDINATES).reduce((sum, value) => sum + value * value, 0));
	return Uint32Array.from(values, (value) => Math.round((value / length) * norm) & (2 ** MODULUS_BITS - 1));
}

function screenedCohort(
	options: {
		readonly norms?: Readonly<Record<number, number>>;
		readonly inputs?: Readonly<Record<number, Uint32Array>>;
		readonly screened?: boolean;
	} = {},
): CohortSimulation {
	const { norms = {}, inputs = {}, screened = true } = options;
	return new CohortSimulation({
		members: 6,
		corruption: 1,
		minimumSurvivors: 3,
		length: LENGTH,
		modulusBits: MODULUS_BITS,
		input: (index) => inputs[index] ?? inputOf(index, norms[index]),
		configure: (config) =>
			screened ? { ...config, screening: { coordinates: COORDINATES, normBound: NORM_BOUND } } : config,
	});
}

type Change<K extends AggregationMessage["kind"]> = (
	message: MessageOf<K>,
	envelope: { blob?: Uint8Array | undefined },
) => MessageOf<K> | undefined;

/** Replaces (or, with undefined, swallows) what one member sends of some kind, also to itself. */
function corrupt<K extends AggregationMessage["kind"]>(
	cohort: CohortSimulation,
	index: number,
	kind: K,
	change: Change<K>,
): void {
	cohort.simulation.intercept((envelope) => {
		if (envelope.from !== cohort.peer(index) || envelope.message.kind !== kind) return undefined;
		const changed = { ...envelope };
		const message = change(envelope.message as MessageOf<K>, changed);
		return message === undefined ? [] : [{ ...changed, message }];
	});
}

function restated(
	key: SigningKey,
	statement: ScreenStatement,
	changes: Partial<ScreenStatement>,
): ScreenStatement {
	const { signature: _, author: __, ...fields } = { ...statement, ...changes };
	return signStatement<ScreenStatement>(key, fields);
}

/** A packed vector of projections with one of them changed. */
function shifted(packed: Uint8Array): Uint8Array {
	const changed = packed.slice();
	changed[0] = (changed[0] as number) ^ 1;
	return changed;
}

const named = (cohort: CohortSimulation, index: number) =>
	(cohort.released(index)?.screening?.offenders ?? []).map(
		({ peer, offence }) => `${cohort.peers.indexOf(peer)} ${offence}`,
	);

function expectSum(cohort: CohortSimulation, survivors: readonly number[]): void {
	const names = survivors.map((i) => cohort.peer(i));
	for (const index of survivors) {
		expect(cohort.released(index)?.survivors).toEqual(names);
		expect(cohort.released(index)?.sum).toEqual(cohort.expectedSum(names));
		expect(cohort.released(index)?.screening?.sound).toBe(true);
	}
}

describe("a screening", () => {
	test("lets honest inputs pass, and tells their norms", () => {
		const cohort = screenedCohort();
		cohort.runUntilEnded();
		expectSum(cohort, [0, 1, 2, 3, 4, 5]);
		expect(named(cohort, 0)).toEqual([]);
		const norms = cohort.released(3)?.screening?.norms ?? [];
		expect(norms).toHaveLength(6);
		for (const norm of norms) expect(norm / (0.95 * NORM_BOUND)).toBeGreaterThan(0.1);
		for (const norm of norms) expect(norm / (0.95 * NORM_BOUND)).toBeLessThan(4);
		expect(cohort.simulation.faults(cohort.peer(0))).toEqual([]);
	});

	test("leaves out an oversized input, whose author every node names with its own signed statement", () => {
		const cohort = screenedCohort({ norms: { 4: 20 * NORM_BOUND } });
		cohort.runUntilEnded([0, 1, 2, 3, 5]);
		expectSum(cohort, [0, 1, 2, 3, 5]);
		for (const index of [0, 1, 2, 3, 5]) expect(named(cohort, index)).toEqual(["4 too_long"]);
		const [fault] = cohort.simulation.faults(cohort.peer(2));
		expect(fault).toMatchObject({ peer: cohort.peer(4), code: "aggregation.too_long", proof: true });
		expect(fault?.evidence).toHaveLength(1);
	});

	test("is what keeps an oversized input out: without it the sum is ruined", () => {
		const cohort = screenedCohort({ norms: { 4: 20 * NORM_BOUND }, screened: false });
		cohort.runUntilEnded();
		expect(cohort.released(0)?.survivors).toContain(cohort.peer(4));
		expect(cohort.released(0)?.screening).toBeUndefined();
	});

	test("does not let a sum be used that is longer than its inputs may be together", () => {
		// A quarter too long each, which is found out with 10^-7 only, and all in one direction.
		const same = inputOf(0, 1.25 * NORM_BOUND);
		const cohort = screenedCohort({ inputs: Object.fromEntries([0, 1, 2, 3, 4, 5].map((i) => [i, same])) });
		cohort.runUntilEnded();
		for (const index of [0, 1, 5]) {
			expect(cohort.released(index)?.survivors).toHaveLength(6);
			expect(cohort.released(index)?.screening?.sound).toBe(false);
			expect(named(cohort, index)).toEqual([]);
		}
	});

	test("goes on without those that drop out before they state anything", () => {
		const cohort = screenedCohort();
		corrupt(cohort, 2, "statement", () => undefined);
		cohort.runUntilEnded([0, 1, 3, 4, 5]);
		expectSum(cohort, [0, 1, 3, 4, 5]);
		expect(named(cohort, 0)).toEqual([]);
	});
});

/** A vector that is uniform over the ring: what a random masked vector amounts to. */
function garbage(index: number): Uint32Array {
	const random = seededRandomForTests(900 + index);
	return Uint32Array.from({ length: LENGTH }, () => Math.floor(random() * 2 ** MODULUS_BITS));
}

describe("a member that sends garbage instead of its masked input", () => {
	test("convicts itself by stating its true projections", () => {
		const cohort = screenedCohort({ inputs: { 3: garbage(3) } });
		cohort.runUntilEnded([0, 1, 2, 4, 5]);
		expectSum(cohort, [0, 1, 2, 4, 5]);
		for (const index of [0, 1, 5]) expect(named(cohort, index)).toEqual(["3 too_long"]);
	});

	test("is left out when it states nothing about it", () => {
		const cohort = screenedCohort();
		const noise = packRing(garbage(3), MODULUS_BITS);
		corrupt(cohort, 3, "input", ({ meta, kind }, envelope) => {
			const { signature: _, author: __, ...fields } = meta;
			const signed = { ...fields, inputHash: vectorHash(noise) };
			envelope.blob = noise;
			return { kind, meta: signStatement<InputMeta>(cohort.keys[3] as SigningKey, signed) };
		});
		cohort.runUntilEnded([0, 1, 2, 4, 5]);
		expectSum(cohort, [0, 1, 2, 4, 5]);
	});

	test("is found out when it hides behind false projections of its input", () => {
		const cohort = screenedCohort({ norms: { 3: 100 * NORM_BOUND } });
		corrupt(cohort, 3, "statement", ({ statement, kind }) => ({
			kind,
			statement: restated(cohort.keys[3] as SigningKey, statement, {
				input: packRing(new Uint32Array(16), MODULUS_BITS),
			}),
		}));
		cohort.runUntilEnded([0, 1, 2, 4, 5]);
		expectSum(cohort, [0, 1, 2, 4, 5]);
		const codes = cohort.simulation
			.faults(cohort.peer(0))
			.map(({ peer, code }) => `${cohort.peers.indexOf(peer)} ${code}`);
		expect(codes).toContain("3 aggregation.wrong_statement");
	});
});

describe("a member that lies about its masks", () => {
	test("with a mate is contradicted by it, and named by the opened seed; the mate is not", () => {
		const cohort = screenedCohort();
		corrupt(cohort, 5, "statement", ({ statement, kind }) => ({
			kind,
			statement: restated(cohort.keys[5] as SigningKey, statement, {
				mates: statement.mates.map((mask, i) => (i === 1 ? shifted(mask) : mask)),
			}),
		}));
		cohort.runUntilEnded([0, 1, 2, 3, 4]);
		expectSum(cohort, [0, 1, 2, 3, 4]);
		for (const index of [0, 1]) expect(named(cohort, index)).toEqual(["5 wrong_mask"]);
	});

	test("of its own is found out when the certificate opens it: the sum is not used, and it is named", () => {
		const cohort = screenedCohort();
		corrupt(cohort, 5, "statement", ({ statement, kind }) => ({
			kind,
			statement: restated(cohort.keys[5] as SigningKey, statement, { self: shifted(statement.self) }),
		}));
		cohort.runUntilEnded();
		for (const index of [0, 1, 2, 3, 4]) {
			expect(cohort.released(index)?.screening?.sound).toBe(false);
			expect(named(cohort, index)).toContain("5 wrong_self_mask");
		}
	});

	test("towards a member that drops out is found out when that mask is opened", () => {
		const cohort = screenedCohort();
		corrupt(cohort, 2, "statement", () => undefined);
		corrupt(cohort, 5, "statement", ({ statement, kind }) => ({
			kind,
			statement: restated(cohort.keys[5] as SigningKey, statement, {
				mates: statement.mates.map((mask, i) => (i === 2 ? shifted(mask) : mask)),
			}),
		}));
		cohort.runUntilEnded([0, 1, 3, 4]);
		for (const index of [0, 1, 3, 4]) {
			expect(cohort.released(index)?.screening?.sound).toBe(false);
			expect(named(cohort, index)).toEqual(["5 wrong_mask"]);
		}
	});
});

describe("a malicious coordinator", () => {
	test("that lets its own false statement pass is named by everybody, by the sum it proposed", () => {
		const cohort = screenedCohort({ norms: { 0: 50 * NORM_BOUND } });
		lieAsCoordinator(cohort);
		cohort.runUntilEnded();
		for (const index of [1, 2, 3, 4, 5]) {
			expect(cohort.released(index)?.screening?.sound).toBe(false);
			expect(named(cohort, index)).toEqual(["0 wrong_input"]);
		}
	});

	test("that asks for statements about two sets of inputs gets one of them", () => {
		const cohort = screenedCohort();
		const commitments = new Map<string, Set<string>>();
		cohort.simulation.intercept(({ message }) => {
			if (message.kind !== "statement") return undefined;
			const { author, commitment } = message.statement;
			const seen = commitments.get(author) ?? new Set();
			commitments.set(author, seen.add(Buffer.from(commitment).toString("hex")));
			return undefined;
		});
		let twice = false;
		cohort.simulation.intercept((envelope) => {
			const { message } = envelope;
			if (message.kind !== "screen" || message.metas.length < 6) return undefined;
			const metas = message.metas.slice(0, 5);
			if (twice) return undefined;
			twice = true;
			return [envelope, { ...envelope, message: { ...message, metas } }];
		});
		cohort.runUntilEnded();
		for (const seen of commitments.values()) expect(seen.size).toBe(1);
	});
});

/** What has to be stated of the input for what is left without the masks to be zero. */
function shortInput(peers: readonly string[], author: string, keys: readonly Uint8Array[]): Uint8Array {
	const [self, ...mates] = keys.map((packed) => unpackRing(packed, MODULUS_BITS, 16)) as [
		Uint32Array,
		...Uint32Array[],
	];
	const others = peers.filter((peer) => peer !== author);
	for (const [i, mask] of mates.entries())
		for (const [k, value] of mask.entries())
			self[k] = author < others[i]! ? self[k]! + value : self[k]! - value;
	return packRing(self, MODULUS_BITS);
}

/** Makes the coordinator state a short input, whatever it sent, and pass its own examination. */
function lieAsCoordinator(cohort: CohortSimulation): void {
	const stated: Uint8Array[] = [];
	cohort.simulation.intercept(({ message }) => {
		if (message.kind === "statement") stated.push(message.statement.input);
		return undefined;
	});
	const session = cohort.sessions.get(cohort.peer(0)) as AggregationSession;
	const completed = session.completed.bind(session);
	let lie: Uint8Array = new Uint8Array();
	session.completed = (workId, result, nowMs) => {
		if (result instanceof Error || result.kind !== "signs") return completed(workId, result, nowMs);
		if (workId === "state") {
			lie = shortInput(cohort.peers, cohort.peer(0), result.keys);
			return completed(workId, { ...result, vectors: [lie] }, nowMs);
		}
		const vectors = result.vectors.map((truth) =>
			stated.some((one) => equalBytes(one, truth)) ? truth : lie,
		);
		return completed(workId, workId === "coordinator:compare" ? { ...result, vectors } : result, nowMs);
	};
}

test("whatever one member states falsely, nobody else is named, and a sum that is used is exact", () => {
	const random = seededRandomForTests(31);
	const pick = <T>(from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
	for (let run = 0; run < 8; run++) {
		const liar = 1 + Math.floor(random() * 5);
		const lies = pick([["input"], ["self"], ["mates"], ["input", "mates"], ["self", "mates"]] as const);
		const cohort = screenedCohort({ norms: { [liar]: pick([0.9, 3, 100]) * NORM_BOUND } });
		const silent = pick([undefined, 1 + (liar % 5)]);
		if (silent !== undefined) corrupt(cohort, silent, "statement", () => undefined);
		corrupt(cohort, liar, "statement", ({ statement, kind }) => {
			const changed = pick([0, 1, 2, 3, 4]);
			const changes = Object.fromEntries(
				lies.map((part) => [
					part,
					part === "mates"
						? statement.mates.map((mask, i) => (i === changed ? shifted(mask) : mask))
						: shifted(statement[part]),
				]),
			);
			return { kind, statement: restated(cohort.keys[liar] as SigningKey, statement, changes) };
		});
		const honest = [0, 1, 2, 3, 4, 5].filter((index) => index !== liar && index !== silent);
		cohort.runUntilEnded(honest);
		for (const index of honest) {
			const { survivors = [], sum, screening } = cohort.released(index) ?? {};
			const offenders = screening?.offenders.map(({ peer }) => cohort.peers.indexOf(peer)) ?? [];
			expect(offenders.filter((offender) => offender !== liar)).toEqual([]);
			if (screening?.sound === true) expect(sum).toEqual(cohort.expectedSum(survivors));
			else expect(offenders).toEqual([liar]);
		}
	}
});
