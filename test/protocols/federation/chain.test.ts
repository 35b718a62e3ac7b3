import fc from "fast-check";
import { expect, test } from "vitest";
import { type Encodable, encodeCanonical } from "../../../crypto/encoding.ts";
import { randomBytes } from "../../../crypto/random.ts";
import { quorum, signBallot } from "../../../protocols/certificate/index.ts";
import { type Change, signChangeRequest } from "../../../protocols/federation/changeRequest.ts";
import {
	type ChainLink,
	type Charter,
	CharterChain,
	charterHash,
	charterHashText,
	charterSlot,
	corruptionOf,
	decodeFederationMessage,
	electorateOf,
	formatTicket,
	issueTicket,
	minimumSurvivorsOf,
	parseTicket,
	rulesSchema,
	verifyTicket,
} from "../../../protocols/federation/index.ts";
import { declarationOf, keyFor } from "./simulation.ts";

const created = "2030-01-01T00:00:00.000Z";
const keys = ["a", "b", "c", "d"].map(keyFor);
const [a, b, c] = keys as [ReturnType<typeof keyFor>, ReturnType<typeof keyFor>, ReturnType<typeof keyFor>];
const founded = CharterChain.found(a, {
	federation: "demo",
	rules: rulesSchema.parse({}),
	declaration: declarationOf("a"),
	createdAt: created,
});
const ticketFor = (
	organization: string,
	chain = founded,
	inviter = a,
	expiresAt = "2030-02-01T00:00:00.000Z",
) =>
	issueTicket(
		inviter,
		{
			federation: "demo",
			federationId: chain.federationId,
			organization,
			expiresAt,
			addresses: ["/ip4/127.0.0.1/tcp/4001"],
		},
		randomBytes,
	);
const joinOf = (organization: string, ticket = ticketFor(organization)) =>
	signChangeRequest(keyFor(organization), founded.federationId, created, {
		kind: "join",
		ticket,
		declaration: declarationOf(organization),
	});
const request = (author: ReturnType<typeof keyFor>, change: Change) =>
	signChangeRequest(author, founded.federationId, created, change);

function certified(chain: CharterChain, charter: Charter, voters = keys, attempt = 0): ChainLink {
	const slot = charterSlot(chain.federationId, chain.head.version + 1, attempt);
	const value = charterHash(charter);
	const votes = voters
		.filter(({ peer }) => chain.electorate.members.includes(peer))
		.map((key) => ({ voter: key.peer, signature: signBallot(key, slot, value).signature }));
	return { charter, founding: null, certificate: { slot, value, votes } };
}

const usedTicket = ticketFor("b");
const two = founded.extend(certified(founded, founded.next([joinOf("b", usedTicket)], created)));
const three = two.extend(certified(two, two.next([joinOf("c")], created)));
const invalid = (version: number, text: RegExp) =>
	expect.objectContaining({
		code: "federation.invalid_chain",
		facts: expect.objectContaining({ version }),
		message: expect.stringMatching(text),
	});

test("a chain verifies from its founding charter, whose hash is the federation's id", () => {
	const again = CharterChain.verify(three.links, founded.federationId);
	expect(again.head.members.map(({ organization }) => organization).sort()).toEqual(["a", "b", "c"]);
	expect(again.federationId).toBe(charterHashText(three.at(1) as Charter));
	expect(again.head.members.map(({ peer }) => peer)).toEqual([a, b, c].map(({ peer }) => peer).sort());
	expect(() => CharterChain.verify(three.links, "00".repeat(32))).toThrow(
		invalid(1, /founds the federation/),
	);
	expect(() => CharterChain.verify([])).toThrow(invalid(1, /./));
	expect(() => CharterChain.verify(three.links.slice(1))).toThrow(invalid(1, /not a founding charter/));
});

test("a founding charter changed or signed by another is refused", () => {
	const [link] = founded.links as [ChainLink];
	const renamed = { ...link, charter: { ...link.charter, federation: "other" } };
	expect(() => CharterChain.verify([renamed])).toThrow(invalid(1, /founder's signature/));
	expect(() => CharterChain.verify([{ ...link, founding: null }])).toThrow(invalid(1, /lacks the founder/));
});

test("missing, reordered and repeated versions are refused by number", () => {
	const [one, second, third] = three.links as [ChainLink, ChainLink, ChainLink];
	expect(() => CharterChain.verify([one, third])).toThrow(invalid(2, /of version 3/));
	expect(() => CharterChain.verify([one, second, second])).toThrow(invalid(3, /of version 2/));
	const detached = { ...third, charter: { ...third.charter, previous: new Uint8Array(32) } };
	expect(() => CharterChain.verify([one, second, detached])).toThrow(invalid(3, /does not follow version 2/));
});

test("a certificate must be that of a quorum of the previous version, over this very charter", () => {
	const charter = three.next([joinOf("d")], created);
	const voters = [a, b, c];
	expect(quorum(three.electorate)).toBe(2);
	expect(three.extend(certified(three, charter, voters.slice(0, 2))).head.version).toBe(4);
	expect(() => three.extend(certified(three, charter, [a]))).toThrow(invalid(4, /not that of a quorum/));
	const good = certified(three, charter);
	const certificate = good.certificate as NonNullable<ChainLink["certificate"]>;
	const repeated = { ...certificate, votes: [certificate.votes[0], certificate.votes[0]] };
	expect(() => three.extend({ ...good, certificate: repeated })).toThrow(invalid(4, /not that of a quorum/));
	expect(() => three.extend({ ...good, certificate: null })).toThrow(invalid(4, /no certificate/));
	const elsewhere = { ...certificate, slot: { ...certificate.slot, instance: "5" } };
	expect(() => three.extend({ ...good, certificate: elsewhere })).toThrow(invalid(4, /something else/));
	const other = three.next([joinOf("d")], "2030-01-02T00:00:00.000Z");
	expect(() => three.extend({ ...good, charter: other })).toThrow(invalid(4, /another charter/));
});

test("even a certified charter may say only what its signed changes make of it", () => {
	const honest = three.next([request(a, { kind: "leave", joinedVersion: 1 })], created);
	for (const tampered of [
		{ ...honest, rules: { ...honest.rules, minimumCohort: 2 } },
		{ ...honest, members: honest.members.slice(1) },
		{ ...honest, federation: "renamed" },
	]) {
		expect(() => three.extend(certified(three, tampered))).toThrow(invalid(4, /signed changes do not/));
	}
});

test.each<[string, () => ReturnType<typeof request>, string]>([
	["a used ticket", () => joinOf("d", usedTicket), "federation.ticket_used"],
	[
		"an expired ticket",
		() => joinOf("d", ticketFor("d", founded, a, "2029-01-01T00:00:00.000Z")),
		"federation.ticket_expired",
	],
	[
		"a ticket of a stranger",
		() => joinOf("d", ticketFor("d", founded, keyFor("stranger"))),
		"federation.invalid_change",
	],
	["a ticket for another organization", () => joinOf("d", ticketFor("e")), "federation.invalid_change"],
	[
		"a changed ticket",
		() => joinOf("d", { ...ticketFor("e"), organization: "d" }),
		"federation.invalid_change",
	],
	["a join of a member", () => joinOf("b"), "federation.invalid_change"],
	[
		"a departure of a stranger",
		() => request(keyFor("x"), { kind: "leave", joinedVersion: 1 }),
		"federation.invalid_change",
	],
	[
		"a departure from a former membership",
		() => request(b, { kind: "leave", joinedVersion: 1 }),
		"federation.invalid_change",
	],
	[
		"an expulsion asked by a stranger",
		() => request(keyFor("x"), { kind: "expel", peer: b.peer, joinedVersion: 2, reason: "r" }),
		"federation.invalid_change",
	],
	[
		"rules from a stranger",
		() => request(keyFor("x"), { kind: "rules", rules: rulesSchema.parse({}) }),
		"federation.invalid_change",
	],
	[
		"a forged signature",
		() => ({ ...request(a, { kind: "leave", joinedVersion: 1 }), author: b.peer }),
		"federation.invalid_change",
	],
	[
		"another federation's request",
		() => signChangeRequest(a, "00".repeat(32), created, { kind: "leave", joinedVersion: 1 }),
		"federation.invalid_change",
	],
])("refuses %s", (_, make, code) => {
	expect(() => three.next([make()], created)).toThrow(expect.objectContaining({ code }));
});

test("a request is good for one version only, and time does not run backwards", () => {
	const rules = request(a, { kind: "rules", rules: rulesSchema.parse({ minimumCohort: 2 }) });
	const four = three.extend(certified(three, three.next([rules], created)));
	expect(() => four.next([rules], created)).toThrow(
		expect.objectContaining({ code: "federation.invalid_change" }),
	);
	expect(() => three.next([rules, rules], created)).toThrow(
		expect.objectContaining({ code: "federation.invalid_change" }),
	);
	expect(() => three.next([rules], "2029-12-31T00:00:00.000Z")).toThrow(/older than its predecessor/);
	expect(() => three.next([], created)).toThrow(/no change/);
});

test("two joins by one ticket exclude each other within a version", () => {
	const ticket = ticketFor("d");
	const joins = ["d", "d"].map((name, i) =>
		signChangeRequest(keyFor(`${name}${i}`), founded.federationId, created, {
			kind: "join",
			ticket,
			declaration: declarationOf("d"),
		}),
	);
	expect(() => three.next(joins, created)).toThrow(
		expect.objectContaining({ code: "federation.ticket_used" }),
	);
});

test("corruption bound, quorum and survivors follow from the rules", () => {
	const of = (n: number, fraction: number): Charter => ({
		...founded.head,
		members: Array.from({ length: n }, (_, i) => ({ ...founded.head.members[0], peer: `p${i}` }) as never),
		rules: rulesSchema.parse({ assumedCorruptFraction: fraction }),
	});
	for (const [n, fraction, f, q] of [
		[1, 0.2, 0, 1],
		[2, 0.2, 0, 2],
		[3, 0.2, 0, 2],
		[4, 0.2, 0, 3],
		[5, 0.2, 1, 4],
		[10, 0.2, 2, 7],
		[3, 1 / 3, 1, 3],
		[100, 0.29, 29, 65],
	] as const) {
		expect([n, corruptionOf(of(n, fraction)), quorum(electorateOf(of(n, fraction)))]).toEqual([n, f, q]);
	}
	expect([2, 3, 5, 10].map((n) => minimumSurvivorsOf(of(10, 0.2), n))).toEqual([2, 3, 4, 8]);
	expect(rulesSchema.safeParse({ assumedCorruptFraction: 0.5 }).success).toBe(false);
	expect(rulesSchema.safeParse({ privacyFlor: {} }).success).toBe(false);
});

test("tickets survive the way through mail and refuse every change", () => {
	const ticket = ticketFor("North Clinic");
	const text = formatTicket(ticket);
	expect(text).toMatch(/^althing1:[A-Za-z0-9_-]+$/);
	expect(parseTicket(` ${text.slice(0, 60)}\r\n  ${text.slice(60)}\n`)).toEqual(ticket);
	expect(verifyTicket({ ...ticket, organization: "South Clinic" })).toBe(false);
	const bad = expect.objectContaining({ code: "federation.bad_ticket" });
	fc.assert(
		fc.property(fc.nat(text.length - 1), fc.constantFrom(..."ABCxyz019-_"), (at, letter) => {
			fc.pre(text[at] !== letter);
			expect(() => parseTicket(text.slice(0, at) + letter + text.slice(at + 1))).toThrow(bad);
		}),
	);
	for (const wrong of [
		"",
		"althing1:",
		"althing2:AAAA",
		text.slice(0, -5),
		`${text}!`,
		`althing1:${"A".repeat(9000)}`,
	]) {
		expect(() => parseTicket(wrong)).toThrow(bad);
	}
	expect(() => ticketFor("line\nbreak")).toThrow(bad);
});

test("messages that are not of this protocol are refused at the door", () => {
	const bad = expect.objectContaining({ code: "federation.malformed" });
	for (const message of [
		null,
		{ kind: "chain", links: [] },
		{ kind: "chain_request", fromVersion: 0 },
		{ kind: "chain_request", fromVersion: 1, more: 1 },
		{ kind: "verdict", verdict: { approve: true } },
		{ kind: "status", version: -1 },
	] as Encodable[]) {
		expect(() => decodeFederationMessage(encodeCanonical(message))).toThrow(bad);
	}
	expect(() => decodeFederationMessage(new Uint8Array(2 ** 20 + 1))).toThrow(bad);
	fc.assert(
		fc.property(fc.uint8Array(), (bytes) => {
			expect(() => decodeFederationMessage(bytes)).toThrow(bad);
		}),
	);
});
