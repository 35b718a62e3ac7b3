import { expect, test } from "vitest";
import { decodeCanonical } from "../../../crypto/encoding.ts";
import { signBallot } from "../../../protocols/certificate/index.ts";
import { signChangeRequest, signVerdict } from "../../../protocols/federation/changeRequest.ts";
import {
	type ChangeRequest,
	CharterChain,
	charterHash,
	charterHashText,
	charterSlot,
	type ForkProof,
	memberOf,
	parseTicket,
	requestIdOf,
	verifyForkProof,
} from "../../../protocols/federation/index.ts";
import { signProposal } from "../../../protocols/federation/proposal.ts";
import { type Node, Simulation, START } from "./simulation.ts";

const names = (nodes: readonly Node[]) =>
	nodes.map(({ machine }) =>
		(machine.chain?.head.members ?? []).map(({ organization }) => organization).sort(),
	);
const versionOf = (node: Node) => node.machine.chain?.head.version ?? 0;
const outputs = (node: Node, kind: string) => node.outputs.filter((output) => output.kind === kind);
const five = ["a", "b", "c", "d", "e"];

function expectOneChain(nodes: readonly Node[]): void {
	const length = Math.max(...nodes.map(versionOf));
	for (let version = 1; version <= length; version++) {
		const hashes = nodes.flatMap(({ machine }) => {
			const charter = machine.chain?.at(version);
			return charter === undefined ? [] : [charterHashText(charter)];
		});
		expect(new Set(hashes).size).toBe(1);
	}
}

test("joins with everybody online: all end with the same chain and nobody is blamed", () => {
	const net = new Simulation("join");
	const nodes = net.found(five);
	net.run(60_000);
	expect(names(nodes)).toEqual(nodes.map(() => five));
	expect(nodes.map(versionOf)).toEqual([5, 5, 5, 5, 5]);
	expect(outputs(nodes[4] as Node, "joined")).toHaveLength(1);
	expect(nodes.flatMap(({ faults }) => faults)).toEqual([]);
	expectOneChain(nodes);
});

test("a join waits for members that come online one after another, never a quorum at once", () => {
	const net = new Simulation("offline");
	const nodes = net.found(five);
	const [a] = nodes as [Node];
	const ticket = net.invite(a, "f", 30 * 24 * 3_600_000);
	const candidate = net.addNode("f");
	net.start(candidate);
	for (const node of nodes.slice(1)) node.online = false;
	net.join(candidate, ticket);
	net.run(60_000);
	expect(versionOf(a)).toBe(5);
	// Pairs only: a with one other, then another pair, so that messages travel by being stored.
	const order = [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4];
	for (const other of order) {
		const node = nodes[other] as Node;
		net.start(node);
		net.run(60_000);
		node.online = false;
	}
	expect(versionOf(a)).toBe(6);
	net.run(60_000);
	expect(candidate.machine.chain?.head.version).toBe(6);
	for (const node of nodes.slice(1)) net.start(node);
	net.run(120_000);
	expect(names([...net.nodes.values()])).toEqual([...net.nodes].map(() => [...five, "f"]));
	expectOneChain([...net.nodes.values()]);
});

test("a person's approval is enough where the policy says nothing, and rejections are seen", () => {
	const net = new Simulation("person");
	const nodes = net.found(five);
	net.autoApprove = () => false;
	const candidate = net.addNode("f");
	net.start(candidate);
	net.join(candidate, net.invite(nodes[0] as Node, "f"));
	net.run(30_000);
	const [pending] = (nodes[3] as Node).machine.pending();
	expect(pending).toMatchObject({ approvals: [], approvalsNeeded: 4 });
	const requestId = pending?.requestId as string;
	const [a, b, c, d, e] = nodes as [Node, Node, Node, Node, Node];
	for (const node of [a, b, c]) net.do(node, node.machine.approve(requestId, net.nowMs));
	net.do(e, e.machine.reject(requestId, net.nowMs));
	net.run(30_000);
	expect(versionOf(a)).toBe(5);
	expect(d.machine.pending()[0]).toMatchObject({ rejections: [e.key.peer] });
	expect(d.machine.pending()[0]?.approvals).toHaveLength(3);
	net.do(d, d.machine.approve(requestId, net.nowMs));
	net.run(30_000);
	expect(candidate.machine.chain?.head.version).toBe(6);
	expect(() => a.machine.approve(requestId, net.nowMs)).toThrow(
		expect.objectContaining({ code: "federation.unknown_request" }),
	);
});

test("concurrent joins all succeed", () => {
	const net = new Simulation("concurrent");
	const nodes = net.found(five);
	const candidates = ["f", "g", "h"].map((name, i) => {
		const node = net.addNode(name);
		net.start(node);
		net.join(node, net.invite(nodes[i] as Node, name));
		return node;
	});
	net.run(180_000);
	for (const candidate of candidates) expect(outputs(candidate, "joined")).toHaveLength(1);
	expect(names([...net.nodes.values()])).toEqual([...net.nodes].map(() => [...five, "f", "g", "h"]));
	expectOneChain([...net.nodes.values()]);
});

test("two nodes with one ticket: one joins, the other is told why not", () => {
	const net = new Simulation("replay");
	const nodes = net.found(["a", "b", "c"]);
	const ticket = net.invite(nodes[0] as Node, "f");
	const [first, second] = ["f", "thief"].map((name) => net.addNode(name)) as [Node, Node];
	net.start(first);
	net.join(first, ticket);
	net.run(60_000);
	expect(outputs(first, "joined")).toHaveLength(1);
	Object.assign(second, { name: "f" });
	net.start(second);
	net.join(second, ticket);
	net.run(60_000);
	expect(second.machine.chain).toBeUndefined();
	expect(outputs(second, "refused")[0]).toMatchObject({ code: "federation.ticket_used" });
	expect(versionOf(first)).toBe(4);
});

test("one ticket opens no more than a few requests, however many keys its holder makes", () => {
	const net = new Simulation("many keys");
	const nodes = net.found(["a", "b", "c"]);
	net.autoApprove = () => false;
	const ticket = net.invite(nodes[0] as Node, "f");
	for (let i = 0; i < 12; i++) {
		const candidate = net.addNode(`key ${i}`);
		Object.assign(candidate, { name: "f" });
		net.start(candidate);
		net.join(candidate, ticket);
	}
	net.run(60_000);
	for (const node of nodes) expect(node.machine.pending()).toHaveLength(4);
});

test("an expired ticket is refused on both sides", () => {
	const net = new Simulation("expired");
	const nodes = net.found(["a", "b", "c"]);
	const ticket = net.invite(nodes[0] as Node, "f", 1_000);
	const candidate = net.addNode("f");
	net.start(candidate);
	net.run(2_000);
	expect(() => net.join(candidate, ticket)).toThrow(
		expect.objectContaining({ code: "federation.ticket_expired" }),
	);
	// A candidate whose clock is late asks all the same.
	const past = candidate.machine.requestJoin(
		parseTicket(ticket),
		{ organization: "f", declared: {}, addresses: [] },
		0,
	);
	net.do(candidate, past);
	net.run(30_000);
	expect(outputs(candidate, "refused")[0]).toMatchObject({ code: "federation.ticket_expired" });
	expect(candidate.machine.chain).toBeUndefined();
});

test("a request that runs out of its ticket's time before a quorum approves is dropped", () => {
	const net = new Simulation("runs out");
	const nodes = net.found(["a", "b", "c"]);
	net.autoApprove = () => false;
	const candidate = net.addNode("f");
	net.start(candidate);
	net.join(candidate, net.invite(nodes[0] as Node, "f", 60_000));
	net.run(30_000);
	expect((nodes[1] as Node).machine.pending()).toHaveLength(1);
	net.run(60_000);
	expect((nodes[1] as Node).machine.pending()).toHaveLength(0);
	expect((nodes[1] as Node).outputs.at(-1)).toEqual({ kind: "pending", requests: [] });
});

test("a stranger learns nothing", () => {
	const net = new Simulation("stranger");
	const nodes = net.found(["a", "b", "c"]);
	const stranger = net.addNode("stranger");
	stranger.online = true;
	const heard: string[] = [];
	net.intercept = (_, to, message) => {
		if (to === stranger.key.peer) heard.push(message.kind);
		return message;
	};
	net.start(stranger);
	for (const { key } of nodes.slice(0, 3)) {
		net.send(stranger.key.peer, key.peer, { kind: "chain_request", fromVersion: 1 });
		net.send(stranger.key.peer, key.peer, {
			kind: "status",
			version: 0,
			attempt: 0,
			requests: [],
			proposals: [],
			voters: [],
			asks: true,
		});
		net.send(stranger.key.peer, key.peer, {
			kind: "chain",
			links: [...((nodes[0] as Node).machine.chain?.links ?? [])],
		});
	}
	net.run(60_000);
	expect(heard).toEqual([]);
	expect(() => stranger.machine.invite({ organization: "x", expiresInMs: 1, addresses: [] }, 0)).toThrow(
		expect.objectContaining({ code: "federation.not_member" }),
	);
});

test("leaving needs nobody's approval; the one that left is told, and is no member for anybody", () => {
	const net = new Simulation("leave");
	const nodes = net.found(five);
	net.autoApprove = () => false;
	const leaver = nodes[2] as Node;
	net.do(leaver, leaver.machine.leave(net.nowMs));
	net.run(60_000);
	expect(outputs(leaver, "left")).toEqual([{ kind: "left", version: 6, expelledFor: undefined }]);
	for (const node of nodes)
		expect(memberOf(node.machine.chain?.head as never, leaver.key.peer)).toBeUndefined();
	expect(() => leaver.machine.leave(net.nowMs)).toThrow(
		expect.objectContaining({ code: "federation.not_member" }),
	);
	expectOneChain(nodes);
});

test("the last member cannot leave", () => {
	const net = new Simulation("last");
	const [founder] = net.found(["a"]) as [Node];
	expect(() => founder.machine.leave(net.nowMs)).toThrow(
		expect.objectContaining({ code: "federation.invalid_change" }),
	);
});

test("expelling needs a quorum, not the one expelled, who learns of it when it comes back", () => {
	const net = new Simulation("expel");
	const nodes = net.found(five);
	const [a, , , , e] = nodes as [Node, Node, Node, Node, Node];
	e.online = false;
	net.do(a, a.machine.expel(e.key.peer, "lost its key", net.nowMs));
	net.run(60_000);
	expect(names(nodes.slice(0, 4))).toEqual(nodes.slice(0, 4).map(() => ["a", "b", "c", "d"]));
	net.start(e);
	net.run(60_000);
	expect(outputs(e, "left")).toEqual([{ kind: "left", version: 6, expelledFor: "lost its key" }]);
	expect(() => a.machine.expel(e.key.peer, "again", net.nowMs)).toThrow(
		expect.objectContaining({ code: "federation.member_not_found" }),
	);
});

test("rules change by quorum only", () => {
	const net = new Simulation("rules");
	const nodes = net.found(five);
	const [a, b, c, d] = nodes as [Node, Node, Node, Node];
	net.autoApprove = () => false;
	const rules = structuredClone((a.machine.chain as NonNullable<Node["chain"]>).head.rules);
	rules.privacyFloor.maximumEpsilon = 2;
	net.do(a, a.machine.changeRules(rules, net.nowMs));
	net.run(30_000);
	expect(versionOf(b)).toBe(5);
	for (const node of [b, c, d]) {
		net.do(node, node.machine.approve(node.machine.pending()[0]?.requestId as string, net.nowMs));
	}
	net.run(30_000);
	for (const node of nodes) expect(node.machine.chain?.head.rules.privacyFloor.maximumEpsilon).toBe(2);
});

test("a forged approval and a forged ballot are refused and their bringer is named", () => {
	const net = new Simulation("forged");
	const nodes = net.found(["a", "b", "c"]);
	const [a, b, c] = nodes as [Node, Node, Node];
	net.autoApprove = () => false;
	const candidate = net.addNode("f");
	net.start(candidate);
	net.join(candidate, net.invite(a, "f"));
	net.run(30_000);
	const requestId = a.machine.pending()[0]?.requestId as string;
	const { federationId } = a.machine.chain as NonNullable<Node["chain"]>;
	const signature = new Uint8Array(64);
	const verdict = { federationId, requestId, member: c.key.peer, approve: true, signature };
	net.send(b.key.peer, a.key.peer, { kind: "verdict", verdict });
	const slot = { scope: federationId, subject: "charter", instance: "4", attempt: 0 };
	const ballot = { slot, value: new Uint8Array(32), voter: c.key.peer, signature };
	net.send(b.key.peer, a.key.peer, { kind: "ballot", ballot });
	net.run(1_000);
	expect(a.machine.pending()[0]?.approvals).toEqual([]);
	expect(a.faults.map(({ peer, code }) => [peer, code])).toEqual([
		[b.key.peer, "federation.bad_signature"],
		[b.key.peer, "federation.bad_signature"],
	]);
});

test("a proposal without its approvals is refused and its proposer named", () => {
	const net = new Simulation("unapproved");
	const nodes = net.found(["a", "b", "c", "d"]);
	const candidate = net.addNode("f");
	net.start(candidate);
	net.intercept = (_from, _to, message) =>
		message.kind === "proposal" ? { ...message, proposal: { ...message.proposal, approvals: [] } } : message;
	net.join(candidate, net.invite(nodes[0] as Node, "f"));
	net.run(5_000);
	const codes = nodes.flatMap(({ faults }) => faults.map(({ code }) => code));
	expect(codes).toContain("federation.invalid_proposal");
	expect(candidate.machine.chain).toBeUndefined();
});

test("restarts at any moment, with messages lost, never make a member vote twice, and the join completes", () => {
	for (let seed = 0; seed < 3; seed++) {
		const net = new Simulation(`restart ${seed}`);
		const nodes = net.found(["a", "b", "c", "d"]);
		net.loss = 0.2;
		const candidate = net.addNode("f");
		net.start(candidate);
		net.join(candidate, net.invite(nodes[0] as Node, "f"));
		for (let i = 0; i < 30; i++) {
			net.run(700);
			net.start(nodes[(i + seed) % 4] as Node);
		}
		net.run(240_000);
		const everybody = [...net.nodes.values()];
		expect(everybody.map(versionOf)).toEqual([5, 5, 5, 5, 5]);
		expectOneChain(everybody);
		for (const node of everybody) {
			const votes = new Map<string, string>();
			for (const record of node.promises) {
				const promise = decodeCanonical(record) as {
					kind: string;
					ballot?: { slot: object; value: Uint8Array };
				};
				if (promise.kind !== "vote") continue;
				const slot = JSON.stringify(promise.ballot?.slot);
				const value = Buffer.from(promise.ballot?.value ?? []).toString("hex");
				expect(votes.get(slot) ?? value).toBe(value);
				votes.set(slot, value);
			}
			expect(node.faults).toEqual([]);
		}
	}
});

test("all nodes killed at once: what was asked and approved survives", () => {
	const net = new Simulation("all");
	const nodes = net.found(["a", "b", "c"]);
	net.autoApprove = () => false;
	const candidate = net.addNode("f");
	net.start(candidate);
	net.join(candidate, net.invite(nodes[0] as Node, "f"));
	net.run(30_000);
	const [a, b, c] = nodes as [Node, Node, Node];
	const requestId = a.machine.pending()[0]?.requestId as string;
	net.do(a, a.machine.approve(requestId, net.nowMs));
	for (const node of net.nodes.values()) node.online = false;
	for (const node of net.nodes.values()) net.start(node);
	net.run(30_000);
	expect(c.machine.pending()[0]?.approvals).toEqual([a.key.peer]);
	net.do(b, b.machine.approve(requestId, net.nowMs));
	net.run(60_000);
	expect(candidate.machine.chain?.head.version).toBe(4);
});

test("many changes under loss and absence: one chain, everybody on it in the end", () => {
	for (let seed = 0; seed < 2; seed++) {
		const net = new Simulation(`churn ${seed}`);
		const nodes = net.found(five);
		net.loss = 0.3;
		for (const [i, name] of ["f", "g"].entries()) {
			const node = net.addNode(name);
			net.start(node);
			net.join(node, net.invite(nodes[i] as Node, name));
		}
		const [, , c, d, e] = nodes as [Node, Node, Node, Node, Node];
		d.online = false;
		net.do(c, c.machine.leave(net.nowMs));
		net.run(120_000);
		net.start(d);
		net.do(d, d.machine.expel(e.key.peer, "inactive", net.nowMs));
		net.run(400_000);
		const members = [...net.nodes.values()].filter(({ name }) => !["c", "e"].includes(name));
		expect(names(members)).toEqual(members.map(() => ["a", "b", "d", "f", "g"]));
		expectOneChain([...net.nodes.values()]);
		expect([...net.nodes.values()].flatMap(({ faults }) => faults)).toEqual([]);
	}
});

test("votes split between two proposals: the attempt is proven dead and the next one decides", () => {
	const net = new Simulation("split");
	const nodes = net.found(["a", "b", "c", "d"], 0);
	net.autoApprove = () => false;
	const candidate = net.addNode("f");
	net.start(candidate);
	net.join(candidate, net.invite(nodes[0] as Node, "f"));
	net.run(30_000);
	const chain = (nodes[0] as Node).machine.chain as NonNullable<Node["chain"]>;
	const request = (nodes[0] as Node).machine.pending()[0]?.request as ChangeRequest;
	const requestId = requestIdOf(request);
	const approvals = nodes.map(({ key }) => signVerdict(key, chain.federationId, requestId, true));
	// Two members propose at once, and each half of the federation hears one of them first.
	const at = new Date(START + net.nowMs).toISOString();
	const later = new Date(START + net.nowMs + 1).toISOString();
	const [a, b, c, d] = nodes as [Node, Node, Node, Node];
	const first = signProposal(a.key, chain.federationId, 0, chain.next([request], at), approvals);
	const second = signProposal(b.key, chain.federationId, 0, chain.next([request], later), approvals);
	for (const [proposal, from, to] of [
		[first, a, b],
		[first, a, c],
		[second, b, a],
		[second, b, d],
	] as const) {
		net.do(to, to.machine.receive(from.key.peer, { kind: "proposal", proposal }, net.nowMs));
	}
	for (const node of nodes) net.do(node, node.machine.approve(requestId, net.nowMs));
	net.run(120_000);
	const everybody = [...net.nodes.values()];
	expect(everybody.map(versionOf)).toEqual([5, 5, 5, 5, 5]);
	expect(a.machine.chain?.links[4]?.certificate?.slot.attempt).toBe(1);
	expectOneChain(everybody);
	// A node that comes back with only the old attempt's records still catches up.
	for (const node of nodes) net.start(node);
	net.run(30_000);
	expectOneChain(everybody);
});

test("a member that votes twice is exposed to everybody, with both ballots as proof", () => {
	const net = new Simulation("equivocation");
	const nodes = net.found(["a", "b", "c", "d"]);
	const [a, , , d] = nodes as [Node, Node, Node, Node];
	const { federationId } = a.machine.chain as NonNullable<Node["chain"]>;
	const slot = { scope: federationId, subject: "charter", instance: "5", attempt: 0 };
	for (const value of [new Uint8Array(32).fill(1), new Uint8Array(32).fill(2)]) {
		net.send(d.key.peer, a.key.peer, { kind: "ballot", ballot: signBallot(d.key, slot, value) });
	}
	net.run(1_000);
	const fault = a.faults.find(({ code }) => code === "federation.equivocation");
	expect(fault).toMatchObject({ peer: d.key.peer, proof: true });
	expect(fault?.evidence).toHaveLength(2);
});

test("a second certified version at one height raises the alarm and names who signed both", () => {
	const net = new Simulation("fork");
	const nodes = net.found(["a", "b", "c"]);
	const [a, b] = nodes as [Node, Node];
	const chain = a.machine.chain as NonNullable<Node["chain"]>;
	// More than f members sign another version 3.
	const parent = CharterChain.verify(chain.links.slice(0, 2));
	const request = signChangeRequest(b.key, chain.federationId, chain.head.createdAt, {
		kind: "rules",
		rules: { ...chain.head.rules, minimumCohort: 2 },
	});
	const charter = parent.next([request], chain.head.createdAt);
	const slot = charterSlot(chain.federationId, 3, 0);
	const votes = [a, b].map(({ key }) => {
		const { voter, signature } = signBallot(key, slot, charterHash(charter));
		return { voter, signature };
	});
	const link = { charter, founding: null, certificate: { slot, value: charterHash(charter), votes } };
	net.send(b.key.peer, a.key.peer, { kind: "chain", links: [link] });
	net.run(1_000);
	const [fork] = outputs(a, "fork") as { proof: ForkProof }[];
	expect(fork?.proof.version).toBe(3);
	expect([...(fork?.proof.suspects ?? [])].sort()).toEqual([a.key.peer, b.key.peer].sort());
	expect(verifyForkProof(chain, fork?.proof as ForkProof)).toBe(true);
	expect(verifyForkProof(chain, { ...(fork?.proof as ForkProof), links: [link, link] })).toBe(false);
	expect(a.faults.map(({ code, proof }) => [code, proof])).toEqual([
		["federation.fork", true],
		["federation.fork", true],
	]);
	expect(a.machine.chain?.head.version).toBe(3);
});

test("a node that lost its promises to corruption does not start", () => {
	const net = new Simulation("corrupt");
	const [a] = net.found(["a", "b"]) as [Node];
	a.promises.push(Uint8Array.of(1, 2, 3));
	expect(() => net.start(a)).toThrow(expect.objectContaining({ code: "federation.corrupt_promise" }));
});

test("a restarted member stands by its vote, which only its promises let it remember", () => {
	const net = new Simulation("lock");
	const nodes = net.found(["a", "b", "c", "d"]);
	net.autoApprove = () => false;
	const [a, b, c] = nodes as [Node, Node, Node];
	const candidate = net.addNode("f");
	net.start(candidate);
	net.join(candidate, net.invite(a, "f"));
	net.run(30_000);
	const chain = c.machine.chain as NonNullable<Node["chain"]>;
	const request = c.machine.pending()[0]?.request as ChangeRequest;
	const approvals = nodes.map(({ key }) => signVerdict(key, chain.federationId, requestIdOf(request), true));
	const [first, second] = [a, b].map(({ key }, i) => {
		const charter = chain.next([request], new Date(START + net.nowMs + i).toISOString());
		return signProposal(key, chain.federationId, 0, charter, approvals);
	}) as [ReturnType<typeof signProposal>, ReturnType<typeof signProposal>];
	const ballotsFor = (proposal: typeof first) =>
		(c.machine.receive(b.key.peer, { kind: "proposal", proposal }, net.nowMs).send ?? []).filter(
			({ message }) => message.kind === "ballot",
		);
	const vote = c.machine.receive(a.key.peer, { kind: "proposal", proposal: first }, net.nowMs);
	expect(vote.persist).toHaveLength(1);
	expect(vote.send?.map(({ message }) => message.kind)).toEqual(["ballot", "ballot", "ballot"]);
	const before = [...c.promises];
	c.promises.push(...(vote.persist ?? []));
	net.start(c);
	expect(ballotsFor(second)).toEqual([]);
	// The same machine without that record would have voted again.
	c.promises.splice(0, c.promises.length, ...before);
	net.start(c);
	expect(ballotsFor(second)).toHaveLength(3);
});
