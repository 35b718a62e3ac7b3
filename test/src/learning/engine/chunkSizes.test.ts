import { expect, test } from "vitest";
import { convolutionalNetwork, recurrentNetwork } from "../../../../src/learning/architectures.ts";
import { chunkSizes } from "../../../../src/learning/engine/chunkSizes.ts";
import { multilayerPerceptron } from "../../../../src/learning/model.ts";

test("small models run in chunks of 512, larger ones in smaller chunks, any in at least one row", () => {
	expect(chunkSizes(multilayerPerceptron(784, [256], 10, "relu"))).toEqual([32, 64, 128, 256, 512]);
	expect(chunkSizes(convolutionalNetwork([28, 28, 1], 10))).toEqual([32]);
	expect(chunkSizes(recurrentNetwork([28, 28], "lstm", 64, 10)).at(-1)).toBeLessThan(512);
	const [only, ...more] = chunkSizes(convolutionalNetwork([512, 512, 3], 10, { filters: [64] }));
	expect(only).toBe(1);
	expect(more).toEqual([]);
});
