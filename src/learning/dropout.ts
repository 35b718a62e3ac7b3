import { forEachChunk } from "../../crypto/maskStream.ts";
import { randomBytes } from "../../crypto/random.ts";
import type { Layer } from "./layers.ts";
import type { Model } from "./model.ts";
import { dropoutSizes } from "./shapes.ts";

/**
 * Fresh masks for one step, one for each dropout layer in order: `rows` x values of 0 with the
 * layer's probability, else 1 / (1 - rate). Independent between examples, so clipping bounds an
 * example's contribution as without them; privacy does not rest on their randomness.
 */
export function drawDropoutMasks(model: Model, rows: number): Float32Array[] {
	const rates = dropoutRates(model.layers);
	return dropoutSizes(model).map((values, i) => {
		const rate = rates[i]!;
		const mask = new Float32Array(rows * values);
		const threshold = rate * 2 ** 32;
		forEachChunk(mask.length, randomBytes(32), (offset, words) => {
			for (let j = 0; j < words.length; j++) mask[offset + j] = words[j]! < threshold ? 0 : 1 / (1 - rate);
		});
		return mask;
	});
}

function dropoutRates(layers: readonly Layer[]): number[] {
	return layers.flatMap((layer) => {
		if (layer.kind === "residual") return dropoutRates(layer.layers);
		return layer.kind === "dropout" ? [layer.rate] : [];
	});
}
