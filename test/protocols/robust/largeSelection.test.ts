/** Selections among as many as a session may have: decoding, sizes of messages, and lying holders with a dropout. */
import { describe, expect, test } from "vitest";
import { signingKeyFromSeed } from "../../../crypto/identity.ts";
import { randomBytes } from "../../../crypto/random.ts";
import { SKETCH_ROWS } from "../../../crypto/signSketch.ts";
import { heldVectors, responseLength, shareLength, shareVector } from "../../../crypto/vectorSharing.ts";
import {
	type AggregationMessage,
	decodeMessage,
	encodeMessage,
} from "../../../protocols/aggregation/index.ts";
import { MAX_MESSAGE_BYTES, type Screening } from "../../../protocols/aggregation/messages.ts";
import { MAX_SELECTION_HOLDERS } from "../../../protocols/robust/outcome.ts";
import {
	decodeSketches,
	leastHolders,
	openShares,
	sketchShape,
} from "../../../protocols/robust/sketching.ts";
import { seededRandomForTests } from "../../../testnet/simulate/seededRandom.ts";
import { CohortSimulation, keysForTests } from "../aggregation/cohortSimulation.ts";
import { encoded, honestInput, lieAsHolder } from "./selectionCohort.ts";

const ATTACKERS = 24;

test("inner products of 100 sketches are decoded through 24 holders that send anything and one that sends nothing", () => {
	const random = seededRandomForTests(5);
	const vectors = Array.from({ length: 100 }, () =>
		Float64Array.from({ length: SKETCH_ROWS }, () => Math.floor((random() - 0.5) * 2 ** 30)),
	);
	const shape = sketchShape(vectors.length, ATTACKERS);
	const sharings = vectors.map((vector) =>
		shareVector({ vector, shape, context: new Uint8Array(32), random: randomBytes }),
	);
	const seed = new Uint8Array(32).fill(6);
	const accepted = vectors.map(() => true);
	const opened = vectors.slice(1).map((_, i) => {
		const holder = i + 1;
		const held = sharings.map(({ shares }, place) => ({ place, held: heldVectors(shape, shares[holder]!) }));
		const values = openShares(held, seed);
		return { point: holder + 1, accepted, values: i < ATTACKERS ? values.map((value) => value ^ 1) : values };
	});
	const challenge = new Uint8Array(32).fill(7);
	const decoded = decodeSketches(vectors.length, opened, ATTACKERS, challenge);
	for (const [i, k] of [
		[0, 0],
		[0, 99],
		[41, 7],
		[99, 99],
	] as const) {
		const exact = vectors[i]!.reduce((sum, value, b) => sum + BigInt(value) * BigInt(vectors[k]![b]!), 0n);
		expect(decoded.product(i, k)).toBe(exact);
	}
	expect(decoded.combinations(99)).toHaveLength(16);
	// One liar more than is assumed: nothing is decoded, rather than something wrong.
	const more = opened.map((one, i) =>
		i === ATTACKERS ? { ...one, values: one.values.map((v) => v ^ 2) } : one,
	);
	expect(decodeSketches(vectors.length, more, ATTACKERS, challenge).product(0, 99)).toBeUndefined();
});

describe("messages of the largest selection", () => {
	const size = MAX_SELECTION_HOLDERS;
	const attackers = (size - 1) / 4;
	const peers = Array.from({ length: size }, (_, i) => {
		const seed = new Uint8Array(32);
		new DataView(seed.buffer).setUint32(0, i);
		return signingKeyFromSeed(seed).peer;
	});
	const hash = new Uint8Array(32).fill(1);
	const signature = new Uint8Array(64).fill(2);
	const shape = sketchShape(size, attackers);
	const path = new Uint8Array(7 * 32);
	const sketchOf = (author: string) => ({
		kind: "sketch" as const,
		author,
		sid: hash,
		commitment: hash,
		root: hash,
		responseHash: hash,
		sealedRoot: hash,
		signature,
	});
	// Salt, Merkle path and the seal's own bytes besides the residues.
	const sealed = new Uint8Array(4 * shareLength(shape) + 16 + 7 * 34 + 64);
	const response = new Uint8Array(4 * responseLength(shape));
	const fits = (message: AggregationMessage) => {
		const bytes = encodeMessage(message);
		expect(bytes.length).toBeLessThan(MAX_MESSAGE_BYTES);
		expect(decodeMessage(bytes).kind).toBe(message.kind);
	};

	test("fit, when they bring everybody's sketches", () => {
		fits({ kind: "sketch", sketch: sketchOf(peers[0]!), response, sealed: peers.map(() => sealed) });
		fits({
			kind: "sketches",
			dealt: peers.map((author) => ({ sketch: sketchOf(author), response, sealed, path })),
		});
	});

	test("fit, when they bring a screening in a ring of 32 bits, a quarter of which refuses everybody", () => {
		const residues = new Uint8Array(4 * 16).fill(9);
		const screening: Screening = {
			metas: peers.map((author) => ({
				kind: "input",
				author,
				sid: hash,
				shareSetHash: hash,
				inputHash: hash,
				signature,
			})),
			sketches: peers.map(sketchOf),
			products: peers.map((author, i) => ({
				kind: "products",
				author,
				sid: hash,
				basis: hash,
				refused: i < attackers ? peers.map((_, place) => place) : [],
				opened: hash,
				signature,
			})),
			statements: peers.map((author) => ({
				kind: "statement",
				author,
				sid: hash,
				commitment: hash,
				input: residues,
				self: residues,
				mates: peers.slice(1).map(() => residues),
				signature,
			})),
			leftOut: peers,
			edges: [],
		};
		// As it travels with an opening; a proposal adds the signed inputs once more.
		fits({ kind: "opening", proposalHash: hash, screening });
		const propose = encodeMessage({ kind: "opening", proposalHash: hash, screening }).length;
		const metas = encodeMessage({
			kind: "screen",
			header: headerOf(peers[0]!),
			metas: screening.metas,
		}).length;
		expect(propose + metas + 8192).toBeLessThan(MAX_MESSAGE_BYTES);
	});

	const headerOf = (author: string) => ({
		kind: "screen" as const,
		author,
		sid: hash,
		term: 0,
		commitment: hash,
		signature,
	});
});

test("beyond 40 participants, f attackers that also lie as holders are left out, and a member that is away", () => {
	const members = 42;
	const attackers = 10;
	const keys = keysForTests(members);
	const wrong = (index: number) => index % 4 === 1 && index < 4 * attackers;
	const cohort = new CohortSimulation({
		keys,
		members,
		corruption: attackers,
		minimumSurvivors: 20,
		length: 60,
		modulusBits: 24,
		input: (index) =>
			encoded(wrong(index) ? honestInput(index).map((value) => -3 * value) : honestInput(index)),
		configure: (config) => ({
			...config,
			screening: { coordinates: 60, normBound: 20_000, selection: { attackers } },
		}),
	});
	for (let index = 0; index < members; index++) if (wrong(index)) lieAsHolder(cohort, index);
	cohort.simulation.intercept(({ from, message }) =>
		from === cohort.peer(40) && message.kind === "sketch" ? [] : undefined,
	);
	cohort.runUntilEnded([0, 2, 41]);
	const { leastLeft } = { leastLeft: members - 1 - 2 * Math.ceil((3 * attackers) / 4) };
	expect(leastHolders(attackers)).toBe(41);
	for (const index of [0, 2, 41]) {
		const released = cohort.released(index)!;
		const survivors = released.survivors.map((peer) => cohort.peers.indexOf(peer));
		expect(survivors).toHaveLength(leastLeft);
		expect(survivors.filter(wrong)).toEqual([]);
		expect(survivors).not.toContain(40);
		expect(released.screening).toMatchObject({ sound: true, offenders: [] });
		expect(released.sum).toEqual(cohort.expectedSum(released.survivors));
	}
});
