import { once } from "node:events";
import { readFileSync } from "node:fs";
import { chmod, stat, writeFile } from "node:fs/promises";
import { request as tlsRequest } from "node:https";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, it } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { createRpcServer } from "../../../node/rpc/server.ts";
import { fakeServices } from "./fakeServices.ts";
import { type Harness, post, send, silentLog, startHarness } from "./harness.ts";

const tlsFile = (name: string) => fileURLToPath(new URL(`./tls/${name}`, import.meta.url));
const tls = { certificate: tlsFile("localhost.crt"), key: tlsFile("localhost.key") };

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

const portOf = (one: Harness) => Number(new URL(one.server.addresses.url ?? "").port);

describe("errors as problem documents", () => {
	it.each([
		["no token", { token: "" }, 401, "rpc.unauthenticated"],
		["a wrong token", { token: "althing_wrong" }, 401, "rpc.unauthenticated"],
		["an unknown method", { method: "job.dance" }, 404, "rpc.unknown_method"],
		["a method of Object", { method: "constructor" }, 404, "rpc.unknown_method"],
		["bad JSON", { body: "{" }, 400, "rpc.invalid_json"],
		["JSON that is not UTF-8", { body: Buffer.from([0x22, 0xff, 0x22]) }, 400, "rpc.invalid_json"],
		["a list for parameters", { body: "[]" }, 400, "rpc.invalid_params"],
		["a form", { type: "text/plain" }, 415, "rpc.unsupported_media_type"],
		["GET of a method", { verb: "GET" }, 405, "rpc.method_not_allowed"],
		["a path that is nothing", { path: "/admin" }, 404, "rpc.not_found"],
		["an error of a service", { method: "job.show", body: '{"job":"none"}' }, 404, "job.not_found"],
		[
			"a refusal by policy",
			{ method: "job.submit", body: '{"spec":{"name":"costly"}}' },
			409,
			"policy.refused",
		],
		[
			"a bad ticket",
			{ method: "federation.join", body: '{"ticket":"bad"}' },
			422,
			"federation.invalid_ticket",
		],
		["another site's page", { origin: "https://evil.example" }, 403, "rpc.foreign_origin"],
		["a bad event id", { verb: "GET", path: "/events", lastEventId: "x" }, 400, "rpc.invalid_query"],
		["a model that is not there", { verb: "GET", path: "/models/none/onnx" }, 404, "model.not_found"],
		["a format that is none", { verb: "GET", path: "/models/model-1/exe" }, 404, "model.not_found"],
	] as [string, Record<string, string>, number, string][])("%s", async (_, what, status, code) => {
		const one = await harness();
		const token = what.token ?? (await one.token("admin"));
		const verb = what.verb ?? "POST";
		const answer = await send(
			{ socketPath: one.socketPath },
			what.path ?? `/rpc/v1/${what.method ?? "node.status"}`,
			{
				method: verb,
				headers: {
					"content-type": what.type ?? "application/json",
					...(what.origin === undefined ? {} : { origin: what.origin }),
					...(what.lastEventId === undefined ? {} : { "last-event-id": what.lastEventId }),
				},
				...(verb === "GET" ? {} : { body: what.body ?? "{}" }),
				...(token === "" ? {} : { token }),
			},
		);
		expect(answer.headers["content-type"]).toBe("application/problem+json");
		expect(answer.json()).toEqual({
			type: `urn:althing:problem:${code}`,
			title: expect.any(String),
			status,
			detail: expect.stringMatching(/\S/),
			code,
			facts: expect.any(Object),
		});
		expect(answer.status).toBe(status);
		if (status === 401) expect(answer.headers["www-authenticate"]).toContain("Bearer");
		// CORS stays shut.
		expect(answer.headers["access-control-allow-origin"]).toBeUndefined();
	});

	it("a defect says nothing of itself to the caller, and all to the log", async () => {
		const logged: object[] = [];
		const one = await harness({
			log: {
				...silentLog,
				error: (...args: unknown[]) => void logged.push(args[0] as object),
			} as typeof silentLog,
			services: ({ services }) => ({
				...services,
				peers: { list: () => Promise.reject(new Error("password is hunter2")) },
			}),
		});
		const answer = await post(one, "peer.list", {}, await one.token("admin"));
		expect(answer.json()).toMatchObject({ code: "rpc.internal", status: 500 });
		expect(answer.body.toString()).not.toContain("hunter2");
		expect(logged).toMatchObject([{ code: "rpc.internal", err: { message: "password is hunter2" } }]);
	});

	it("a result of the wrong shape is a defect too", async () => {
		const one = await harness({
			services: ({ services }) => ({ ...services, peers: { list: async () => [{ peer: 7 }] as never } }),
		});
		expect((await post(one, "peer.list", {}, await one.token("admin"))).json()).toMatchObject({
			code: "rpc.internal",
		});
	});
});

describe("limits", () => {
	it("refuses a body over the limit, with and without its length said", async () => {
		const one = await harness({ limits: { bodyBytes: 1000 } });
		const token = await one.token("admin");
		const fits = await post(one, "job.submit", { spec: { text: "x".repeat(900) } }, token);
		expect(fits.status).toBe(200);
		const large = { spec: { text: "x".repeat(1000) } };
		expect((await post(one, "job.submit", large, token)).json()).toMatchObject({
			code: "rpc.too_large",
			status: 413,
		});
		const chunked = await post(one, "job.submit", large, token, { "transfer-encoding": "chunked" });
		expect(chunked.json()).toMatchObject({ code: "rpc.too_large" });
		expect(one.fakes.calls.length).toBe(1);
	});

	it("holds each token to its own rate and lets it go on when time has passed", async () => {
		const one = await harness({ limits: { rate: { burst: 2, perSecond: 0.5 } } });
		const [first, second] = [await one.token("admin"), await one.token("admin")];
		const statusOf = async (token: string) => (await post(one, "node.status", {}, token)).status;
		expect([await statusOf(first), await statusOf(first), await statusOf(first)]).toEqual([200, 200, 429]);
		const refused = await post(one, "node.status", {}, first);
		expect(refused.headers["retry-after"]).toBe("2");
		expect(refused.json()).toMatchObject({ code: "rpc.rate_limited", facts: { retryAfterSeconds: 2 } });
		expect(await statusOf(second)).toBe(200);
		one.clock.atMs += 2000;
		expect([await statusOf(first), await statusOf(first)]).toEqual([200, 429]);
	});

	it("holds guesses at tokens to a rate without holding up who has one", async () => {
		const one = await harness({ limits: { unauthenticatedRate: { burst: 1, perSecond: 1 } } });
		const token = await one.token("admin");
		expect((await post(one, "node.status", {}, "guess")).status).toBe(401);
		expect((await post(one, "node.status", {}, "guess")).status).toBe(429);
		expect((await post(one, "node.status", {}, token)).status).toBe(200);
	});

	it("ends a call that takes too long and tells the service to stop", async () => {
		const aborted = Promise.withResolvers<void>();
		const one = await harness({
			limits: { callTimeoutMs: 30 },
			services: ({ services }) => ({
				...services,
				peers: {
					list: ({ signal }) => {
						signal.addEventListener("abort", () => aborted.resolve());
						return new Promise(() => undefined);
					},
				},
			}),
		});
		const answer = await post(one, "peer.list", {}, await one.token("admin"));
		expect(answer.json()).toMatchObject({ code: "rpc.timeout", status: 504, facts: { timeoutMs: 30 } });
		await aborted.promise;
	});

	it("cuts off a client that does not finish its request", async () => {
		const one = await harness({ limits: { requestTimeoutMs: 200 } });
		const socket = connect(one.socketPath);
		socket.write("POST /rpc/v1/node.status HTTP/1.1\r\nhost: local");
		socket.resume();
		await once(socket, "close");
	});

	it("ends running calls when it stops", async () => {
		const begun = Promise.withResolvers<void>();
		const one = await harness({
			services: ({ services }) => ({
				...services,
				peers: {
					list: () => {
						begun.resolve();
						return new Promise(() => undefined);
					},
				},
			}),
		});
		const answer = post(one, "peer.list", {}, await one.token("admin"));
		await begun.promise;
		await one.server.stop();
		expect((await answer).json()).toMatchObject({ code: "rpc.stopping", status: 503 });
	});
});

describe("model files", () => {
	it("are served as bytes under the paths that model.export names", async () => {
		const one = await harness();
		const token = await one.token("data_scientist");
		const { files } = (
			await post(one, "model.export", { job: "job-0001", format: "tfjs" }, token)
		).json() as never as {
			files: { name: string; path: string; sizeBytes: number }[];
		};
		expect(files.map(({ name, path }) => [name, path])).toEqual([
			["model.tfjs", "/models/model-1/tfjs"],
			["weights.bin", "/models/model-1/tfjs/weights.bin"],
		]);
		const main = await send({ socketPath: one.socketPath }, files[0]?.path ?? "", { token });
		expect([...main.body]).toEqual([1, 2, 3, 250]);
		const weights = await send({ socketPath: one.socketPath }, files[1]?.path ?? "", { token });
		expect([...weights.body]).toEqual([9]);
	});

	it("are for the roles that may export", async () => {
		const one = await harness();
		const answer = await send({ socketPath: one.socketPath }, "/models/model-1/onnx", {
			token: await one.token("auditor"),
		});
		expect(answer.json()).toMatchObject({ code: "rpc.forbidden", status: 403 });
	});
});

describe("listeners", () => {
	it("makes the socket for its owner alone and removes it at the end", async () => {
		const one = await harness();
		expect((await stat(one.socketPath)).mode & 0o777).toBe(0o600);
		await one.server.stop();
		await expect(stat(one.socketPath)).rejects.toMatchObject({ code: "ENOENT" });
	});

	it("serves loopback HTTP, and answers to no name but its own (DNS rebinding)", async () => {
		const one = await harness({ http: { host: "127.0.0.1", port: 0 } });
		const token = await one.token("admin");
		const port = portOf(one);
		const call = (host: string, extra: Record<string, string> = {}) =>
			send({ port }, "/rpc/v1/node.status", {
				method: "POST",
				headers: { host, "content-type": "application/json", ...extra },
				body: "{}",
				token,
			});
		for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`]) {
			expect([host, (await call(host)).status]).toEqual([host, 200]);
		}
		for (const host of [
			"evil.example",
			`evil.example:${port}`,
			"localhost",
			`localhost:${port + 1}`,
			"a b",
		]) {
			const answer = await call(host);
			expect([host, answer.status, answer.json().code]).toEqual([host, 421, "rpc.wrong_host"]);
		}
		expect((await call(`localhost:${port}`, { origin: `http://localhost:${port}` })).status).toBe(200);
		expect((await call(`localhost:${port}`, { origin: "null" })).status).toBe(403);
	});

	it.each(["0.0.0.0", "::", "192.0.2.1", "example.org"])("refuses %s without TLS", async (host) => {
		expect(() =>
			createRpcServer({
				services: fakeServices().services,
				tokens: undefined as never,
				events: undefined as never,
				socketPath: "/nowhere",
				http: { host, port: 0 },
				version: "0",
				log: silentLog,
				clock: { nowMs: () => 0 },
			}),
		).toThrow(expect.objectContaining({ code: "rpc.tls_required" }));
	});

	it("serves beyond loopback with TLS", async () => {
		const one = await harness({ http: { host: "0.0.0.0", port: 0, tls } });
		const token = await one.token("admin");
		expect(one.server.addresses.url).toMatch(/^https:\/\/0\.0\.0\.0:\d+$/);
		const outgoing = tlsRequest({
			host: "localhost",
			port: portOf(one),
			path: "/rpc/v1/node.status",
			method: "POST",
			headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
			ca: readFileSync(tls.certificate),
			agent: false,
		});
		outgoing.end("{}");
		const [response] = await once(outgoing, "response");
		expect(response.statusCode).toBe(200);
		response.resume();
	});

	it("names TLS files it cannot read, and then listens nowhere", async () => {
		const one = await harness();
		await one.server.stop();
		const broken = createRpcServer({
			services: one.fakes.services,
			tokens: one.tokens,
			events: one.events,
			socketPath: one.socketPath,
			http: { host: "0.0.0.0", port: 0, tls: { ...tls, key: "/nowhere/node.key" } },
			version: "0",
			log: silentLog,
			clock: one.clock,
		});
		const error = await broken.start().catch((thrown: unknown) => thrown);
		expect(error).toMatchObject({
			code: "rpc.tls_files",
			message: expect.stringContaining("/nowhere/node.key"),
		});
		await expect(stat(one.socketPath)).rejects.toMatchObject({ code: "ENOENT" });
	});

	const another = (one: Harness, changes: { socketPath?: string; port?: number }) =>
		createRpcServer({
			services: one.fakes.services,
			tokens: one.tokens,
			events: one.events,
			socketPath: changes.socketPath ?? join(one.directory, "other.sock"),
			http: changes.port === undefined ? undefined : { host: "127.0.0.1", port: changes.port },
			version: "0",
			log: silentLog,
			clock: one.clock,
		});
	const codeOf = (promise: Promise<unknown>) =>
		promise.then(
			() => "started",
			(error: unknown) => (error instanceof AlthingError ? error.code : error),
		);

	it("takes over the socket of a killed node, never a live one's or another file", async () => {
		const one = await harness();
		expect(await codeOf(another(one, { socketPath: one.socketPath }).start())).toBe("rpc.socket_in_use");
		expect((await post(one, "node.status", {}, await one.token("admin"))).status).toBe(200);
		const file = join(one.directory, "notes.txt");
		await writeFile(file, "mine");
		expect(await codeOf(another(one, { socketPath: file }).start())).toBe("rpc.socket_in_use");
		expect((await stat(file)).isFile()).toBe(true);
	});

	it("says when the port is taken, the path too long, the directory open to others", async () => {
		const one = await harness();
		const blocker = createServer().listen(0, "127.0.0.1");
		await once(blocker, "listening");
		const { port } = blocker.address() as { port: number };
		expect(await codeOf(another(one, { port }).start())).toBe("rpc.port_taken");
		blocker.close();
		const long = join(one.directory, "x".repeat(108));
		expect(await codeOf(another(one, { socketPath: long }).start())).toBe("rpc.socket_path_too_long");
		await chmod(one.directory, 0o755);
		expect(await codeOf(another(one, {}).start())).toBe("rpc.socket_directory_open");
	});
});
