/**
 * Complex FFT of a power of two, in place. The forward transform leaves its output in bit-reversed
 * order and the inverse takes it so: between them every frequency is treated alike, and the
 * permutation would cost a third of the time.
 */
export class Fft {
	readonly size: number;
	readonly #cos: Float64Array;
	readonly #sin: Float64Array;

	/** @param size a power of two, >= 2 */
	constructor(size: number) {
		this.size = size;
		this.#cos = new Float64Array(size / 2);
		this.#sin = new Float64Array(size / 2);
		for (let i = 0; i < size / 2; i++) {
			const angle = (-2 * Math.PI * i) / size;
			this.#cos[i] = Math.cos(angle);
			this.#sin[i] = Math.sin(angle);
		}
	}

	/** Natural order in, bit-reversed out. */
	forward(re: Float64Array, im: Float64Array): void {
		const cos = this.#cos;
		const sin = this.#sin;
		for (let length = this.size, stride = 1; length > 1; length >>= 1, stride <<= 1) {
			const half = length >> 1;
			for (let start = 0; start < this.size; start += length) {
				for (let j = 0, k = 0; j < half; j++, k += stride) {
					const a = start + j;
					const b = a + half;
					const dr = re[a]! - re[b]!;
					const di = im[a]! - im[b]!;
					re[a] = re[a]! + re[b]!;
					im[a] = im[a]! + im[b]!;
					re[b] = dr * cos[k]! - di * sin[k]!;
					im[b] = dr * sin[k]! + di * cos[k]!;
				}
			}
		}
	}

	/** Bit-reversed order in, natural out, divided by the size. */
	inverse(re: Float64Array, im: Float64Array): void {
		const cos = this.#cos;
		const sin = this.#sin;
		for (let length = 2, stride = this.size >> 1; length <= this.size; length <<= 1, stride >>= 1) {
			const half = length >> 1;
			for (let start = 0; start < this.size; start += length) {
				for (let j = 0, k = 0; j < half; j++, k += stride) {
					const a = start + j;
					const b = a + half;
					const wr = cos[k]!;
					const wi = -sin[k]!;
					const tr = re[b]! * wr - im[b]! * wi;
					const ti = re[b]! * wi + im[b]! * wr;
					re[b] = re[a]! - tr;
					im[b] = im[a]! - ti;
					re[a] = re[a]! + tr;
					im[a] = im[a]! + ti;
				}
			}
		}
		const scale = 1 / this.size;
		for (let i = 0; i < this.size; i++) {
			re[i] = re[i]! * scale;
			im[i] = im[i]! * scale;
		}
	}
}

/**
 * Where the frequency -k stands, given that k stands at `position`, in bit-reversed order. Blocks
 * [2^m, 2^(m+1)) map to themselves, reversed; 0 and 1 (frequencies 0 and size/2) to themselves.
 */
export function conjugatePosition(position: number): number {
	if (position < 2) return position;
	const block = 1 << (31 - Math.clz32(position));
	return 3 * block - 1 - position;
}

const ffts = new Map<number, Fft>();

/** The transform of a size, its twiddles computed once. Large ones are not kept. */
export function fftOf(size: number): Fft {
	let fft = ffts.get(size);
	if (fft === undefined) {
		fft = new Fft(size);
		if (size <= 1 << 20) ffts.set(size, fft);
	}
	return fft;
}
