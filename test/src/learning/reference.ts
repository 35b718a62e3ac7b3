/**
 * An independent reference for the engine's tests: plain double-precision loops that materialize
 * every example's gradient, and numerical differentiation of the loss. Shares no code with the engine.
 */
import type { Model } from "../../../src/learning/model.ts";
import type { Batch } from "../../../src/learning/trainer.ts";

/** mulberry32; for tests only. */
export function seededRandomForTests(seed: number): () => number {
	let state = seed >>> 0;
	return () => {
		state = (state + 0x6d2b79f5) >>> 0;
		let t = Math.imul(state ^ (state >>> 15), 1 | state);
		t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
		return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
	};
}

export function randomBatch(model: Model, rows: number, seed: number): Batch {
	const random = seededRandomForTests(seed);
	const last = model.layers.at(-1);
	const classes = model.task === "binary" ? 2 : last?.kind === "dense" ? last.units : 1;
	const label = () => (model.task === "regression" ? 2 * random() - 1 : Math.floor(random() * classes));
	return {
		features: Float32Array.from({ length: rows * model.inputs }, () => 2 * random() - 1),
		labels: Float32Array.from({ length: rows }, label),
		rows,
	};
}

export function randomParameters(count: number, seed: number, scale = 0.5): Float32Array {
	const random = seededRandomForTests(seed);
	return Float32Array.from({ length: count }, () => scale * (2 * random() - 1));
}

interface Pass {
	loss: number;
	gradient: Float64Array;
	logits: number[];
}

/** Loss and gradient of one example. */
export function exampleGradient(model: Model, parameters: ArrayLike<number>, x: number[], y: number): Pass {
	const inputs: number[][] = [];
	const offsets: number[] = [];
	let value = x;
	let offset = 0;
	for (const layer of model.layers) {
		inputs.push(value);
		offsets.push(offset);
		if (layer.kind === "activation") {
			value = value.map((v) =>
				layer.function === "relu"
					? Math.max(v, 0)
					: layer.function === "tanh"
						? Math.tanh(v)
						: 1 / (1 + Math.exp(-v)),
			);
			continue;
		}
		if (layer.kind !== "dense") throw new Error(`no reference for ${layer.kind}`);
		const { units } = layer;
		const bias = offset + value.length * units;
		const source = value;
		value = Array.from({ length: units }, (_, j) => {
			let sum = layer.useBias ? parameters[bias + j]! : 0;
			source.forEach((v, i) => {
				sum += v * parameters[offset + i * units + j]!;
			});
			return sum;
		});
		offset = bias + (layer.useBias ? units : 0);
	}
	const logits = value;
	const { loss, error } = lossOf(model, logits, y);

	const gradient = new Float64Array(parameters.length);
	let e = error;
	for (let l = model.layers.length - 1; l >= 0; l--) {
		const layer = model.layers[l]!;
		const a = inputs[l]!;
		if (layer.kind === "activation") {
			e = e.map((ej, j) => {
				const v = a[j]!;
				if (layer.function === "relu") return v > 0 ? ej : 0;
				if (layer.function === "tanh") return ej * (1 - Math.tanh(v) ** 2);
				const s = 1 / (1 + Math.exp(-v));
				return ej * s * (1 - s);
			});
			continue;
		}
		if (layer.kind !== "dense") throw new Error(`no reference for ${layer.kind}`);
		const { units } = layer;
		const start = offsets[l]!;
		const current = e;
		a.forEach((v, i) => {
			current.forEach((ej, j) => {
				gradient[start + i * units + j] = v * ej;
			});
		});
		if (layer.useBias) gradient.set(current, start + a.length * units);
		e = a.map((_, i) => current.reduce((sum, ej, j) => sum + ej * parameters[start + i * units + j]!, 0));
	}
	return { loss, gradient, logits };
}

function lossOf(model: Model, logits: number[], y: number): { loss: number; error: number[] } {
	const z = logits[0]!;
	if (model.task === "regression") return { loss: (z - y) ** 2, error: [2 * (z - y)] };
	if (model.task === "binary") {
		const p = 1 / (1 + Math.exp(-z));
		return { loss: -(y * Math.log(p) + (1 - y) * Math.log(1 - p)), error: [p - y] };
	}
	const total = logits.reduce((sum, v) => sum + Math.exp(v), 0);
	const p = logits.map((v) => Math.exp(v) / total);
	return { loss: -Math.log(p[y]!), error: p.map((v, i) => v - (i === y ? 1 : 0)) };
}

export function rowOf(batch: Batch, inputs: number, row: number): number[] {
	return [...batch.features.subarray(row * inputs, (row + 1) * inputs)];
}

/** The sum of min(1, clip / |g|) g over the rows whose gradient is finite, one materialized gradient at a time. */
export function referenceGradientSum(
	model: Model,
	parameters: Float32Array,
	batch: Batch,
	clippingNorm = Number.POSITIVE_INFINITY,
): { sum: Float64Array; lossSum: number } {
	const sum = new Float64Array(parameters.length);
	let lossSum = 0;
	for (let row = 0; row < batch.rows; row++) {
		const { loss, gradient } = exampleGradient(
			model,
			parameters,
			rowOf(batch, model.inputs, row),
			batch.labels[row]!,
		);
		const norm = Math.hypot(...gradient);
		if (!Number.isFinite(norm)) continue;
		const factor = Math.min(1, clippingNorm / norm);
		gradient.forEach((g, i) => {
			sum[i]! += factor * g;
		});
		lossSum += loss;
	}
	return { sum, lossSum };
}

/** Central differences of the summed loss. */
export function numericalGradientSum(model: Model, parameters: Float32Array, batch: Batch): Float64Array {
	const h = 1e-5;
	const at = Float64Array.from(parameters);
	const lossSum = () => {
		let sum = 0;
		for (let row = 0; row < batch.rows; row++) {
			sum += exampleGradient(model, at, rowOf(batch, model.inputs, row), batch.labels[row]!).loss;
		}
		return sum;
	};
	return Float64Array.from(parameters, (value, i) => {
		at[i] = value + h;
		const above = lossSum();
		at[i] = value - h;
		const below = lossSum();
		at[i] = value;
		return (above - below) / (2 * h);
	});
}

/** |a - b| / max(1, |b|) over whole vectors. */
export function relativeDistance(a: ArrayLike<number>, b: ArrayLike<number>): number {
	if (a.length !== b.length) return Number.POSITIVE_INFINITY;
	let difference = 0;
	let size = 0;
	for (let i = 0; i < a.length; i++) {
		difference += (a[i]! - b[i]!) ** 2;
		size += b[i]! ** 2;
	}
	return Math.sqrt(difference) / Math.max(1, Math.sqrt(size));
}
