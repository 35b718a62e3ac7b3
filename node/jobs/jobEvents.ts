/** A job's events as the event stream carries them: facts for programs, a sentence for people. */
import type { PeerId } from "../../crypto/identity.ts";
import type { AgreementOutput } from "../../protocols/agreement/index.ts";
import { type Charter, memberOf } from "../../protocols/federation/index.ts";
import type { GossipOutput } from "../../protocols/gossip/index.ts";
import type { TrainingOutput } from "../../protocols/training/index.ts";
import type { JsonObject } from "../rpc/services.ts";

export interface JobEventData {
	readonly type: string;
	readonly data: JsonObject;
}

/** The organization's name under a charter, for people; the peer id where it is no member. */
function organizationOf(charter: Charter, peer: PeerId): string {
	return memberOf(charter, peer)?.organization ?? peer;
}

/** What the agreement on a job says; undefined where a change of the job's state says it already. */
export function agreementEvent(
	charter: Charter,
	name: string,
	output: AgreementOutput,
): JobEventData | undefined {
	switch (output.kind) {
		case "proposed": {
			const { submitter } = output.proposal;
			const message = `${organizationOf(charter, submitter)} proposes job ${name}`;
			return { type: "job.proposed", data: { message, name, submitter } };
		}
		case "response": {
			const { peer, accept, reason } = output.response;
			const message = `${organizationOf(charter, peer)} ${accept ? "takes part" : `does not take part: ${reason}`}`;
			return { type: "job.response", data: { message, peer, accept, reason } };
		}
		default:
			return undefined;
	}
}

/** What training says; undefined where the round or a change of the job's state says it already. */
export function trainingEvent(charter: Charter, output: TrainingOutput): JobEventData | undefined {
	switch (output.kind) {
		case "coordinator": {
			const { term, coordinator, certified } = output;
			const name = organizationOf(charter, coordinator);
			const message = certified
				? `${name} takes over as coordinator, certified by a quorum`
				: `${name} coordinates`;
			return { type: "job.coordinator", data: { message, term, coordinator, certified } };
		}
		case "stage": {
			const { round, attempt, stage } = output;
			return { type: "job.stage", data: { message: `round ${round}: ${stage}`, round, attempt, stage } };
		}
		case "retry": {
			const { round, attempt, reason } = output;
			const message = `round ${round}, attempt ${attempt + 1}: ${reason}`;
			return { type: "job.retry", data: { message, round, attempt, reason } };
		}
		case "withdrawn": {
			const { round, code, reason } = output;
			const message = `we do not contribute to round ${round}: ${reason}`;
			return { type: "job.withdrawn", data: { message, round, code, reason } };
		}
		default:
			return undefined;
	}
}

/** What a job without a coordinator says; undefined where the round or a change of the job's state says it already. */
export function gossipEvent(output: GossipOutput): JobEventData | undefined {
	switch (output.kind) {
		case "skipped": {
			const { from, to } = output;
			const message = `most neighbours are at round ${to}: rounds ${from} to ${to - 1} are left out`;
			return { type: "job.skipped", data: { message, from, to } };
		}
		case "withdrawn": {
			const { round, code, reason } = output;
			const message = `we release no model in round ${round}: ${reason}`;
			return { type: "job.withdrawn", data: { message, round, code, reason } };
		}
		default:
			return undefined;
	}
}
