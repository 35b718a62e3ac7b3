import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { libp2pLogger } from "../../../node/logging/libp2pLogger.ts";
import { createLogger, type LogLevel, shortPeer } from "../../../node/logging/logger.ts";
import { isSecretName, redact } from "../../../node/logging/redaction.ts";

function capture(level: LogLevel = "trace") {
	const written: string[] = [];
	const log = createLogger({ level, stream: { write: (line: string) => written.push(line) } });
	return { log, text: () => written.join(""), lines: () => written.map((line) => JSON.parse(line)) };
}

describe("logger", () => {
	test("writes one JSON object per line with level, time, component", () => {
		const { log, lines } = capture();
		log.child({ component: "network" }).info({ peers: 3 }, "connected");
		expect(lines()).toEqual([
			{
				level: "info",
				time: expect.stringMatching(/^\d{4}-.*Z$/),
				component: "network",
				peers: 3,
				msg: "connected",
			},
		]);
	});

	test("keeps quiet below its level", () => {
		const { log, text } = capture("warn");
		log.info("no");
		log.warn("yes");
		expect(text()).not.toContain("no");
		expect(text()).toContain("yes");
	});

	test("describes errors with code, facts and cause", () => {
		const { log, lines } = capture();
		log.error(
			{ err: new AlthingError("store.corrupt", "bad", { sequence: 3 }, { cause: new TypeError("inner") }) },
			"x",
		);
		expect(lines()[0].err).toMatchObject({
			code: "store.corrupt",
			message: "bad",
			facts: { sequence: 3 },
			cause: { type: "TypeError", message: "inner" },
		});
	});
});

describe("redaction", () => {
	const names = [
		...["passphrase", "password", "secret", "identitySeed", "seed", "token", "adminToken", "key", "storeKey"],
		...["private_key", "authorization", "Cookie", "API-KEY", "shares", "selfMask"],
	];

	test.each(names)(
		"%s never reaches the log, at any depth, in bindings, messages' fields or errors",
		(name) => {
			const { log, text } = capture();
			const holder = { [name]: "hunter2" };
			log.info(holder, "flat");
			log.info({ a: { b: [{ c: holder }] } }, "deep");
			log.child(holder).info("bound");
			log.error({ err: new AlthingError("a.b", "m", holder) }, "error");
			log.error(new AlthingError("a.b", "m", holder));
			log.error({
				err: new Error("m", { cause: Object.assign(new AlthingError("c.d", "n", { inner: holder })) }),
			});
			expect(text()).not.toContain("hunter2");
			expect(text()).toContain("[redacted]");
		},
	);

	test.each([
		"publicKey",
		"keystore",
		"tokenId",
		"keyBytes",
		"monkey",
		"reseeded",
		"message",
		"passphraseFile",
	])("%s is no secret", (name) => {
		expect(isSecretName(name)).toBe(false);
	});

	test("byte strings are reduced to their length, cycles are cut, bigints are text", () => {
		const cyclic: Record<string, unknown> = {
			bytes: new Uint8Array(32),
			big: 5n,
			list: [new Float32Array(2)],
		};
		cyclic.self = cyclic;
		const { log, text } = capture();
		log.info(cyclic, "x");
		expect(text()).toContain('"bytes":"[32 bytes]"');
		expect(text()).toContain('"list":["[8 bytes]"]');
		expect(text()).toContain('"big":"5"');
	});

	test("no string under a secret name survives, whatever surrounds it", () => {
		fc.assert(
			fc.property(fc.object({ maxDepth: 4 }), fc.constantFrom(...names), (fields, name) => {
				const redacted = redact({ ...fields, nested: { list: [{ [name]: "hunter2-marker" }] } });
				expect(JSON.stringify(redacted)).not.toContain("hunter2-marker");
			}),
			{ numRuns: 100 },
		);
	});
});

test("peer ids are shortened to their end", () => {
	expect(shortPeer("12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp")).toBe("…vnc6iDEp");
	expect(shortPeer("short")).toBe("short");
});

describe("libp2p bridge", () => {
	test("errors become debug, the rest trace, with libp2p's placeholders", () => {
		const { log, lines } = capture();
		const logger = libp2pLogger(log).forComponent("libp2p:tcp");
		logger("dialing %a of %p %d%% %s", { toString: () => "/ip4/1" }, { toString: () => "12D3" }, 5, "x");
		logger.error("failed %e", new Error("refused"));
		logger.error(new Error("plain"));
		logger.newScope("inner").trace("got %b", new Uint8Array(4), "extra");
		expect(lines().map(({ level, component, msg }) => [level, component, msg])).toEqual([
			["trace", "libp2p:tcp", "dialing /ip4/1 of 12D3 5% x"],
			["debug", "libp2p:tcp", "failed refused"],
			["debug", "libp2p:tcp", "plain"],
			["trace", "libp2p:tcp:inner", "got [4 bytes] extra"],
		]);
	});

	test("is disabled, and silent, above trace", () => {
		const { log, text } = capture("info");
		const logger = libp2pLogger(log).forComponent("libp2p");
		expect(logger.enabled).toBe(false);
		logger("x");
		logger.error("y");
		expect(text()).toBe("");
	});
});
