/** The rules of a federation: what every job and every member keeps to. */
import { z } from "zod";

/** Members a charter may have: a version names all of them. */
export const MAX_MEMBERS = 256;

export const rulesSchema = z.strictObject({
	/** Assumed fraction of corrupt members; f = floor(fraction * n). */
	assumedCorruptFraction: z
		.number()
		.min(0)
		.max(1 / 3)
		.default(0.2),
	/** Participants a job needs to begin. */
	minimumCohort: z.int().min(2).max(MAX_MEMBERS).default(3),
	/** Fraction of a round's participants that must survive for its sum to be opened. */
	minimumSurvivorFraction: z.number().gt(0.5).max(1).default(0.8),
	privacyFloor: z
		.strictObject({
			/** Largest epsilon that a job may spend of one data set. */
			maximumEpsilon: z.number().positive().max(1000).default(8),
			maximumDelta: z.number().gt(0).lt(1).default(1e-5),
			/** Privacy mechanisms that jobs may use (privacy.mechanism of a job specification). */
			techniques: z
				.array(z.enum(["distributed_gaussian", "site_gaussian", "none"]))
				.max(32)
				.default(["distributed_gaussian", "site_gaussian"]),
			requireDifferentialPrivacy: z.boolean().default(true),
		})
		.prefault({}),
	dataRequirements: z
		.strictObject({
			/** Records that a participant must bring. */
			minimumRecords: z.int().min(0).default(0),
		})
		.prefault({}),
});

export type Rules = z.infer<typeof rulesSchema>;
