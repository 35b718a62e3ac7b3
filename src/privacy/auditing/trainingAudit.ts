/**
 * An audit of training in one run: canaries go through the path that records take (Poisson
 * sample, clipping, encoding, every site's noise share, sum in the ring, release) and an
 * attacker who knows everything but the coins tells which were in.
 */
import { AlthingError } from "../../../crypto/error.ts";
import { randomBytes } from "../../../crypto/random.ts";
import { planJob } from "../../jobs/jobPlan.ts";
import type { Clipping } from "../../learning/clipping.ts";
import type { Trainer } from "../../learning/trainer.ts";
import { trainingEvent } from "../../training/charges.ts";
import { decodeCommonState } from "../../training/commonState.ts";
import { Contributor } from "../../training/contribution.ts";
import type { ResolvedJobSpec } from "../../training/jobSpec.ts";
import { noiseLevelOf, type Participation, type TrainingPlan } from "../../training/plan.ts";
import { applyRelease } from "../../training/release.ts";
import type { SiteData } from "../../training/siteData.ts";
import { epsilonBounds } from "../accounting/accountant.ts";
import { composed, type PrivacyEvent, selfComposed } from "../accounting/events.ts";
import { decode, fromRing } from "../fixedPoint.ts";
import { type Canary, CanaryTrainer, plantCanaries, tossCoins } from "./canaries.ts";
import { auditScores, type CanaryScores, type ScoreAudit } from "./scoreAudit.ts";
import { claimsOf, curveOfClaims } from "./tradeoffCurve.ts";

/** Adds the sites' vectors modulo 2^bits; the audit of a protocol passes one that runs it. */
export type SumVectors = (vectors: readonly Uint32Array[], modulusBits: number) => Promise<Uint32Array>;

export interface TrainingRun {
	readonly spec: ResolvedJobSpec;
	readonly who: Participation;
	/** What is executed. */
	readonly plan: TrainingPlan;
	/** Rounds to run, at most the job's. */
	readonly rounds: number;
	/** Records of the audited site; the others have none and add their noise, as in the worst case. */
	readonly data: SiteData;
	readonly trainer: Trainer;
	readonly canaries: readonly Canary[];
	/**
	 * What the attacker looks at: every round's sum (the strongest that the claim covers), or the
	 * final model alone, judging example canaries by their loss. Default `sums`.
	 */
	readonly attacker?: "sums" | "model";
	/** Default: in the clear, which gives the same numbers. */
	readonly sum?: SumVectors;
}

export interface AuditClaim {
	/** What the rounds are charged as, all of them. */
	readonly event: PrivacyEvent;
	/** At which delta epsilon is stated. */
	readonly delta: number;
}

export interface TrainingAudit extends ScoreAudit {
	readonly rounds: number;
	/** The accountant's epsilon for the rounds run, at `delta`. */
	readonly claimedEpsilon: number;
	readonly delta: number;
	/** The largest lower bound that counts: of both audits, or where canaries touch each other of `oneRun` alone. */
	readonly epsilonLower: number;
	/** The claim does not hold, with confidence 1 - significance. */
	readonly violated: boolean;
}

/** Thresholds on log-likelihood ratios: 0 separates best, the others see noise missing in the tails. */
const THRESHOLDS = [-2, 0, 2, 4] as const;

/** What `rounds` of the plan are charged as. @throws AlthingError `audit.nothing_claimed` without privacy, `audit.unsupported` with adaptive noise */
export function claimOf(spec: ResolvedJobSpec, plan: TrainingPlan, rounds: number): AuditClaim {
	if (spec.privacy.mechanism === "none") {
		throw new AlthingError(
			"audit.nothing_claimed",
			"The job has no privacy mechanism, so there is no claim to audit. Choose privacy.mechanism distributed_gaussian.",
		);
	}
	if (plan.allocation !== undefined) {
		throw new AlthingError(
			"audit.unsupported",
			"A job with adaptive noise claims no fixed composition of events: audit it with privacy.noiseSchedule geometric and the same noiseRatio.",
		);
	}
	const counts = new Map<string, { event: PrivacyEvent; count: number }>();
	for (let round = 0; round < rounds; round++) {
		const level = noiseLevelOf(plan, round, spec.training.rounds, {});
		const event = trainingEvent(spec, plan, { level, newCycles: 1 });
		const key = JSON.stringify(event);
		counts.set(key, { event, count: (counts.get(key)?.count ?? 0) + 1 });
	}
	const events = [...counts.values()].map(({ event, count }) => selfComposed(event, count));
	return { event: composed(...events), delta: spec.privacy.delta };
}

/**
 * Trains once with canaries and audits the claim.
 * @param significance probability of calling a sound run a violation, in (0, 1)
 * @throws AlthingError `audit.unsupported` for a mechanism whose rounds this attacker cannot read,
 *   and whatever training throws
 */
export async function auditTraining(
	run: TrainingRun,
	claim: AuditClaim,
	significance: number,
): Promise<TrainingAudit> {
	const scores = await playCanaries(run);
	const curve = curveOfClaims(claimsOf(claim.event));
	return verdict(auditScores(scores, { delta: claim.delta, curve }, significance), run, claim);
}

function verdict(
	audit: ScoreAudit,
	{ rounds, attacker = "sums" }: TrainingRun,
	claim: AuditClaim,
): TrainingAudit {
	const claimedEpsilon = epsilonBounds(claim.event, claim.delta).upper;
	const { oneRun, independent } = audit;
	// In the final model canaries touch each other: only the bound that allows for it counts.
	const counting = attacker === "sums" ? [oneRun, independent] : [oneRun];
	const epsilonLower = Math.max(...counting.map((bound) => bound.epsilonLower));
	return {
		...audit,
		rounds,
		claimedEpsilon,
		delta: claim.delta,
		epsilonLower,
		violated: epsilonLower > claimedEpsilon || counting.some((bound) => bound.refutesClaim),
	};
}

/** Trains, and scores every canary by the attacker's belief that it was in. */
async function playCanaries(run: TrainingRun): Promise<CanaryScores> {
	const { spec, plan, canaries, attacker = "sums" } = run;
	const clipping = clippingOf(spec);
	const included = tossCoins(canaries.length);
	const trainer = new CanaryTrainer(run.trainer, canaries);
	const planted = plantCanaries(run.data, canaries, included);
	const { participants, corruption, minimumSurvivors } = run.who;
	// The fewest honest survivors a sum may be opened for: the least noise that is claimed to be enough.
	const honest = Math.min(participants, minimumSurvivors - corruption);
	const sites = Array.from(
		{ length: honest },
		(_, site) =>
			new Contributor({
				spec,
				plan,
				data: site === 0 ? planted : withoutRecords(run.data),
				trainer: site === 0 ? trainer : run.trainer,
			}),
	);
	const scores = new Float64Array(canaries.length);
	const firstState = planJob(spec, run.who).initialState("audit", randomBytes(32));
	let state = decodeCommonState(firstState, plan.parameterCount);
	for (let round = 0; round < run.rounds; round++) {
		const level = noiseLevelOf(plan, round, spec.training.rounds, state);
		const likelihood = likelihoodRatio(trainingEvent(spec, plan, { level, newCycles: 1 }));
		const vectors: Uint32Array[] = [];
		for (const site of sites) vectors.push((await site.contribute(round, state)).vector);
		const { modulusBits } = plan.encoding;
		const sum = await (run.sum ?? sumInTheClear)(vectors, modulusBits);
		const released = decode(fromRing(sum, modulusBits), plan.encoding);
		if (attacker === "sums") {
			const seen = { released, realSum: trainer.realSum, clippingNorm: clipping.norm };
			for (const [i, canary] of canaries.entries()) {
				const { signal, amplitude } =
					canary.kind === "gradient"
						? atCoordinate(seen, canary.coordinate)
						: alongGradient(seen, await trainer.gradientOf(canary, state.parameters, clipping));
				scores[i]! += likelihood(signal, amplitude);
			}
		}
		state = applyRelease({ spec, plan, round, state, sum, survivors: sites.length }).state;
	}
	if (attacker === "sums") return { included, scores, thresholds: THRESHOLDS };
	for (const [i, canary] of canaries.entries()) {
		scores[i] = -(await lossOf(run.trainer, canary, state.parameters, plan.lossBound));
	}
	return { included, scores };
}

async function lossOf(
	trainer: Trainer,
	canary: Canary,
	parameters: Float32Array,
	lossBound: number,
): Promise<number> {
	if (canary.kind !== "example") {
		throw new AlthingError("audit.bad_argument", "A model alone shows nothing of gradient canaries.");
	}
	const batch = { features: canary.features, labels: Float32Array.of(canary.label), rows: 1 };
	return (await trainer.evaluate(parameters, batch, lossBound)).lossSum;
}

/** A round as the attacker sees it. */
interface SeenRound {
	readonly released: Float64Array;
	readonly realSum: Float64Array;
	readonly clippingNorm: number;
}

/** What the sum shows of a canary, and what the canary would show by itself, in clipping norms. */
interface Sighting {
	readonly signal: number;
	readonly amplitude: number;
}

function atCoordinate({ released, realSum, clippingNorm }: SeenRound, coordinate: number): Sighting {
	return { signal: (released[coordinate]! - realSum[coordinate]!) / clippingNorm, amplitude: 1 };
}

function alongGradient({ released, realSum, clippingNorm }: SeenRound, gradient: Float64Array): Sighting {
	let squares = 0;
	let product = 0;
	for (let i = 0; i < gradient.length; i++) {
		const value = gradient[i]!;
		squares += value * value;
		product += value * (released[i]! - realSum[i]!);
	}
	const norm = Math.sqrt(squares);
	if (norm === 0) return { signal: 0, amplitude: 0 };
	return { signal: product / norm / clippingNorm, amplitude: norm / clippingNorm };
}

/**
 * How records of the job are clipped, if this attacker can read its rounds.
 * @throws AlthingError `audit.unsupported`
 */
function clippingOf({ privacy, compression }: ResolvedJobSpec): Extract<Clipping, { norm: number }> {
	const refuse = (what: string): never => {
		throw new AlthingError(
			"audit.unsupported",
			`Canaries are read from rounds of distributed_gaussian with unit record, flat or automatic clipping and independent noise; this job has ${what}.`,
		);
	};
	if (privacy.mechanism !== "distributed_gaussian") return refuse(`mechanism ${privacy.mechanism}`);
	if (compression !== undefined) return refuse("compression");
	if (privacy.unit !== "record") return refuse(`unit ${privacy.unit}`);
	if (privacy.correlation !== "none") return refuse(`${privacy.correlation} noise`);
	const { clipping } = privacy;
	if (clipping !== "flat" && clipping !== "automatic") return refuse(`${clipping} clipping`);
	return { mode: clipping, norm: privacy.clippingNorm };
}

/** log dP/dQ of one round as claimed: noise z, the canary present with the sampling probability. */
function likelihoodRatio(round: PrivacyEvent): (signal: number, amplitude: number) => number {
	const samplingProbability = round.kind === "poissonSampled" ? round.samplingProbability : 1;
	const mechanism = round.kind === "poissonSampled" ? round.event : round;
	if (mechanism.kind !== "gaussian") {
		throw new AlthingError("audit.unsupported", `There is no attacker here for "${mechanism.kind}" rounds.`);
	}
	const variance = mechanism.noiseMultiplier ** 2;
	return (signal, amplitude) => {
		const exponent = (amplitude * signal - (amplitude * amplitude) / 2) / variance;
		if (samplingProbability === 1) return exponent;
		// log(1 - q + q e^exponent) without overflow.
		return exponent > 0
			? exponent + Math.log(samplingProbability + (1 - samplingProbability) * Math.exp(-exponent))
			: Math.log1p(samplingProbability * Math.expm1(exponent));
	};
}

function withoutRecords(data: SiteData): SiteData {
	const empty = { rows: 0, features: new Float32Array(0), labels: new Float32Array(0) };
	return { train: { ...data.train, ...empty }, heldOut: { ...data.heldOut, ...empty } };
}

async function sumInTheClear(vectors: readonly Uint32Array[], modulusBits: number): Promise<Uint32Array> {
	const mask = modulusBits === 32 ? 0xffffffff : 2 ** modulusBits - 1;
	const sum = new Uint32Array(vectors[0]?.length ?? 0);
	for (const vector of vectors) {
		for (let i = 0; i < sum.length; i++) sum[i] = ((sum[i]! + vector[i]!) & mask) >>> 0;
	}
	return sum;
}
