/** Joining, leaving, expelling, and who may connect at all, between whole nodes. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { signingKeyFromSeed } from "../../crypto/identity.ts";
import { randomBytes } from "../../crypto/random.ts";
import { openKeystore } from "../../node/keystore/keystore.ts";
import { formatTicket, issueTicket, parseTicket } from "../../protocols/federation/ticket.ts";
import { digitsJob, Fleet, type FleetNode } from "./fleet.ts";

const TEST_MS = 90_000;
const byHand = { policy: { autoApproveMembers: false } };
let fleet: Fleet;
let usedTicket = "";
let [founder, second, third, fourth, twin, stranger]: FleetNode[] = [];

/** One after another the tests build a federation of four and take it apart again. */
beforeAll(async () => {
	fleet = await Fleet.empty();
	founder = await fleet.add(byHand);
	second = await fleet.add(byHand);
	third = await fleet.add(byHand);
	fourth = await fleet.add(byHand);
	// A second data directory of the same organization, for tickets made out to it.
	twin = await fleet.add({ organization: second.organization });
	stranger = await fleet.add({
		network: { bootstrap: [`/ip4/127.0.0.1/tcp/${founder.port}/p2p/${founder.peer}`] },
	});
	await Promise.all([founder, second].map((node) => node.start()));
}, TEST_MS);

afterAll(() => fleet?.end());

function present(node: FleetNode | undefined): FleetNode {
	if (node === undefined) throw new Error("not started");
	return node;
}

async function pendingJoin(node: FleetNode, subject: FleetNode): Promise<string> {
	return node.until(`the request of ${subject.organization}`, async () => {
		const { pending } = await node.call("federation.pending", {});
		return pending.find((request) => request.subject === subject.peer)?.requestId;
	});
}

async function approve(by: FleetNode, subject: FleetNode): Promise<void> {
	await by.call("federation.approve", { requestId: await pendingJoin(by, subject) });
}

describe("admission", () => {
	it("is not ready before it is a member, and waits until a person approves", {
		timeout: TEST_MS,
	}, async () => {
		const [a, b] = [present(founder), present(second)];
		const before = await b.health("/readyz");
		expect(before.status).toBe(503);
		expect(JSON.parse(before.body)).toMatchObject({ ready: false, checks: { store: true } });
		expect(JSON.parse(before.body).checks.federation).toContain("no member");
		expect(await b.health("/healthz")).toMatchObject({ status: 200 });

		await a.call("federation.create", {
			name: "fleet",
			rules: { assumedCorruptFraction: 0, minimumSurvivorFraction: 0.6 },
		});
		expect((await a.health("/readyz")).status).toBe(200);
		usedTicket = await fleet.join(a, b);
		const requestId = await pendingJoin(a, b);
		await expect(b.call("federation.show", {})).rejects.toMatchObject({ code: "federation.none" });
		expect((await b.health("/readyz")).status).toBe(503);
		expect((await a.call("federation.show", {})).members).toHaveLength(1);

		await a.call("federation.approve", { requestId });
		await fleet.connected([a, b]);
		await b.untilEvent("federation.joined");
		expect((await b.health("/readyz")).status).toBe(200);
	});

	it("needs a quorum of approvals, and survives the candidate's restart", { timeout: TEST_MS }, async () => {
		const [a, b, c] = [present(founder), present(second), present(third)];
		await c.start();
		await fleet.join(a, c);
		await approve(a, c);
		const requestId = await pendingJoin(b, c);
		await b.until("the founder's approval", async () => {
			const { pending } = await b.call("federation.pending", {});
			return pending[0]?.approvals.includes(a.peer) || undefined;
		});
		expect((await a.call("federation.show", {})).members).toHaveLength(2);
		await c.kill();
		await c.start();
		await b.call("federation.approve", { requestId });
		await fleet.connected([a, b, c]);
	});

	it("refuses a used ticket, and lets its holder try again with a good one", {
		timeout: TEST_MS,
	}, async () => {
		const [a, other] = [present(founder), present(twin)];
		await other.start();
		const good = (await a.call("federation.invite", { organization: other.organization })).ticket;
		await other.call("federation.join", { ticket: usedTicket });
		const refused = await other.untilEvent("federation.refused");
		expect(refused.data).toMatchObject({ by: a.peer, reason: expect.stringContaining("used") });
		await expect(other.call("federation.create", { name: "another" })).rejects.toMatchObject({
			code: "federation.already_member",
		});
		await other.call("federation.join", { ticket: good });
		await a.call("federation.reject", { requestId: await pendingJoin(a, other) });
		await other.stop();
	});

	it("refuses an expired ticket at once and leaves the node free to join", { timeout: TEST_MS }, async () => {
		const [a, b, c, d] = [present(founder), present(second), present(third), present(fourth)];
		await d.start();
		const good = (await a.call("federation.invite", { organization: d.organization })).ticket;
		const { identitySeed } = await openKeystore({ directory: a.directory, passphrase: fleet.passphrase });
		const { federation, federationId, organization, addresses } = parseTicket(good);
		const expired = formatTicket(
			issueTicket(
				signingKeyFromSeed(identitySeed),
				{
					federation,
					federationId,
					organization,
					addresses: [...addresses],
					expiresAt: new Date(Date.now() - 60_000).toISOString(),
				},
				randomBytes,
			),
		);
		await expect(d.call("federation.join", { ticket: expired })).rejects.toMatchObject({
			code: "federation.ticket_expired",
			message: expect.stringContaining("expired at"),
		});
		// A member that is away while the others decide learns of it when it returns.
		await c.kill();
		await d.call("federation.join", { ticket: good });
		await approve(a, d);
		await approve(b, d);
		await Promise.all(
			[a, b, d].map((node) => node.untilFederation("four", (view) => view.members.length === 4)),
		);
		await c.start();
		await fleet.connected([a, b, c, d]);
	});
});

describe("outsiders", () => {
	it("keeps a node of another federation out, which learns nothing", { timeout: TEST_MS }, async () => {
		const [a, outsider] = [present(founder), present(stranger)];
		await outsider.start();
		await outsider.call("federation.create", { name: "elsewhere" });
		// It knows a ticket of its own federation that names our address and key, and asks there.
		const own = parseTicket((await outsider.call("federation.invite", { organization: "nobody" })).ticket);
		expect(own.federation).toBe("elsewhere");
		const { healthy, checks } = await outsider.call("node.doctor", {});
		expect(healthy).toBe(true);
		expect(checks.find(({ name }) => name === "peers")?.detail).toContain("all 0 other members");
		const seen = await outsider.call("peer.list", {});
		expect(seen.peers.filter(({ connected }) => connected)).toEqual([]);
		const ours = await a.call("peer.list", {});
		expect(ours.peers.filter(({ connected }) => connected).map(({ peer }) => peer)).not.toContain(
			outsider.peer,
		);
	});
});

describe("departure", () => {
	it("disconnects an expelled member and stops its jobs, the others go on", {
		timeout: TEST_MS,
	}, async () => {
		const [a, b, c, d] = [present(founder), present(second), present(third), present(fourth)];
		const members = [a, b, c, d];
		await fleet.addDigits(members);
		const { id } = await a.call("job.submit", { spec: digitsJob({ rounds: 6 }) });
		await Promise.all(members.map((node) => node.untilJob(id, ({ history }) => history.length >= 1)));
		await a.call("federation.expel", { peer: d.peer, reason: "it broke the agreement" });
		for (const node of [b, c]) {
			const requestId = await node.until("the request to expel", async () => {
				const { pending } = await node.call("federation.pending", {});
				return pending.find(({ kind }) => kind === "expel")?.requestId;
			});
			await node.call("federation.approve", { requestId });
		}
		const left = await d.untilEvent("federation.left");
		expect(left.data).toMatchObject({ expelledFor: "it broke the agreement" });
		await d.until("no connection to members", async () => {
			const { peers } = await d.call("peer.list", {});
			return peers.every(({ connected }) => !connected) || undefined;
		});
		await expect(d.call("job.list", {})).rejects.toMatchObject({ code: "federation.not_member" });
		expect((await d.call("federation.show", {})).standing).toBe("former");
		expect((await d.health("/readyz")).status).toBe(503);
		const rest = [a, b, c];
		await fleet.connected(rest);
		await Promise.all(rest.map((node) => node.untilJob(id, ({ state }) => state === "completed")));
		await d.kill();
		await d.start();
		expect((await d.call("federation.show", {})).standing).toBe("former");
		await expect(d.call("federation.invite", { organization: "x" })).rejects.toMatchObject({
			code: "federation.not_member",
		});
		await d.stop();
	});

	it("lets a member leave", { timeout: TEST_MS }, async () => {
		const [a, b, c] = [present(founder), present(second), present(third)];
		await c.call("federation.leave", {});
		await c.untilEvent("federation.left", ({ data }) => data.expelledFor === undefined);
		await fleet.connected([a, b]);
		expect((await c.call("federation.show", {})).standing).toBe("former");
	});
});
