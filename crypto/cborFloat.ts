/** Floating-point numbers in canonical CBOR: in the shortest of 16, 32 and 64 bits that keeps the value. */

const HALF = 0xf9;
const SINGLE = 0xfa;
const DOUBLE = 0xfb;

/** The encoding of a finite number that is no safe integer, with its first byte. */
export function shortestFloat(value: number): Uint8Array {
	const bytes = Buffer.alloc(9);
	if (Math.fround(value) !== value) {
		bytes[0] = DOUBLE;
		bytes.writeDoubleBE(value, 1);
		return bytes;
	}
	bytes[0] = SINGLE;
	bytes.writeFloatBE(value, 1);
	const half = asHalf(bytes.readUInt32BE(1));
	if (half === undefined) return bytes.subarray(0, 5);
	bytes[0] = HALF;
	bytes.writeUInt16BE(half, 1);
	return bytes.subarray(0, 3);
}

/** The bits of a half that has the value of a single's bits; undefined when none has. */
function asHalf(single: number): number | undefined {
	const sign = (single >>> 16) & 0x8000;
	const exponent = ((single >>> 23) & 0xff) - 127;
	const fraction = single & 0x7fffff;
	if (exponent >= -14 && exponent <= 15)
		return (fraction & 0x1fff) === 0 ? sign | ((exponent + 15) << 10) | (fraction >>> 13) : undefined;
	if (exponent < -24 || exponent > 15) return undefined;
	// A subnormal half counts 2^-24: the single's 24 significant bits lose -exponent - 1 below that.
	const lost = -exponent - 1;
	const significant = fraction | 0x800000;
	return significant % 2 ** lost === 0 ? sign | (significant / 2 ** lost) : undefined;
}

/** The value of a half's bits; infinities and NaN as such. */
export function halfValue(bits: number): number {
	const sign = (bits & 0x8000) === 0 ? 1 : -1;
	const exponent = (bits >>> 10) & 31;
	const fraction = bits & 0x3ff;
	if (exponent === 31) return fraction === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
	if (exponent === 0) return sign * fraction * 2 ** -24;
	return sign * (1024 + fraction) * 2 ** (exponent - 25);
}
