/** A whole hierarchy in the simulator: three cohorts of eight, with latency, dropout and liars. */
import { describe, expect, test } from "vitest";
import type { PeerId } from "../../../protocols/contract.ts";
import { HierarchySimulation } from "./hierarchySimulation.ts";

describe("a hierarchy of three cohorts", () => {
	test("gives everybody the sum of all, and no sum of fewer than a cohort's survivors is ever sent", () => {
		const hierarchy = new HierarchySimulation();
		hierarchy.run(hierarchy.peers);
		for (const peer of hierarchy.peers) {
			expect(hierarchy.released(peer)).toEqual({
				kind: "released",
				sum: hierarchy.expected(hierarchy.peers),
				survivors: 24,
				included: [0, 1, 2],
			});
			expect(hierarchy.simulation.faults(peer)).toEqual([]);
		}
		expect(hierarchy.doubleVotes()).toEqual([]);
	});

	test("does so when every seventh message above the sessions is lost", () => {
		const hierarchy = new HierarchySimulation();
		let count = 0;
		hierarchy.simulation.intercept(({ message }) =>
			message.kind !== "session" && ++count % 7 === 0 ? [] : undefined,
		);
		hierarchy.run(hierarchy.peers, 600_000);
		const all = hierarchy.peers.map((peer) => hierarchy.released(peer));
		expect(all[0]).toMatchObject({ sum: hierarchy.expected(hierarchy.peers), included: [0, 1, 2] });
		for (const one of all) expect(one).toEqual(all[0]);
		expect(hierarchy.doubleVotes()).toEqual([]);
	});

	test("sums those that remain when some drop out of each", () => {
		const probe = new HierarchySimulation();
		const lost = new Set(
			probe.cohorts.map(({ electorate, coordinator }) =>
				electorate.members.find((peer) => peer !== coordinator),
			),
		);
		const hierarchy = new HierarchySimulation({ lost: (peer) => lost.has(peer) });
		const alive = hierarchy.peers.filter((peer) => !lost.has(peer));
		hierarchy.run(alive);
		for (const peer of alive) {
			expect(hierarchy.released(peer)).toMatchObject({
				sum: hierarchy.expected(alive),
				survivors: 21,
				included: [0, 1, 2],
			});
		}
	});

	test("leaves a cohort out that cannot complete", () => {
		const probe = new HierarchySimulation();
		const out = probe.bystander;
		const dead = new Set(
			probe
				.members(out)
				.filter((peer) => peer !== probe.coordinator(out))
				.slice(0, 3),
		);
		const hierarchy = new HierarchySimulation({ lost: (peer) => dead.has(peer) });
		expectWithout(hierarchy, out);
		for (const peer of hierarchy.members(out)) expect(hierarchy.released(peer)).toBeUndefined();
	});

	test("leaves a cohort out that loses its coordinator", () => {
		const hierarchy = new HierarchySimulation();
		const out = hierarchy.bystander;
		const coordinator = hierarchy.coordinator(out);
		hierarchy.onSent("session", coordinator, () => hierarchy.simulation.crash(coordinator), 20);
		expectWithout(hierarchy, out);
	});

	test("leaves a cohort out that dies when its sum is in the root already", () => {
		const hierarchy = new HierarchySimulation();
		const out = hierarchy.bystander;
		hierarchy.onSent("cohortSum", hierarchy.coordinator(out), () => {
			for (const peer of hierarchy.members(out)) hierarchy.simulation.crash(peer);
		});
		expectWithout(hierarchy, out);
		expect(hierarchy.doubleVotes()).toEqual([]);
	});
});

describe("when the combiner", () => {
	test.each([
		["is dead before it has a sum", "cohortSum", 1],
		["dies having shown its root to one cohort", "path", 1],
		["dies having shown the checked root to one cohort", "attested", 1],
		["dies having told one cohort of the decision", "decided", 1],
	] as const)("%s, the next in line ends the round", (_, kind, nth) => {
		const hierarchy = new HierarchySimulation();
		const { combiner } = hierarchy;
		const own = hierarchy.cohorts.findIndex(({ coordinator }) => coordinator === combiner);
		// Of what it sends to the other cohorts only the first leaves; then it is gone.
		let left = nth + (kind === "cohortSum" ? -1 : 0);
		hierarchy.simulation.intercept(({ from, to, message }) => {
			if (kind === "cohortSum" && to === combiner && message.kind === kind) {
				hierarchy.simulation.at(hierarchy.simulation.nowMs, () => crash());
				return [];
			}
			if (from !== combiner || message.kind !== kind || hierarchy.members(own).includes(to)) return undefined;
			if (left-- > 0) return undefined;
			hierarchy.simulation.at(hierarchy.simulation.nowMs, () => crash());
			return [];
		});
		const crash = () => {
			if (hierarchy.simulation.isRunning(combiner)) hierarchy.simulation.crash(combiner);
		};
		const others = hierarchy.peers.filter((peer) => !hierarchy.members(own).includes(peer));
		hierarchy.run(others, 400_000);
		const [first] = others.map((peer) => hierarchy.released(peer));
		expect(first).toBeDefined();
		for (const peer of others) expect(hierarchy.released(peer)).toEqual(first);
		expect(hierarchy.doubleVotes()).toEqual([]);
	});
});

describe("a member that restarts", () => {
	test.each([["cohortVote"], ["rootVote"], ["decisionVote"]] as const)(
		"after its %s votes no second time, and gets the root",
		(kind) => {
			const hierarchy = new HierarchySimulation();
			const coordinator = hierarchy.coordinator(hierarchy.bystander);
			const member = hierarchy.members(hierarchy.bystander).find((peer) => peer !== coordinator) as PeerId;
			hierarchy.onSent(kind, member, () => {
				hierarchy.simulation.crash(member);
				hierarchy.simulation.at(hierarchy.simulation.nowMs + 2000, () => hierarchy.restart(member));
			});
			hierarchy.run(hierarchy.peers);
			for (const peer of hierarchy.peers)
				expect(hierarchy.released(peer)).toMatchObject({ survivors: 24, included: [0, 1, 2] });
			expect(hierarchy.doubleVotes()).toEqual([]);
		},
	);

	test("as its cohort's coordinator, or as the combiner, takes up where it was", () => {
		for (const which of ["coordinator", "combiner"] as const) {
			const hierarchy = new HierarchySimulation();
			const peer = which === "combiner" ? hierarchy.combiner : hierarchy.coordinator(hierarchy.bystander);
			hierarchy.onSent("rootVote", hierarchy.members(hierarchy.bystander)[0] as PeerId, () => {
				hierarchy.simulation.crash(peer);
				hierarchy.simulation.at(hierarchy.simulation.nowMs + 2000, () => hierarchy.restart(peer));
			});
			hierarchy.run(hierarchy.peers);
			for (const one of hierarchy.peers)
				expect(hierarchy.released(one)).toMatchObject({ survivors: 24, included: [0, 1, 2] });
			expect(hierarchy.doubleVotes()).toEqual([]);
		}
	});

	test("refuses records that it cannot read", () => {
		const hierarchy = new HierarchySimulation();
		const peer = hierarchy.peers[0] as PeerId;
		hierarchy.simulation.run({ untilMs: 1 });
		hierarchy.simulation.crash(peer);
		(hierarchy.simulation.durable(peer) as Uint8Array[]).push(Uint8Array.of(0xa0));
		expect(() => hierarchy.restart(peer)).toThrow(/unreadable/);
	});
});

describe("a malicious combiner", () => {
	test("that adds something else is refused and blamed by those who hold the parts", () => {
		const hierarchy = new HierarchySimulation();
		const { combiner } = hierarchy;
		hierarchy.simulation.intercept((envelope) => {
			if (envelope.from !== combiner || envelope.message.kind !== "path" || envelope.blob === undefined)
				return undefined;
			return [{ ...envelope, blob: envelope.blob.map((byte, i) => (i === 3 ? byte ^ 1 : byte)) }];
		});
		hierarchy.simulation.run({ untilMs: 29_000 });
		for (const peer of hierarchy.peers) expect(hierarchy.released(peer)).toBeUndefined();
		// Their coordinators hold the parts, and show the members nothing that they found wrong.
		for (const { coordinator } of hierarchy.cohorts) {
			if (coordinator === combiner) continue;
			const codes = hierarchy.simulation.faults(coordinator).map(({ peer: blamed, code }) => [blamed, code]);
			expect(codes).toContainEqual([combiner, "hierarchy.wrong_addition"]);
		}
	});

	test.each([
		["names other survivors of a cohort", /names other survivors/],
		["leaves half of the cohorts out", /leaves out half/],
		["counts a member too many", /counts its contributors wrong|survivors that cannot be/],
	])("that %s is refused", (what, message) => {
		const hierarchy = new HierarchySimulation({ members: 32 });
		const { combiner, bystander } = hierarchy;
		const victim = hierarchy.coordinator(bystander);
		hierarchy.simulation.intercept((envelope) => {
			const { from, to, message: sent } = envelope;
			if (from !== combiner || to !== victim || sent.kind !== "path") return undefined;
			const { included } = sent;
			const flipped = (cohort: number) =>
				included.map((one) =>
					one.cohort === cohort ? { ...one, survivors: one.survivors.map((byte) => byte ^ 1) } : one,
				);
			const other = included.find(({ cohort }) => cohort !== bystander)?.cohort ?? 0;
			const changed =
				what === "leaves half of the cohorts out"
					? included.filter(({ cohort }) => cohort === bystander || cohort === other)
					: flipped(what.startsWith("names") ? bystander : other);
			return [{ ...envelope, message: { ...sent, included: changed } }];
		});
		hierarchy.simulation.run({ untilMs: 29_000 });
		const [fault] = hierarchy.simulation.faults(victim);
		expect(fault).toMatchObject({ peer: combiner, code: "hierarchy.wrong_addition" });
		expect(fault?.message).toMatch(message);
	});

	test("cannot have two roots decided, even by showing each half of the cohorts its own", () => {
		const hierarchy = new HierarchySimulation({ members: 32 });
		const { combiner } = hierarchy;
		// Never hears of two of four cohorts' sums: half of them is no majority.
		const hidden = hierarchy.cohorts.filter(({ coordinator }) => coordinator !== combiner).slice(0, 2);
		hierarchy.simulation.intercept(({ from, to, message }) =>
			message.kind === "cohortSum" &&
			to === combiner &&
			hidden.some(({ electorate }) => electorate.members.includes(from))
				? []
				: undefined,
		);
		hierarchy.simulation.run({ untilMs: 29_000 });
		for (const peer of hierarchy.peers) expect(hierarchy.released(peer)).toBeUndefined();
		// The next in line hears of them.
		hierarchy.run(hierarchy.peers);
		const all = hierarchy.peers.map((peer) => hierarchy.released(peer));
		for (const one of all) expect(one).toEqual(all[0]);
	});

	test("gets no sum past it that its cohort did not certify", () => {
		const hierarchy = new HierarchySimulation();
		const out = hierarchy.bystander;
		const liar = hierarchy.coordinator(out);
		hierarchy.simulation.intercept((envelope) => {
			if (envelope.from !== liar || envelope.message.kind !== "cohortSum") return undefined;
			return [{ ...envelope, blob: envelope.blob?.map((byte) => byte ^ 1) }];
		});
		expectWithout(hierarchy, out);
		expect(hierarchy.simulation.faults(hierarchy.combiner)[0]).toMatchObject({
			peer: liar,
			code: "hierarchy.bad_sum",
		});
	});
});

/** Runs until all other cohorts have released a root without the cohort. */
function expectWithout(hierarchy: HierarchySimulation, out: number): void {
	const rest = hierarchy.cohorts.map(({ index }) => index).filter((index) => index !== out);
	const others = rest.flatMap((index) => hierarchy.members(index));
	hierarchy.run(others);
	for (const peer of others) {
		expect(hierarchy.released(peer)).toMatchObject({
			sum: hierarchy.expected(others),
			survivors: others.length,
			included: rest,
		});
	}
}
