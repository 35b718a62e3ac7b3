import { expect, test } from "vitest";
import { compactTanhNetwork, recurrentNetwork } from "../../../../src/learning/architectures.ts";
import { createOnnxBackend } from "../../../../src/learning/engine/onnxBackend.ts";
import { createTfjsBackend } from "../../../../src/learning/engine/tfjsBackend.ts";
import { type Model, multilayerPerceptron, parameterCount } from "../../../../src/learning/model.ts";
import { LAYER_MODELS, recordsFor } from "../layerModels.ts";
import { randomParameters } from "../reference.ts";

/** Odd widths, so that rows begin at every alignment in memory. */
const MODELS: Record<string, Model> = {
	...LAYER_MODELS,
	"perceptron of odd widths": multilayerPerceptron(33, [17, 5], 3, "relu"),
	"compact tanh network": compactTanhNetwork([15, 13, 1], 3),
	"gated recurrent network": recurrentNetwork([5, 7], "gru", 11, 3),
};

/**
 * If a neighbour could move an example's gradient in its last bit, it could decide on which side of
 * zero an activation falls, and move the clipped sum by twice the clipping norm and not by rounding.
 */
test.each(
	Object.entries(MODELS).flatMap(([name, model]) =>
		(["onnx", "tfjs"] as const).map((backend) => [name, backend, model] as const),
	),
)(
	"what an example of %s contributes on %s does not depend, bit for bit, on the others",
	async (_, name, model) => {
		const backend = name === "onnx" ? createOnnxBackend(model) : await createTfjsBackend(model);
		const parameters = randomParameters(parameterCount(model), 1, 0.4);
		const { inputs } = model;
		const example = recordsFor(model, 1, 3);
		/** Alone with its weight at `place`, among examples that only stand there. */
		const contribution = async (place: number, size: number, seed: number) => {
			const others = recordsFor(model, size, seed);
			others.features.set(example.features, place * inputs);
			others.labels[place] = example.labels[0]!;
			const weights = new Float32Array(size);
			weights[place] = 1;
			const { logits, gradients, squaredNorms } = await backend.run("flat", {
				size,
				features: others.features,
				labels: others.labels,
				weights,
				clippingNorms: Float32Array.of(0.01),
				dropoutMasks: [],
				parameters,
			});
			const width = logits.length / size;
			return {
				logits: [...logits.subarray(place * width, (place + 1) * width)],
				squaredNorm: squaredNorms[place],
				// Where zeros are added the sign of a zero may change.
				gradients: gradients.map((gradient) => [...gradient].map((value) => (value === 0 ? 0 : value))),
			};
		};
		const first = await contribution(0, 32, 4);
		for (const [place, size, seed] of [
			[1, 32, 5],
			[6, 32, 6],
			[31, 32, 7],
			[39, 64, 8],
		] as const) {
			expect(await contribution(place, size, seed)).toEqual(first);
		}
		await backend.dispose();
	},
);
