import { describe, expect, it } from "vitest";
import { generateIdentitySeed, signingKeyFromSeed } from "../../../crypto/identity.ts";
import {
	BallotBox,
	type Electorate,
	quorum,
	type Slot,
	signBallot,
	VoteLock,
	verifyDeadCertificate,
	verifyQuorumCertificate,
} from "../../../protocols/certificate/index.ts";

const slot: Slot = { scope: "fed", subject: "result", instance: "job/3", attempt: 0 };
const A = new Uint8Array(32).fill(1);
const B = new Uint8Array(32).fill(2);

function members(n: number) {
	return Array.from({ length: n }, () => signingKeyFromSeed(generateIdentitySeed())).sort((a, b) =>
		a.peer < b.peer ? -1 : 1,
	);
}

function electorateOf(keys: readonly { peer: string }[], corruption: number): Electorate {
	return { members: keys.map((key) => key.peer), corruption };
}

describe("ballots and certificates", () => {
	it("make a certificate of exactly a quorum of votes", () => {
		const keys = members(5);
		const electorate = electorateOf(keys, 1);
		const box = new BallotBox(electorate, slot);
		for (const key of keys.slice(0, 3)) expect(box.add(signBallot(key, slot, A))).toBe("added");
		expect(quorum(electorate)).toBe(4);
		expect(box.certificate()).toBeUndefined();
		box.add(signBallot(keys[3]!, slot, A));
		const certificate = box.certificate()!;
		expect(verifyQuorumCertificate(electorate, certificate)).toBe(true);
		expect(verifyQuorumCertificate(electorate, { ...certificate, value: B })).toBe(false);
		expect(verifyQuorumCertificate(electorate, { ...certificate, slot: { ...slot, attempt: 1 } })).toBe(
			false,
		);
		const [first, ...rest] = certificate.votes;
		expect(
			verifyQuorumCertificate(electorate, { ...certificate, votes: [first!, first!, ...rest.slice(1)] }),
		).toBe(false);
		expect(verifyQuorumCertificate(electorate, { ...certificate, votes: rest })).toBe(false);
	});

	it("refuse a stranger, a forged signature and another slot's ballot", () => {
		const keys = members(4);
		const [stranger] = members(1);
		const box = new BallotBox(electorateOf(keys, 1), slot);
		expect(box.add(signBallot(stranger!, slot, A))).toBe("invalid");
		expect(box.add({ ...signBallot(keys[0]!, slot, A), value: B })).toBe("invalid");
		expect(box.add(signBallot(keys[0]!, { ...slot, instance: "job/4" }, A))).toBe("invalid");
		expect(box.ballots()).toEqual([]);
	});

	it("keep an equivocation as evidence and let the slot die by abstentions", () => {
		const keys = members(5);
		const electorate = electorateOf(keys, 1);
		const box = new BallotBox(electorate, slot);
		box.add(signBallot(keys[0]!, slot, A));
		expect(box.add(signBallot(keys[0]!, slot, A))).toBe("duplicate");
		expect(box.add(signBallot(keys[0]!, slot, B))).toMatchObject({
			equivocation: [{ value: A }, { value: B }],
		});
		expect(box.dead()).toBeUndefined();
		box.add(signBallot(keys[1]!, slot, null));
		box.add(signBallot(keys[2]!, slot, null));
		const dead = box.dead()!;
		expect(verifyDeadCertificate(electorate, dead)).toBe(true);
		expect(verifyDeadCertificate(electorate, { ...dead, ballots: dead.ballots.slice(1) })).toBe(false);
	});

	it("name the values that may still win, most votes first", () => {
		const keys = members(5);
		const box = new BallotBox(electorateOf(keys, 1), slot);
		box.add(signBallot(keys[0]!, slot, B));
		box.add(signBallot(keys[1]!, slot, A));
		box.add(signBallot(keys[2]!, slot, A));
		expect(box.viableValues()).toEqual([A, B]);
		box.add(signBallot(keys[3]!, slot, A));
		expect(box.viableValues()).toEqual([A]);
	});

	it("refuse an electorate that cannot form a quorum", () => {
		expect(() => quorum({ members: ["a"], corruption: 1 })).toThrowError(/cannot tolerate/);
	});

	it("never vote twice, also after a restart", () => {
		const [key] = members(1);
		const lock = new VoteLock(key!);
		const first = lock.cast(slot, A);
		expect(first).toMatchObject({ fresh: true, agrees: true });
		const restarted = new VoteLock(key!, [first.ballot]);
		expect(restarted.cast(slot, B)).toMatchObject({ fresh: false, agrees: false, ballot: { value: A } });
		expect(restarted.cast(slot, null)).toMatchObject({ fresh: false, agrees: false });
		expect(restarted.cast({ ...slot, attempt: 1 }, B)).toMatchObject({ fresh: true });
	});
});
