/**
 * Agreement on a job: a signed specification is put before the federation, each member
 * accepts or refuses it by policy or by a person, and a quorum certifies who takes part.
 *
 * Members commit to a nonce when they accept and reveal it once a quorum has accepted; the
 * hash of the participants' nonces is the beacon that ranks the first coordinators, so
 * neither the submitter nor any minority chooses them (a withheld reveal only excludes the
 * withholder). Who may propose the start is a plain ranking: it decides nothing else.
 *
 * @example
 * ```ts
 * const agreement = new JobAgreement({ self, proposal, electorate, minimumCohort, ... });
 * perform(agreement.start(now));                       // tells every member, asks our policy
 * perform(agreement.respond(true, "by policy", now));  // on output { kind: "proposed" }
 * // on output { kind: "started", start }: create the TrainingJob
 * ```
 */
export { type AgreementOutput, JobAgreement, type JobAgreementOptions } from "./agreement.ts";
export {
	type AgreementMessage,
	decodeAgreementMessage,
	encodeAgreementMessage,
	type JobAbort,
	type JobProposal,
	type JobResponse,
	type JobStart,
	jobIdOf,
	signProposal,
	startBeacon,
	startHash,
	verifyProposal,
} from "./messages.ts";
export { proposalAmong } from "./promises.ts";
