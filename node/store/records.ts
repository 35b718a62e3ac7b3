/**
 * The records every node keeps: jobs, budgets, mechanism executions, participants, secure
 * computation sessions, models. Times are ISO 8601 in UTC, ids are chosen by the caller.
 */
import { z } from "zod";

const time = z.iso.datetime();
const id = z.string().min(1).max(256);
const epsilon = z.number().min(0);
const delta = z.number().min(0).max(1);
/** Free-form facts; the part that wrote them owns their shape. */
const facts = z.record(z.string(), z.json());

export const trainingJobSchema = z.strictObject({
	id,
	name: z.string(),
	technique: z.enum([
		"federated_learning",
		"differential_privacy",
		"secure_mpc",
		"homomorphic_encryption",
		"psi",
		"query",
		"vertical_learning",
	]),
	privacyParameters: facts,
	dataSet: facts,
	modelConfig: facts,
	status: z.string().min(1),
	createdBy: z.string(),
	createdAt: time,
	startedAt: time.optional(),
	completedAt: time.optional(),
});

export const privacyBudgetSchema = z.strictObject({
	id,
	jobId: id.optional(),
	totalEpsilon: epsilon,
	totalDelta: delta,
	consumedEpsilon: epsilon,
	consumedDelta: delta,
	compositionMethod: z.string().min(1),
	allocation: z.record(z.string(), z.strictObject({ epsilon, delta })),
	createdAt: time,
	updatedAt: time,
});

export const mechanismExecutionSchema = z.strictObject({
	id,
	budgetId: id,
	mechanism: z.string().min(1),
	parameters: facts,
	epsilonConsumed: epsilon,
	deltaConsumed: delta,
	utilityMetrics: facts,
	durationMs: z.number().min(0),
	executedAt: time,
});

export const participantSchema = z.strictObject({
	id,
	jobId: id,
	peer: z.string().min(1),
	type: z.enum(["client", "server", "coordinator"]),
	connection: facts,
	dataCharacteristics: facts,
	participationRounds: z.int().min(0),
	status: z.string().min(1),
	registeredAt: time,
	lastSeenAt: time,
});

export const secureSessionSchema = z.strictObject({
	id,
	jobId: id,
	type: z.string().min(1),
	parties: z.array(z.string()),
	securityParameters: facts,
	resultHash: z.string().optional(),
	status: z.string().min(1),
	createdAt: time,
	completedAt: time.optional(),
});

export const modelSchema = z.strictObject({
	id,
	jobId: id,
	round: z.int().min(0),
	/** Hash of the parameters, under which the store's blobs hold them. */
	parametersHash: z.string().regex(/^[0-9a-f]{64}$/),
	architecture: facts,
	metrics: facts,
	createdAt: time,
});

export type TrainingJob = z.infer<typeof trainingJobSchema>;
export type PrivacyBudget = z.infer<typeof privacyBudgetSchema>;
export type MechanismExecution = z.infer<typeof mechanismExecutionSchema>;
export type Participant = z.infer<typeof participantSchema>;
export type SecureSession = z.infer<typeof secureSessionSchema>;
export type Model = z.infer<typeof modelSchema>;
