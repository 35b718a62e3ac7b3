/**
 * Falsifying a mechanism from samples: run it often on two neighbouring data sets and test
 * whether the outputs differ by more than (epsilon, delta) allows, for an event found by a
 * histogram of half the samples and measured on the other half (in the manner of Gilbert,
 * McMillan 2018 and dp_auditorium's hockey-stick tester).
 *
 * The bound is rigorous: the event is fixed before the samples that measure it are looked at.
 * Passing proves nothing; a violation is one with probability 1 - significance.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { clopperPearsonUpper, requireSignificance } from "./clopperPearson.ts";

export interface MechanismAuditRequest {
	/** One output of the mechanism on the first data set, as a number or a label. */
	readonly onD: () => number | string;
	/** The same on a neighbour of it. */
	readonly onDPrime: () => number | string;
	/** Runs on each data set, an even number >= 100. */
	readonly samples: number;
	/** The claim, epsilon >= 0 and delta in [0, 1). */
	readonly epsilon: number;
	readonly delta: number;
	/** Probability of calling a sound mechanism broken; default 1e-6. */
	readonly significance?: number;
}

export interface MechanismAudit {
	/** Lower bound on sup over events of P(E) - e^epsilon Q(E), both ways round; 0 at least. */
	readonly divergenceLower: number;
	/** Lower bound on epsilon at the claimed delta. */
	readonly epsilonLower: number;
	/** divergenceLower > delta. */
	readonly violated: boolean;
}

/** Bins of the histogram of numeric outputs; many enough to follow a density, few enough to fill. */
const BINS = 40;
const DEFAULT_SIGNIFICANCE = 1e-6;

/**
 * @throws AlthingError `audit.bad_argument`
 */
export function auditMechanism(request: MechanismAuditRequest): MechanismAudit {
	const { samples, epsilon, delta, significance = DEFAULT_SIGNIFICANCE } = request;
	requireSignificance(significance);
	if (!Number.isSafeInteger(samples) || samples < 100 || samples % 2 !== 0 || !(epsilon >= 0)) {
		throw new AlthingError(
			"audit.bad_argument",
			`An audit of a mechanism needs an even number of at least 100 samples and an epsilon of at least 0, not ${samples} and ${epsilon}.`,
		);
	}
	const draw = (mechanism: () => number | string) => Array.from({ length: samples }, mechanism);
	const first = draw(request.onD);
	const second = draw(request.onDPrime);
	const half = samples / 2;
	const binOf = binning([...first.slice(0, half), ...second.slice(0, half)]);
	const chosen = [histogram(first.slice(0, half), binOf), histogram(second.slice(0, half), binOf)] as const;
	const measured = [histogram(first.slice(half), binOf), histogram(second.slice(half), binOf)] as const;
	// Two directions, two events each, two rates an event.
	const each = significance / 8;
	let divergenceLower = 0;
	let epsilonLower = 0;
	for (const [p, q] of [
		[0, 1],
		[1, 0],
	] as const) {
		for (const target of [epsilon, 0]) {
			// Half a count against bins that the other side never hit.
			const event = [...chosen[p]]
				.filter(([bin, count]) => count > Math.exp(target) * (chosen[q].get(bin) ?? 0.5))
				.map(([bin]) => bin);
			const inEvent = (side: 0 | 1) =>
				event.reduce<number>((sum, bin) => sum + (measured[side].get(bin) ?? 0), 0);
			const likely = 1 - clopperPearsonUpper(half - inEvent(p), half, each);
			const unlikely = clopperPearsonUpper(inEvent(q), half, each);
			divergenceLower = Math.max(divergenceLower, likely - Math.exp(epsilon) * unlikely);
			if (likely > delta) epsilonLower = Math.max(epsilonLower, Math.log((likely - delta) / unlikely));
		}
	}
	return { divergenceLower, epsilonLower, violated: divergenceLower > delta };
}

type Bin = number | string;

function histogram(outputs: readonly Bin[], binOf: (output: Bin) => Bin): Map<Bin, number> {
	const counts = new Map<Bin, number>();
	for (const output of outputs) {
		const bin = binOf(output);
		counts.set(bin, (counts.get(bin) ?? 0) + 1);
	}
	return counts;
}

/** Labels are their own bins; numbers fall between quantiles of the samples given, ties together. */
function binning(outputs: readonly Bin[]): (output: Bin) => Bin {
	const numbers = outputs.filter((output) => typeof output === "number").sort((a, b) => a - b);
	if (new Set(numbers).size <= BINS) return (output) => output;
	const edge = (i: number) => numbers[Math.floor((i * numbers.length) / BINS)] ?? 0;
	const edges = [...new Set(Array.from({ length: BINS - 1 }, (_, i) => edge(i + 1)))];
	return (output) => {
		if (typeof output === "string") return output;
		const above = edges.findIndex((value) => output < value);
		return above < 0 ? edges.length : above;
	};
}
