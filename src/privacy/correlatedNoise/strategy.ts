/**
 * Which sums a run with correlated noise releases: the rows of the matrix C of a matrix mechanism.
 *
 * A round t of plain DP-SGD releases x_t + noise, x_t being the clipped sum of the round's batch.
 * Here round t releases y_t = sum_j C[t, t - j] x_(t-j) + fresh, independent noise, and everybody
 * decodes C^-1 y = x + C^-1 noise: noise that is correlated over time and largely cancels in the
 * running sums that training depends on. The combination is formed from the site's own past sums
 * before its share of the noise is added, so the noise stays fresh, integer and independent from
 * round to round, and dropouts need no argument of their own (src/privacy/README.md).
 */
import { AlthingError } from "../../../crypto/error.ts";
import { squareRootCoefficients, treeLevels } from "../accounting/matrixMechanism.ts";

/**
 * `tree`: binary tree aggregation (Kairouz, McMahan, Song, Thakkar, Thakurta, Xu 2021), begun anew
 * with each cycle. Round i of a cycle (from 1) releases the one node of the tree that a Fenwick
 * array keeps at i, the sum of the last lowbit(i) rounds: the nodes every prefix sum is made of.
 *
 * `banded`: the Toeplitz square root of the prefix-sum matrix cut off after `bands` coefficients
 * (Kalinin, Lampert 2024).
 */
export interface CorrelationStrategy {
	readonly kind: "tree" | "banded";
	/**
	 * Rounds of a cycle. Each record takes part in one round of each cycle, in the same place of
	 * each, so that two of its rounds are that far apart.
	 */
	readonly minimumSeparation: number;
	/** Of `banded`: coefficients c_0 = 1 >= c_1 >= ..., at most minimumSeparation of them. */
	readonly coefficients: Float64Array;
}

/** @throws AlthingError `privacy.bad_matrix` for a separation below 2, or more bands than it has rounds */
export function correlationStrategy(request: {
	readonly kind: "tree" | "banded";
	readonly minimumSeparation: number;
	/** Of `banded`; by default as many as fit, at most 32. */
	readonly bands?: number | undefined;
}): CorrelationStrategy {
	const { kind, minimumSeparation } = request;
	const refuse = (why: string): never => {
		throw new AlthingError("privacy.bad_matrix", `Correlated noise cannot be planned: ${why}.`, {
			...request,
		});
	};
	if (!Number.isSafeInteger(minimumSeparation) || minimumSeparation < 2)
		refuse(`a record's rounds must be at least 2 apart, not ${minimumSeparation}`);
	if (kind === "tree") return { kind, minimumSeparation, coefficients: new Float64Array() };
	const bands = request.bands ?? Math.min(32, minimumSeparation);
	// Columns of two participations of one record must not overlap: their norms then add up exactly.
	if (bands > minimumSeparation)
		refuse(`${bands} bands reach further than the ${minimumSeparation} rounds between a record's rounds`);
	return { kind, minimumSeparation, coefficients: squareRootCoefficients(bands) };
}

/** The cycle a round is in, from 0. */
export function cycleOf(strategy: CorrelationStrategy, round: number): number {
	return Math.floor(round / strategy.minimumSeparation);
}

/** First round (of the job, from 0) of the node that a tree releases at `round`. */
export function firstOfNode(strategy: CorrelationStrategy, round: number): number {
	const place = (round % strategy.minimumSeparation) + 1;
	return round + 1 - (place & -place);
}

/** What one participation of one record can do to the released sums, at most. */
export interface ParticipationReach {
	/** L2 norm of a column of C: change of all releases together, per unit of its own norm. */
	readonly columnNorm: number;
	/** Releases that it changes. */
	readonly releases: number;
	/** Largest sum of a row of C: a release per unit of the batches' sums. */
	readonly rowSum: number;
}

/**
 * Tree: leaf j of b is in the nodes j, j + lowbit(j), ... up to b, at most floor(log2 b) + 1 of them,
 * each with coefficient 1. Banded: the coefficients themselves.
 */
export function participationReach({
	kind,
	minimumSeparation,
	coefficients,
}: CorrelationStrategy): ParticipationReach {
	if (kind === "tree") {
		const releases = treeLevels(minimumSeparation);
		return { columnNorm: Math.sqrt(releases), releases, rowSum: 2 ** (releases - 1) };
	}
	let squares = 0;
	let rowSum = 0;
	for (const value of coefficients) {
		squares += value * value;
		rowSum += value;
	}
	return { columnNorm: Math.sqrt(squares) * (1 + 2 ** -40), releases: coefficients.length, rowSum };
}
