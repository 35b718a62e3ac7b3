/**
 * Recurrent layers, unrolled over the steps of a sequence; back through time (Werbos 1990).
 *
 * All cells add x_t W + b to their gates, side by side in W; what differs is the step from one state
 * to the next. Kernels act at every step, so their per-example gradients are sums over positions.
 */
import { GATES } from "../../layerParameters.ts";
import type { LayerOf } from "../../layers.ts";
import type { TensorOperations } from "../operations.ts";
import type { LayerContext, LayerPass, ParameterGradient } from "./layerRule.ts";
import { positional, summedOverPositions } from "./perExample.ts";
import { slopeOf } from "./pointwise.ts";

/** What a cell passes on: h, and the memory of an LSTM. */
interface State<T> {
	readonly hidden: T;
	readonly memory: T;
}

interface Step<T> {
	readonly next: State<T>;
	/** What the recurrent kernel of the candidate multiplies in a GRU: reset gate times h. */
	readonly resetHidden?: T;
	/** From errors of the next state to those of the gates' inputs and of the state before. */
	backward(error: State<T>): { readonly gates: T; readonly state: State<T> };
}

/** One step of a cell: from the gates' part of the input and the state before. */
type Cell<T> = (fromInput: T, state: State<T>) => Step<T>;

export function recurrent<T>(
	layer: LayerOf<"recurrent">,
	{ ops, input, shape, parameters }: LayerContext<T>,
): LayerPass<T> {
	const [steps, features] = shape as readonly [number, number];
	const { units, sequences } = layer;
	const [kernel, recurrentKernel, bias] = parameters as readonly [T, T, T];
	const width = GATES[layer.cell] * units;
	const cell = CELLS[layer.cell](ops, units, recurrentKernel);

	const fromInput = ops.reshape(ops.affine(ops.reshape(input, [-1, features]), kernel, bias), [
		-1,
		steps,
		width,
	]);
	const at = (sequence: T, step: number, columns: number) =>
		ops.reshape(ops.slice(sequence, 1, step, 1), [-1, columns]);
	const stack = (parts: readonly T[], columns: number) =>
		ops.concat(
			parts.map((part) => ops.reshape(part, [-1, 1, columns])),
			1,
		);
	const zero = ops.multiply(ops.slice(at(fromInput, 0, width), 1, 0, units), ops.constant(0));
	const states: State<T>[] = [{ hidden: zero, memory: zero }];
	const taken: Step<T>[] = [];
	for (let t = 0; t < steps; t++) {
		const step = cell(at(fromInput, t, width), states[t]!);
		taken.push(step);
		states.push(step.next);
	}

	const backward: LayerPass<T>["backward"] = (error) => {
		let carried: State<T> = { hidden: zero, memory: zero };
		const gates: T[] = [];
		for (let t = steps - 1; t >= 0; t--) {
			const fromAbove = sequences ? at(error, t, units) : t === steps - 1 ? error : undefined;
			const hidden = fromAbove === undefined ? carried.hidden : ops.add(carried.hidden, fromAbove);
			const back = taken[t]!.backward({ hidden, memory: carried.memory });
			carried = back.state;
			gates.unshift(back.gates);
		}
		const errors = stack(gates, width);
		const before = stack(
			states.slice(0, steps).map(({ hidden }) => hidden),
			units,
		);
		const ofKernel = (a: T, e: T, d: number, p: number) =>
			positional(ops, a, e, { positions: steps, d, p }, [d, p]);
		let ofRecurrentKernel = ofKernel(before, errors, units, width);
		if (layer.cell === "gru") {
			const resetBefore = stack(
				taken.map(({ resetHidden }) => resetHidden!),
				units,
			);
			ofRecurrentKernel = sideBySide(
				ops,
				ofKernel(before, ops.slice(errors, 2, 0, 2 * units), units, 2 * units),
				ofKernel(resetBefore, ops.slice(errors, 2, 2 * units, units), units, units),
			);
		}
		return {
			input: () =>
				ops.reshape(ops.matmul(ops.reshape(errors, [-1, width]), kernel, { b: true }), [-1, steps, features]),
			parameters: [
				ofKernel(input, errors, features, width),
				ofRecurrentKernel,
				summedOverPositions(ops, () => errors, { positions: steps, n: width }),
			],
		};
	};
	const hiddens = states.slice(1).map(({ hidden }) => hidden);
	return { output: sequences ? stack(hiddens, units) : hiddens.at(-1)!, backward };
}

const CELLS = { simple: simpleCell, gru: gruCell, lstm: lstmCell } as const;

/** h' = tanh(x + h U). */
function simpleCell<T>(ops: TensorOperations<T>, _units: number, kernel: T): Cell<T> {
	return (fromInput, { hidden, memory }) => {
		const next = ops.activate("tanh", ops.add(fromInput, ops.matmul(hidden, kernel)));
		return {
			next: { hidden: next, memory },
			backward: (error) => {
				const gates = ops.multiply(error.hidden, slopeOf(ops, "tanh", next));
				return { gates, state: { hidden: ops.matmul(gates, kernel, { b: true }), memory: error.memory } };
			},
		};
	};
}

/** h' = z h + (1 - z) tanh(x + (r h) U), z and r logistic. */
function gruCell<T>(ops: TensorOperations<T>, units: number, kernel: T): Cell<T> {
	const one = ops.constant(1);
	const gateKernel = ops.slice(kernel, 1, 0, 2 * units);
	const candidateKernel = ops.slice(kernel, 1, 2 * units, units);
	return (fromInput, { hidden, memory }) => {
		const gates = ops.activate(
			"sigmoid",
			ops.add(ops.slice(fromInput, 1, 0, 2 * units), ops.matmul(hidden, gateKernel)),
		);
		const update = ops.slice(gates, 1, 0, units);
		const reset = ops.slice(gates, 1, units, units);
		const resetHidden = ops.multiply(reset, hidden);
		const candidate = ops.activate(
			"tanh",
			ops.add(ops.slice(fromInput, 1, 2 * units, units), ops.matmul(resetHidden, candidateKernel)),
		);
		const keep = ops.subtract(one, update);
		const next = ops.add(ops.multiply(update, hidden), ops.multiply(keep, candidate));
		return {
			next: { hidden: next, memory },
			resetHidden,
			backward: (error) => {
				const ofCandidate = ops.multiply(ops.multiply(error.hidden, keep), slopeOf(ops, "tanh", candidate));
				const ofResetHidden = ops.matmul(ofCandidate, candidateKernel, { b: true });
				const ofUpdate = ops.multiply(error.hidden, ops.subtract(hidden, candidate));
				const ofGates = ops.multiply(
					ops.concat([ofUpdate, ops.multiply(ofResetHidden, hidden)], 1),
					slopeOf(ops, "sigmoid", gates),
				);
				const direct = ops.add(ops.multiply(error.hidden, update), ops.multiply(ofResetHidden, reset));
				const back = ops.add(direct, ops.matmul(ofGates, gateKernel, { b: true }));
				return {
					gates: ops.concat([ofGates, ofCandidate], 1),
					state: { hidden: back, memory: error.memory },
				};
			},
		};
	};
}

/** c' = f c + i g, h' = o tanh(c'); i, f, o logistic, g = tanh, all of x + h U. */
function lstmCell<T>(ops: TensorOperations<T>, units: number, kernel: T): Cell<T> {
	return (fromInput, { hidden, memory }) => {
		const before = ops.add(fromInput, ops.matmul(hidden, kernel));
		const inputForget = ops.activate("sigmoid", ops.slice(before, 1, 0, 2 * units));
		const inputGate = ops.slice(inputForget, 1, 0, units);
		const forgetGate = ops.slice(inputForget, 1, units, units);
		const candidate = ops.activate("tanh", ops.slice(before, 1, 2 * units, units));
		const outputGate = ops.activate("sigmoid", ops.slice(before, 1, 3 * units, units));
		const next = ops.add(ops.multiply(forgetGate, memory), ops.multiply(inputGate, candidate));
		const bounded = ops.activate("tanh", next);
		return {
			next: { hidden: ops.multiply(outputGate, bounded), memory: next },
			backward: (error) => {
				const ofMemory = ops.add(
					error.memory,
					ops.multiply(ops.multiply(error.hidden, outputGate), slopeOf(ops, "tanh", bounded)),
				);
				const ofInputForget = ops.concat(
					[ops.multiply(ofMemory, candidate), ops.multiply(ofMemory, memory)],
					1,
				);
				const gates = ops.concat(
					[
						ops.multiply(ofInputForget, slopeOf(ops, "sigmoid", inputForget)),
						ops.multiply(ops.multiply(ofMemory, inputGate), slopeOf(ops, "tanh", candidate)),
						ops.multiply(ops.multiply(error.hidden, bounded), slopeOf(ops, "sigmoid", outputGate)),
					],
					1,
				);
				return {
					gates,
					state: {
						hidden: ops.matmul(gates, kernel, { b: true }),
						memory: ops.multiply(ofMemory, forgetGate),
					},
				};
			},
		};
	};
}

/** The gradient of a matrix whose left and right columns have gradients of their own. */
function sideBySide<T>(
	ops: TensorOperations<T>,
	left: ParameterGradient<T>,
	right: ParameterGradient<T>,
): ParameterGradient<T> {
	return {
		squaredNorm: () => ops.add(left.squaredNorm(), right.squaredNorm()),
		sum: (rows) => [ops.concat([...left.sum(rows), ...right.sum(rows)], 1)],
	};
}
