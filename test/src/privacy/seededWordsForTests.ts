import type { FillWords } from "../../../src/privacy/samplers/randomWords.ts";

/** A reproducible source of words (SFC32), so that statistical tests give one answer for ever. */
export function seededWordsForTests(seed: number): FillWords {
	let a = seed | 0;
	let b = 0x9e3779b9 | 0;
	let c = 0x243f6a88 | 0;
	let counter = 1;
	const next = (): number => {
		const sum = (a + b + counter++) | 0;
		a = b ^ (b >>> 9);
		b = (c + (c << 3)) | 0;
		c = (((c << 21) | (c >>> 11)) + sum) | 0;
		return sum >>> 0;
	};
	for (let i = 0; i < 16; i++) next();
	return (target) => {
		for (let i = 0; i < target.length; i++) target[i] = next();
	};
}
