import { afterEach, describe, expect, it } from "vitest";
import { createRpcClient } from "../../../node/rpc/client.ts";
import { sseEvents } from "../../../node/rpc/eventStreamReader.ts";
import { EventHub } from "../../../node/rpc/events.ts";
import type { NodeEvent } from "../../../node/rpc/services.ts";
import { type Harness, send, startHarness } from "./harness.ts";

const clock = { nowMs: () => 1_000_000 };
let open: Harness[] = [];
async function harness(...args: Parameters<typeof startHarness>): Promise<Harness> {
	const started = await startHarness(...args);
	open.push(started);
	return started;
}
afterEach(async () => {
	for (const one of open) await one.stop();
	open = [];
});

async function take(events: AsyncGenerator<NodeEvent>, count: number): Promise<NodeEvent[]> {
	const taken: NodeEvent[] = [];
	while (taken.length < count) {
		const { value, done } = await events.next();
		if (done) break;
		taken.push(value);
	}
	return taken;
}
const numbers = (events: NodeEvent[]) => events.map(({ data }) => data.n);

describe("the event hub", () => {
	const publish = (hub: EventHub, from: number, to: number, job?: string) => {
		for (let n = from; n <= to; n += 1)
			hub.publish({ type: "test.n", data: { n }, ...(job === undefined ? {} : { job }) });
	};

	it("goes on after an id without a loss or a repeat, then live", async () => {
		const hub = new EventHub({ clock, capacity: 10 });
		const start = hub.newest;
		publish(hub, 1, 4);
		const stop = new AbortController();
		const events = hub.follow(stop.signal, { after: start + 2 });
		expect(numbers(await take(events, 2))).toEqual([3, 4]);
		const next = take(events, 2);
		publish(hub, 5, 6);
		expect(numbers(await next)).toEqual([5, 6]);
		stop.abort();
		expect((await events.next()).done).toBe(true);
	});

	it.each([
		["before the ring", -8],
		["before this run", -1_000_000],
		["never given", 5],
	])("says so when the id is %s, and gives all it has", async (_, offset) => {
		const hub = new EventHub({ clock, capacity: 3 });
		publish(hub, 1, 10);
		const after = hub.newest + offset;
		const events = hub.follow(new AbortController().signal, { after });
		const [gap, ...rest] = await take(events, 4);
		expect(gap).toMatchObject({ type: "stream.gap", data: { requested: after, oldest: hub.newest - 2 } });
		expect(numbers(rest)).toEqual([8, 9, 10]);
	});

	it("has no gap right at the edge of the ring", async () => {
		const hub = new EventHub({ clock, capacity: 3 });
		publish(hub, 1, 10);
		const events = hub.follow(new AbortController().signal, { after: hub.newest - 3 });
		expect(numbers(await take(events, 3))).toEqual([8, 9, 10]);
	});

	it("tells a reader that was overrun, rather than keep events for it", async () => {
		const hub = new EventHub({ clock, capacity: 3 });
		const events = hub.follow(new AbortController().signal, { after: hub.newest });
		publish(hub, 1, 1);
		expect(numbers(await take(events, 1))).toEqual([1]);
		publish(hub, 2, 10);
		const [gap, next] = await take(events, 2);
		expect([gap?.type, next?.data.n]).toEqual(["stream.gap", 8]);
	});

	it("gives ids that grow over a restart", () => {
		const before = new EventHub({ clock });
		publish(before, 1, 50);
		const later = new EventHub({ clock: { nowMs: () => clock.nowMs() + 1 } });
		expect(later.publish({ type: "test.n", data: {} }).id).toBeGreaterThan(before.newest);
	});

	it("filters by job", async () => {
		const hub = new EventHub({ clock });
		const events = hub.follow(new AbortController().signal, { after: hub.newest, job: "a" });
		publish(hub, 1, 1, "b");
		publish(hub, 2, 2, "a");
		publish(hub, 3, 3);
		publish(hub, 4, 4, "a");
		expect(numbers(await take(events, 2))).toEqual([2, 4]);
	});
});

describe("the stream over the wire", () => {
	const clientOf = async (one: Harness) =>
		createRpcClient({ endpoint: { socketPath: one.socketPath }, token: await one.token("auditor") });

	it("resumes by Last-Event-ID on a new connection", async () => {
		const one = await harness();
		const client = await clientOf(one);
		const connected = Promise.withResolvers<void>();
		const first = client.events({ connected: connected.resolve });
		const next = first.next();
		await connected.promise;
		one.events.publish({ type: "test.n", job: "j", data: { n: 1 } });
		const event = (await next).value as NodeEvent;
		expect(event).toMatchObject({ type: "test.n", job: "j", data: { n: 1 } });
		await first.return();
		one.events.publish({ type: "test.n", data: { n: 2 } });
		const second = client.events({ after: event.id });
		one.events.publish({ type: "test.n", data: { n: 3 } });
		expect(numbers(await take(second, 2))).toEqual([2, 3]);
		await second.return();
	});

	it("ends with the server, and when its token is revoked", async () => {
		const one = await harness();
		const client = await clientOf(one);
		const after = one.events.newest;
		one.events.publish({ type: "test.n", data: { n: 1 } });
		const watched = client.events({ after });
		await take(watched, 1);
		await one.tokens.revoke(one.tokens.list().at(-1)?.id ?? "");
		one.events.publish({ type: "test.n", data: { n: 2 } });
		expect(await take(watched, 1)).toEqual([]);

		const other = (await clientOf(one)).events({ after });
		await take(other, 2);
		await one.server.stop();
		expect(await take(other, 1)).toEqual([]);
	});

	it("refuses one stream too many, and has room again when one ends", async () => {
		const one = await harness({ limits: { streams: 1 } });
		const client = await clientOf(one);
		const after = one.events.newest;
		one.events.publish({ type: "test.n", data: { n: 1 } });
		const first = client.events({ after });
		await take(first, 1);
		await expect(client.events({ after }).next()).rejects.toMatchObject({ code: "rpc.too_many_streams" });
		await first.return();
		// The server learns of it when the connection closes; bounded tries, each a round trip.
		let taken: NodeEvent[] = [];
		for (let attempt = 0; attempt < 100 && taken.length === 0; attempt += 1) {
			const events = client.events({ after });
			taken = await take(events, 1).catch(() => []);
			await events.return();
		}
		expect(numbers(taken)).toEqual([1]);
	});

	it("takes a token to read", async () => {
		const one = await harness();
		const answer = await send({ socketPath: one.socketPath }, "/events");
		expect(answer.json()).toMatchObject({ code: "rpc.unauthenticated" });
	});
});

describe("the stream's reader", () => {
	it("puts events together from pieces cut anywhere, and skips comments", async () => {
		const event = { id: 7, at: "2026-01-02T00:00:00.000Z", type: "test.n", data: { text: "zwölf\nlines" } };
		const wire = new TextEncoder().encode(
			`retry: 1000\n\n: keep-alive\n\nid: 7\nevent: test.n\ndata: ${JSON.stringify(event)}\n\n`,
		);
		for (let cut = 1; cut < wire.length; cut += 1) {
			const pieces = async function* () {
				yield wire.subarray(0, cut);
				yield wire.subarray(cut);
			};
			expect(await take(sseEvents(pieces()), 2)).toEqual([event]);
		}
	});
});
