/** A membership attack as an experiment: one target, shadow models like it, and two attackers. */
import { AlthingError } from "../../../crypto/error.ts";
import { tossCoins } from "./canaries.ts";
import { type AttackReport, attackReport, likelihoodRatioScores, lossScores } from "./membershipInference.ts";

export interface MembershipExperiment {
	/** Records whose membership is at stake; each is in by a fair coin. */
	readonly records: number;
	/** Shadow models, an even number >= 4: trained in pairs on complementary halves, so that every record has as many with it as without. */
	readonly shadows: number;
	/** Trains on the records that are included, and answers the trained model's loss of every record. */
	trainOn(included: readonly boolean[]): Promise<readonly number[]>;
	/** Of the intervals; default 0.05. */
	readonly significance?: number;
}

export interface MembershipReport {
	/** Attacker by loss alone. */
	readonly loss: AttackReport;
	/** Attacker with shadow models (LiRA). */
	readonly likelihoodRatio: AttackReport;
}

/**
 * @throws AlthingError `audit.bad_argument` for too few records or shadow models
 */
export async function inferMembership(experiment: MembershipExperiment): Promise<MembershipReport> {
	const { records, shadows, significance } = experiment;
	if (!Number.isSafeInteger(shadows) || shadows < 4 || shadows % 2 !== 0 || records < 20) {
		throw new AlthingError(
			"audit.bad_argument",
			`A membership experiment needs an even number of at least 4 shadow models and at least 20 records, not ${shadows} and ${records}.`,
		);
	}
	const models: { losses: readonly number[]; included: readonly boolean[] }[] = [];
	for (let pair = 0; pair < shadows / 2; pair++) {
		const half = tossCoins(records);
		for (const included of [half, half.map((inside) => !inside)]) {
			models.push({ included, losses: await experiment.trainOn(included) });
		}
	}
	const members = tossCoins(records);
	const losses = await experiment.trainOn(members);
	const report = (scores: readonly number[]) =>
		attackReport(
			scores.filter((_, record) => members[record]),
			scores.filter((_, record) => !members[record]),
			significance,
		);
	return { loss: report(lossScores(losses)), likelihoodRatio: report(likelihoodRatioScores(losses, models)) };
}
