import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { methods } from "../../../node/rpc/methods/index.ts";
import { roles } from "../../../node/rpc/roles.ts";
import { type Harness, post, startHarness } from "./harness.ts";

const root = join(import.meta.dirname, "../../..");

/** Who may do what, written out once more by hand: a change of permissions must be made twice. */
const everybody = ["data_scientist", "privacy_officer", "auditor"];
const expected: Record<string, readonly string[]> = {
	"node.status": everybody,
	"node.doctor": ["privacy_officer", "auditor"],
	"peer.list": everybody,
	"federation.create": [],
	"federation.invite": [],
	"federation.join": [],
	"federation.pending": ["privacy_officer", "auditor"],
	"federation.approve": ["privacy_officer"],
	"federation.reject": ["privacy_officer"],
	"federation.show": everybody,
	"federation.leave": [],
	"federation.expel": [],
	"data.add": [],
	"data.list": everybody,
	"data.show": everybody,
	"data.remove": [],
	"job.submit": ["data_scientist"],
	"job.list": everybody,
	"job.show": everybody,
	"job.approve": ["privacy_officer"],
	"job.reject": ["privacy_officer"],
	"job.abort": ["data_scientist", "privacy_officer"],
	"job.resume": ["data_scientist"],
	"model.list": everybody,
	"model.show": everybody,
	"model.export": ["data_scientist"],
	"model.predict": ["data_scientist"],
	"query.ask": ["data_scientist"],
	"query.release": ["data_scientist"],
	"tuning.start": ["data_scientist"],
	"tuning.show": ["data_scientist"],
	"budget.show": everybody,
	"budget.tree": everybody,
	"budget.set": ["privacy_officer"],
	"budget.open": ["privacy_officer"],
	"budget.place": ["privacy_officer"],
	"budget.delegate": ["privacy_officer"],
	"budget.transfer": ["privacy_officer"],
	"budget.freeze": ["privacy_officer"],
	"budget.unfreeze": ["privacy_officer"],
	"budget.expire": ["privacy_officer"],
	"budget.renew": ["privacy_officer"],
	"budget.limit": ["privacy_officer"],
	"budget.report": everybody,
	"budget.audit": ["privacy_officer", "auditor"],
	"privacy.plan": everybody,
	"privacy.cost": everybody,
	"privacy.forecast": everybody,
	"privacy.optimize": everybody,
	"privacy.audit": ["privacy_officer"],
	"token.create": [],
	"token.list": ["auditor"],
	"token.revoke": [],
};

const sample: Record<string, unknown> = {
	"federation.create": { name: "demo" },
	"federation.invite": { organization: "Clinic B" },
	"federation.join": { ticket: "t" },
	"federation.approve": { requestId: "request-1" },
	"federation.reject": { requestId: "request-1" },
	"federation.expel": { peer: "12D3KooWOther", reason: "silent" },
	"data.add": { name: "digits", path: "/data/digits.csv", description: "digits-8x8" },
	"data.show": { name: "digits" },
	"data.remove": { name: "digits" },
	"job.submit": { spec: { name: "digits" } },
	"job.show": { job: "job-0001" },
	"job.approve": { job: "job-0001" },
	"job.reject": { job: "job-0001" },
	"job.abort": { job: "job-0001" },
	"job.resume": { job: "job-0001" },
	"model.show": { job: "job-0001" },
	"model.export": { job: "job-0001", format: "tfjs" },
	"model.predict": { job: "job-0001", rows: [[1, 2]] },
	"query.ask": { dataset: "digits", query: { kind: "count", privacy: { epsilon: 1 } } },
	"query.release": { dataset: "digits", release: { epsilon: 1, queries: [] } },
	"tuning.start": { spec: {}, tuning: {} },
	"tuning.show": { tuning: "tuning-1" },
	"budget.set": { dataset: "digits", epsilon: 9, delta: 1e-6 },
	"budget.open": { account: "clinic", kind: "organization", epsilon: 9, delta: 1e-6 },
	"budget.place": { account: "digits", parent: "clinic" },
	"budget.delegate": { account: "digits", epsilon: 1, delta: 1e-6 },
	"budget.transfer": { from: "digits", to: "others", epsilon: 1 },
	"budget.freeze": { account: "digits" },
	"budget.unfreeze": { account: "digits" },
	"budget.expire": { account: "digits", expiresAt: "2027-01-01T00:00:00.000Z" },
	"budget.renew": { account: "digits" },
	"budget.limit": { account: "digits", analyst: "ann", epsilon: 1 },
	"privacy.plan": { epsilon: 2, delta: 1e-6, phases: [{ name: "training", rounds: 10 }] },
	"privacy.cost": { dataset: "digits", samplingProbability: 0.1, noiseMultiplier: 1, rounds: 10 },
	"privacy.forecast": { dataset: "digits" },
	"privacy.optimize": { epsilon: 2, delta: 1e-6, records: 1000, parameters: 650 },
	"privacy.audit": { dataset: "digits", spec: { privacy: { epsilon: 4 } } },
	"token.create": { name: "made", role: "auditor" },
	"token.revoke": { id: "absent" },
};
/** What the sample call answers where it is not 200: the fakes refuse these. */
const refusals: Record<string, number> = { "job.resume": 409, "token.revoke": 404 };

describe("the method registry", () => {
	let harness: Harness;
	const tokens: Record<string, string> = {};
	beforeAll(async () => {
		harness = await startHarness();
		for (const role of roles) tokens[role] = await harness.token(role);
	});
	afterAll(() => harness.stop());

	it("holds exactly the methods with the permissions written down here", () => {
		const actual = Object.fromEntries([...methods].map(([name, method]) => [name, [...method.roles]]));
		expect(actual).toEqual(expected);
	});

	it("names as a method's own errors only codes that something throws", () => {
		const sources = ["node", "protocols", "src"].flatMap((folder) =>
			readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
				.filter((file) => file.endsWith(".ts") && !/^(rpc\/methods|cli)\//.test(file))
				.map((file) => readFileSync(join(root, folder, file), "utf8")),
		);
		const thrown = new Set(
			sources.flatMap((text) => [...text.matchAll(/"([a-z]+\.[a-z_]+)"/g)].map(([, code]) => code)),
		);
		const named = [...methods.values()].flatMap(({ errors }) => errors ?? []);
		expect(named.length).toBeGreaterThan(50);
		expect(named.filter((code) => !thrown.has(code))).toEqual([]);
	});

	for (const name of Object.keys(expected)) {
		it(`${name}: each role gets in or is refused, over the wire`, async () => {
			for (const role of roles) {
				const params =
					name === "token.create" ? { name: `made-${role}`, role: "auditor" } : (sample[name] ?? {});
				const answer = await post(harness, name, params, tokens[role]);
				const allowed = role === "admin" || expected[name]?.includes(role);
				const status = allowed ? (refusals[name] ?? 200) : 403;
				expect([role, answer.status, answer.status === 200 ? "" : answer.body.toString()]).toEqual([
					role,
					status,
					status === 200 ? "" : expect.stringContaining(allowed ? "urn:althing:problem:" : "rpc.forbidden"),
				]);
			}
		});

		it(`${name}: an unknown parameter is refused by name`, async () => {
			const params = { ...(sample[name] as object), surprise: 1 };
			const answer = await post(harness, name, params, tokens.admin);
			expect(answer.status).toBe(400);
			expect(answer.json()).toMatchObject({ code: "rpc.invalid_params", status: 400 });
			expect(answer.json().detail).toContain("surprise");
		});
	}

	it("sends nothing a result schema does not declare", async () => {
		const answer = await post(harness, "node.status", {}, tokens.auditor);
		expect(answer.json()).toMatchObject({ organization: "Clinic A" });
		expect(answer.body.toString()).not.toContain("secret");
	});

	it("tells the service who calls, without the token", async () => {
		await post(harness, "job.approve", { job: "job-0001" }, tokens.privacy_officer);
		const call = harness.fakes.calls.at(-1);
		expect(call).toMatchObject({ method: "approve", context: { caller: { role: "privacy_officer" } } });
		expect(JSON.stringify(call?.context.caller)).not.toContain(tokens.privacy_officer);
	});
});
