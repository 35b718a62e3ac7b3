/**
 * Compositions of many steps are smooth: of their spectrum on `size` points only the lowest few dozen
 * frequencies differ from zero. They are summed from the nodes directly, and the tail of the composed
 * distribution is a geometric series for each of them. The cost does not depend on the number of points.
 *
 * That all other frequencies are negligible is proven by a transform on fewer points: with v the variance of a
 * distribution with characteristic function f, g = 1 - |f|^2 is one minus that of the difference of two
 * independent copies, hence 0 <= g, g'' <= 2v, |g'| <= sqrt(4 v g): sqrt(g) changes by at most sqrt(v) times
 * the distance of two frequencies.
 */
import { type Tilted, tiltedMasses } from "./convolution.ts";
import { conjugatePosition, fftOf } from "./fft.ts";

/** Frequencies are left out where the composed spectrum is below e^-50: 2^20 of them sum to under 1e-15. */
const CUT = 50;
/** Share of what must be seen at the first frequency left out that may be lost between two of the proof. */
const LIPSCHITZ_SHARE = 0.3;
/** Frequencies from one exact rotation to the next; between them errors grow. */
const BLOCK = 32;
/** Beyond so many terms per point of the transform, the transform is faster. */
const TERMS_PER_POINT = 12;

/** The lowest frequencies of one composed distribution on a window of `size` points. */
interface Spectrum {
	/** Of frequencies 0, 1, ...; counted from index 0 of the distribution. */
	readonly re: Float64Array;
	readonly im: Float64Array;
	readonly size: number;
}

/**
 * Both families composed on the window of `size` points from `firstIndex`; undefined where they have too many
 * frequencies to be summed one by one. A part's index must be the same in both families.
 */
export function lowTails(
	families: Families,
	firstIndex: number,
	tilt: number,
	spacing: number,
	size: number,
): [SpectralTail, SpectralTail] | undefined {
	const spectra = lowSpectra(families, spacing, size);
	if (spectra === undefined) return undefined;
	const [upper, lower] = spectra;
	return [
		new SpectralTail(upper, firstIndex, tilt, spacing),
		new SpectralTail(lower, firstIndex, tilt, spacing),
	];
}

type Families = readonly [readonly Tilted[], readonly Tilted[]];

function lowSpectra(families: Families, spacing: number, size: number): [Spectrum, Spectrum] | undefined {
	const masses = families.map((parts) => parts.map((tilted) => tiltedMasses(tilted, spacing)));
	const moments = families.map((parts, f) =>
		parts.map(({ part }, i) => massAndDeviation(part.distribution.index, masses[f]![i]!)),
	);
	const counts = families[0].map(({ part }) => part.count);
	const deviations = moments.map((parts) =>
		Math.sqrt(parts.reduce((sum, { deviation }, i) => sum + counts[i]! * deviation * deviation, 0)),
	);
	let points = 256;
	const wanted = (Math.PI * Math.max(...deviations)) / (LIPSCHITZ_SHARE * Math.sqrt(2 * CUT));
	while (points < wanted) points *= 2;
	if (!(points <= size / 8)) return undefined;

	// What every frequency has lost at least, in the logarithm, of either family.
	const loss = [new Float64Array(points / 2 + 1), new Float64Array(points / 2 + 1)] as const;
	const fft = fftOf(points);
	for (const [i, count] of counts.entries()) {
		const { index } = families[0][i]!.part.distribution;
		const re = folded(index, masses[0]![i]!, points);
		const im = folded(index, masses[1]![i]!, points);
		fft.forward(re, im);
		for (let position = 0; position < points; position++) {
			const frequency = reversed(position, points);
			if (frequency > points / 2) continue;
			const mirror = conjugatePosition(position);
			const ar = re[position]!;
			const ai = im[position]!;
			const br = re[mirror]!;
			const bi = im[mirror]!;
			const upper = 0.25 * ((ar + br) ** 2 + (ai - bi) ** 2);
			const lower = 0.25 * ((ai + bi) ** 2 + (br - ar) ** 2);
			loss[0][frequency] = loss[0][frequency]! + count * leastLoss(upper, moments[0]![i]!, points);
			loss[1][frequency] = loss[1][frequency]! + count * leastLoss(lower, moments[1]![i]!, points);
		}
	}
	let first = points / 2 + 1;
	while (first > 0 && loss[0][first - 1]! >= CUT && loss[1][first - 1]! >= CUT) first--;
	const frequencies = Math.ceil(((first + 0.5) * size) / points) + 1;
	const nodes = families[0].reduce((sum, { part }) => sum + part.distribution.index.length, 0);
	if (frequencies > size / 2 || frequencies * nodes > TERMS_PER_POINT * size) return undefined;

	const spectra = [0, 1].map(() => ({
		re: new Float64Array(frequencies).fill(1),
		im: new Float64Array(frequencies),
		size,
	}));
	for (const [i, count] of counts.entries()) {
		const { index } = families[0][i]!.part.distribution;
		const [own, other] = [masses[0]![i]!, masses[1]![i]!];
		const centre = index[own.reduce((most, mass, k) => (mass > own[most]! ? k : most), 0)]!;
		const sums = differencesFromOne(index, [own, other], centre, frequencies, size);
		for (const f of [0, 1]) {
			multiplyPower(spectra[f]!, sums[f]!, moments[f]![i]!.mass, centre, count);
		}
	}
	return [spectra[0]!, spectra[1]!];
}

/** Least -log |f| of the normalised distribution within half a step of a frequency with |f|^2 = `square`. */
function leastLoss(
	square: number,
	{ mass, deviation }: { readonly mass: number; readonly deviation: number },
	points: number,
): number {
	// A family without mass has no spectrum at all.
	if (!(mass > 0)) return CUT;
	const root = Math.sqrt(Math.max(0, 1 - square / (mass * mass))) - (deviation * Math.PI) / points;
	return root > 0 ? -0.5 * Math.log1p(-Math.min(root * root, 1 - 1e-12)) : 0;
}

function massAndDeviation(index: Float64Array, masses: Float64Array): { mass: number; deviation: number } {
	// With compensation: the mass is raised to the power of the count.
	let mass = 0;
	let missing = 0;
	let first = 0;
	for (let k = 0; k < masses.length; k++) {
		const value = masses[k]! - missing;
		const sum = mass + value;
		missing = sum - mass - value;
		mass = sum;
		first += masses[k]! * index[k]!;
	}
	const mean = first / mass;
	let second = 0;
	for (let k = 0; k < masses.length; k++) second += masses[k]! * (index[k]! - mean) ** 2;
	return mass > 0 ? { mass, deviation: Math.sqrt(second / mass) } : { mass: 0, deviation: 0 };
}

function folded(index: Float64Array, masses: Float64Array, points: number): Float64Array {
	const array = new Float64Array(points);
	for (let k = 0; k < index.length; k++) {
		const at = index[k]! & (points - 1);
		array[at] = array[at]! + masses[k]!;
	}
	return array;
}

/** The frequency at a position of a transform in bit-reversed order. */
function reversed(position: number, points: number): number {
	let result = 0;
	for (let bit = 1, mirror = points >> 1; bit < points; bit <<= 1, mirror >>= 1) {
		if ((position & bit) !== 0) result |= mirror;
	}
	return result;
}

/**
 * Per family and frequency k: the sum over nodes of mass (e^(-2 pi i k (index - centre) / size) - 1). The one is
 * taken off before summing, for the digits of what is small.
 */
function differencesFromOne(
	index: Float64Array,
	masses: readonly [Float64Array, Float64Array],
	centre: number,
	frequencies: number,
	size: number,
): [Complexes, Complexes] {
	const [own, other] = masses;
	const ownRe = new Float64Array(frequencies);
	const ownIm = new Float64Array(frequencies);
	const otherRe = new Float64Array(frequencies);
	const otherIm = new Float64Array(frequencies);
	for (let n = 0; n < index.length; n++) {
		const distance = index[n]! - centre;
		const a = own[n]!;
		const b = other[n]!;
		if (distance === 0 || (a === 0 && b === 0)) continue;
		const turn = (-2 * Math.PI * (distance % size)) / size;
		const half = Math.sin(0.5 * turn);
		const stepRe = -2 * half * half;
		const stepIm = Math.sin(turn);
		for (let start = 0; start < frequencies; start += BLOCK) {
			const angle = (-2 * Math.PI * ((distance * start) % size)) / size;
			const sine = Math.sin(0.5 * angle);
			let re = -2 * sine * sine;
			let im = Math.sin(angle);
			const end = Math.min(start + BLOCK, frequencies);
			for (let k = start; k < end; k++) {
				ownRe[k] = ownRe[k]! + a * re;
				ownIm[k] = ownIm[k]! + a * im;
				otherRe[k] = otherRe[k]! + b * re;
				otherIm[k] = otherIm[k]! + b * im;
				// (1 + u)(1 + step) - 1.
				const next = re + stepRe + (re * stepRe - im * stepIm);
				im = im + stepIm + (re * stepIm + im * stepRe);
				re = next;
			}
		}
	}
	return [
		{ re: ownRe, im: ownIm },
		{ re: otherRe, im: otherIm },
	];
}

interface Complexes {
	readonly re: Float64Array;
	readonly im: Float64Array;
}

/** spectrum *= (mass + difference)^count, turned back to index 0. */
function multiplyPower(
	{ re, im, size }: Spectrum,
	difference: Complexes,
	mass: number,
	centre: number,
	count: number,
): void {
	const shift = multipliedModulo(centre, count, size);
	for (let k = 0; k < re.length; k++) {
		const x = difference.re[k]! / mass;
		const y = difference.im[k]! / mass;
		const logModulus = count * (Math.log(mass) + 0.5 * Math.log1p(2 * x + x * x + y * y));
		const modulus = mass > 0 ? Math.exp(logModulus) : 0;
		if (!(modulus > 0)) {
			re[k] = im[k] = 0;
			continue;
		}
		const phase = count * Math.atan2(y, 1 + x) - (2 * Math.PI * ((k * shift) % size)) / size;
		const cos = modulus * Math.cos(phase);
		const sin = modulus * Math.sin(phase);
		const real = re[k]! * cos - im[k]! * sin;
		im[k] = re[k]! * sin + im[k]! * cos;
		re[k] = real;
	}
}

/** a b mod size, for integers a and b >= 0 whose product may have more than 53 bits; 0 <= result < size < 2^26. */
function multipliedModulo(a: number, b: number, size: number): number {
	let factor = a % size;
	if (factor < 0) factor += size;
	let result = 0;
	for (let rest = b; rest > 0; rest = Math.floor(rest / 2)) {
		if (rest % 2 === 1) result = (result + factor) % size;
		factor = (2 * factor) % size;
	}
	return result;
}

/** Sums over the upper end of a window, of a spectrum's masses with falling weights. */
export class SpectralTail {
	readonly #spectrum: Spectrum;
	readonly #tilt: number;
	readonly #spacing: number;
	/** Of each frequency: 1 / (1 - e^(-rate) z), for the two rates; z turns by one index. */
	readonly #slow: Complexes;
	readonly #fast: Complexes;
	/** The spectrum counted from the first index of the window, both signs of a frequency together. */
	readonly #re: Float64Array;
	readonly #im: Float64Array;

	/** @param firstIndex of the window: its masses are those with index firstIndex to firstIndex + size - 1 */
	constructor(spectrum: Spectrum, firstIndex: number, tilt: number, spacing: number) {
		const { re, im, size } = spectrum;
		this.#spectrum = spectrum;
		this.#tilt = tilt;
		this.#spacing = spacing;
		this.#slow = inverses(re.length, size, tilt * spacing);
		this.#fast = inverses(re.length, size, (tilt + 1) * spacing);
		this.#re = new Float64Array(re.length);
		this.#im = new Float64Array(re.length);
		for (let k = 0; k < re.length; k++) {
			const angle = (2 * Math.PI * ((k * (firstIndex % size)) % size)) / size;
			const weight = (k === 0 ? 1 : 2) / size;
			const cos = weight * Math.cos(angle);
			const sin = weight * Math.sin(angle);
			this.#re[k] = re[k]! * cos - im[k]! * sin;
			this.#im[k] = re[k]! * sin + im[k]! * cos;
		}
	}

	/**
	 * Sum over j >= from of mass_j e^(-tilt (l_j - l_from)) (1 - share e^(l_from - l_j)), counted from the
	 * first index of the window.
	 */
	excess(from: number, share: number): number {
		const { size } = this.#spectrum;
		const left = size - from;
		if (left <= 0) return 0;
		const slowRate = this.#tilt * this.#spacing;
		const fastRate = (this.#tilt + 1) * this.#spacing;
		const slowEnd = Math.exp(-slowRate * left);
		const fastEnd = Math.exp(-fastRate * left);
		const slowSum = slowRate === 0 ? left : Math.expm1(-slowRate * left) / Math.expm1(-slowRate);
		const fastSum = Math.expm1(-fastRate * left) / Math.expm1(-fastRate);
		let sum = this.#re[0]! * (slowSum - share * fastSum);
		const slow = this.#slow;
		const fast = this.#fast;
		for (let k = 1; k < this.#re.length; k++) {
			const angle = (2 * Math.PI * ((k * from) % size)) / size;
			const cos = Math.cos(angle);
			const sin = Math.sin(angle);
			// (z^from - e^(-rate left)) / (1 - e^(-rate) z): a geometric series that ends with the window.
			const real =
				(cos - slowEnd) * slow.re[k]! -
				sin * slow.im[k]! -
				share * ((cos - fastEnd) * fast.re[k]! - sin * fast.im[k]!);
			const imaginary =
				(cos - slowEnd) * slow.im[k]! +
				sin * slow.re[k]! -
				share * ((cos - fastEnd) * fast.im[k]! + sin * fast.re[k]!);
			sum += this.#re[k]! * real - this.#im[k]! * imaginary;
		}
		return sum;
	}
}

/** 1 / (1 - e^(-rate) z^k) for z = e^(2 pi i / size); frequency 0 is not used. */
function inverses(frequencies: number, size: number, rate: number): Complexes {
	const re = new Float64Array(frequencies);
	const im = new Float64Array(frequencies);
	const fall = Math.exp(-rate);
	for (let k = 1; k < frequencies; k++) {
		const half = Math.sin((Math.PI * k) / size);
		const x = -Math.expm1(-rate) + 2 * fall * half * half;
		const y = -fall * Math.sin((2 * Math.PI * k) / size);
		const norm = x * x + y * y;
		re[k] = x / norm;
		im[k] = -y / norm;
	}
	return { re, im };
}
