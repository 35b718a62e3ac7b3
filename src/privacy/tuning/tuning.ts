/**
 * Private hyperparameter tuning (Papernot, Steinke 2022, arXiv:2110.03620): settings are drawn at
 * random a random number of times, each trial trains and is scored in private, and only the best one
 * is told. It costs a few times one trial, however many there were: the event `repeatAndSelect`.
 *
 * How many trials there were, which settings the others had and how they scored must not be told.
 */
import { RandomWords } from "../samplers/randomWords.ts";
import { type TrialLaw, trialCount } from "./trialCount.ts";

export interface Trial<Output> {
	/** The larger the better; private like the output, since it decides what is told. NaN loses. */
	readonly score: number;
	readonly output: Output;
}

export interface Selected<Candidate, Output> extends Trial<Output> {
	readonly candidate: Candidate;
}

/**
 * Runs the trials and keeps the best one.
 * @param tuning.trial one differentially private run: the caller charges `repeatAndSelect` of its
 *   event, which must be the same for all candidates
 * @returns undefined where the law drew no trial (Poisson alone)
 */
export async function tunePrivately<Candidate, Output>(tuning: {
	/** At least one. */
	readonly candidates: readonly [Candidate, ...Candidate[]];
	readonly law: TrialLaw;
	readonly trial: (candidate: Candidate) => Promise<Trial<Output>>;
	/** The system's generator unless a test seeds it. */
	readonly words?: RandomWords;
}): Promise<Selected<Candidate, Output> | undefined> {
	const { candidates, law, trial, words = new RandomWords() } = tuning;
	const count = trialCount(law)(words);
	let best: Selected<Candidate, Output> | undefined;
	for (let i = 0; i < count; i++) {
		const candidate = candidates[words.belowNumber(candidates.length)]!;
		const result = await trial(candidate);
		if (best === undefined || result.score > best.score || Number.isNaN(best.score))
			best = { candidate, ...result };
	}
	return best;
}
