/** A job file over a tree of cohorts, before it is checked: with noise in shares. */
export const TREE_JOB = {
	name: "tree",
	technique: "federated_learning",
	data: { set: "digits-8x8" },
	model: { kind: "softmax_regression" },
	training: { algorithm: "fedsgd", rounds: 4, expectedBatch: 100 },
	privacy: {
		mechanism: "distributed_gaussian",
		epsilon: 8,
		delta: 1e-6,
		clippingNorm: 1,
		samplingRate: 0.5,
	},
	aggregation: { cohortSize: 4 },
};
