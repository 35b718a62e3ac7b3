/**
 * The composed privacy loss of one direction on one grid: bounds on delta at an epsilon and on epsilon at
 * a delta, from above and below.
 */
import { convolved, type Tilted } from "./convolution.ts";
import { type ComposedPart, Cumulants, leastOverScale } from "./cumulants.ts";
import { lowTails, SpectralTail } from "./fewFrequencies.ts";
import { decreasingRoot } from "./root.ts";

/**
 * Of a delta, what cutting off each tail of the composed loss may cost. Moves epsilon by a part in a
 * million or less.
 */
const TAIL_SHARE = 1e-6;
/** Rounding of the transform and of the power, per copy, relative to the total mass (measured: 3e-16). */
const ROUNDING_PER_COPY = 1e-15;

/** Of a delta, what the allowance for rounding may come to before the transform is tilted. */
const NOISE_SHARE = 1e-4;
const TILTS = [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875];
const MOST_ATTEMPTS = 4;
/** log of a delta that nobody asks for. */
const NEVER = -300;
/** For the rounding of the sums over a window and of atoms put on nodes. */
const OUTWARD = 1 + 1e-9;

/** What one part is composed of: its two distributions, how often. */
export interface BoundedPart {
	readonly upper: ComposedPart["distribution"];
	readonly lower: ComposedPart["distribution"];
	readonly offset: number;
	readonly count: number;
}

/** Either the delta to find an epsilon for or the epsilon to find a delta for. */
export type Question = { readonly delta: number } | { readonly epsilon: number };

export interface Answer {
	readonly lower: number;
	readonly upper: number;
	/** Points of the transform, for the choice of the next grid. */
	readonly size: number;
}

/**
 * Bounds in answer to the question. They are valid on any grid; how far apart they are depends on it.
 * Undefined when the transform would have more than `mostPoints`.
 */
export function boundsOnGrid(
	parts: readonly BoundedPart[],
	spacing: number,
	question: Question,
	mostPoints: number,
): Answer | { readonly tooLarge: number } {
	const copies = parts.reduce((sum, { count }) => sum + count, 0);
	const offset = parts.reduce((sum, part) => sum + part.count * part.offset, 0);
	const infinity = -Math.expm1(
		parts.reduce((sum, { upper, count }) => sum + count * Math.log1p(-upper.infinity), 0),
	);
	// No finite loss is larger: a bound by itself, for what rounding hides at the end of bounded losses.
	const largestLoss = parts.reduce(
		(sum, { upper, offset: own, count }) =>
			sum + count * (own + spacing * upper.index.reduce((most, index) => Math.max(most, index))),
		0,
	);
	const uppers = parts.map((part) => ({ ...part, distribution: part.upper }));
	const lowers = parts.map((part) => ({ ...part, distribution: part.lower }));
	const cumulants = new Cumulants(uppers, spacing);
	const lowerCumulants = new Cumulants(lowers, spacing);
	const rounding = ROUNDING_PER_COPY * (copies + 20);

	// The Chernoff bound says where the answer lies and how small a delta is at stake.
	let epsilonGuess: number;
	let logDelta: number;
	let saddle: number;
	if ("delta" in question) {
		logDelta = Math.log(question.delta);
		const best = leastOverScale((t) => (cumulants.at(t) - logDelta) / t, 1);
		epsilonGuess = Math.max(0, best.value);
		saddle = best.t;
	} else {
		epsilonGuess = question.epsilon;
		const best = leastOverScale((t) => cumulants.at(t) - t * epsilonGuess, 1);
		saddle = best.t;
		if (best.value < NEVER) {
			// Beyond all finite losses, or nearly: the Chernoff bound will do.
			return { lower: 0, upper: Math.min(1, infinity + Math.exp(best.value)), size: 0 };
		}
		// The prefactor of the saddle point, roughly: the bound is that much too large.
		logDelta = Math.min(-0.01, best.value) - 5 - 0.5 * Math.log1p(saddle);
	}
	// A first answer shows where it really lies: with few, rare, large losses far below the Chernoff bound.
	for (let attempt = 1; ; attempt++) {
		const answer = ask(epsilonGuess, logDelta, saddle);
		if ("tooLarge" in answer || attempt === MOST_ATTEMPTS || !(answer.noise > NOISE_SHARE)) return answer;
		if ("delta" in question) {
			if (!(answer.upper < epsilonGuess)) return answer;
			epsilonGuess = answer.upper;
		} else {
			if (!(Math.log(answer.upper) < logDelta)) return answer;
			logDelta = Math.log(answer.upper) - 1;
		}
		const epsilon = epsilonGuess;
		saddle = leastOverScale((t) => cumulants.at(t) - t * epsilon, saddle).t;
	}

	/** One transform, tilted by at most `saddle`: as if the answer were near `epsilon` and e^logDelta. */
	function ask(
		epsilon: number,
		logDelta: number,
		saddle: number,
	): (Answer & { readonly noise: number }) | { readonly tooLarge: number } {
		const logTail = logDelta + Math.log(TAIL_SHARE);
		const untiltedTop = leastOverScale((t) => (cumulants.at(t) - logTail) / t, saddle).value;
		// The least tilt that lifts the answer above the rounding of the transform.
		const wanted = Math.log(NOISE_SHARE / 10) + logDelta - Math.log(rounding);
		let tilt = 0;
		if (wanted < 0) {
			const share = TILTS.find((part) => cumulants.at(part * saddle) - part * saddle * epsilon <= wanted);
			tilt = (share ?? 1) * saddle;
		}
		const logScale = tilt === 0 ? 0 : cumulants.at(tilt);
		const lowerScale = lowerCumulants.at(tilt);
		// Outside the window at most e^logCut of the tilted mass at either end: seen from epsilon, TAIL_SHARE of delta.
		const logCut = Math.min(-20, logTail + tilt * epsilon - logScale);
		const step = Math.max(saddle, 1);
		const here = cumulants.at(tilt);
		const lowest = leastOverScale((s) => (cumulants.at(tilt - s) - here - logCut) / s, step);
		const highest = leastOverScale((s) => (cumulants.at(tilt + s) - here - logCut) / s, step);
		const top = Math.max(untiltedTop, highest.value, epsilon + 4 * spacing);
		const bottom = Math.min(-lowest.value, epsilon - 0.5 * (top - epsilon));
		const firstIndex = Math.floor((bottom - offset) / spacing) - 2;
		const lastIndex = Math.ceil((top - offset) / spacing) + 2;
		let size = 64;
		while (size < lastIndex - firstIndex + 1) size *= 2;
		if (size > mostPoints) return { tooLarge: size };

		const tilted = (bounded: readonly ComposedPart[], own: Cumulants): Tilted[] =>
			bounded.map((part, i) => ({ part, tilt, logNorm: tilt === 0 ? 0 : own.ofPart(i, tilt) }));
		const families = [tilted(uppers, cumulants), tilted(lowers, lowerCumulants)] as const;
		const [upperMass, lowerMass] =
			lowTails(families, firstIndex, tilt, spacing, size) ?? convolved(families, spacing, size);
		const windowStart = offset + firstIndex * spacing;
		const windowEnd = windowStart + (size - 1) * spacing;
		const upper: Scan = {
			mass: upperMass,
			offset: windowStart,
			firstIndex,
			spacing,
			size,
			tilt,
			logScale,
			// What lay above the window comes back at its bottom, and is counted as infinite besides.
			infinity: infinity + Math.exp(logTail),
			rounding,
		};
		// Mass from outside the window comes back inside it: it may not count for a lower bound.
		const wrapped =
			Math.exp(lowerCumulants.at(tilt - lowest.t) - lowerScale + lowest.t * windowStart) +
			Math.exp(lowerCumulants.at(tilt + highest.t) - lowerScale - highest.t * windowEnd);
		const lower: Scan | undefined =
			lowerScale > Number.NEGATIVE_INFINITY && wrapped < 1
				? {
						...upper,
						mass: lowerMass,
						logScale: tilt === 0 ? 0 : lowerScale,
						infinity: 0,
						rounding: -(rounding + wrapped),
					}
				: undefined;
		const sound = Number.isFinite(deltaAt(upper, windowStart));
		let upperAnswer = "delta" in question ? Number.POSITIVE_INFINITY : 1;
		let lowerAnswer = 0;
		if (sound && "delta" in question) {
			const scanned = epsilonAt(upper, question.delta, epsilon) ?? Math.max(0, windowStart);
			upperAnswer =
				(infinity < question.delta ? Math.min(scanned, Math.max(0, largestLoss)) : scanned) * OUTWARD;
			if (lower !== undefined) lowerAnswer = (epsilonAt(lower, question.delta, upperAnswer) ?? 0) / OUTWARD;
		} else if (sound && "epsilon" in question) {
			upperAnswer = Math.min(1, deltaAt(upper, question.epsilon) * OUTWARD);
			if (lower !== undefined) lowerAnswer = Math.max(0, deltaAt(lower, question.epsilon) / OUTWARD);
		}
		if (Number.isNaN(upperAnswer)) upperAnswer = "delta" in question ? Number.POSITIVE_INFINITY : 1;
		if (Number.isNaN(lowerAnswer)) lowerAnswer = 0;
		// The rounding allowed for, as a share of the delta at stake.
		const at = "delta" in question ? upperAnswer : question.epsilon;
		const stake = "delta" in question ? question.delta : upperAnswer;
		const noise = (rounding * Math.exp(logScale - tilt * at)) / stake;
		return { upper: upperAnswer, lower: lowerAnswer, size, noise };
	}
}

interface Scan {
	/** Tilted masses, the index J at J mod size, or their spectrum; true mass: times exp(logScale - tilt * loss). */
	readonly mass: Float64Array | SpectralTail;
	/** Loss of `firstIndex`. */
	readonly offset: number;
	readonly firstIndex: number;
	readonly spacing: number;
	readonly size: number;
	readonly tilt: number;
	readonly logScale: number;
	readonly infinity: number;
	/** Added to every sum of tilted masses: what rounding and wrapping may have taken (or, negative, given). */
	readonly rounding: number;
}

/**
 * From the top down: at the node l, `excess` = sum over j above of mass_j e^(-tilt (l_j - l)) (1 - e^(l - l_j))
 * and `sum` = the same with e^(l - l_j) instead, node l included. All terms are positive but for noise, which
 * stays as it is: cutting it off at zero would add it up.
 */
function descend(
	scan: Scan,
	mass: Float64Array,
	stop: (loss: number, excess: number, sum: number, next: number) => boolean,
): void {
	const { offset, firstIndex, spacing, size, tilt } = scan;
	const fall = Math.exp(-tilt * spacing);
	const lossFall = Math.exp(-spacing);
	const rest = -Math.expm1(-spacing);
	let position = (firstIndex + size - 1) % size;
	if (position < 0) position += size;
	let excess = 0;
	let sum = 0;
	for (let k = size - 1; k >= 0; k--) {
		excess = fall * (excess + sum * rest);
		sum = fall * lossFall * sum;
		if (stop(offset + k * spacing, excess, sum, mass[position]!)) return;
		sum += mass[position]!;
		position = position === 0 ? size - 1 : position - 1;
	}
}

/**
 * Least epsilon >= 0 with delta(epsilon) <= delta; Infinity if infinite losses alone are more likely,
 * undefined if it lies below the window.
 * @param near where to begin, at best a little above the result
 */
function epsilonAt(scan: Scan, delta: number, near: number): number | undefined {
	const { mass, tilt, logScale, infinity, rounding, spacing } = scan;
	if (infinity >= delta) return Number.POSITIVE_INFINITY;
	if (mass instanceof SpectralTail) return rootNear(scan, delta, near);
	const allowed = delta - infinity;
	let result: number | undefined;
	// At the node above: its excess, and its sum with itself counted.
	let excessAbove = 0;
	let sumAbove = 0;
	descend(scan, mass, (loss, excess, sum, own) => {
		const scale = Math.exp(logScale - tilt * loss);
		if (scale * (excess + rounding) > allowed) {
			const above = loss + spacing;
			const target = allowed * Math.exp(tilt * above - logScale) - rounding * Math.exp(tilt * spacing);
			const fraction = (target - excessAbove) / sumAbove;
			const inside =
				fraction < 1 && fraction > 0 ? above + Math.log1p(-fraction) : fraction > 0 ? loss : above;
			result = Math.max(0, loss, Math.min(above, inside));
			return true;
		}
		excessAbove = excess;
		sumAbove = sum + own;
		if (loss <= 0) {
			result = 0;
			return true;
		}
		return false;
	});
	return result;
}

/**
 * The same, by evaluating delta where it is needed. Downwards from `near`, not upwards from the bottom: far below
 * the result the allowance for rounding outweighs what is tilted away, and a lower bound on delta is none.
 */
function rootNear(scan: Scan, delta: number, near: number): number | undefined {
	const { offset, size, spacing } = scan;
	const bottom = Math.max(0, offset);
	const top = Math.max(0, offset + (size - 1) * spacing);
	const excess = (epsilon: number): number => Math.log(Math.max(deltaAt(scan, epsilon), 1e-300) / delta);
	let high = Math.min(top, Math.max(bottom, near));
	if (excess(high) > 0) high = top;
	if (excess(high) > 0) return Number.POSITIVE_INFINITY;
	for (let step = spacing; ; step *= 2) {
		const low = Math.max(bottom, high - step);
		if (excess(low) > 0) return decreasingRoot(excess, low, high);
		if (low === bottom) return offset <= 0 ? 0 : undefined;
		high = low;
	}
}

/** delta at an epsilon >= 0. */
function deltaAt(scan: Scan, epsilon: number): number {
	const { mass, offset, size, tilt, logScale, infinity, rounding, spacing } = scan;
	if (mass instanceof SpectralTail) {
		const from = Math.min(size, Math.max(0, Math.ceil((epsilon - offset) / spacing)));
		const above = offset + from * spacing;
		const inside = mass.excess(from, Math.exp(epsilon - above)) + rounding * Math.exp(tilt * spacing);
		return infinity + Math.exp(logScale - tilt * above) * inside;
	}
	let result = infinity;
	let excessAbove = 0;
	let sumAbove = 0;
	descend(scan, mass, (loss, excess, sum, own) => {
		if (loss < epsilon) {
			const above = loss + spacing;
			const inside = excessAbove - sumAbove * Math.expm1(epsilon - above);
			result = infinity + Math.exp(logScale - tilt * above) * (inside + rounding * Math.exp(tilt * spacing));
			return true;
		}
		excessAbove = excess;
		sumAbove = sum + own;
		return false;
	});
	return result;
}
