/** The ways to aggregate that the experiments compare. */
import { hashFields } from "../../crypto/hash.ts";
import { seededRandomForTests } from "../../src/data/testnetPartition.ts";
import { coordinateMedian } from "../../src/robustness/coordinates.ts";
import {
	alignment,
	excludedByReputation,
	nextReputations,
	nextStandings,
} from "../../src/robustness/directionReputation.ts";
import { geometricMedian } from "../../src/robustness/geometricMedian.ts";
import { gramMatrix } from "../../src/robustness/gram.ts";
import { publicPermutation } from "../../src/robustness/mixing.ts";
import { type RuleChoice, robustAggregate } from "../../src/robustness/robustAggregate.ts";
import { nextNormBound } from "../../src/robustness/runningBound.ts";
import { selectBySpectrum } from "../../src/robustness/spectralSelection.ts";
import { mean, medianOf, norm, type Vectors } from "../../src/robustness/vectors.ts";

export interface Combined {
	readonly aggregate: Float64Array;
	/** Indices of vectors that count for nothing. */
	readonly excluded: readonly number[];
}

/**
 * Aggregates a round; keeps what it carries from one to the next. The attackers' vectors come first; the
 * root is the update of public records that everybody trusts, for a rule that needs one.
 */
export type Defence = (vectors: Vectors, round: number, root: () => Float64Array) => Combined;

export interface Setting {
	readonly length: number;
	readonly sites: number;
	readonly attackers: number;
	readonly seed: number;
}

/** A few times the honest norms on sorted records: what momentum leaves of an attack is bounded, and no honest vector cut. */
const LOOSE_RADIUS = 10;
/** The bound of the first round: aggregation.updateNormBound where a job does not state it. */
const FIRST_BOUND = 10;
/** Numbers in a sketch. */
const SKETCH = 256;
/** Entries of a coordinate in the sketching matrix. */
const ENTRIES = 4;

export const defences = {
	mean: () => (vectors) => ({ aggregate: mean(vectors), excluded: [] }),
	/** Under secure aggregation: every update held to the running bound of a job. */
	norm_bound: ({ seed }) => {
		const bound = new CertifiedBound(seed);
		return (vectors) => {
			const clipped = bound.clip(vectors);
			bound.follow(clipped);
			return { aggregate: mean(clipped), excluded: [] };
		};
	},
	/** The same, and reputation by direction from one more number of each participant. */
	norm_bound_reputation: ({ attackers, sites, length, seed }) => {
		const bound = new CertifiedBound(seed);
		let reputations: Float64Array = new Float64Array(sites);
		let standings: Float64Array | undefined;
		const everybody = new Array<boolean>(sites).fill(true);
		let previous: Float64Array = new Float64Array(length);
		return (vectors, round) => {
			const clipped = bound.clip(vectors);
			const alignments = clipped.map((vector) => alignment(vector, previous, bound.used));
			reputations = nextReputations(reputations, alignments);
			const excluded = excludedByReputation(reputations, attackers, standings);
			standings = nextStandings(standings, reputations, everybody, round);
			const kept = clipped.filter((_, index) => !excluded.includes(index));
			bound.follow(kept);
			previous = mean(kept);
			return { aggregate: previous, excluded };
		};
	},
	/** Under secure aggregation, up to 100 participants: spectral selection on sketches, then the bounded mean. */
	strict:
		({ attackers, seed }) =>
		(vectors, round) => {
			const sketches = sketchesForBench(vectors, 1000 * seed + round);
			const selected = selectBySpectrum(gramMatrix(sketches), attackers);
			const bound = medianOf(selected.map((index) => norm(sketches[index]!)));
			const kept = selected.map((index) => clippedTo(vectors[index]!, bound));
			const excluded = [...vectors.keys()].filter((index) => !selected.includes(index));
			return { aggregate: mean(kept), excluded };
		},
	/** Under secure aggregation: the bound, and a rule over the means of buckets of four dealt anew each round. */
	buckets_median: inBuckets(coordinateMedian, false),
	buckets_geometric_median: inBuckets(geometricMedian, false),
	buckets_median_history: inBuckets(coordinateMedian, true),
	coordinate_median: inTheClear({ rule: "coordinate_median", mixing: "none" }),
	trimmed_mean: inTheClear({ rule: "trimmed_mean", mixing: "none" }),
	krum: inTheClear({ rule: "krum", mixing: "none" }),
	multi_krum: inTheClear({ rule: "multi_krum", mixing: "none" }),
	bulyan: inTheClear({ rule: "bulyan", mixing: "none" }),
	geometric_median: inTheClear({ rule: "geometric_median", mixing: "none" }),
	geometric_median_buckets: inTheClear({ rule: "geometric_median", mixing: "bucketing" }),
	centered_clipping: inTheClear({ rule: "centered_clipping", mixing: "none" }),
	centered_clipping_buckets: inTheClear({
		rule: "centered_clipping",
		mixing: "bucketing",
		radius: LOOSE_RADIUS,
	}),
	norm_clipping: inTheClear({ rule: "norm_clipping", mixing: "none" }),
	trust_score: inTheClear({ rule: "trust_score", mixing: "none" }),
	mixed_trimmed_mean: inTheClear({ rule: "trimmed_mean", mixing: "nearest_neighbours" }),
	spectral: inTheClear({ rule: "spectral", mixing: "none" }),
} as const satisfies Record<string, (setting: Setting) => Defence>;

export type DefenceName = keyof typeof defences;

const BUCKET_SIZE = 4;

/** A rule over bucket means, under the bound; with a history, without those whose buckets keep standing out. */
function inBuckets(
	rule: (means: Vectors, attackers: number) => Float64Array,
	withHistory: boolean,
): (setting: Setting) => Defence {
	return ({ attackers, sites, length, seed }) => {
		const bound = new CertifiedBound(seed);
		let reputations: Float64Array = new Float64Array(sites);
		let previous: Float64Array = new Float64Array(length);
		return (vectors, round) => {
			const clipped = bound.clip(vectors);
			const excluded = withHistory ? excludedByReputation(reputations, attackers) : [];
			const asked = [...vectors.keys()].filter((index) => !excluded.includes(index));
			bound.follow(asked.map((index) => clipped[index]!));
			const order = publicPermutation(asked.length, hashFields("bench/dealing", seed, round));
			const count = Math.floor(asked.length / BUCKET_SIZE);
			const buckets = Array.from({ length: count }, (_, bucket) =>
				order.filter((__, place) => place % count === bucket).map((place) => asked[place]!),
			);
			const means = buckets.map((members) => mean(clipped, members));
			const aggregate = rule(means, Math.min(attackers, Math.floor((count - 1) / 2)));
			const alignments = new Array<number | undefined>(sites).fill(undefined);
			for (const [bucket, members] of buckets.entries())
				for (const member of members) alignments[member] = alignment(means[bucket]!, previous, bound.used);
			reputations = nextReputations(reputations, alignments);
			previous = aggregate;
			return { aggregate, excluded };
		};
	};
}

/** A rule over the vectors themselves. */
function inTheClear(
	choice: Pick<RuleChoice, "rule" | "mixing"> & Partial<Pick<RuleChoice, "radius">>,
): (setting: Setting) => Defence {
	return ({ attackers, length, seed }) => {
		let reference: Float64Array = new Float64Array(length);
		return (vectors, round, root) => {
			const result = robustAggregate(
				{ radius: undefined, ...choice, attackers, bucketSize: undefined },
				{
					vectors,
					seed: hashFields("bench/buckets", seed, round),
					reference,
					root: choice.rule === "trust_score" ? root() : undefined,
				},
			);
			reference = result.aggregate;
			return result;
		};
	};
}

/** The bound of a job, from norms as 16 projections tell them; the attackers use all of what is allowed. */
class CertifiedBound {
	readonly #random: () => number;
	#next = FIRST_BOUND;
	/** Of the round clipped last. */
	used = 0;

	constructor(seed: number) {
		this.#random = seededRandomForTests(3_000_000 + seed);
	}

	clip(vectors: Vectors): Float64Array[] {
		this.used = this.#next;
		return vectors.map((vector) => clippedTo(vector, this.used));
	}

	/** @param summed those of the clipped vectors that are in the sum */
	follow(summed: Vectors): void {
		const norms = summed.map((vector) => norm(vector) * this.#estimate());
		this.#next = nextNormBound(norms, this.used, FIRST_BOUND);
	}

	/** Root of the mean of 16 squared standard normals. */
	#estimate(): number {
		let squares = 0;
		for (let i = 0; i < 16; i++)
			squares += -2 * Math.log(1 - this.#random()) * Math.cos(2 * Math.PI * this.#random()) ** 2;
		return Math.sqrt(squares / 16);
	}
}

function clippedTo(vector: Float64Array, bound: number): Float64Array {
	const length = norm(vector);
	return length > bound ? vector.map((value) => (value * bound) / length) : vector;
}

/** Sketches by a sparse matrix of signs from a seeded generator; lengths and angles hold to some percent. */
function sketchesForBench(vectors: Vectors, seed: number): Float64Array[] {
	const random = seededRandomForTests(seed);
	const sketches = vectors.map(() => new Float64Array(SKETCH));
	const scale = 1 / Math.sqrt(ENTRIES);
	for (let i = 0; i < vectors[0]!.length; i++)
		for (let k = 0; k < ENTRIES; k++) {
			const draw = Math.floor(2 * SKETCH * random());
			const sign = draw & 1 ? scale : -scale;
			for (let s = 0; s < vectors.length; s++) sketches[s]![draw >> 1]! += sign * vectors[s]![i]!;
		}
	return sketches;
}
