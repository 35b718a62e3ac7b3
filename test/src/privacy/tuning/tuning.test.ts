import { describe, expect, it } from "vitest";
import { RandomWords } from "../../../../src/privacy/samplers/randomWords.ts";
import { type TrialLaw, trialCount } from "../../../../src/privacy/tuning/trialCount.ts";
import { tunePrivately } from "../../../../src/privacy/tuning/tuning.ts";
import { seededWordsForTests } from "../seededWordsForTests.ts";

/** P[K = k] of the truncated negative binomial from its definition, gamma by its mean. */
function lawOf(shape: number, mean: number): (k: number) => number {
	const meanAt = (gamma: number) =>
		shape === 0
			? (1 / gamma - 1) / Math.log(1 / gamma)
			: (shape * (1 - gamma)) / (gamma * (1 - gamma ** shape));
	let [low, high] = [1e-9, 1 - 1e-9];
	for (let i = 0; i < 200; i++) {
		const middle = (low + high) / 2;
		if (meanAt(middle) > mean) low = middle;
		else high = middle;
	}
	const gamma = low;
	return (k) => {
		if (shape === 0) return (1 - gamma) ** k / (k * Math.log(1 / gamma));
		let product = 1;
		for (let l = 0; l < k; l++) product *= (l + shape) / (l + 1);
		return ((1 - gamma) ** k * product) / (gamma ** -shape - 1);
	};
}

describe("the number of trials", () => {
	it.each([
		[1, 5],
		[0, 4],
		[0.5, 3],
		[-0.5, 2],
	])("has the law of shape %d and mean %d (chi-square, false alarm below 1e-6)", (shape, meanTrials) => {
		const words = new RandomWords(seededWordsForTests(17));
		const sample = trialCount({ meanTrials, shape });
		const law = lawOf(shape, meanTrials);
		const draws = 40_000;
		const counts = new Map<number, number>();
		let total = 0;
		for (let i = 0; i < draws; i++) {
			const k = sample(words);
			total += k;
			counts.set(k, (counts.get(k) ?? 0) + 1);
		}
		let statistic = 0;
		let cells = 0;
		let rest = 1;
		let seen = draws;
		for (let k = 1; law(k) * draws >= 10; k++) {
			const expected = law(k) * draws;
			statistic += ((counts.get(k) ?? 0) - expected) ** 2 / expected;
			cells += 1;
			rest -= law(k);
			seen -= counts.get(k) ?? 0;
		}
		statistic += (seen - rest * draws) ** 2 / (rest * draws);
		// Wilson and Hilferty's approximation of the chi-square quantile at 1 - 1e-6, z = 4.7534.
		const quantile = cells * (1 - 2 / (9 * cells) + 4.7534 * Math.sqrt(2 / (9 * cells))) ** 3;
		expect(statistic).toBeLessThan(quantile);
		expect(Math.abs(total / draws / meanTrials - 1)).toBeLessThan(0.06);
	});

	it("may be none with the Poisson law alone", () => {
		const words = new RandomWords(seededWordsForTests(3));
		const draw = (law: TrialLaw) => Array.from({ length: 2000 }, () => trialCount(law)(words));
		expect(Math.min(...draw({ meanTrials: 1, shape: "poisson" }))).toBe(0);
		expect(Math.min(...draw({ meanTrials: 1.5, shape: 0 }))).toBe(1);
	});

	it("is refused for laws that do not exist or are not drawn here", () => {
		expect(() => trialCount({ meanTrials: 1, shape: 1 })).toThrowError(/mean/);
		expect(() => trialCount({ meanTrials: 3, shape: -1 })).toThrowError(/shape/);
		expect(() => trialCount({ meanTrials: 3, shape: 2 })).toThrowError(/shapes up to 1/);
	});
});

describe("private tuning", () => {
	it("tells the best of the trials it made, and draws settings alike", async () => {
		const words = new RandomWords(seededWordsForTests(5));
		const tried: string[] = [];
		for (let repeat = 0; repeat < 300; repeat++) {
			const scores: number[] = [];
			const selected = await tunePrivately({
				candidates: ["a", "b", "c"],
				law: { meanTrials: 4, shape: 1 },
				trial: async (candidate) => {
					const score = words.word();
					tried.push(candidate);
					scores.push(score);
					return { score, output: candidate };
				},
				words,
			});
			expect(selected?.score).toBe(Math.max(...scores));
			expect(selected?.candidate).toBe(selected?.output);
		}
		// About 1,200 draws: each third within 5 standard deviations, false alarm below 2e-6.
		for (const candidate of ["a", "b", "c"]) {
			const count = tried.filter((other) => other === candidate).length;
			expect(Math.abs(count - tried.length / 3)).toBeLessThan(5 * Math.sqrt((tried.length * 2) / 9));
		}
	});

	it("lets a score that is not a number lose, and tells nothing where nothing was tried", async () => {
		const words = new RandomWords(seededWordsForTests(8));
		let trials = 0;
		const selected = await tunePrivately({
			candidates: [1],
			law: { meanTrials: 50, shape: 0 },
			trial: async () => ({ score: trials++ === 1 ? 7 : Number.NaN, output: trials }),
			words,
		});
		expect(trials === 1 ? Number.NaN : 7).toEqual(selected?.score);
		let none = 0;
		for (let i = 0; i < 50; i++) {
			const trial = async () => ({ score: 1, output: 1 });
			const found = await tunePrivately({
				candidates: [1],
				law: { meanTrials: 1, shape: "poisson" },
				trial,
				words,
			});
			if (found === undefined) none += 1;
		}
		// A Poisson number of mean 1 is 0 with probability 0.37: none of 50 being 0 has probability 1e-10.
		expect(none).toBeGreaterThan(0);
	});
});
