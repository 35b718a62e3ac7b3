/**
 * Powers and products of grid distributions by FFT, two families at once: one as the real, one as the
 * imaginary part of the same complex transform.
 */
import type { ComposedPart } from "./cumulants.ts";
import { conjugatePosition, fftOf } from "./fft.ts";

export interface Tilted {
	readonly part: ComposedPart;
	/** Masses are multiplied by exp(tilt * loss - logNorm). */
	readonly tilt: number;
	readonly logNorm: number;
}

/**
 * Result of composing all parts of each family, with the index J at position J mod `size`.
 * Contributions whose modulus is below e^-60 of the whole are left out.
 */
export function convolved(
	families: readonly [readonly Tilted[], readonly Tilted[]],
	spacing: number,
	size: number,
): [Float64Array, Float64Array] {
	const fft = fftOf(size);
	const productRe = [new Float64Array(size), new Float64Array(size)] as const;
	const productIm = [new Float64Array(size), new Float64Array(size)] as const;
	const parts = families[0].length;
	for (let i = 0; i < parts; i++) {
		const re = folded(families[0][i]!, spacing, size);
		const im = folded(families[1][i]!, spacing, size);
		fft.forward(re, im);
		for (let position = 0; position < size; position++) {
			const mirror = conjugatePosition(position);
			if (mirror < position) continue;
			const ar = re[position]!;
			const ai = im[position]!;
			const br = re[mirror]!;
			const bi = im[mirror]!;
			// Spectra of the two real sequences from that of their complex sum.
			multiplyPower(
				productRe[0],
				productIm[0],
				position,
				0.5 * (ar + br),
				0.5 * (ai - bi),
				families[0][i]!.part.count,
				i === 0,
			);
			multiplyPower(
				productRe[1],
				productIm[1],
				position,
				0.5 * (ai + bi),
				0.5 * (br - ar),
				families[1][i]!.part.count,
				i === 0,
			);
		}
	}
	const re = new Float64Array(size);
	const im = new Float64Array(size);
	for (let position = 0; position < size; position++) {
		const mirror = conjugatePosition(position);
		if (mirror < position) continue;
		const ar = productRe[0][position]!;
		const ai = productIm[0][position]!;
		const br = productRe[1][position]!;
		const bi = productIm[1][position]!;
		re[position] = ar - bi;
		im[position] = ai + br;
		if (mirror !== position) {
			re[mirror] = ar + bi;
			im[mirror] = br - ai;
		}
	}
	fft.inverse(re, im);
	return [re, im];
}

function folded(tilted: Tilted, spacing: number, size: number): Float64Array {
	const { index } = tilted.part.distribution;
	const masses = tiltedMasses(tilted, spacing);
	const array = new Float64Array(size);
	for (let k = 0; k < index.length; k++) {
		const at = index[k]! % size;
		const position = at < 0 ? at + size : at;
		array[position] = array[position]! + masses[k]!;
	}
	return array;
}

/** The masses of the part's nodes, tilted. */
export function tiltedMasses({ part, tilt, logNorm }: Tilted, spacing: number): Float64Array {
	const { index, mass } = part.distribution;
	if (tilt === 0) return mass;
	// In one exponential: mass and factor alone may leave the range of doubles.
	return mass.map((m, k) =>
		m === 0
			? 0
			: Math.sign(m) * Math.exp(Math.log(Math.abs(m)) + tilt * (part.offset + index[k]! * spacing) - logNorm),
	);
}

/** (product at `position`) *= (re + i im)^count, by squaring; the first factor is set. */
function multiplyPower(
	productRe: Float64Array,
	productIm: Float64Array,
	position: number,
	re: number,
	im: number,
	count: number,
	first: boolean,
): void {
	let powerRe = 0;
	let powerIm = 0;
	const square = re * re + im * im;
	if (square > 0 && 0.5 * count * Math.log(square) > -60) {
		powerRe = 1;
		let baseRe = re;
		let baseIm = im;
		for (let exponent = count; ; ) {
			if (exponent % 2 === 1) {
				const t = powerRe * baseRe - powerIm * baseIm;
				powerIm = powerRe * baseIm + powerIm * baseRe;
				powerRe = t;
			}
			exponent = Math.floor(exponent / 2);
			if (exponent === 0) break;
			const t = (baseRe - baseIm) * (baseRe + baseIm);
			baseIm = 2 * baseRe * baseIm;
			baseRe = t;
		}
	}
	if (first) {
		productRe[position] = powerRe;
		productIm[position] = powerIm;
	} else {
		const t = productRe[position]! * powerRe - productIm[position]! * powerIm;
		productIm[position] = productRe[position]! * powerIm + productIm[position]! * powerRe;
		productRe[position] = t;
	}
}
