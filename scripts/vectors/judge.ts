/** The three-way rule of the reference figures (`conventions.test_rule` of their file). */
import type { Family, Figures } from "./family.ts";
import type { VectorEntry } from "./vectorFile.ts";

/** Further below a certified truth than this a bound is no bound. */
const SOUND = 1 - 2e-5;

/** The library's figure, at its default settings, that a certified one comes with. */
const LIBRARY_FIGURE: Readonly<Record<string, readonly string[]>> = {
	epsilon_true: ["epsilon_pld_lib", "epsilon_pld_connect_dots"],
	sigma_true: ["sigma_pld_lib"],
};

/** What one entry's check came to. */
export interface Verdict {
	/** Of the primary figure; where that is smaller than atol / rtol, relative to atol / rtol. */
	readonly relativeError: number;
	/** How far the primary figure is below a certified truth, relative to it; 0 if not below or not certified. */
	readonly belowTruth: number;
	/** One sentence a breach, empty if the entry passes. */
	readonly violations: readonly string[];
	/** Whether a reference figure is above ours just as far as the library's series between integer orders is. */
	readonly isAboveBySeries: boolean;
}

/** Checks computed figures against an entry. */
export function judge(entry: VectorEntry, ours: Figures, family: Family): Verdict {
	const violations: string[] = [];
	if (ours[entry.primary] === undefined || entry.expected[entry.primary] === undefined) {
		violations.push(`${entry.primary}: not a figure of "${entry.family}"`);
	}
	let isAboveBySeries = false;
	let relativeError = 0;
	let bySeries: Figures | undefined;
	for (const [name, expected] of Object.entries(entry.expected)) {
		const computed = ours[name];
		if (computed === undefined) continue;
		const pairs = pairUp(expected, computed);
		if (pairs === undefined) {
			violations.push(`${name}: got ${String(computed)}, expected ${String(expected)}`);
			continue;
		}
		for (const { got, want, index } of pairs) {
			const error = scaledError(got, want, entry);
			if (error <= entry.rtol) {
				if (name === entry.primary) relativeError = Math.max(relativeError, error);
				continue;
			}
			bySeries ??= family.byLibrarySeries?.(entry.params) ?? {};
			const series = bySeries[name];
			const explained = typeof series === "number" ? series : series?.[index];
			if (got < want && explained !== undefined && scaledError(explained, want, entry) <= entry.rtol) {
				isAboveBySeries = true;
				continue;
			}
			if (name === entry.primary) relativeError = Math.max(relativeError, error);
			violations.push(`${name}: got ${got}, expected ${want} within ${entry.rtol}`);
		}
	}
	const { belowTruth, breaches } = boundsRule(entry, ours[entry.primary]);
	return { relativeError, belowTruth, violations: [...violations, ...breaches], isAboveBySeries };
}

/** Never below a certified truth, never looser than the library at its default. */
function boundsRule(
	entry: VectorEntry,
	got: number | readonly number[] | undefined,
): { belowTruth: number; breaches: string[] } {
	const libraryNames = LIBRARY_FIGURE[entry.primary];
	const truth = entry.expected[entry.primary];
	if (libraryNames === undefined || typeof got !== "number" || typeof truth !== "number") {
		return { belowTruth: 0, breaches: [] };
	}
	const breaches: string[] = [];
	const belowTruth = got < truth ? (truth === Number.POSITIVE_INFINITY ? 1 : (truth - got) / truth) : 0;
	if (got < truth * SOUND) {
		breaches.push(`${entry.primary}: got ${got}, below the certified ${truth}`);
	}
	const isLibraryBelow = entry.anchor_below_truth ?? entry.expected.anchor_below_truth === true;
	for (const name of libraryNames) {
		const library = entry.expected[name];
		if (typeof library === "number" && !isLibraryBelow && got > library * (1 + entry.rtol)) {
			breaches.push(`${entry.primary}: got ${got}, looser than the library's ${library}`);
		}
	}
	return { belowTruth, breaches };
}

interface Pair {
	readonly got: number;
	readonly want: number;
	readonly index: number;
}

/** Figures to compare one by one, leaving out what the reference has none for; undefined for different shapes. */
function pairUp(expected: unknown, computed: number | readonly number[]): Pair[] | undefined {
	if (typeof computed === "number") {
		if (expected === null) return [];
		return typeof expected === "number" ? [{ got: computed, want: expected, index: 0 }] : undefined;
	}
	if (!Array.isArray(expected) || computed.length < expected.length) return undefined;
	return expected.flatMap((want: number | null, index) =>
		want === null ? [] : [{ got: computed[index]!, want, index }],
	);
}

function scaledError(got: number, want: number, { rtol, atol }: VectorEntry): number {
	if (got === want) return 0;
	return Math.abs(got - want) / Math.max(Math.abs(want), atol / rtol) || Number.POSITIVE_INFINITY;
}
