/**
 * What one organization keeps of a job for itself from round to round: its personal model or layers,
 * its control variate. It never leaves the organization. Whoever runs the rounds stores what a
 * contribution proposes, sealed, before the contribution leaves, and makes it the state once a
 * certificate says that the vector is in the sum; otherwise the state stays what it was. The control
 * variate is half of an account whose other half everybody keeps, and layers of private steps that
 * were never charged must not reach a later vector.
 */
import { z } from "zod";
import { decodeCanonical, encodeCanonical } from "../../crypto/encoding.ts";
import { AlthingError } from "../../crypto/error.ts";
import { allFinite } from "../learning/finite.ts";
import {
	float32FromBytes,
	float32ToBytes,
	float64FromBytes,
	float64ToBytes,
} from "../learning/littleEndian.ts";

/** On a site's own held-out records, without noise: for the organization's eyes only. */
interface EvaluationFigures {
	/** Mean, each record's bounded as in the job's evaluations. */
	readonly loss: number;
	/** In [0, 1]; 0 for a regression. */
	readonly accuracy: number;
}

export interface PersonalEvaluation {
	/** Rounds that had made the common model. */
	readonly rounds: number;
	readonly records: number;
	readonly personal: EvaluationFigures;
	/** Where there is one common model that does the task by itself. */
	readonly common?: EvaluationFigures | undefined;
}

export interface SiteState {
	/** Personal model, or the site's own layers in their places of a full vector. */
	readonly parameters?: Float32Array | undefined;
	/** c_i of SCAFFOLD, over the shared parameters. */
	readonly controlVariate?: Float64Array | undefined;
	/** The common model that the site chose last. */
	readonly cluster?: number | undefined;
	readonly evaluation?: PersonalEvaluation | undefined;
	/** Training after the job's last round is done. */
	readonly final?: boolean | undefined;
}

/** Of a site that has not taken part yet. */
export const NEW_SITE: SiteState = {};

export function encodeSiteState({ parameters, controlVariate, ...rest }: SiteState): Uint8Array {
	return encodeCanonical({
		...rest,
		evaluation: rest.evaluation && {
			...rest.evaluation,
			personal: { ...rest.evaluation.personal },
			common: rest.evaluation.common && { ...rest.evaluation.common },
		},
		parameters: parameters && float32ToBytes(parameters),
		controlVariate: controlVariate && float64ToBytes(controlVariate),
	});
}

const figures = z.strictObject({ loss: z.number().min(0), accuracy: z.number().min(0).max(1) });

const evaluationSchema = z.strictObject({
	rounds: z.int().min(0),
	records: z.int().min(0),
	personal: figures,
	common: figures.optional(),
});

const stateSchema = z.strictObject({
	parameters: z.instanceof(Uint8Array).optional(),
	controlVariate: z.instanceof(Uint8Array).optional(),
	cluster: z.int().min(0).max(3).optional(),
	evaluation: evaluationSchema.optional(),
	final: z.boolean().optional(),
});

/**
 * @param counts of the job's plan: parameters of a model, and of them those that are shared
 * @throws AlthingError `training.bad_site_state` for bytes that are no such state of the job
 */
export function decodeSiteState(
	bytes: Uint8Array,
	counts: { readonly parameterCount: number; readonly sharedCount: number },
): SiteState {
	const parsed = stateSchema.safeParse(decodeCanonical(bytes, bytes.length));
	if (parsed.success) {
		const { parameters: ownBytes, controlVariate: variateBytes, ...rest } = parsed.data;
		const parameters = ownBytes && float32FromBytes(ownBytes);
		const controlVariate = variateBytes && float64FromBytes(variateBytes);
		const fits =
			(parameters === undefined || parameters.length === counts.parameterCount) &&
			(controlVariate === undefined || controlVariate.length === counts.sharedCount) &&
			allFinite(parameters ?? new Float32Array()) &&
			allFinite(controlVariate ?? new Float64Array());
		if (fits) return { ...rest, parameters, controlVariate };
	}
	throw new AlthingError(
		"training.bad_site_state",
		"what this organization keeps of the job for itself is damaged: restore the data directory from a backup",
	);
}
