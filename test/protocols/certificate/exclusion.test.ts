/**
 * Exhaustive check of the vote-once rule for small electorates: whatever f corrupt members
 * sign, and whichever ballots are shown, a Dead certificate and a quorum certificate exclude
 * each other, and two quorum certificates cannot exist.
 */
import { describe, expect, it } from "vitest";
import { isDead, tally } from "../../../protocols/certificate/certificates.ts";
import { type Ballot, type Electorate, quorum, type Slot } from "../../../protocols/certificate/index.ts";

const slot: Slot = { scope: "s", subject: "survivors", instance: "i", attempt: 0 };
const VALUES: Record<string, Uint8Array> = { A: new Uint8Array(32).fill(1), B: new Uint8Array(32).fill(2) };

function ballot(voter: string, choice: string): Ballot {
	return { slot, value: VALUES[choice] ?? null, voter, signature: new Uint8Array(64) };
}

function* choices(options: readonly string[], length: number): Generator<string[]> {
	if (length === 0) {
		yield [];
		return;
	}
	for (const rest of choices(options, length - 1)) for (const option of options) yield [...rest, option];
}

/** Violations of exclusion over every behaviour; `needQuorum` lowers q for the negative control. */
function violations(n: number, f: number, needQuorum?: number): number {
	const members = Array.from({ length: n }, (_, index) => `m${index}`);
	const electorate: Electorate = { members, corruption: f };
	const q = needQuorum ?? quorum(electorate);
	let bad = 0;
	// Honest: vote A, vote B, abstain (X) or still silent (-), each at most once.
	for (const honest of choices(["A", "B", "X", "-"], n - f)) {
		const silent = honest.filter((choice) => choice === "-").length;
		const reach = (value: string) => honest.filter((choice) => choice === value).length + f;
		if (reach("A") >= q && reach("B") >= q) bad++;
		for (const corrupt of choices(["-", "A", "B", "X", "AB", "AX"], f)) {
			const shown: Ballot[] = [];
			honest.forEach((choice, index) => {
				if (choice !== "-") shown.push(ballot(`m${index}`, choice));
			});
			corrupt.forEach((signed, index) => {
				if (signed !== "-") for (const choice of signed) shown.push(ballot(`m${n - f + index}`, choice));
			});
			if (!isDead(electorate, shown)) continue;
			for (const value of ["A", "B", "unseen"]) if (reach(value) + silent >= q) bad++;
		}
	}
	return bad;
}

describe("vote once: quorum certificates and Dead certificates", () => {
	for (let n = 1; n <= 6; n++) {
		for (let f = 0; f <= Math.floor((n - 1) / 2) && Math.floor((n + f) / 2) + 1 <= n; f++) {
			it(`exclude each other for n = ${n}, f = ${f}`, () => {
				expect(violations(n, f)).toBe(0);
			});
		}
	}

	it("are no longer exclusive when the quorum is lowered (negative control)", () => {
		expect(violations(4, 1, 2)).toBeGreaterThan(0);
	});

	it("let a slot die after a split by a proven equivocator", () => {
		const electorate: Electorate = { members: ["m0", "m1", "m2", "m3", "m4"], corruption: 1 };
		const split = [ballot("m0", "A"), ballot("m1", "A"), ballot("m2", "B"), ballot("m3", "B")];
		expect(isDead(electorate, split)).toBe(false);
		const withProof = [...split, ballot("m4", "A"), ballot("m4", "B")];
		expect(isDead(electorate, withProof)).toBe(true);
		expect(tally(electorate, withProof).canWin("unseen")).toBe(false);
	});
});
