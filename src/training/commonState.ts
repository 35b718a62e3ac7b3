/**
 * The common state that every node holds bit for bit alike after each certified round: the model's
 * parameters, the public optimizer's state, and what later rounds need of earlier releases. Its
 * SHA-256 is what a quorum certifies.
 */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { hashFields } from "../../crypto/hash.ts";
import { allFinite } from "../learning/finite.ts";
import {
	float32FromBytes,
	float32ToBytes,
	float64FromBytes,
	float64ToBytes,
} from "../learning/littleEndian.ts";
import { initialParameters } from "../learning/model.ts";
import {
	decodeOptimizerState,
	encodeOptimizerState,
	initialOptimizerState,
	type OptimizerState,
} from "../learning/optimizer.ts";
import type { DecoderState } from "../privacy/correlatedNoise/decoder.ts";
import {
	type AllocationState,
	allocationOf,
	allocationStateSchema,
	initialAllocation,
} from "./adaptiveNoise.ts";
import {
	type CompressionState,
	decodeCompression,
	encodeCompression,
	encodedCompressionSchema,
	initialCompression,
} from "./compressionState.ts";
import type { ResolvedJobSpec } from "./jobSpec.ts";
import { commonParameterCount, type TrainingPlan } from "./plan.ts";
import { initialNormBound } from "./robustUpdate.ts";
import { optimizerOf } from "./trainingChoice.ts";

export interface CommonState {
	/** Robustness reputation: a score of each participant of the job, in their order. */
	readonly reputations?: Float64Array;
	/** Robustness reputation: how far each score has been out, in the same order. */
	readonly standings?: Float64Array;
	/** Centred clipping: where the next round's starts; reputation: what it is held against. The last aggregate. */
	readonly lastAggregate?: Float64Array;
	readonly parameters: Float32Array;
	readonly optimizer: OptimizerState;
	/** Adaptive clipping: the norm of the next round. */
	readonly clippingNorm?: number;
	/** SCAFFOLD: c, the mean of the sites' control variates, over the shared parameters. */
	readonly controlVariate?: Float64Array;
	/** Clusters: mean loss of each common model over the sites, up to one constant, as they were measured. */
	readonly clusterLosses?: readonly number[];
	/** Correlated noise: what decoding the next round needs. */
	readonly decoder?: DecoderState;
	/** Adaptive noise: what the next rounds' noise is decided from. */
	readonly allocation?: AllocationState;
	/** Robustness norm_bound: the L2 bound of the next round's updates. */
	readonly normBound?: number;
	/** Compression: what the next round's is drawn from. */
	readonly compression?: CompressionState;
}

/** Little-endian "ALS1": parameters and optimizer; "ALS2": and what goes with the privacy mode or the algorithm. */
const PLAIN_MAGIC = 0x31534c41;
const EXTENDED_MAGIC = 0x32534c41;
const HEADER_BYTES = 8;

/** The state before the first round. @param seed beacon of the job's start */
export function initialState(
	spec: ResolvedJobSpec,
	plan: TrainingPlan,
	jobId: string,
	seed: Uint8Array,
): CommonState {
	const { privacy, training } = spec;
	const parameters = new Float32Array(commonParameterCount(plan));
	const base = initialParameters(plan.model, hashFields("althing/initial-model/1", jobId, seed));
	for (let cluster = 0; cluster < plan.whole.clusters; cluster++)
		parameters.set(cluster === 0 ? base : apart(base, plan, [jobId, seed], cluster), cluster * base.length);
	return {
		parameters,
		optimizer: initialOptimizerState(optimizerOf(spec), parameters.length),
		...(training.algorithm === "scaffold" ? { controlVariate: new Float64Array(plan.shared.count) } : {}),
		...("clipping" in privacy && privacy.clipping === "adaptive"
			? { clippingNorm: privacy.clippingNorm }
			: {}),
		...initialNormBound(spec),
		...(plan.correlation === undefined ? {} : { decoder: [] }),
		...(plan.allocation === undefined ? {} : { allocation: initialAllocation(plan.allocation) }),
		...(plan.compression === undefined
			? {}
			: { compression: initialCompression(plan.compression, jobId, seed) }),
	};
}

/** How far apart the common models of a clustered job begin, in initial values: near, since all are first trained alike. */
const APART = 2 ** -7;

function apart(
	base: Float32Array,
	{ model }: TrainingPlan,
	fields: readonly (string | Uint8Array)[],
	cluster: number,
): Float32Array {
	const other = initialParameters(
		model,
		hashFields("althing/initial-model/1", ...fields, `cluster ${cluster}`),
	);
	return base.map((value, i) => value + APART * other[i]!);
}

/**
 * Layout, little-endian: magic u32, parameter count u32, float32 parameters, optimizer state; in the
 * extended form the optimizer state's length u32 before it and canonical CBOR of the rest behind it.
 */
export function encodeCommonState(state: CommonState): Uint8Array {
	const { parameters, optimizer, clippingNorm, decoder, allocation, compression } = state;
	const { controlVariate, clusterLosses, normBound, lastAggregate, reputations, standings } = state;
	const byMode =
		reputations ?? lastAggregate ?? clippingNorm ?? decoder ?? allocation ?? normBound ?? compression;
	const extended = (byMode ?? controlVariate ?? clusterLosses) !== undefined;
	const optimizerBytes = encodeOptimizerState(optimizer);
	const rest = encodeCanonical({
		...(clippingNorm === undefined ? {} : { clippingNorm }),
		...(controlVariate === undefined ? {} : { controlVariate: float64ToBytes(controlVariate) }),
		...(clusterLosses === undefined ? {} : { clusterLosses: [...clusterLosses] }),
		...(decoder === undefined ? {} : { decoder: decoder.map(float64ToBytes) }),
		...(allocation === undefined ? {} : { allocation: { ...allocation, counts: [...allocation.counts] } }),
		...(normBound === undefined ? {} : { normBound }),
		...(lastAggregate === undefined ? {} : { lastAggregate: float64ToBytes(lastAggregate) }),
		...(reputations === undefined ? {} : { reputations: float64ToBytes(reputations) }),
		...(standings === undefined ? {} : { standings: float64ToBytes(standings) }),
		...(compression === undefined ? {} : { compression: encodeCompression(compression, parameters.length) }),
	});
	const header = Uint32Array.of(extended ? EXTENDED_MAGIC : PLAIN_MAGIC, parameters.length);
	const parts = extended
		? [words(header), float32ToBytes(parameters), words([optimizerBytes.length]), optimizerBytes, rest]
		: [words(header), float32ToBytes(parameters), optimizerBytes];
	return Buffer.concat(parts);
}

const finiteVector = z.instanceof(Uint8Array).transform(float64FromBytes).refine(allFinite);

const restSchema = z.strictObject({
	clippingNorm: z.number().positive().optional(),
	controlVariate: finiteVector.optional(),
	clusterLosses: z.array(z.number()).max(4).optional(),
	decoder: z.array(finiteVector).optional(),
	allocation: allocationStateSchema.optional(),
	normBound: z.number().positive().optional(),
	lastAggregate: finiteVector.optional(),
	reputations: finiteVector.optional(),
	standings: finiteVector.optional(),
	compression: encodedCompressionSchema.optional(),
});

/** @throws AlthingError `training.bad_state` when the bytes are no state of `parameterCount` parameters. */
export function decodeCommonState(bytes: Uint8Array, parameterCount: number): CommonState {
	const damaged = (): never => {
		throw new AlthingError(
			"training.bad_state",
			`the stored model state is not one of ${parameterCount} parameters; fetch it again from a peer`,
		);
	};
	const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const end = HEADER_BYTES + 4 * parameterCount;
	if (bytes.length < end + 4 || view.getUint32(4, true) !== parameterCount) return damaged();
	const parameters = float32FromBytes(bytes.subarray(HEADER_BYTES, end));
	switch (view.getUint32(0, true)) {
		case PLAIN_MAGIC:
			return { parameters, optimizer: decodeOptimizerState(bytes.subarray(end)) };
		case EXTENDED_MAGIC: {
			const restAt = end + 4 + view.getUint32(end, true);
			if (restAt >= bytes.length) return damaged();
			const rest = restSchema.safeParse(decodeCanonical(bytes.subarray(restAt), bytes.length));
			if (!rest.success) return damaged();
			const { controlVariate, decoder, lastAggregate, reputations, standings } = rest.data;
			return {
				parameters,
				optimizer: decodeOptimizerState(bytes.subarray(end + 4, restAt)),
				...(rest.data.clippingNorm === undefined ? {} : { clippingNorm: rest.data.clippingNorm }),
				...(controlVariate === undefined ? {} : { controlVariate }),
				...(rest.data.clusterLosses === undefined ? {} : { clusterLosses: rest.data.clusterLosses }),
				...(decoder === undefined ? {} : { decoder }),
				...(rest.data.allocation === undefined ? {} : { allocation: allocationOf(rest.data.allocation) }),
				...(rest.data.normBound === undefined ? {} : { normBound: rest.data.normBound }),
				...(lastAggregate === undefined ? {} : { lastAggregate }),
				...(reputations === undefined ? {} : { reputations }),
				...(standings === undefined ? {} : { standings }),
				...(rest.data.compression === undefined
					? {}
					: { compression: decodeCompression(rest.data.compression, parameterCount) }),
			};
		}
		default:
			return damaged();
	}
}

function words(values: ArrayLike<number>): Uint8Array {
	const bytes = new Uint8Array(4 * values.length);
	const view = new DataView(bytes.buffer);
	for (let i = 0; i < values.length; i++) view.setUint32(4 * i, values[i]!, true);
	return bytes;
}
