/** Attacks by name: who may mount which, and how attackers tell each other their updates. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { pooledUpdates } from "../../testnet/attacks/collusion.ts";
import { attackingModule, type NodeAttack, nodeAttacks } from "../../testnet/attacks/nodeAttacks.ts";
import { parseOptions } from "../../testnet/options.ts";

/** The list of the design: docs/robustness.md. */
const NAMES = [
	"label-flip",
	"sign-flip",
	"gaussian",
	"alie",
	"inner-product",
	"min-max",
	"mimic",
	"backdoor",
	"garbage-masks",
	"free-rider",
	"sybil",
] as const satisfies readonly NodeAttack[];

let folder: string;

beforeEach(async () => {
	folder = await mkdtemp(join(tmpdir(), "althing-attackers-"));
});

afterEach(async () => {
	await rm(folder, { recursive: true, force: true });
});

describe("--attack", () => {
	it("takes every attack by name, with as many attackers as it needs", () => {
		for (const name of NAMES) {
			const { least } = nodeAttacks[name];
			const options = parseOptions(["--attack", name, "--attackers", String(least)]);
			expect(options).toMatchObject({ attack: name, attackers: least });
		}
	});

	it("refuses a lone attacker where the attack needs to know others, and more than a minority", () => {
		expect(() => parseOptions(["--attack", "alie"])).toThrow(/2 organizations or more/);
		expect(() => parseOptions(["--attack", "sybil", "--attackers", "3"])).toThrow(/fewer than half/);
		expect(() => parseOptions(["--attack", "garbage"])).toThrow(/must be one of label-flip/);
	});

	it("gives each attacker its module, and none to one that is alone with it", () => {
		const ring = { folder, attackers: 2, participants: 5, place: 1 };
		expect(new URL(attackingModule("mimic", ring)).searchParams.get("ring")).toBe(JSON.stringify(ring));
		expect(() => attackingModule("mimic")).toThrow(/2 nodes or more/);
	});
});

describe("attackers of one ring", () => {
	it("know each other's updates of the round, in the order of their places", async () => {
		const ring = (place: number) => ({ folder, attackers: 2, participants: 5, place });
		const both = [
			pooledUpdates(ring(0), 3, Float32Array.of(1, 2)),
			pooledUpdates(ring(1), 3, Float32Array.of(3, 4)),
		];
		for (const pooled of await Promise.all(both))
			expect(pooled).toEqual([Float64Array.of(1, 2), Float64Array.of(3, 4)]);
	});

	it("go on without one that has told nothing", async () => {
		const ring = { folder, attackers: 2, participants: 5, place: 0 };
		expect(await pooledUpdates(ring, 4, Float32Array.of(7))).toEqual([Float64Array.of(7)]);
	});
});
