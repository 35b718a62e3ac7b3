/** Passes of single layers, of layers one after the other, and of residual blocks. */
import { parameterTensors } from "../../layerParameters.ts";
import type { Layer, LayerOf } from "../../layers.ts";
import { chainShapes, projectionOf, type TensorShape } from "../../shapes.ts";
import { conv2d, depthwiseConv2d } from "./convolution.ts";
import { dense } from "./dense.ts";
import { embedding } from "./embedding.ts";
import { flatten, globalAveragePool, pool } from "./images.ts";
import type { LayerContext, LayerGradient, LayerPass } from "./layerRule.ts";
import { groupNorm, layerNorm } from "./normalization.ts";
import { activation, dropout } from "./pointwise.ts";
import { recurrent } from "./recurrent.ts";

/** The forward pass through `layers`; `context` is that of the first, its parameters those of all. */
export function chain<T>(
	layers: readonly Layer[],
	context: LayerContext<T>,
): { readonly output: T; backward(error: T): LayerGradient<T>[] } {
	const shapes = chainShapes(layers, context.shape);
	const passes: LayerPass<T>[] = [];
	let input = context.input;
	let used = 0;
	layers.forEach((layer, i) => {
		const parameters = context.parameters.slice(used, used + parameterTensors(layer, shapes[i]!).length);
		used += parameters.length;
		const pass = passOf(layer, { ...context, shape: shapes[i]!, input, parameters });
		input = pass.output;
		passes.push(pass);
	});
	return {
		output: input,
		backward: (outputError) => {
			const gradients: LayerGradient<T>[] = [];
			let error = outputError;
			for (let i = passes.length - 1; i >= 0; i--) {
				const gradient = passes[i]!.backward(error);
				gradients.unshift(gradient);
				if (i > 0) error = gradient.input();
			}
			return gradients;
		},
	};
}

function passOf<T>(layer: Layer, context: LayerContext<T>): LayerPass<T> {
	switch (layer.kind) {
		case "dense":
			return dense(layer, context);
		case "conv2d":
			return conv2d(layer, context);
		case "depthwiseConv2d":
			return depthwiseConv2d(layer, context);
		case "maxPool2d":
		case "averagePool2d":
			return pool(layer, context);
		case "globalAveragePool":
			return globalAveragePool(context);
		case "flatten":
			return flatten(context);
		case "activation":
			return activation(layer, context);
		case "dropout":
			return dropout(context);
		case "layerNorm":
			return layerNorm(layer, context);
		case "groupNorm":
			return groupNorm(layer, context);
		case "embedding":
			return embedding(layer, context);
		case "recurrent":
			return recurrent(layer, context);
		case "residual":
			return residual(layer, context);
	}
}

/** The input, projected if need be, plus what the inner layers make of it. */
function residual<T>(block: LayerOf<"residual">, context: LayerContext<T>): LayerPass<T> {
	const { ops, input, shape, parameters } = context;
	const inner = chain(block.layers, context);
	const output: TensorShape = chainShapes(block.layers, shape).at(-1)!;
	const projection = projectionOf(block, shape, output);
	const shortcut =
		projection && passOf(projection, { ...context, parameters: parameters.slice(parameters.length - 1) });
	return {
		output: ops.add(inner.output, shortcut ? shortcut.output : input),
		backward: (error) => {
			const gradients = inner.backward(error);
			const ofShortcut = shortcut?.backward(error);
			return {
				input: () => ops.add(gradients[0]!.input(), ofShortcut ? ofShortcut.input() : error),
				parameters: [...gradients, ...(ofShortcut ? [ofShortcut] : [])].flatMap(
					(gradient) => gradient.parameters,
				),
			};
		},
	};
}
