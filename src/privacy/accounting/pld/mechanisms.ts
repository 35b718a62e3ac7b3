/** From an event tree to the dominating pairs it is composed of, under either adjacency. */
import { AlthingError } from "../../../../crypto/error.ts";
import type { Adjacency } from "../adjacency.ts";
import type { MechanismEvent, PrivacyEvent } from "../events.ts";
import { replacingOne } from "../rdp/replaceOne.ts";
import type { Step } from "./composition.ts";
import { lossPairOf, replacedSampledGaussianPair } from "./lossPair.ts";

interface CountedMechanism {
	readonly event: MechanismEvent;
	readonly samplingProbability: number;
	count: number;
}

/** Closed forms where there are some, pairs to compose where there are none. */
export type CountedPairs =
	| { readonly kind: "nothing" }
	| { readonly kind: "gaussian"; readonly noiseMultiplier: number }
	| {
			readonly kind: "sampledGaussian";
			readonly noiseMultiplier: number;
			readonly samplingProbability: number;
	  }
	| { readonly kind: "pairs"; readonly pairs: readonly Step[] };

/** @throws AlthingError `privacy.unsupported_event` where no dominating pair is proven */
export function countedPairs(event: PrivacyEvent, adjacency: Adjacency): CountedPairs {
	const mechanisms = new Map<string, CountedMechanism>();
	collect(event, 1, mechanisms);
	// However many Gaussian releases: one with the noise of their harmonic mean square.
	let precision = 0;
	const others: CountedMechanism[] = [];
	for (const mechanism of mechanisms.values()) {
		const { event: one, samplingProbability, count } = mechanism;
		if (one.kind === "gaussian" && samplingProbability === 1) {
			const multiplier = one.noiseMultiplier / (adjacency === "replaceOne" ? 2 : 1);
			precision += count / (multiplier * multiplier);
		} else others.push(mechanism);
	}
	if (others.length === 0) {
		return precision === 0
			? { kind: "nothing" }
			: { kind: "gaussian", noiseMultiplier: 1 / Math.sqrt(precision) };
	}
	const only = others[0]!;
	if (
		precision === 0 &&
		others.length === 1 &&
		only.count === 1 &&
		only.event.kind === "gaussian" &&
		adjacency === "addRemove"
	) {
		return {
			kind: "sampledGaussian",
			noiseMultiplier: only.event.noiseMultiplier,
			samplingProbability: only.samplingProbability,
		};
	}
	const pairs = others.map((mechanism) => pairOf(mechanism, adjacency));
	if (precision > 0) {
		const multiplier = 1 / Math.sqrt(precision);
		const pair = lossPairOf({ kind: "gaussian", noiseMultiplier: multiplier })!;
		pairs.push({ components: [{ pair, samplingProbability: 1, weight: 1 }], count: 1 });
	}
	return { kind: "pairs", pairs };
}

function collect(event: PrivacyEvent, count: number, into: Map<string, CountedMechanism>): void {
	if (count === 0) return;
	switch (event.kind) {
		case "composed":
			for (const part of event.events) collect(part, count, into);
			return;
		case "selfComposed":
			collect(event.event, count * event.count, into);
			return;
		case "repeatAndSelect":
			throw unsupported(event.kind);
		default: {
			const sampled = event.kind === "poissonSampled";
			const mechanism = sampled ? event.event : event;
			const samplingProbability = sampled ? event.samplingProbability : 1;
			const key = JSON.stringify([mechanism, samplingProbability]);
			const known = into.get(key);
			if (known === undefined) into.set(key, { event: mechanism, samplingProbability, count });
			else known.count += count;
		}
	}
}

function pairOf({ event, samplingProbability, count }: CountedMechanism, adjacency: Adjacency): Step {
	// Who answers at random is seen to answer: the event is about the answer, not about being in a batch.
	if (event.kind === "randomizedResponse" && samplingProbability < 1)
		throw unsupported(`sampled ${event.kind}`);
	if (adjacency === "replaceOne" && samplingProbability < 1) {
		if (event.kind !== "gaussian") throw unsupported(`replaced, sampled ${event.kind}`);
		const pair = replacedSampledGaussianPair(samplingProbability, event.noiseMultiplier);
		return { components: [{ pair, samplingProbability: 1, weight: 1 }], count };
	}
	const pair = lossPairOf(adjacency === "addRemove" ? event : replacingOne(event));
	if (pair === undefined) throw unsupported(event.kind);
	return { components: [{ pair, samplingProbability, weight: 1 }], count };
}

function unsupported(kind: string): AlthingError {
	return new AlthingError(
		"privacy.unsupported_event",
		`No dominating pair is known here for "${kind}". Use Renyi accounting.`,
		{ kind },
	);
}
