/**
 * Falsification from samples, with the system CSPRNG. A sound mechanism is called broken with
 * probability at most 1e-6; the broken ones here are caught with probability above 1 - 1e-9.
 */
import { describe, expect, it } from "vitest";
import { poissonSample } from "../../../../src/data/poissonSampling.ts";
import { auditMechanism } from "../../../../src/privacy/auditing/mechanismAudit.ts";
import { RandomWords } from "../../../../src/privacy/samplers/randomWords.ts";
import { tableGaussian } from "../../../../src/privacy/samplers/tableGaussian.ts";

const words = new RandomWords();
const uniform = () => (words.word53() + 0.5) / 2 ** 53;

/** Only to be audited: floating-point noise is no mechanism for real data. */
function laplace(scale: number): number {
	const u = uniform() - 0.5;
	return -scale * Math.sign(u) * Math.log1p(-2 * Math.abs(u));
}

/** Samples of N_Z(0, sigma^2), refilled in bulk. */
function gaussianSource(sigma: number): () => number {
	const sampler = tableGaussian(sigma);
	const block = new Int32Array(4096);
	let next = block.length;
	return () => {
		if (next === block.length) {
			sampler.fill(block);
			next = 0;
		}
		return block[next++]!;
	};
}

describe("an audit of one mechanism", () => {
	it("passes Laplace noise at its epsilon and comes close to it", () => {
		const audit = auditMechanism({
			onD: () => laplace(1),
			onDPrime: () => 1 + laplace(1),
			samples: 100_000,
			epsilon: 1,
			delta: 0,
		});
		expect(audit.violated).toBe(false);
		expect(audit.epsilonLower).toBeGreaterThan(0.8);
		expect(audit.epsilonLower).toBeLessThanOrEqual(1);
	});

	it("catches half of Laplace's noise", () => {
		const audit = auditMechanism({
			onD: () => laplace(0.5),
			onDPrime: () => 1 + laplace(0.5),
			samples: 40_000,
			epsilon: 1,
			delta: 0,
		});
		expect(audit.violated).toBe(true);
		expect(audit.epsilonLower).toBeGreaterThan(1.4);
	});

	it("passes randomized response and catches one that lies too rarely", () => {
		const answer = (truth: string, lie: number) =>
			uniform() < lie ? (truth === "yes" ? "no" : "yes") : truth;
		const audit = (lie: number) =>
			auditMechanism({
				onD: () => answer("yes", lie),
				onDPrime: () => answer("no", lie),
				samples: 20_000,
				epsilon: Math.log(3),
				delta: 0,
			});
		expect(audit(0.25).violated).toBe(false);
		expect(audit(0.15).violated).toBe(true);
	});

	it("needs samples and an epsilon", () => {
		const never = () => 0;
		const ask = (samples: number, epsilon: number) => () =>
			auditMechanism({ onD: never, onDPrime: never, samples, epsilon, delta: 0 });
		expect(ask(99, 1)).toThrowError(/at least 100/);
		expect(ask(1000, -1)).toThrowError(/epsilon/);
	});
});

describe("one round of private training, many times", () => {
	const SIGMA = 20;
	const SENSITIVITY = 10;
	const noise = gaussianSource(SIGMA);
	// z = 2, q = 1/2: (1.2, 0.05)-DP with room to spare (the exact delta at 1.2 is below 0.01).
	const CLAIM = { epsilon: 1.2, delta: 0.05, samples: 6000 };
	const sumOf = (records: number) => SENSITIVITY * poissonSample(records, 0.5).length;

	it("passes when every round is noised", () => {
		const audit = auditMechanism({
			...CLAIM,
			onD: () => sumOf(1) + noise(),
			onDPrime: () => sumOf(0) + noise(),
		});
		expect(audit.violated).toBe(false);
	});

	it("is caught when empty batches are released without noise", () => {
		const broken = (records: number) => {
			const sum = sumOf(records);
			return sum === 0 ? 0 : sum + noise();
		};
		const audit = auditMechanism({ ...CLAIM, onD: () => broken(1), onDPrime: () => broken(0) });
		expect(audit.violated).toBe(true);
		expect(audit.divergenceLower).toBeGreaterThan(0.3);
	});

	it("is caught when sums are divided by the batch's own size", () => {
		// The noise shrinks with the batch: many coordinates show by how much.
		const broken = (records: number) => {
			const batch = records;
			let squares = 0;
			for (let i = 0; i < 200; i++) squares += (noise() / batch) ** 2;
			return Math.sqrt(squares);
		};
		const fixed = () => {
			let squares = 0;
			for (let i = 0; i < 200; i++) squares += (noise() / 5) ** 2;
			return Math.sqrt(squares);
		};
		const claim = { ...CLAIM, samples: 4000 };
		expect(auditMechanism({ ...claim, onD: () => broken(5), onDPrime: () => broken(4) }).violated).toBe(true);
		expect(auditMechanism({ ...claim, onD: fixed, onDPrime: fixed }).violated).toBe(false);
	});
});
