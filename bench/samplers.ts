/** Every noise sampler, on the system CSPRNG, against its exact law: statistics, p-values, CPU time a value. */
import { fillDiscreteLaplace } from "../src/privacy/samplers/discreteLaplace.ts";
import { sampleExactGaussian } from "../src/privacy/samplers/exactGaussian.ts";
import {
	discreteGaussianMoments,
	discreteLaplaceMoments,
	type SymmetricLaw,
	skellamMoments,
} from "../src/privacy/samplers/moments.ts";
import { RandomWords } from "../src/privacy/samplers/randomWords.ts";
import { fillSkellam } from "../src/privacy/samplers/skellam.ts";
import { tableGaussian } from "../src/privacy/samplers/tableGaussian.ts";
import type { Bench, Cell } from "./bench.ts";
import { FALSE_ALARM_RATE, testSamples } from "./goodnessOfFit.ts";

interface Subject {
	readonly sampler: string;
	readonly law: SymmetricLaw;
	/** The slow exact ones draw fewer values. */
	readonly share: number;
	fill(target: Float64Array): void;
}

function subjects(): Subject[] {
	const words = new RandomWords();
	const table = (sigma: number) => {
		const sampler = tableGaussian(sigma);
		return (target: Float64Array) => {
			const samples = new Int32Array(target.length);
			sampler.fill(samples);
			target.set(samples);
		};
	};
	return [
		...[0.5, 7.3, 100].map((sigma) => ({
			sampler: `exact discrete Gaussian, sigma ${sigma}`,
			law: discreteGaussianMoments(sigma * sigma),
			share: 0.1,
			fill: (target: Float64Array) => {
				for (let i = 0; i < target.length; i++) target[i] = sampleExactGaussian(sigma, words);
			},
		})),
		...[0.5, 7.3, 1500].map((sigma) => ({
			sampler: `table discrete Gaussian, sigma ${sigma}`,
			law: discreteGaussianMoments(sigma * sigma),
			share: 1,
			fill: table(sigma),
		})),
		...[0.5, 7.3, 250].map((scale) => ({
			sampler: `exact discrete Laplace, scale ${scale}`,
			law: discreteLaplaceMoments(scale),
			share: 0.25,
			fill: (target: Float64Array) => fillDiscreteLaplace(target, scale, words),
		})),
		...[0.5, 40, 90_000].map((variance) => ({
			sampler: `exact Skellam, variance ${variance}`,
			law: skellamMoments(variance),
			share: 0.25,
			fill: (target: Float64Array) => fillSkellam(target, variance, words),
		})),
	];
}

export const samplers: Bench<{ samples: readonly number[] }> = {
	name: "samplers",
	summary: "noise samplers against their exact laws, and what a value costs",
	options: { samples: { description: "values drawn from the fastest samplers", default: [1_000_000] } },
	libraries: [],
	notes: [
		`A correct sampler fails one test with a chance of ${FALSE_ALARM_RATE}; fresh randomness every run, so p-values vary.`,
		"The chi-square test pools values expected fewer than 25 times; tails count values beyond a public threshold.",
		"CPU time includes drawing the random words and, for tables, building them.",
	],
	async run({ samples: [count = 1_000_000] }) {
		const tests: Record<string, Cell>[] = [];
		const costs: Record<string, Cell>[] = [];
		for (const { sampler, law, share, fill } of subjects()) {
			const values = new Float64Array(Math.max(1, Math.round(count * share)));
			const before = process.cpuUsage();
			fill(values);
			const { user, system } = process.cpuUsage(before);
			costs.push({
				sampler,
				"sample size": values.length,
				"ns a value": ((user + system) * 1000) / values.length,
			});
			for (const { test, statistic, pValue } of testSamples(values, law)) {
				tests.push({
					sampler,
					"sample size": values.length,
					test,
					statistic: statistic.toPrecision(4),
					"p-value": pValue.toPrecision(3),
					"false-alarm rate": FALSE_ALARM_RATE.toExponential(0),
					verdict: pValue < FALSE_ALARM_RATE ? "FAILS" : "fits",
				});
			}
		}
		return [
			{ title: "Tests against the exact law", rows: tests },
			{ title: "CPU time", rows: costs },
		];
	},
};
