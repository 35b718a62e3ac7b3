/**
 * Rounds whose vectors are summed by real sessions: every message, screening and selection as between
 * nodes, in one process; and beside each the same rule worked out in the clear, from everybody's vector.
 */
import { type SigningKey, signingKeyFromSeed } from "../../crypto/identity.ts";
import { randomBytes } from "../../crypto/random.ts";
import { centredResidue } from "../../crypto/signProjection.ts";
import { sketchOf } from "../../crypto/signSketch.ts";
import {
	type AggregationMessage,
	type AggregationOutput,
	AggregationSession,
	type AggregationTask,
	type AggregationTaskResult,
	decodeMessage,
	encodeMessage,
	runAggregationTask,
} from "../../protocols/aggregation/index.ts";
import type { PeerId } from "../../protocols/contract.ts";
import { rulesWithout, type ScreeningRules } from "../../protocols/robust/outcome.ts";
import { sketchSeed } from "../../protocols/robust/sketching.ts";
import { seededRandomForTests } from "../../src/data/testnetPartition.ts";
import { gramMatrix } from "../../src/robustness/gram.ts";
import { selectBySpectrum } from "../../src/robustness/spectralSelection.ts";
import { mean, norm, type Vectors } from "../../src/robustness/vectors.ts";
import { MachineSimulation } from "../../testnet/simulate/machines.ts";

const MODULUS_BITS = 24;
const MODULUS = 2 ** MODULUS_BITS;
/** Integer units of the first round's bound. */
const BOUND_UNITS = 60_000;
const LIMIT_MS = 600_000;

type Released = Extract<AggregationOutput, { kind: "released" }>;

export interface Rounded {
	/** Indices of those in the sum. */
	readonly survivors: readonly number[];
	/** Their mean. */
	readonly aggregate: Float64Array;
	/** What the screening says of their lengths. */
	readonly norms: readonly number[];
}

export interface ComparedRound {
	readonly protocol: Rounded;
	/** The rule in the clear: on the exact vectors and, with a selection, exact sketches on the round's rows. */
	readonly clear: Pick<Rounded, "survivors" | "aggregate">;
	/** Proven offenders up to now, who are not asked any more. */
	readonly excluded: readonly number[];
}

export class ProtocolRounds {
	readonly #keys: readonly SigningKey[];
	readonly #peers: readonly PeerId[];
	readonly #length: number;
	readonly #attackers: number;
	readonly #selecting: boolean;
	readonly #scale: number;
	readonly #excluded = new Set<number>();
	#round = 0;

	/** @param firstBound L2 bound of the first round; later ones are no larger */
	constructor(setting: {
		readonly sites: number;
		readonly attackers: number;
		readonly length: number;
		readonly firstBound: number;
		readonly selecting: boolean;
		readonly seed: number;
	}) {
		const random = seededRandomForTests(setting.seed);
		const seeds = Array.from({ length: setting.sites }, () =>
			Uint8Array.from({ length: 32 }, () => random() * 256),
		);
		this.#keys = seeds.map(signingKeyFromSeed).sort((a, b) => (a.peer < b.peer ? -1 : 1));
		this.#peers = this.#keys.map(({ peer }) => peer);
		this.#length = setting.length;
		this.#attackers = setting.attackers;
		this.#selecting = setting.selecting;
		this.#scale = BOUND_UNITS / setting.firstBound;
	}

	/** Half a unit of the encoding: how far a mean may be off by rounding. */
	get rounding(): number {
		return 0.5 / this.#scale;
	}

	/** One round over everybody's vectors, those of excluded members left aside. */
	run(vectors: Vectors, bound: number): ComparedRound {
		const asked = [...vectors.keys()].filter((index) => !this.#excluded.has(index));
		const inputs = vectors.map((vector) => this.#encoded(vector));
		const rules: ScreeningRules = rulesWithout(
			{
				coordinates: this.#length,
				normBound: bound * this.#scale + Math.sqrt(this.#length) / 2,
				...(this.#selecting ? { selection: { attackers: this.#attackers } } : {}),
			},
			this.#excluded.size,
		);
		const { released, commitment } = this.#sum(inputs, asked, rules);
		const clear = this.#inTheClear(vectors, inputs, asked, rules, commitment);
		for (const { peer } of released.screening?.offenders ?? []) this.#excluded.add(this.#peers.indexOf(peer));
		this.#round++;
		const survivors = released.survivors.map((peer) => this.#peers.indexOf(peer));
		return {
			protocol: {
				survivors,
				aggregate: Float64Array.from(
					released.sum,
					(value) => centredResidue(value, MODULUS_BITS) / this.#scale / survivors.length,
				),
				norms: (released.screening?.norms ?? []).map((length) => length / this.#scale),
			},
			clear,
			excluded: [...this.#excluded].sort((a, b) => a - b),
		};
	}

	#encoded(vector: Float64Array): Uint32Array {
		return Uint32Array.from(vector, (value) => {
			const rest = Math.round(value * this.#scale) % MODULUS;
			return rest < 0 ? rest + MODULUS : rest;
		});
	}

	#inTheClear(
		vectors: Vectors,
		inputs: readonly Uint32Array[],
		asked: readonly number[],
		{ normBound, selection }: ScreeningRules,
		commitment: Uint8Array,
	): ComparedRound["clear"] {
		const within = asked.filter((index) => norm(vectors[index]!) * this.#scale <= normBound);
		let survivors = within;
		if (selection !== undefined) {
			const seed = sketchSeed(commitment);
			const sketches = within.map((index) => sketchOf(seed, inputs[index]!, MODULUS_BITS));
			const left = Math.max(0, selection.attackers - (asked.length - within.length));
			survivors = selectBySpectrum(gramMatrix(sketches), left).map((place) => within[place]!);
		}
		return { survivors, aggregate: mean(vectors, survivors) };
	}

	/** What every member of a session releases alike. */
	#sum(
		inputs: readonly Uint32Array[],
		asked: readonly number[],
		screening: ScreeningRules,
	): { readonly released: Released; readonly commitment: Uint8Array } {
		const simulation = new MachineSimulation<
			AggregationMessage,
			AggregationTask,
			AggregationTaskResult,
			AggregationOutput
		>({ seed: 1, encode: encodeMessage, decode: decodeMessage, runTask: runAggregationTask });
		const sessions = this.#keys.map((self) => this.#session(self, asked, screening));
		for (const [index, session] of sessions.entries()) simulation.add(this.#peers[index]!, session);
		let commitment: Uint8Array = new Uint8Array(32);
		simulation.intercept(({ message }) => {
			if (message.kind === "screen") commitment = message.header.commitment;
			return undefined;
		});
		simulation.onOutput((peer, output) => {
			const index = this.#peers.indexOf(peer);
			if (output.kind !== "input_wanted") return;
			simulation.at(simulation.nowMs, () =>
				simulation.perform(peer, sessions[index]!.provideInput(inputs[index]!, simulation.nowMs)),
			);
		});
		simulation.run({
			untilMs: LIMIT_MS,
			until: () => asked.every((index) => sessions[index]!.ended),
		});
		const all = asked.map((index) =>
			simulation.outputs(this.#peers[index]!).find((output) => output.kind === "released"),
		);
		const [first] = all;
		const differs = (other: Released | undefined) =>
			other?.screening?.sound !== true || other.sum.some((value, i) => value !== first?.sum[i]);
		if (first === undefined || all.some(differs))
			throw new Error(`round ${this.#round} has no sum that all members release alike`);
		return { released: first, commitment };
	}

	#session(self: SigningKey, asked: readonly number[], screening: ScreeningRules): AggregationSession {
		return new AggregationSession({
			federationId: "ab".repeat(32),
			jobId: "bench",
			round: this.#round,
			attempt: 0,
			modelHash: new Uint8Array(32),
			configHash: new Uint8Array(32),
			electorate: { members: this.#peers, corruption: this.#attackers },
			selected: asked.map((index) => this.#peers[index]!),
			coordinator: this.#peers.at(-1)!,
			term: 0,
			self,
			minimumSurvivors: Math.max(2, 2 * this.#attackers),
			length: this.#length,
			modulusBits: MODULUS_BITS,
			phaseTimeoutMs: 60_000,
			cohort: { graph: "complete" },
			graphSeed: new Uint8Array(32),
			screening,
			precedingDead: [],
			promises: [],
			random: randomBytes,
		});
	}
}
