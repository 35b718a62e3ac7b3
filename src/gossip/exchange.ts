/** The average at the end of an exchange, on the bytes that the protocol carries. */
import type { PeerId } from "../../crypto/identity.ts";
import { allFinite } from "../learning/finite.ts";
import { float32FromBytes } from "../learning/littleEndian.ts";
import { decodeCommonState, encodeCommonState } from "../training/commonState.ts";
import type { ResolvedJobSpec } from "../training/jobSpec.ts";
import type { TrainingPlan } from "../training/plan.ts";
import { mixingRadius } from "./gossipChoice.ts";
import { mix } from "./mixing.ts";

export interface Exchange {
	/** The state that the round started from. */
	readonly state: Uint8Array;
	/** This node's released model, float32 parameters; without one the state's own stand for it. */
	readonly model?: Uint8Array;
	readonly received: readonly {
		readonly peer: PeerId;
		readonly weight: number;
		readonly model: Uint8Array;
	}[];
}

export interface Exchanged {
	readonly state: Uint8Array;
	/** Neighbours whose parameters are not all finite: their weight stays with our own model. */
	readonly rejected: readonly PeerId[];
	/** Largest distance of a neighbour's model from ours; 0 without any. */
	readonly farthest: number;
}

/** @throws AlthingError `gossip.bad_model` for another number of parameters than the plan's, which the protocol lets through for nobody */
export function exchange(
	spec: ResolvedJobSpec,
	plan: Pick<TrainingPlan, "parameterCount">,
	{ state, model, received }: Exchange,
): Exchanged {
	const before = decodeCommonState(state, plan.parameterCount);
	const own = model === undefined ? before.parameters : float32FromBytes(model);
	const models = received.map(({ peer, weight, model: bytes }) => ({
		peer,
		weight,
		parameters: float32FromBytes(bytes),
	}));
	const sound = models.filter(({ parameters }) => allFinite(parameters));
	const { parameters, distances } = mix(own, sound, mixingRadius(spec));
	return {
		state: encodeCommonState({ ...before, parameters }),
		rejected: models.filter((one) => !sound.includes(one)).map(({ peer }) => peer),
		farthest: Math.max(0, ...distances),
	};
}
