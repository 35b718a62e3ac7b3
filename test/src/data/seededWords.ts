/** Uniform words from a seed, for tests of what privacy does not rest on, and of laws. */
import { seededRandomForTests } from "../../../src/data/testnetPartition.ts";
import { RandomWords } from "../../../src/privacy/samplers/randomWords.ts";

export function seededWords(seed: number): RandomWords {
	const random = seededRandomForTests(seed);
	return new RandomWords((target) => {
		for (let i = 0; i < target.length; i++) target[i] = Math.floor(random() * 2 ** 32);
	});
}
