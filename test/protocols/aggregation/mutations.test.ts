/**
 * One corrupt member, the coordinator or another, sends messages changed at random and signed anew. Whatever comes
 * of the session: nobody honest breaks, is proven guilty or excluded, and every sum that is released is right.
 */
import { describe, expect, test } from "vitest";
import type { SigningKey } from "../../../crypto/identity.ts";
import {
	type AggregationConfig,
	type AggregationMessage,
	decodeMessage,
	encodeMessage,
} from "../../../protocols/aggregation/index.ts";
import { signStatement } from "../../../protocols/aggregation/statements.ts";

import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";
import { type CohortOptions, CohortSimulation } from "./cohortSimulation.ts";

type Random = () => number;

const screened = (selection?: { attackers: number }) => (config: AggregationConfig) => ({
	...config,
	screening: {
		coordinates: config.length,
		normBound: 20_000,
		...(selection === undefined ? {} : { selection }),
	},
});
const SMALL = { members: 6, minimumSurvivors: 3 };
const small = (index: number, length: number) =>
	Uint32Array.from({ length }, (_, i) => (7 * index + 3 * i) % 50);

const SESSIONS: Readonly<Record<string, CohortOptions>> = {
	"a complete graph": SMALL,
	"public parts": { ...SMALL, publicPart: (index) => new Uint8Array(20).fill(index) },
	"a sparse graph": {
		members: 14,
		corruption: 2,
		minimumSurvivors: 8,
		length: 9,
		cohort: { graph: "ring", holders: 6, threshold: 3, mates: 4, windowSurvivors: 1 },
	},
	"a norm bound": { ...SMALL, input: small, configure: screened() },
	"a selection": {
		members: 10,
		corruption: 2,
		minimumSurvivors: 4,
		input: small,
		configure: screened({ attackers: 2 }),
	},
};

/** Changes one thing somewhere inside: a bit, a length, an element, a number, a field. */
function mutated(value: unknown, random: Random): unknown {
	const pick = (below: number) => Math.floor(random() * below);
	if (value instanceof Uint8Array) {
		const copy = value.slice();
		if (copy.length === 0) return random() < 0.5 ? new Uint8Array(32) : copy;
		switch (pick(3)) {
			case 0:
				copy[pick(copy.length)]! ^= 1 << pick(8);
				return copy;
			case 1:
				return copy.slice(0, pick(copy.length));
			default:
				return new Uint8Array(copy.length);
		}
	}
	if (Array.isArray(value)) {
		if (value.length === 0) return value;
		const at = pick(value.length);
		const kind = pick(4);
		if (kind === 0) return value.filter((_, i) => i !== at);
		return kind === 1
			? [...value, value[at]]
			: value.map((one, i) => (i === at ? mutated(one, random) : one));
	}
	if (typeof value === "number") return [0, value + 1, value - 1, 1_000_000][pick(4)];
	if (typeof value !== "object" || value === null) return value;
	const fields = value as Record<string, unknown>;
	const names = Object.keys(fields).filter((name) => name !== "kind" && fields[name] !== undefined);
	const name = names[pick(names.length)];
	return name === undefined ? value : { ...fields, [name]: mutated(fields[name], random) };
}

/** The statements inside that are the liar's own get its signature again. */
function signedAgain(value: unknown, key: SigningKey): unknown {
	if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
	if (Array.isArray(value)) return value.map((one) => signedAgain(one, key));
	const fields = Object.fromEntries(
		Object.entries(value).map(([name, one]) => [name, signedAgain(one, key)]),
	) as Record<string, unknown>;
	const { author, signature, ...rest } = fields;
	const own = author === key.peer && signature instanceof Uint8Array;
	return own ? signStatement(key, rest as never) : fields;
}

function lie(cohort: CohortSimulation, liar: number, random: Random): void {
	const key = cohort.keys[liar] as SigningKey;
	cohort.simulation.intercept((envelope) => {
		if (envelope.from !== key.peer || random() > 0.4) return undefined;
		let message: AggregationMessage;
		try {
			const changed = signedAgain(mutated(envelope.message, random), key);
			message = decodeMessage(encodeMessage(changed as AggregationMessage));
		} catch {
			// No message of the protocol any more: the network would refuse it.
			return undefined;
		}
		const changed = { ...envelope, message };
		return random() < 0.5 ? [changed] : [envelope, changed];
	});
}

describe.each(Object.entries(SESSIONS))("with %s", (_, options) => {
	// Ten members that share sketches cost as much as the others together.
	const seeds = options.members === 10 ? [1] : [1, 2];
	test.each([
		["coordinator", 0],
		["member", 3],
	])("a lying %s breaks nobody, frames nobody and changes no sum", (__, liar) => {
		for (const seed of seeds) {
			const cohort = new CohortSimulation({ ...options, seed, modulusBits: 24 });
			lie(cohort, liar, seededRandomForTests(31 * seed + liar));
			cohort.simulation.run({ untilMs: 30_000 });
			cohort.changeCoordinator(2, 1);
			cohort.simulation.run({ untilMs: 60_000 });
			for (const [index, peer] of cohort.peers.entries()) {
				if (index === liar) continue;
				const proven = cohort.simulation.faults(peer).filter(({ proof }) => proof);
				const released = cohort.released(index);
				const named = [...proven, ...(released?.screening?.offenders ?? [])].map((one) => one.peer);
				expect(named.filter((one) => one !== cohort.peer(liar))).toEqual([]);
				if (released === undefined || released.screening?.sound === false) continue;
				expect(released.sum).toEqual(cohort.expectedSum(released.survivors));
			}
		}
	});
});
