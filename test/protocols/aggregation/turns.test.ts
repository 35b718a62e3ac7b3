import { expect, test } from "vitest";
import { toHex } from "../../../crypto/encoding.ts";
import { leafHash } from "../../../crypto/merkle.ts";
import { randomBytes } from "../../../crypto/random.ts";
import { committedShare, SEALED_SHARE_BYTES, sharingTree } from "../../../crypto/verifiableSharing.ts";
import { SealedShares } from "../../../protocols/aggregation/sealedShares.ts";
import { Turns } from "../../../protocols/aggregation/turns.ts";
import { CohortSimulation } from "./cohortSimulation.ts";

const members = Array.from({ length: 200 }, (_, i) => `peer-${i}`);

test("no more than 64 are awaited at a time, and everybody's turn comes", () => {
	const turns = new Turns();
	const missing = new Set(members);
	const asked: string[] = [];
	for (let step = 0; missing.size > 0 && step < 400; step++) {
		asked.push(...turns.next([...missing]));
		expect(asked.filter((peer) => missing.has(peer)).length).toBeLessThanOrEqual(64);
		missing.delete(asked[step] as string);
	}
	expect(asked).toEqual(members);
});

test("those who are silent are asked again, and hold up nobody", () => {
	const turns = new Turns();
	const silent = turns.next(members);
	expect(silent).toEqual(members.slice(0, 64));
	expect(turns.next(members)).toEqual([]);
	expect(turns.isOpen(members)).toBe(true);
	expect(turns.again(members)).toEqual(members.slice(0, 128));
	expect(turns.again(members)).toEqual(members.slice(0, 192));
	expect(turns.again(members)).toEqual(members);
	expect(turns.isOpen(members)).toBe(false);
});

test("sealed shares come back whole, with the proof of the tree that their dealer signed", () => {
	const kept = new SealedShares();
	const dealt = new Map(
		members
			.slice(0, 9)
			.map((dealer) => [
				dealer,
				{ leaves: randomBytes(7 * 32), sealed: randomBytes(7 * SEALED_SHARE_BYTES) },
			]),
	);
	for (const [dealer, sealed] of dealt) kept.keep(dealer, sealed);
	for (let position = 0; position < 7; position++) {
		for (const [dealer, sealed] of dealt) {
			const share = kept.shareOf(dealer, position, 2);
			const start = position * SEALED_SHARE_BYTES;
			expect(toHex(share.sealed)).toBe(toHex(sealed.sealed.subarray(start, start + SEALED_SHARE_BYTES)));
			const { root } = sharingTree(sealed.leaves, sealed.sealed);
			const leaf = leafHash(sealed.leaves.subarray(position * 32, (position + 1) * 32));
			expect(committedShare(root, 7, position + 1, share.sealed, share.path)?.leafHash).toEqual(leaf);
		}
	}
	kept.clear();
	expect(() => kept.shareOf(members[0] as string, 0, 2)).toThrow();
});

test("a cohort larger than a turn sums exactly, though the first of it do not answer", () => {
	const cohort = new CohortSimulation({
		members: 72,
		length: 4,
		minimumSurvivors: 50,
		corruption: 10,
		cohort: { graph: "ring", holders: 6, threshold: 3, mates: 4, windowSurvivors: 1 },
	});
	const silent = [1, 2, 3, 4, 5, 6];
	const awaited = new Set<string>();
	const answered = new Set<string>();
	let most = 0;
	cohort.simulation.intercept(({ from, to, message }) => {
		if (message.kind === "shares" && !answered.has(to)) most = Math.max(most, awaited.add(to).size);
		if (message.kind !== "ack") return undefined;
		if (silent.includes(cohort.peers.indexOf(from))) return [];
		answered.add(from);
		awaited.delete(from);
		return undefined;
	});
	const alive = [...cohort.peers.keys()].filter((index) => !silent.includes(index));
	cohort.runUntilEnded(alive);
	const survivors = alive.map((index) => cohort.peer(index));
	for (const index of [0, 7, 71]) {
		expect(cohort.released(index)?.survivors).toEqual(survivors);
		expect(cohort.released(index)?.sum).toEqual(cohort.expectedSum(survivors));
	}
	expect(most).toBe(64);
});
