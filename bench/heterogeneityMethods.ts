/** The ways to train that the heterogeneity benchmark compares, as the job files that ask for them. */
import { checkJobSpec, type ResolvedJobSpec, resolveJobSpec } from "../src/training/jobSpec.ts";

export interface Method {
	readonly training: Readonly<Record<string, unknown>>;
	readonly personalization?: Readonly<Record<string, unknown>>;
}

/** For ten sites of the digits; step sizes are usual ones, not searched for. */
const local = { algorithm: "fedavg", localEpochs: 2, localBatch: 32, localLearningRate: 0.1 };
const adaptive = { ...local, momentum: 0.9, optimizerEpsilon: 1e-3 };

export const METHODS: Readonly<Record<string, Method>> = {
	FedAvg: { training: local },
	FedAvgM: { training: { ...local, momentum: 0.9, serverLearningRate: 0.2 } },
	FedProx: { training: { ...local, algorithm: "fedprox", proximalWeight: 0.1 } },
	SCAFFOLD: { training: { ...local, algorithm: "scaffold" } },
	FedNova: { training: { ...local, algorithm: "fednova" } },
	FedAdam: { training: { ...adaptive, optimizer: "adam", serverLearningRate: 0.03 } },
	FedYogi: { training: { ...adaptive, optimizer: "yogi", serverLearningRate: 0.03 } },
	FedAdagrad: { training: { ...adaptive, optimizer: "adagrad", momentum: 0, serverLearningRate: 0.1 } },
	alone: {
		training: local,
		personalization: { method: "ditto", weight: 0, epochs: 2 },
	},
	"fine-tuning": { training: local, personalization: { method: "fine_tuning", epochs: 5 } },
	FedBN: { training: local, personalization: { method: "fedbn" } },
	FedPer: { training: local, personalization: { method: "fedper" } },
	FedRep: { training: local, personalization: { method: "fedrep", ownEpochs: 2 } },
	Ditto: { training: local, personalization: { method: "ditto", weight: 0.1, epochs: 2 } },
	pFedMe: {
		training: { ...local, localLearningRate: 1 },
		personalization: { method: "pfedme", weight: 0.5, learningRate: 0.1 },
	},
	"clustered (2)": { training: local, personalization: { method: "clustered", clusters: 2 } },
	"clustered (4)": { training: local, personalization: { method: "clustered", clusters: 4 } },
};

/** Steps of records' clipped gradients, whose noise is added in shares. */
const summed = { algorithm: "fedsgd", serverLearningRate: 1, localLearningRate: 0.1, localBatch: 32 };
const tuned = { epochs: 5 };

/** Noise in shares for each record: gradients alone. */
export const RECORD_METHODS: Readonly<Record<string, Method>> = {
	"FedSGD momentum": { training: { ...summed, momentum: 0.5 } },
	"FedSGD Adam": {
		training: {
			...summed,
			optimizer: "adam",
			momentum: 0.9,
			serverLearningRate: 0.01,
			optimizerEpsilon: 1e-3,
		},
	},
	"FedSGD + fine-tuning": {
		training: { ...summed, momentum: 0.5 },
		personalization: { method: "fine_tuning", ...tuned },
	},
	"FedSGD + Ditto": {
		training: { ...summed, momentum: 0.5 },
		personalization: { method: "ditto", weight: 0.1, epochs: 2 },
	},
};

/** Noise of each site's own in local steps, with the same epsilon for each record. */
const steps = { algorithm: "fedavg", localEpochs: 1, localLearningRate: 0.2, localBatch: 64 };
export const SITE_METHODS: Readonly<Record<string, Method>> = {
	"FedAvg with site noise": { training: steps },
	"FedProx with site noise": { training: { ...steps, algorithm: "fedprox", proximalWeight: 0.1 } },
	"SCAFFOLD with site noise": { training: { ...steps, algorithm: "scaffold" } },
	"FedPer with site noise": { training: steps, personalization: { method: "fedper" } },
	"FedBN with site noise": { training: steps, personalization: { method: "fedbn" } },
};

export interface Experiment {
	readonly set: string;
	readonly rounds: number;
	/** Of all sites; public. */
	readonly trainingRecords: number;
	/** Largest training part of a site; public. */
	readonly largestSite: number;
	readonly privacy: "none" | "record" | "site";
	readonly epsilon: number;
	readonly delta: number;
}

const SAMPLING_RATE = 0.2;

/** The job of a method. Normalization is part of the model, so that FedBN has layers to keep. */
export function jobOf({ training, personalization }: Method, experiment: Experiment): ResolvedJobSpec {
	const { set, rounds, trainingRecords, largestSite, epsilon, delta } = experiment;
	const privacy = {
		none: { mechanism: "none" },
		record: {
			mechanism: "distributed_gaussian",
			epsilon,
			delta,
			samplingRate: SAMPLING_RATE,
			clippingNorm: 1,
		},
		site: { mechanism: "site_gaussian", epsilon, delta, samplingRate: SAMPLING_RATE, clippingNorm: 1 },
	}[experiment.privacy];
	const batch = {
		none: {},
		// Never below what the largest site samples by itself.
		record: { expectedBatch: Math.ceil(SAMPLING_RATE * Math.max(trainingRecords, largestSite)) },
		site: { localBatch: Math.max(Number(training.localBatch), Math.ceil(SAMPLING_RATE * largestSite)) },
	}[experiment.privacy];
	return resolveJobSpec(
		checkJobSpec({
			name: set,
			technique: "federated_learning",
			data: { set },
			model: {
				kind: "layers",
				layers: [
					{ kind: "dense", units: 32 },
					{ kind: "layerNorm" },
					{ kind: "activation", function: "tanh" },
				],
			},
			training: { rounds, evaluateEveryRounds: rounds, ...training, ...batch },
			privacy,
			// FedNova and clusters cannot have a bound, and what they are compared with has none either.
			robustness: { mode: "none" },
			personalization,
		}),
	);
}
