import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ADMIN_TOKEN_FILE } from "../../../node/rpc/paths.ts";
import { openTokenStore, TOKENS_FILE } from "../../../node/rpc/tokens.ts";
import { post, startHarness } from "./harness.ts";

const DAY_MS = 86_400_000;
let directory: string;
const clock = { atMs: 0, nowMs: () => clock.atMs };
beforeEach(async () => {
	directory = await mkdtemp(join(tmpdir(), "althing-tokens-"));
	clock.atMs = Date.parse("2026-01-02T00:00:00Z");
});
afterEach(() => rm(directory, { recursive: true, force: true }));
const adminToken = async () => (await readFile(join(directory, ADMIN_TOKEN_FILE), "utf8")).trim();

describe("the token store", () => {
	it("keeps hashes alone, in files of the owner alone", async () => {
		const store = await openTokenStore({ directory, clock });
		const { token } = await store.create({ name: "alice", role: "auditor", expiresInDays: 1 });
		const text = await readFile(join(directory, TOKENS_FILE), "utf8");
		for (const secret of [token, await adminToken()]) {
			expect(secret).toMatch(/^althing_[\w-]{43}$/);
			expect(text).not.toContain(secret.slice("althing_".length));
			expect(JSON.stringify(store.list())).not.toContain(secret.slice("althing_".length));
		}
		for (const file of [TOKENS_FILE, ADMIN_TOKEN_FILE]) {
			expect((await stat(join(directory, file))).mode & 0o777).toBe(0o600);
		}
	});

	it("lets in a live token until its last moment, over restarts", async () => {
		const first = await openTokenStore({ directory, clock });
		const { token, view } = await first.create({ name: "alice", role: "auditor", expiresInDays: 2 });
		const store = await openTokenStore({ directory, clock });
		const caller = { tokenId: view.id, tokenName: "alice", role: "auditor" };
		expect(store.authenticate(token)).toEqual(caller);
		clock.atMs += 2 * DAY_MS - 1;
		expect(store.authenticate(token)).toEqual(caller);
		clock.atMs += 1;
		expect(store.authenticate(token)).toBe("expired");
		expect(store.isLive(view.id)).toBe(false);
	});

	it("refuses every token but the ones it gave", async () => {
		const store = await openTokenStore({ directory, clock });
		const { token, view } = await store.create({ name: "alice", role: "auditor", expiresInDays: 2 });
		for (const guess of ["", "althing_", view.id, token.slice(0, -1), `${token}x`, token.toLowerCase()]) {
			expect(store.authenticate(guess)).toBe("unknown");
		}
	});

	it("revokes for good", async () => {
		const store = await openTokenStore({ directory, clock });
		const { token, view } = await store.create({ name: "alice", role: "auditor", expiresInDays: 2 });
		const revoked = await store.revoke(view.id);
		clock.atMs += 1000;
		expect((await store.revoke(view.id)).revokedAt).toBe(revoked.revokedAt);
		expect(store.authenticate(token)).toBe("revoked");
		expect((await openTokenStore({ directory, clock })).authenticate(token)).toBe("revoked");
		await expect(store.revoke("absent")).rejects.toMatchObject({ code: "token.not_found" });
	});

	it("gives a name to one live token at a time, also when asked twice at once", async () => {
		const store = await openTokenStore({ directory, clock });
		const request = { name: "alice", role: "auditor", expiresInDays: 2 } as const;
		const outcomes = await Promise.allSettled([store.create(request), store.create(request)]);
		expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
		clock.atMs += 2 * DAY_MS;
		await expect(store.create(request)).resolves.toMatchObject({ view: { name: "alice" } });
	});

	it("keeps its admin token over restarts, and replaces it when lost or revoked", async () => {
		await openTokenStore({ directory, clock });
		const first = await adminToken();
		const again = await openTokenStore({ directory, clock });
		expect(await adminToken()).toBe(first);
		expect(again.authenticate(first)).toMatchObject({ role: "admin" });
		await rm(join(directory, ADMIN_TOKEN_FILE));
		const third = await openTokenStore({ directory, clock });
		expect(third.authenticate(first)).toBe("revoked");
		const [, live] = third.list();
		await third.revoke(live?.id ?? "");
		const fourth = await openTokenStore({ directory, clock });
		expect(fourth.authenticate(await adminToken())).toMatchObject({ role: "admin" });
	});

	it.each(["", "{}", '{"version":2,"tokens":[]}', '{"version":1,"tokens":[{"id":"x"}]}'])(
		"refuses a damaged file: %s",
		async (text) => {
			await writeFile(join(directory, TOKENS_FILE), text);
			await expect(openTokenStore({ directory, clock })).rejects.toMatchObject({
				code: "token.corrupt_store",
				facts: { path: join(directory, TOKENS_FILE) },
			});
			expect(await readFile(join(directory, TOKENS_FILE), "utf8")).toBe(text);
		},
	);
});

describe("tokens over the wire", () => {
	it("a token works, then is revoked or expires, and the answer says which", async () => {
		const harness = await startHarness();
		try {
			const admin = await harness.token("admin");
			const create = async (name: string) =>
				(
					await post(harness, "token.create", { name, role: "auditor", expiresInDays: 3 }, admin)
				).json() as never as {
					token: string;
					view: { id: string };
				};
			const [bob, carol] = [await create("bob"), await create("carol")];
			expect((await post(harness, "node.status", {}, bob.token)).status).toBe(200);
			await post(harness, "token.revoke", { id: bob.view.id }, admin);
			const revoked = await post(harness, "node.status", {}, bob.token);
			expect(revoked.json()).toMatchObject({ code: "rpc.unauthenticated", facts: { token: "revoked" } });
			expect((await post(harness, "node.status", {}, carol.token)).status).toBe(200);
			harness.clock.atMs += 3 * DAY_MS;
			const expired = await post(harness, "node.status", {}, carol.token);
			expect(expired.json()).toMatchObject({ code: "rpc.unauthenticated", facts: { token: "expired" } });
		} finally {
			await harness.stop();
		}
	});
});
