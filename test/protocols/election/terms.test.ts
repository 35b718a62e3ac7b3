import { describe, expect, test } from "vitest";
import type { SigningKey } from "../../../crypto/identity.ts";
import { type Electorate, type Slot, signBallot } from "../../../protocols/certificate/index.ts";
import {
	type CertifiedTerm,
	epochOf,
	firstTerm,
	termSlot,
	termValue,
	VIEWS_PER_EPOCH,
	verifyTerm,
} from "../../../protocols/election/index.ts";
import { keysForTests } from "../aggregation/cohortSimulation.ts";

const keys = keysForTests(5);
const electorate: Electorate = { members: keys.map(({ peer }) => peer), corruption: 1 };
const coordinator = electorate.members[2] as string;
const FEDERATION = "ab".repeat(32);

function certified(
	changes: {
		readonly term?: number;
		readonly slot?: Slot;
		readonly value?: Uint8Array;
		readonly signers?: readonly SigningKey[];
		readonly coordinator?: string;
	} = {},
): CertifiedTerm {
	const term = changes.term ?? 3;
	const slot = changes.slot ?? termSlot(FEDERATION, "job", term);
	const value = changes.value ?? termValue(coordinator);
	const votes = (changes.signers ?? keys.slice(0, 4)).map((key) => {
		const { voter, signature } = signBallot(key, slot, value);
		return { voter, signature };
	});
	return { term, coordinator: changes.coordinator ?? coordinator, certificate: { slot, value, votes } };
}

const holds = (term: CertifiedTerm, federation = FEDERATION, job = "job") =>
	verifyTerm(electorate, federation, job, term);

describe("a certified term", () => {
	test("holds with a quorum of votes for this coordinator, term, job and federation", () => {
		expect(holds(certified())).toBe(true);
		expect(holds(certified({ signers: keys }))).toBe(true);
	});

	const stranger = keysForTests(1, 9)[0] as SigningKey;
	const failures: Record<string, CertifiedTerm> = {
		"with too few votes": certified({ signers: keys.slice(0, 3) }),
		"with one vote counted twice": certified({ signers: [...keys.slice(0, 3), keys[0] as SigningKey] }),
		"with a stranger's vote": certified({ signers: [...keys.slice(0, 4), stranger] }),
		"for another member than it names": certified({ coordinator: electorate.members[1] as string }),
		"for a coordinator outside the electorate": certified({
			coordinator: stranger.peer,
			value: termValue(stranger.peer),
		}),
		"whose votes are of another term": certified({ slot: termSlot(FEDERATION, "job", 4) }),
		"whose votes are of a later attempt": certified({
			slot: { ...termSlot(FEDERATION, "job", 3), attempt: 1 },
		}),
		"whose votes decided something else": certified({
			slot: { ...termSlot(FEDERATION, "job", 3), subject: "result" },
		}),
	};
	for (const [why, term] of Object.entries(failures)) {
		test(`does not hold ${why}`, () => expect(holds(term)).toBe(false));
	}

	test("does not hold in another job or federation, or with a changed signature", () => {
		expect(holds(certified(), FEDERATION, "other")).toBe(false);
		expect(holds(certified(), "cd".repeat(32))).toBe(false);
		const changed = certified();
		const [first, ...rest] = changed.certificate.votes;
		const signature = Uint8Array.from(first?.signature ?? [], (byte, k) => (k === 5 ? byte ^ 1 : byte));
		const votes = [{ voter: first?.voter as string, signature }, ...rest];
		expect(holds({ ...changed, certificate: { ...changed.certificate, votes } })).toBe(false);
	});

	test("belongs to the epoch its number says", () => {
		for (const epoch of [0, 1, 7]) {
			expect(epochOf(firstTerm(epoch))).toBe(epoch);
			expect(epochOf(firstTerm(epoch) + VIEWS_PER_EPOCH - 1)).toBe(epoch);
			expect(epochOf(firstTerm(epoch) + VIEWS_PER_EPOCH)).toBe(epoch + 1);
		}
	});
});
