/**
 * One public data set cut unevenly among the pretended sites of a testnet. Not for real data:
 * the cut comes from a public seed, so that a testnet is the same on every run.
 */
import { AlthingError } from "../../crypto/error.ts";

/** mulberry32: a fast, reproducible, entirely predictable generator of numbers in [0, 1). Never for keys or noise. */
export function seededRandomForTests(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
		mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	};
}

/**
 * Row indices per site, uneven by label: each class is dealt out in proportions drawn from a
 * symmetric Dirichlet(concentration) over the sites (Hsu, Qi, Brown 2019). Every row goes to
 * exactly one site; a site that came out with fewer than `leastRows` is topped up from the largest.
 * @param concentration > 0; 0.1 is extreme, 1 clearly uneven, 100 nearly even
 * @throws AlthingError `data.bad_split`
 */
export function dirichletPartitionForTestnets(request: {
	readonly labels: Float32Array;
	readonly sites: number;
	readonly concentration: number;
	readonly leastRows: number;
	readonly seed: number;
}): Int32Array[] {
	const { labels, sites, concentration, leastRows, seed } = request;
	if (
		!Number.isSafeInteger(sites) ||
		sites < 1 ||
		!(concentration > 0) ||
		leastRows * sites > labels.length
	) {
		throw new AlthingError(
			"data.bad_split",
			`Cannot deal ${labels.length} records to ${sites} sites of at least ${leastRows} each with concentration ${concentration}.`,
		);
	}
	const random = seededRandomForTests(seed);
	const parts: number[][] = Array.from({ length: sites }, () => []);
	for (const label of [...new Set(labels)].sort((a, b) => a - b)) {
		const rows = [...labels.keys()].filter((row) => labels[row] === label);
		shuffle(rows, random);
		const shares = parts.map(() => gamma(concentration, random));
		const total = shares.reduce((sum, share) => sum + share, 0);
		let cumulative = 0;
		let start = 0;
		for (const [site, share] of shares.entries()) {
			cumulative += share;
			const end = site === sites - 1 ? rows.length : Math.round((rows.length * cumulative) / total);
			parts[site]!.push(...rows.slice(start, end));
			start = Math.max(start, end);
		}
	}
	for (const part of parts) {
		shuffle(part, random);
		while (part.length < leastRows) {
			const largest = parts.reduce((most, other) => (other.length > most.length ? other : most));
			part.push(largest.pop()!);
		}
	}
	return parts.map((part) => Int32Array.from(part.sort((a, b) => a - b)));
}

function shuffle(values: number[], random: () => number): void {
	for (let i = values.length - 1; i > 0; i--) {
		const j = Math.floor(random() * (i + 1));
		[values[i], values[j]] = [values[j]!, values[i]!];
	}
}

/** Gamma(shape, 1) by Marsaglia and Tsang 2000; shapes below 1 by the power trick of the same paper. */
function gamma(shape: number, random: () => number): number {
	if (shape < 1) return gamma(shape + 1, random) * (1 - random()) ** (1 / shape);
	const d = shape - 1 / 3;
	const c = 1 / Math.sqrt(9 * d);
	for (;;) {
		const normal = Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
		const v = (1 + c * normal) ** 3;
		if (v > 0 && Math.log(1 - random()) < normal * normal * 0.5 + d - d * v + d * Math.log(v)) return d * v;
	}
}
