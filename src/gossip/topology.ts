/**
 * Who exchanges models with whom in a job without a coordinator: a sparse random regular graph that
 * follows from the job's start beacon, which nobody could choose, so everybody derives the same
 * neighbours and nobody picks its own.
 *
 * The union of degree / 2 random Hamiltonian cycles is connected, and an expander with high probability
 * (Friedman, A proof of Alon's second eigenvalue conjecture, 2003; Law and Siu, INFOCOM 2003). Of a few
 * draws the one that mixes fastest is taken, so that a bad draw of a small graph does not stay.
 */
import { AlthingError } from "../../crypto/error.ts";
import type { PeerId } from "../../crypto/identity.ts";
import { shuffled } from "../selection/publicDraw.ts";
import { secondEigenvalue } from "./spectralGap.ts";

/** Graphs drawn to choose from. */
const DRAWS = 8;

export interface Topology {
	/** In the order of {@link neighbours}. */
	readonly participants: readonly PeerId[];
	/** Of each participant, indices of others, ascending. */
	readonly neighbours: readonly (readonly number[])[];
	/**
	 * 1 - |lambda_2| of the mixing matrix, in (0, 1]: without training, the distance of the models from
	 * their mean shrinks by at least this share in each exchange.
	 */
	readonly spectralGap: number;
}

/** A neighbour and the weight of its model in our average. */
export interface Neighbour {
	readonly peer: PeerId;
	readonly weight: number;
}

/**
 * @param participants at least 2, all different
 * @param degree even, at least 2; with no more than degree + 1 participants, each has all others as neighbours
 * @param beacon 32 bytes, of the job's start
 * @throws AlthingError `gossip.bad_topology`
 */
export function drawTopology(
	participants: readonly PeerId[],
	degree: number,
	{ jobId, beacon }: { readonly jobId: string; readonly beacon: Uint8Array },
): Topology {
	if (participants.length < 2 || new Set(participants).size !== participants.length)
		throw new AlthingError(
			"gossip.bad_topology",
			"a topology needs at least two participants, all different",
		);
	if (!Number.isInteger(degree) || degree < 2 || degree % 2 !== 0)
		throw new AlthingError("gossip.bad_topology", `the degree must be even and at least 2, not ${degree}`);
	const sorted = [...participants].sort();
	if (sorted.length <= degree + 1) return topologyOf(sorted, complete(sorted.length));
	let best: Topology | undefined;
	for (let draw = 0; draw < DRAWS; draw++) {
		const drawn = topologyOf(sorted, unionOfCycles(sorted, degree / 2, `${jobId}/gossip/${draw}`, beacon));
		if (best === undefined || drawn.spectralGap > best.spectralGap) best = drawn;
	}
	return best!;
}

/** A participant's neighbours with their Metropolis-Hastings weights. @throws AlthingError `gossip.bad_topology` */
export function neighboursOf({ participants, neighbours }: Topology, self: PeerId): Neighbour[] {
	const at = participants.indexOf(self);
	if (at < 0) throw new AlthingError("gossip.bad_topology", `${self} is not in the topology`);
	return neighbours[at]!.map((other) => ({
		peer: participants[other]!,
		weight: mixingWeight(neighbours, at, other),
	}));
}

/** Symmetric, and with the rest at the diagonal doubly stochastic: the mean of all models stays (Xiao and Boyd, 2004). */
function mixingWeight(neighbours: Topology["neighbours"], one: number, other: number): number {
	return 1 / (1 + Math.max(neighbours[one]!.length, neighbours[other]!.length));
}

function topologyOf(participants: readonly PeerId[], neighbours: number[][]): Topology {
	const edges = neighbours.map((others, one) =>
		others.map((other) => ({ other, weight: mixingWeight(neighbours, one, other) })),
	);
	return { participants, neighbours, spectralGap: 1 - secondEigenvalue(edges) };
}

function complete(count: number): number[][] {
	return Array.from({ length: count }, (_, one) =>
		Array.from({ length: count }, (__, other) => other).filter((other) => other !== one),
	);
}

function unionOfCycles(
	sorted: readonly PeerId[],
	cycles: number,
	label: string,
	beacon: Uint8Array,
): number[][] {
	const indexOf = new Map(sorted.map((peer, index) => [peer, index]));
	const neighbours = sorted.map(() => new Set<number>());
	for (let cycle = 0; cycle < cycles; cycle++) {
		const order = shuffled({ jobId: label, round: cycle, beacon }, sorted).map((peer) => indexOf.get(peer)!);
		order.forEach((one, place) => {
			const other = order[(place + 1) % order.length]!;
			neighbours[one]!.add(other);
			neighbours[other]!.add(one);
		});
	}
	return neighbours.map((others) => [...others].sort((a, b) => a - b));
}
