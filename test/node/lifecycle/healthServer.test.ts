import { request } from "node:http";
import { Counter, Registry } from "prom-client";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
	createHealthServer,
	type HealthServer,
	type Readiness,
} from "../../../node/lifecycle/healthServer.ts";

let server: HealthServer;
let readiness: () => Readiness;

beforeEach(async () => {
	const registry = new Registry();
	new Counter({ name: "althing_rounds_total", help: "Rounds", registers: [registry] }).inc(3);
	readiness = () => ({ store: true, network: true });
	server = createHealthServer({ port: 0, registry, ready: () => readiness() });
	await server.start();
});
afterEach(() => server.stop());

function get(path: string, options: { method?: string; host?: string } = {}) {
	return new Promise<{ status: number | undefined; body: string }>((resolve, reject) => {
		const sent = request(
			{
				port: server.port,
				host: "127.0.0.1",
				path,
				method: options.method ?? "GET",
				headers: { host: options.host ?? `127.0.0.1:${server.port}` },
			},
			(response) => {
				let body = "";
				response.on("data", (chunk) => (body += chunk));
				response.on("end", () => resolve({ status: response.statusCode, body }));
			},
		);
		sent.on("error", reject);
		sent.end();
	});
}

describe("health endpoints", () => {
	test("healthz, readyz, metrics", async () => {
		expect(await get("/healthz")).toEqual({ status: 200, body: "ok\n" });
		expect(await get("/readyz")).toMatchObject({ status: 200 });
		expect((await get("/metrics")).body).toContain("althing_rounds_total 3");
	});

	test("not ready says why, a failing check is an error", async () => {
		readiness = () => ({ store: true, network: "2 of 5 members connected, 4 needed" });
		const answer = await get("/readyz");
		expect(answer.status).toBe(503);
		expect(JSON.parse(answer.body)).toEqual({
			ready: false,
			checks: { store: true, network: "2 of 5 members connected, 4 needed" },
		});
		readiness = () => {
			throw new Error("broken check");
		};
		expect((await get("/readyz")).status).toBe(500);
	});

	test("other paths, methods and hosts are refused", async () => {
		expect((await get("/")).status).toBe(404);
		expect((await get("/healthz", { method: "POST" })).status).toBe(405);
		expect((await get("/metrics", { host: "evil.example.org" })).status).toBe(421);
		expect((await get("/metrics", { host: "localhost" })).status).toBe(200);
	});

	test("a taken port is named", async () => {
		const second = createHealthServer({ port: server.port, registry: new Registry(), ready: () => ({}) });
		await expect(second.start()).rejects.toMatchObject({
			code: "health.port_taken",
			facts: { port: server.port },
			message: expect.stringContaining("health.port"),
		});
	});
});
