import { describe, expect, test } from "vitest";
import { agree, generateAgreementKey } from "../../../crypto/agreement.ts";
import { unpackRing } from "../../../crypto/ringPacking.ts";
import { runAggregationTask } from "../../../protocols/aggregation/index.ts";
import { encodePromise } from "../../../protocols/aggregation/promises.ts";
import {
	channelKeys,
	edgeTag,
	pairSeed,
	preliminarySessionId,
	sessionId,
} from "../../../protocols/aggregation/sessionId.ts";
import { CohortSimulation, keysForTests } from "./cohortSimulation.ts";

/** Masks `value` in every coordinate towards one mate. */
function masked(value: number, key: Uint8Array, first: boolean): Uint32Array {
	const result = runAggregationTask({
		kind: "mask",
		values: new Uint32Array(1000).fill(value),
		add: first ? [key] : [],
		subtract: first ? [] : [key],
		length: 1000,
		modulusBits: 16,
	});
	if (result.kind !== "mask") throw new Error("not masked");
	return unpackRing(result.packed, 16, 1000);
}

describe("what a session's names bind", () => {
	const [a, b] = keysForTests(2).map(({ peer }) => peer) as [string, string];
	const [ka, kb] = [generateAgreementKey(), generateAgreementKey()];
	const sids = [7, 8].map((model) => {
		const config = new CohortSimulation().configs[0] as CohortSimulation["configs"][number];
		return sessionId(
			preliminarySessionId({ ...config, modelHash: new Uint8Array(32).fill(model) }),
			new Uint8Array(32),
		);
	}) as [Uint8Array, Uint8Array];

	test("both ends of an edge derive one seed, and masks made for one model cancel", () => {
		const sid = sids[0];
		const seed = pairSeed(sid, ka.secret, a, kb.publicKey, b);
		expect(pairSeed(sid, kb.secret, b, ka.publicKey, a)).toEqual(seed);
		expect(edgeTag(sid, seed)).toHaveLength(16);
		const [ya, yb] = [masked(5, seed, true), masked(6, seed, false)];
		expect(ya.every((value, i) => (value + (yb[i] as number)) % 65536 === 11)).toBe(true);
	});

	test("members given two models derive different masks: nothing decodes", () => {
		const [sidA, sidB] = sids;
		const ya = masked(5, pairSeed(sidA, ka.secret, a, kb.publicKey, b), true);
		const yb = masked(6, pairSeed(sidB, kb.secret, b, ka.publicKey, a), false);
		const hits = ya.filter((value, i) => (value + (yb[i] as number)) % 65536 === 11).length;
		// By chance each of the 1000 coordinates decodes with probability 2^-16.
		expect(hits).toBeLessThan(10);
	});

	test("the share channel differs by direction and session", () => {
		const shared = agree(ka.secret, kb.publicKey);
		const keys = [sids[0], sids[1]].flatMap((sid) => {
			const { sealing, opening } = channelKeys(sid, shared, a, b);
			return [sealing.join(), opening.join()];
		});
		expect(new Set(keys).size).toBe(4);
		const other = channelKeys(sids[0], agree(kb.secret, ka.publicKey), b, a);
		expect([other.opening.join(), other.sealing.join()]).toEqual(keys.slice(0, 2));
	});
});

describe("a member outside the survivor set", () => {
	test("keeps its self seed closed even when its late input arrives", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		const late = cohort.peer(4);
		cohort.simulation.intercept(({ from, message }) =>
			from === late && message.kind === "input" ? [] : undefined,
		);
		cohort.runUntilEnded();
		expect(cohort.released(4)?.survivors).not.toContain(late);
		expect(cohort.released(4)?.sum).toEqual(cohort.expectedSum(cohort.peers.slice(0, 4)));
		expect(cohort.openedSeeds).not.toContain(late);
		expect(cohort.openedSeeds).toContain(cohort.peer(3));
	});
});

describe("promises", () => {
	const peer = "12D3KooWBeCNBjDCrkuicvBPtq9t9HGzJ2VjSqDTCTdXSgsP4viQ";

	test("are durable before the message that follows from them leaves", () => {
		const cohort = new CohortSimulation();
		const needed = { bundle: "shared", input: "input", vote: "ballot", reveal: "revealed" } as const;
		cohort.simulation.intercept(({ from, message }) => {
			const kind = message.kind in needed ? needed[message.kind as keyof typeof needed] : undefined;
			if (kind === undefined) return undefined;
			const records = cohort.simulation.durable(from).map((record) => Buffer.from(record).toString("latin1"));
			expect(records.some((record) => record.includes(kind))).toBe(true);
			return undefined;
		});
		cohort.runUntilEnded();
		expect(cohort.released(0)).toBeDefined();
	});

	test("that are unreadable keep the node out instead of being forgotten", () => {
		const record = encodePromise({ kind: "revealed", sid: new Uint8Array(32), target: peer, part: "seed" });
		const restarted = (promises: Uint8Array[]) => () =>
			new CohortSimulation({ configure: (config, i) => (i === 0 ? { ...config, promises } : config) });
		expect(restarted([record])).not.toThrow();
		expect(restarted([record.subarray(1)])).toThrow();
		expect(restarted([Uint8Array.of(0xa0)])).toThrow(/promise/);
	});
});

test.each([
	["two members", { members: 2, minimumSurvivors: 2 }, /3 to 1024 members/],
	["a threshold of one", { minimumSurvivors: 1 }, /minimumSurvivors must be 2/],
	["an electorate without a quorum", { corruption: 5 }, /cannot tolerate 5/],
])("a configuration with %s is refused", (_, options, message) => {
	expect(() => new CohortSimulation(options)).toThrow(message);
});
