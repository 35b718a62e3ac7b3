/**
 * Every mechanism of src/privacy/mechanisms run on worst-case neighbours and audited against the
 * epsilon it states: a sound one is called broken with probability at most 1e-6. The same
 * neighbours against half the claim show that the audit is able to see.
 */
import { describe, expect, it } from "vitest";
import { epsilonBounds } from "../../../../src/privacy/accounting/accountant.ts";
import type { PrivacyEvent } from "../../../../src/privacy/accounting/events.ts";
import { auditMechanism } from "../../../../src/privacy/auditing/mechanismAudit.ts";
import { exponentialMechanism } from "../../../../src/privacy/mechanisms/exponential.ts";
import { gridGaussian, gridLaplace } from "../../../../src/privacy/mechanisms/gridNoise.ts";
import { permuteAndFlip } from "../../../../src/privacy/mechanisms/permuteAndFlip.ts";
import { privateQuantile } from "../../../../src/privacy/mechanisms/privateQuantile.ts";
import { randomizedResponse } from "../../../../src/privacy/mechanisms/randomizedResponse.ts";
import { reportNoisyMax } from "../../../../src/privacy/mechanisms/reportNoisyMax.ts";
import { skellamShare } from "../../../../src/privacy/mechanisms/skellamShare.ts";
import { SparseVector } from "../../../../src/privacy/mechanisms/sparseVector.ts";
import { topK } from "../../../../src/privacy/mechanisms/topK.ts";

const EPSILON = 2;
const DELTA = 1e-3;
const SELECTION = { epsilon: EPSILON, sensitivity: 1, monotone: false };
/** Every score moves by its sensitivity, in opposite directions. */
const SCORES = [5, 4];
const NEIGHBOUR = [4, 5];
const RUNS = 14_000;

interface Audited {
	readonly event: PrivacyEvent;
	readonly onD: () => number | string;
	readonly onDPrime: () => number | string;
}

function sparse(values: readonly number[]): () => string {
	return () => {
		const vector = new SparseVector({ ...SELECTION, positives: 1, threshold: 0 });
		let answers = "";
		for (const value of values) {
			if (!vector.open) break;
			answers += vector.above(value) ? "+" : "-";
		}
		return answers;
	};
}

const noise = { sensitivity: 1, epsilon: EPSILON };
const laplace = gridLaplace(noise);
const gaussian = gridGaussian({ sensitivity: 1, noiseMultiplier: 1 });
const exponential = exponentialMechanism(SELECTION);
const flip = permuteAndFlip(SELECTION);
const noisyMax = reportNoisyMax(SELECTION);
const response = randomizedResponse({ epsilon: EPSILON, categories: 4 });
const top = topK({ ...SELECTION, k: 2 });
const quantile = privateQuantile({ epsilon: EPSILON, fraction: 0.5, bounds: [0, 1] });
const share = skellamShare({
	variance: 4,
	minimumHonestSurvivors: 1,
	l1Sensitivity: 1,
	l2Sensitivity: 1,
});

const mechanisms: [string, Audited][] = [
	[
		"Laplace noise on a grid",
		{ event: laplace.event, onD: () => laplace.release(0), onDPrime: () => laplace.release(1) },
	],
	[
		"Gaussian noise on a grid",
		{ event: gaussian.event, onD: () => gaussian.release(0), onDPrime: () => gaussian.release(1) },
	],
	[
		"a Skellam share",
		{
			event: share.event,
			onD: () => share.add(Int32Array.of(0))[0]!,
			onDPrime: () => share.add(Int32Array.of(1))[0]!,
		},
	],
	[
		"the exponential mechanism",
		{
			event: exponential.event,
			onD: () => exponential.select(SCORES),
			onDPrime: () => exponential.select(NEIGHBOUR),
		},
	],
	[
		"permute-and-flip",
		{ event: flip.event, onD: () => flip.select(SCORES), onDPrime: () => flip.select(NEIGHBOUR) },
	],
	[
		"report-noisy-max",
		{ event: noisyMax.event, onD: () => noisyMax.select(SCORES), onDPrime: () => noisyMax.select(NEIGHBOUR) },
	],
	[
		"randomized response",
		{ event: response.event, onD: () => response.respond(0), onDPrime: () => response.respond(1) },
	],
	[
		"top k by peeling",
		{
			event: top.event,
			onD: () => top.select([5, 4, 4]).join(),
			onDPrime: () => top.select([4, 5, 5]).join(),
		},
	],
	[
		"a private median",
		{
			event: quantile.event,
			onD: () => quantile.select(Float64Array.of(0, 0.5, 0.5)),
			onDPrime: () => quantile.select(Float64Array.of(0, 0, 0.5, 0.5)),
		},
	],
	[
		"the sparse vector",
		{
			event: new SparseVector({ ...SELECTION, positives: 1, threshold: 0 }).event,
			onD: sparse([...Array(12).fill(-4), 1]),
			onDPrime: sparse([...Array(12).fill(-3), 0]),
		},
	],
];

describe("mechanisms at the epsilon they state", () => {
	it.each(mechanisms)("%s", (_, { event, onD, onDPrime }) => {
		const epsilon = epsilonBounds(event, DELTA).upper;
		const audit = auditMechanism({ onD, onDPrime, samples: RUNS, epsilon, delta: DELTA });
		expect(audit.violated).toBe(false);
		expect(audit.epsilonLower).toBeLessThanOrEqual(epsilon);
		// The neighbours are near the worst case: a claim of an eighth of it would not stand.
		const eighth = auditMechanism({ onD, onDPrime, samples: RUNS, epsilon: epsilon / 8, delta: DELTA });
		expect(eighth.violated).toBe(true);
	});
});
