/** What the node's durable records, the ledger's own aside, prove of releases: for the ledger's audit. */
import type { PeerId } from "../../crypto/identity.ts";
import { roundsReleased } from "../../protocols/gossip/index.ts";
import { ownAttempt } from "../../protocols/training/ownAttempt.ts";
import { decodePromise } from "../../protocols/training/promises.ts";
import { privacyEventSchema } from "../../src/privacy/accounting/events.ts";
import type {
	CertifiedRound,
	DeadAttempt,
	Executed,
	RecordedExecution,
} from "../../src/privacy/budget/audit.ts";
import type { Store } from "../store/index.ts";

/** Journal kinds of training records, followed by the job's id. */
const TRAINING = "training/";
/** Of jobs without a coordinator: models that this site has released. */
const GOSSIP = "gossip/";
const RELEASED = { outcome: "released", attempt: 0, included: true, evaluated: false } as const;

/** Reads certificates from the journal and executions from the node's records. @param self this site */
export async function readExecuted(
	store: Pick<Store, "journal" | "jobs" | "mechanismExecutions">,
	self: PeerId,
): Promise<Executed> {
	const rounds: CertifiedRound[] = [];
	const dead: DeadAttempt[] = [];
	const privacyOf = new Map<string, boolean>();
	const isPrivate = async (jobId: string): Promise<boolean> => {
		// A job without a record is held to be private: then its rounds have to be paid for.
		const known =
			privacyOf.get(jobId) ?? (await store.jobs.get(jobId))?.privacyParameters.mechanism !== "none";
		privacyOf.set(jobId, known);
		return known;
	};
	for await (const { kind, body } of store.journal.replay()) {
		if (kind.startsWith(GOSSIP)) {
			const jobId = kind.slice(GOSSIP.length);
			for (const round of roundsReleased([body]))
				rounds.push({ ...RELEASED, jobId, round, isPrivate: await isPrivate(jobId) });
			continue;
		}
		if (!kind.startsWith(TRAINING)) continue;
		const jobId = kind.slice(TRAINING.length);
		const promise = decodePromise(body);
		if (promise.kind === "dead")
			dead.push({ jobId, round: promise.round, attempt: promise.certificate.slot.attempt });
		if (promise.kind !== "result") continue;
		const { round, outcome, attempt, survivors, metrics } = promise.content;
		// After the dead ones comes the one that was opened.
		const taken = dead.filter((other) => other.jobId === jobId && other.round === round);
		rounds.push({
			jobId,
			round,
			outcome,
			attempt: ownAttempt(
				attempt,
				taken.map((other) => other.attempt + 1),
			),
			included: survivors.includes(self),
			evaluated: Object.keys(metrics).length > 0,
			isPrivate: await isPrivate(jobId),
		});
	}
	const executions: RecordedExecution[] = [];
	for await (const [, { id, parameters }] of store.mechanismExecutions.entries()) {
		const event = privacyEventSchema.safeParse(parameters.event);
		executions.push({ chargeId: id, ...(event.success ? { event: event.data } : {}) });
	}
	return { rounds, dead, executions };
}
