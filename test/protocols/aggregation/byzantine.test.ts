import { describe, expect, test, vi } from "vitest";
import type { SigningKey } from "../../../crypto/identity.ts";
import {
	advertLeaf,
	bundleLeaf,
	cohortTree,
	metaLeaf,
	rosterRootOf,
	shareSetHashOf,
} from "../../../protocols/aggregation/cohort.ts";
import { cohortGraph } from "../../../protocols/aggregation/cohortGraph.ts";
import {
	type AggregationConfig,
	type AggregationMessage,
	encodeMessage,
	runAggregationTask,
} from "../../../protocols/aggregation/index.ts";
import { encodeMembers } from "../../../protocols/aggregation/memberSet.ts";
import type {
	Bundle,
	Complaint,
	InputMeta,
	MessageOf,
	Projection,
	Proposal,
	ProposalHeader,
	Reveal,
	RosterHeader,
	ShareSetHeader,
} from "../../../protocols/aggregation/messages.ts";
import { decodeOpening, encodeOpening } from "../../../protocols/aggregation/opening.ts";
import { proposalHash } from "../../../protocols/aggregation/proposal.ts";
import { preliminarySessionId } from "../../../protocols/aggregation/sessionId.ts";
import { canonical, signStatement } from "../../../protocols/aggregation/statements.ts";
import { type Ballot, signBallot } from "../../../protocols/certificate/index.ts";
import { CohortSimulation, keysForTests } from "./cohortSimulation.ts";

/** Dealers that seal zeros for their second holder, under a root of their own making, known by their randomness. */
const badSealers = vi.hoisted(() => new Set<unknown>());
vi.mock("../../../crypto/verifiableSharing.ts", async (original) => {
	const real = await original<typeof import("../../../crypto/verifiableSharing.ts")>();
	return {
		...real,
		dealShares: (request: Parameters<typeof real.dealShares>[0]) =>
			real.dealShares(
				badSealers.has(request.random)
					? { ...request, seal: (i, plain) => (i === 2 ? new Uint8Array() : request.seal(i, plain)) }
					: request,
			),
	};
});
function sealingBadly(config: AggregationConfig): AggregationConfig {
	const random = (length: number) => config.random(length);
	badSealers.add(random);
	return { ...config, random };
}

type Envelope = { from: string; to: string; message: AggregationMessage; blob?: Uint8Array | undefined };

/** Replaces what one member sends of some kind. */
function corrupt<K extends AggregationMessage["kind"]>(
	cohort: CohortSimulation,
	index: number,
	kind: K,
	change: (message: MessageOf<K>, envelope: Envelope) => Partial<Envelope> | null,
): void {
	cohort.simulation.intercept((envelope) => {
		if (envelope.from !== cohort.peer(index) || envelope.message.kind !== kind) return undefined;
		const changed = change(envelope.message as MessageOf<K>, envelope);
		return changed === null ? [] : [{ ...envelope, ...changed }];
	});
}

/** Signs a changed statement with its author's key again. */
function resign<T extends { kind: string; author: string; signature: Uint8Array }>(
	key: SigningKey,
	statement: T,
): T {
	const { signature: _, author: __, ...fields } = statement;
	return signStatement<T>(key, fields as never);
}

const codes = (cohort: CohortSimulation, index: number) =>
	cohort.simulation
		.faults(cohort.peer(index))
		.map(({ peer, code }) => `${cohort.peers.indexOf(peer)} ${code}`);

function expectReleased(
	cohort: CohortSimulation,
	indices: readonly number[],
	survivors: readonly number[],
): void {
	const names = survivors.map((i) => cohort.peer(i));
	for (const index of indices) {
		expect(cohort.released(index)?.survivors).toEqual(names);
		expect(cohort.released(index)?.sum).toEqual(cohort.expectedSum(names));
	}
}

const ALL = [0, 1, 2, 3, 4];
const WITHOUT_3 = [0, 1, 2, 4];

describe("a bad message", () => {
	test("that is malformed, oversized or not canonical is refused at the boundary", () => {
		const cohort = new CohortSimulation();
		const [to, from] = [cohort.peer(0), cohort.peer(3)];
		const done = encodeMessage({ kind: "done", sid: new Uint8Array(32) });
		const refused = (bytes: Uint8Array) => cohort.simulation.injectBytes(from, to, bytes);
		expect(refused(done)).toBeUndefined();
		expect(refused(done.subarray(1))).toMatchObject({
			code: "aggregation.malformed",
			cause: { code: "encoding.not_canonical" },
		});
		expect(refused(canonical({ kind: "done", sid: new Uint8Array(31) }))).toMatchObject({
			code: "aggregation.malformed",
		});
		expect(refused(canonical({ kind: "done", sid: new Uint8Array(32), extra: 1 }))).toMatchObject({
			code: "aggregation.malformed",
		});
		expect(refused(new Uint8Array(2 ** 20 + 1))).toMatchObject({
			code: "aggregation.malformed",
			cause: { code: "encoding.too_large" },
		});
		cohort.runUntilEnded();
		expectReleased(cohort, ALL, ALL);
	});

	test("from outside the electorate is ignored and blamed on its sender", () => {
		const cohort = new CohortSimulation();
		const stranger = keysForTests(1, 99)[0] as SigningKey;
		const message: AggregationMessage = { kind: "done", sid: new Uint8Array(32) };
		cohort.simulation.inject({ from: stranger.peer, to: cohort.peer(0), message });
		cohort.runUntilEnded();
		expect(cohort.simulation.faults(cohort.peer(0))).toMatchObject([
			{ peer: stranger.peer, code: "aggregation.not_a_member", proof: false },
		]);
		expectReleased(cohort, ALL, ALL);
	});

	const inputs: [
		string,
		(message: MessageOf<"input">, blob: Uint8Array, key: SigningKey) => Partial<Envelope>,
	][] = [
		[
			"wrongly signed",
			({ meta }) => ({ message: { kind: "input", meta: { ...meta, signature: new Uint8Array(64) } } }),
		],
		["oversized", (_, blob) => ({ blob: new Uint8Array(blob.length + 3) })],
		["not what was signed", (_, blob) => ({ blob: blob.map((byte) => byte ^ 1) })],
		["without its vector", () => ({ blob: undefined })],
		[
			"replayed from another session",
			({ meta }, _, key) => ({
				message: { kind: "input", meta: resign(key, { ...meta, sid: new Uint8Array(32) }) },
			}),
		],
	];
	test.each(inputs)("an input that is %s: its sender is blamed and left out", (_, change) => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		corrupt(cohort, 3, "input", (message, { blob }) =>
			change(message, blob as Uint8Array, cohort.keys[3] as SigningKey),
		);
		cohort.runUntilEnded(WITHOUT_3);
		expect(new Set(codes(cohort, 0))).toEqual(new Set(["3 aggregation.bad_input"]));
		expectReleased(cohort, WITHOUT_3, WITHOUT_3);
	});

	test("an input outside the field is refused where it is given", () => {
		const cohort = new CohortSimulation({ modulusBits: 16 });
		cohort.provide = false;
		cohort.simulation.run({ untilMs: 4000 });
		const session = cohort.sessions.get(cohort.peer(1));
		expect(() => session?.provideInput(new Uint32Array(40).fill(65536), 0)).toThrow(/outside 0 to 2\^16/);
		expect(() => session?.provideInput(new Uint32Array(39), 0)).toThrow(/39 values/);
		expect(() => session?.provideInput(new Uint32Array(40).fill(65535), 0)).not.toThrow();
		expect(() => session?.provideInput(new Uint32Array(40), 0)).toThrow(/No input is wanted/);
	});

	test("a projection of a wrong length counts as none: the signed input takes its place", () => {
		const cohort = new CohortSimulation({ modulusBits: 16 });
		const change = (projection: Projection | undefined) =>
			projection &&
			resign(cohort.keys[3] as SigningKey, { ...projection, packed: projection.packed.subarray(1) });
		corrupt(cohort, 3, "vote", (m) => ({ message: { ...m, projection: change(m.projection) } }));
		corrupt(cohort, 3, "reveal", (m) => ({ message: { ...m, projection: change(m.projection) } }));
		cohort.runUntilEnded();
		expectReleased(cohort, ALL, ALL);
	});
});

describe("a participant", () => {
	test("that was given another model refuses to join and blames the coordinator", () => {
		const cohort = new CohortSimulation({
			configure: (config, i) => (i === 3 ? { ...config, modelHash: new Uint8Array(32).fill(9) } : config),
		});
		cohort.runUntilEnded(WITHOUT_3);
		expect(codes(cohort, 3)).toContain("0 aggregation.session_mismatch");
		expectReleased(cohort, WITHOUT_3, WITHOUT_3);
	});

	test("whose sealed share is bad is named by the holder, and stays in U2 once it opens a good one", () => {
		const cohort = new CohortSimulation({
			configure: (config, i) => (i === 3 ? sealingBadly(config) : config),
		});
		cohort.runUntilEnded();
		expect(codes(cohort, 1)).toEqual(["3 aggregation.bad_share"]);
		expect(cohort.output(1, "input_wanted")?.cohort).toEqual(cohort.peers);
	});

	test("whose sealed share is bad and that does not open it is left out of U2", () => {
		const cohort = new CohortSimulation({
			minimumSurvivors: 3,
			configure: (config, i) => (i === 3 ? sealingBadly(config) : config),
		});
		corrupt(cohort, 3, "openShares", () => null);
		cohort.runUntilEnded(WITHOUT_3);
		expect(codes(cohort, 1)).toEqual(["3 aggregation.bad_share"]);
		expect(cohort.output(0, "input_wanted")?.cohort).toEqual(WITHOUT_3.map((i) => cohort.peer(i)));
		expectReleased(cohort, WITHOUT_3, WITHOUT_3);
	});

	test("that deals shares off its polynomials is proven bad and left out", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		corrupt(cohort, 3, "bundle", ({ bundle, ...dealt }) => {
			const response = bundle.response.map((byte, i) => (i === 20 ? byte ^ 1 : byte));
			return {
				message: {
					...dealt,
					bundle: resign<Bundle>(cohort.keys[3] as SigningKey, { ...bundle, response }),
				},
			};
		});
		cohort.runUntilEnded(WITHOUT_3);
		const proof = cohort.simulation
			.faults(cohort.peer(0))
			.find(({ code }) => code === "aggregation.bad_dealer");
		expect(proof).toMatchObject({ peer: cohort.peer(3), proof: true });
		expectReleased(cohort, WITHOUT_3, WITHOUT_3);
	});

	test("opens no more shares than there may be corrupt holders, however many complain", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		for (const liar of [1, 2]) {
			corrupt(cohort, liar, "ack", (message) => {
				const complaint = signStatement<Complaint>(cohort.keys[liar] as SigningKey, {
					kind: "complaint",
					sid: message.sid,
					dealer: cohort.peer(3),
				});
				return { message: { ...message, complaints: [complaint] } };
			});
		}
		let most = 0;
		corrupt(cohort, 3, "openShares", ({ opened }) => {
			most = Math.max(most, opened.length);
			return {};
		});
		cohort.runUntilEnded(WITHOUT_3);
		expect(most).toBe(1);
		expectReleased(cohort, WITHOUT_3, WITHOUT_3);
	});

	test("that reveals a wrong self seed is blamed; its shares give the right one", () => {
		const cohort = new CohortSimulation();
		corrupt(cohort, 3, "reveal", (message) => ({
			message: {
				...message,
				reveal: resign<Reveal>(cohort.keys[3] as SigningKey, { ...message.reveal, seed: new Uint8Array(32) }),
			},
		}));
		cohort.runUntilEnded();
		expect(codes(cohort, 0)).toEqual(["3 aggregation.wrong_reveal"]);
		expectReleased(cohort, ALL, ALL);
	});

	test("that opens a share it was not dealt is blamed; the others' shares suffice", () => {
		const cohort = new CohortSimulation();
		corrupt(cohort, 4, "reveal", () => null);
		corrupt(cohort, 3, "shareReply", (message) => ({
			message: { ...message, parts: message.parts.map((part) => ({ ...part, value: new Uint8Array(32) })) },
		}));
		cohort.runUntilEnded();
		expect(new Set(codes(cohort, 0))).toEqual(new Set(["3 aggregation.wrong_share"]));
		expectReleased(cohort, ALL, ALL);
	});

	test("that signs a false projection is blamed, and its input is compared instead", () => {
		const cohort = new CohortSimulation();
		const change = (projection: Projection | undefined) =>
			projection &&
			resign(cohort.keys[3] as SigningKey, {
				...projection,
				packed: projection.packed.map((byte) => byte ^ 1),
			});
		corrupt(cohort, 3, "vote", (m) => ({ message: { ...m, projection: change(m.projection) } }));
		corrupt(cohort, 3, "reveal", (m) => ({ message: { ...m, projection: change(m.projection) } }));
		cohort.runUntilEnded();
		expect(codes(cohort, 0)).toEqual(["3 aggregation.wrong_projection"]);
		expectReleased(cohort, ALL, ALL);
	});

	test("that votes twice is proven to", () => {
		const cohort = new CohortSimulation();
		const other: Ballot = signBallot(
			cohort.keys[3] as SigningKey,
			{ scope: "ab".repeat(32), subject: "survivors", instance: "job/3", attempt: 0 },
			new Uint8Array(32),
		);
		cohort.simulation.inject({
			from: cohort.peer(3),
			to: cohort.peer(1),
			message: { kind: "vote", ballot: other, headers: [] },
		});
		cohort.runUntilEnded();
		const fault = cohort.simulation
			.faults(cohort.peer(1))
			.find(({ code }) => code === "aggregation.double_vote");
		expect(fault).toMatchObject({ peer: cohort.peer(3), proof: true });
		expectReleased(cohort, ALL, ALL);
	});
});

describe("a coordinator", () => {
	/** Keeps every masked input the coordinator gets. */
	function captureInputs(cohort: CohortSimulation): Map<string, Uint8Array> {
		const vectors = new Map<string, Uint8Array>();
		cohort.simulation.intercept(({ from, message, blob }) => {
			if (message.kind === "input" && blob !== undefined) vectors.set(from, blob);
			return undefined;
		});
		return vectors;
	}

	const graphOf = (cohort: CohortSimulation) =>
		cohortGraph(cohort.peers, { graph: "complete" }, new Uint8Array(32));

	/** The proposal with these inputs as survivors'. */
	function withMetas(cohort: CohortSimulation, proposal: Proposal, metas: readonly InputMeta[]): Proposal {
		const authors = metas.map(({ author }) => author);
		const byAuthor = new Map(metas.map((meta) => [meta.author, meta]));
		return {
			...proposal,
			survivors: encodeMembers(cohort.peers, authors),
			metaTree: cohortTree(graphOf(cohort), byAuthor, metaLeaf).root,
		};
	}

	function proposeInstead(
		cohort: CohortSimulation,
		proposal: Proposal,
		metas: readonly InputMeta[],
		blob: Uint8Array,
	): Partial<Envelope> {
		const key = cohort.keys[0] as SigningKey;
		const sidPre = preliminarySessionId(cohort.configs[0] as (typeof cohort.configs)[number]);
		const header = signStatement<ProposalHeader>(key, {
			kind: "proposal",
			sidPre,
			term: 1,
			proposalHash: proposalHash(sidPre, proposal),
		});
		const evidence = { metas: [...metas], proof: [] };
		return { message: { kind: "propose", header, proposed: { proposal, origin: header }, evidence }, blob };
	}

	test("that proposes two survivor sets gets no certificate and is proven to equivocate", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		const vectors = captureInputs(cohort);
		corrupt(cohort, 0, "propose", ({ proposed, evidence }, { to }) => {
			if (cohort.peers.indexOf(to) < 3) return {};
			const metas = evidence.metas.filter(({ author }) => author !== cohort.peer(0));
			const inputs = metas.map(({ author }) => vectors.get(author) as Uint8Array);
			const sum = runAggregationTask({ kind: "sum", inputs, length: 40, modulusBits: 24 });
			if (sum.kind !== "sum") throw new Error("not a sum");
			const proposal = withMetas(cohort, { ...proposed.proposal, sumHash: sum.hash }, metas);
			return proposeInstead(cohort, proposal, metas, sum.packed);
		});
		cohort.simulation.run({ untilMs: 30_000 });
		for (const i of [1, 2, 3, 4]) {
			const fault = cohort.simulation
				.faults(cohort.peer(i))
				.find(({ code }) => code === "aggregation.equivocation");
			expect(fault).toMatchObject({ peer: cohort.peer(0), proof: true });
			expect(fault?.evidence).toHaveLength(2);
			expect(cohort.output(i, "certified")).toBeUndefined();
		}
		expect(cohort.openedSeeds).toEqual([]);
	});

	test("that shows two rosters is found out by its successor", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		corrupt(cohort, 0, "roster", ({ header, adverts, proof }, { to }) => {
			if (cohort.peers.indexOf(to) < 3) return {};
			const fewer = adverts.filter(({ author }) => author !== cohort.peer(2));
			const members = encodeMembers(
				cohort.peers,
				fewer.map(({ author }) => author),
			);
			const byAuthor = new Map(fewer.map((advert) => [advert.author, advert]));
			const { root } = cohortTree(graphOf(cohort), byAuthor, advertLeaf);
			const rosterRoot = rosterRootOf(members, root);
			const key = cohort.keys[0] as SigningKey;
			return {
				message: {
					kind: "roster",
					members,
					root,
					proof,
					adverts: fewer,
					header: resign<RosterHeader>(key, { ...header, rosterRoot }),
				},
			};
		});
		cohort.simulation.run({ untilMs: 30_000 });
		for (const i of ALL) expect(cohort.output(i, "certified")).toBeUndefined();
		cohort.changeCoordinator(2, 1);
		cohort.simulation.run({ untilMs: 90_000 });
		const fault = cohort.simulation
			.faults(cohort.peer(1))
			.find(({ code }) => code === "aggregation.equivocation");
		expect(fault).toMatchObject({ peer: cohort.peer(0), proof: true });
		expect(cohort.openedSeeds).toEqual([]);
	});

	test("cannot get the self seed of a victim it showed another share set", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		const vectors = captureInputs(cohort);
		const bundles = new Map<string, Bundle>();
		const metas = new Map<string, MessageOf<"input">["meta"]>();
		cohort.simulation.intercept(({ message }) => {
			if (message.kind === "bundle") bundles.set(message.bundle.author, message.bundle);
			if (message.kind === "shares")
				for (const { bundle } of message.dealt) bundles.set(bundle.author, bundle);
			if (message.kind === "input") metas.set(message.meta.author, message.meta);
			return undefined;
		});
		const victim = cohort.peer(4);
		corrupt(cohort, 0, "shareSet", ({ header, opened, proof }, { to }) => {
			if (to !== victim) return {};
			const few = [cohort.peer(0), cohort.peer(1), victim];
			const bits = encodeMembers(cohort.peers, few);
			const shown = new Map(few.map((peer) => [peer, bundles.get(peer) as Bundle]));
			const { root } = cohortTree(graphOf(cohort), shown, bundleLeaf);
			const shareSetHash = shareSetHashOf(header.sid, bits, root);
			const forged = resign<ShareSetHeader>(cohort.keys[0] as SigningKey, {
				...header,
				shareSetHash,
			});
			return { message: { kind: "shareSet", header: forged, cohort: bits, root, proof, opened } };
		});
		corrupt(cohort, 0, "propose", ({ proposed, evidence }) => {
			const meta = metas.get(victim) as MessageOf<"input">["meta"];
			const all = [...evidence.metas.filter(({ author }) => author !== victim), meta];
			const inputs = all.map(({ author }) => vectors.get(author) ?? new Uint8Array(120));
			const sum = runAggregationTask({ kind: "sum", inputs, length: 40, modulusBits: 24 });
			if (sum.kind !== "sum") throw new Error("not a sum");
			const proposal = withMetas(cohort, { ...proposed.proposal, sumHash: sum.hash }, all);
			return proposeInstead(cohort, proposal, all, sum.packed);
		});
		cohort.simulation.run({ untilMs: 40_000 });
		expect(metas.has(victim)).toBe(true);
		for (const i of [1, 2, 3]) expect(codes(cohort, i)).toContain("0 aggregation.bad_proposal");
		expect(cohort.openedSeeds).toEqual([]);
		for (const i of ALL) expect(cohort.released(i)).toBeUndefined();
	});

	test("that proposes a wrong sum is caught by the projections: nobody releases it", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		const wrong = new Uint8Array(120).fill(1);
		const hash = runAggregationTask({ kind: "sum", inputs: [wrong], length: 40, modulusBits: 24 });
		corrupt(cohort, 0, "propose", ({ proposed, evidence }) => {
			if (hash.kind !== "sum") throw new Error("not a sum");
			return proposeInstead(cohort, { ...proposed.proposal, sumHash: hash.hash }, evidence.metas, wrong);
		});
		cohort.simulation.run({ untilMs: 10_000 });
		cohort.changeCoordinator(2, 1);
		cohort.simulation.run({ untilMs: 120_000 });
		expect(cohort.output(1, "certified")).toBeDefined();
		expect(cohort.output(1, "failed")?.error.code).toBe("aggregation.lost_sum");
		for (const i of ALL) expect(cohort.released(i)).toBeUndefined();
	});

	test("that changes a sealed share is blamed itself, and no share is opened", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		let opened = false;
		corrupt(cohort, 0, "shares", (message, { to }) => {
			if (to !== cohort.peer(4)) return {};
			return {
				message: {
					...message,
					dealt: message.dealt.map((one) => ({ ...one, sealed: one.sealed.map((b) => b ^ 1) })),
				},
			};
		});
		cohort.simulation.intercept(({ message }) => {
			opened ||= message.kind === "openShares";
			return undefined;
		});
		cohort.simulation.run({ untilMs: 30_000 });
		expect(new Set(codes(cohort, 4))).toEqual(
			new Set(["0 aggregation.bad_shares", "0 aggregation.bad_share_set"]),
		);
		expect(opened).toBe(false);
	});

	test("that opens with a wrong seed is blamed and nothing is released by the others", () => {
		const cohort = new CohortSimulation({ minimumSurvivors: 3 });
		corrupt(cohort, 0, "opening", (_, { blob }) => {
			const shape = { length: 40, modulusBits: 24 };
			const opening = decodeOpening(graphOf(cohort), shape, blob as Uint8Array);
			const seeds = opening.seeds.map((seed, i) => (i === 2 ? new Uint8Array(32) : seed));
			return { blob: encodeOpening(graphOf(cohort), { ...opening, seeds }) };
		});
		cohort.simulation.run({ untilMs: 30_000 });
		for (const i of [1, 2, 3, 4]) {
			expect(codes(cohort, i)).toContain("0 aggregation.bad_opening");
			expect(cohort.released(i)).toBeUndefined();
		}
	});
});
