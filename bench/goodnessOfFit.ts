/** Statistical tests of samples against an exact law on the integers; the suite fails on their p-values, the benchmark prints them. */
import type { SymmetricLaw } from "../src/privacy/samplers/moments.ts";

/** Chance that a correct sampler fails one test: p-values below it are failures. */
export const FALSE_ALARM_RATE = 1e-6;

export interface TestResult {
	readonly test: string;
	readonly statistic: number;
	/** Chance of a statistic at least as extreme from the exact law. */
	readonly pValue: number;
}

/** Least expected number of samples in a cell of the chi-square test; rarer values are pooled. */
const LEAST_EXPECTED = 25;

/** All tests: chi-square of the frequencies, first and second moment, sign, far tails. */
export function testSamples(samples: ArrayLike<number>, law: SymmetricLaw): TestResult[] {
	return [
		chiSquare(samples, law),
		...moments(samples, law),
		tail(samples, law, 1e-3),
		tail(samples, law, 1e-5),
		correlation(samples, law),
	];
}

/** Pearson's statistic over all values that are frequent enough, the rest in one cell. */
function chiSquare(samples: ArrayLike<number>, { pmf }: SymmetricLaw): TestResult {
	const observed = new Map<number, number>();
	for (let i = 0; i < samples.length; i++) {
		const value = samples[i]!;
		observed.set(value, (observed.get(value) ?? 0) + 1);
	}
	let statistic = 0;
	let cells = 0;
	let restExpected = samples.length;
	let restObserved = samples.length;
	for (let x = 0; x < pmf.length; x++) {
		const expected = pmf[x]! * samples.length;
		if (expected < LEAST_EXPECTED) continue;
		for (const value of x === 0 ? [0] : [x, -x]) {
			const seen = observed.get(value) ?? 0;
			statistic += (seen - expected) ** 2 / expected;
			restExpected -= expected;
			restObserved -= seen;
			cells++;
		}
	}
	if (restExpected >= 5) {
		statistic += (restObserved - restExpected) ** 2 / restExpected;
		cells++;
	}
	return {
		test: `chi-square, ${cells} cells`,
		statistic,
		pValue: upperGamma((cells - 1) / 2, statistic / 2),
	};
}

/** Mean, second moment and sign as normal deviates, from the law's own moments. */
function moments(samples: ArrayLike<number>, law: SymmetricLaw): TestResult[] {
	let sum = 0;
	let squares = 0;
	let signs = 0;
	for (let i = 0; i < samples.length; i++) {
		const value = samples[i]!;
		sum += value;
		squares += value * value;
		signs += Math.sign(value);
	}
	const count = samples.length;
	const deviate = (test: string, total: number, mean: number, variance: number): TestResult => {
		const statistic = (total - count * mean) / Math.sqrt(count * variance);
		return { test, statistic, pValue: twoSidedNormal(statistic) };
	};
	return [
		deviate("mean", sum, 0, law.variance),
		deviate("second moment", squares, law.variance, law.fourthMoment - law.variance ** 2),
		deviate("sign", signs, 0, 1 - law.pmf[0]!),
	];
}

/** Number of samples beyond the value that has a two-sided tail of about `chance`: too many or too few. */
function tail(samples: ArrayLike<number>, { pmf }: SymmetricLaw, chance: number): TestResult {
	let start = pmf.length;
	let probability = 0;
	while (start > 1 && probability + 2 * pmf[start - 1]! <= chance) probability += 2 * pmf[--start]!;
	let beyond = 0;
	for (let i = 0; i < samples.length; i++) if (Math.abs(samples[i]!) >= start) beyond++;
	const expected = probability * samples.length;
	// P[Poisson(expected) >= beyond] and <= beyond: the binomial law's limit, for these chances exact enough.
	const tooMany = beyond === 0 ? 1 : 1 - upperGamma(beyond, expected);
	const tooFew = upperGamma(beyond + 1, expected);
	return {
		test: `tail |x| >= ${start}, ${expected.toPrecision(3)} expected`,
		statistic: beyond,
		pValue: Math.min(1, 2 * Math.min(tooMany, tooFew)),
	};
}

/** Correlation of neighbours as a normal deviate. */
function correlation(samples: ArrayLike<number>, { variance }: SymmetricLaw): TestResult {
	let product = 0;
	for (let i = 1; i < samples.length; i++) product += samples[i]! * samples[i - 1]!;
	const statistic = product / (variance * Math.sqrt(samples.length - 1));
	return { test: "correlation of neighbours", statistic, pValue: twoSidedNormal(statistic) };
}

function twoSidedNormal(deviate: number): number {
	return upperGamma(0.5, (deviate * deviate) / 2);
}

/**
 * The regularized upper incomplete gamma function Q(a, x), to about 1e-12: the survival function of
 * chi-square with 2a degrees of freedom at 2x, and P[Poisson(x) < a]. Series below a + 1, Lentz's
 * continued fraction above (Numerical Recipes, sec. 6.2).
 */
export function upperGamma(a: number, x: number): number {
	if (x <= 0) return 1;
	const scale = Math.exp(a * Math.log(x) - x - logGamma(a));
	if (x < a + 1) {
		let term = 1 / a;
		let sum = term;
		for (let n = a + 1; term > sum * 1e-17; n++) {
			term *= x / n;
			sum += term;
		}
		return Math.max(0, 1 - sum * scale);
	}
	let b = x + 1 - a;
	let c = 1e300;
	let d = 1 / b;
	let fraction = d;
	for (let i = 1; i < 100_000; i++) {
		const an = -i * (i - a);
		b += 2;
		d = 1 / (an * d + b || 1e-300);
		c = b + an / c || 1e-300;
		const factor = d * c;
		fraction *= factor;
		if (Math.abs(factor - 1) < 1e-15) break;
	}
	return fraction * scale;
}

/** Stirling's series after shifting the argument above 20. */
function logGamma(a: number): number {
	let shift = 0;
	let x = a;
	while (x < 20) shift += Math.log(x++);
	const series = 1 / (12 * x) - 1 / (360 * x ** 3) + 1 / (1260 * x ** 5) - 1 / (1680 * x ** 7);
	return (x - 0.5) * Math.log(x) - x + 0.5 * Math.log(2 * Math.PI) + series - shift;
}
