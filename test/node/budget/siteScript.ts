/**
 * A site's budget work, step by step, over a real journal: two rounds of two partitions, the first
 * of which has an attempt that dies. Each step is one that the node takes; `interrupt` is called
 * around every journal write, and what leaves the site is noted where no crash can lose it.
 */
import { decodeCanonical, encodeCanonical } from "../../../crypto/encoding.ts";
import { BUDGET_KIND, Budgets } from "../../../node/budget/budgets.ts";
import { type Journal, openJournal } from "../../../node/store/journal.ts";
import { gaussian, poissonSampled } from "../../../src/privacy/accounting/events.ts";
import type { CertifiedRound, DeadAttempt } from "../../../src/privacy/budget/audit.ts";
import { type LedgerEntry, parseEntry } from "../../../src/privacy/budget/records.ts";
import { chargesBuried, chargesReleased } from "../../../src/privacy/budget/settlement.ts";

const JOB = "job-1";
export const ROUNDS = 2;
const TRAINING_KIND = `training/${JOB}`;
const PARTS = [
	{ partition: "train" as const, event: poissonSampled(0.1, gaussian(2)) },
	{ partition: "heldOut" as const, event: gaussian(8) },
];

/** What a site's training journal says, in this script's own words. */
type Certificate =
	| { readonly kind: "dead"; readonly round: number; readonly attempt: number }
	| { readonly kind: "result"; readonly round: number; readonly attempt: number };

export interface Site {
	readonly budgets: Budgets;
	/** The ledger's entries, as the journal has them. */
	readonly entries: readonly LedgerEntry[];
	readonly certificates: readonly Certificate[];
	readonly journal: Journal;
}

/** Called before a write and after it is durable, with the number of writes so far. */
export type Interrupt = (when: "before" | "after", write: number) => void;

/** Opens the journal as a starting node does. */
export async function openSite(path: string, interrupt: Interrupt = () => undefined): Promise<Site> {
	const journal = await openJournal({ path });
	const records: Uint8Array[] = [];
	const certificates: Certificate[] = [];
	for await (const { kind, body } of journal.replay()) {
		if (kind === BUDGET_KIND) records.push(body);
		if (kind === TRAINING_KIND) certificates.push(decodeCanonical(body) as unknown as Certificate);
	}
	let writes = 0;
	const append = async (kind: string, body: Uint8Array): Promise<number> => {
		const write = writes++;
		interrupt("before", write);
		const sequence = await journal.append(kind, body);
		interrupt("after", write);
		return sequence;
	};
	const budgets = new Budgets({ journal: { append }, records, defaults: { epsilon: 8, delta: 1e-5 } });
	const entries = records.map((body) => parseEntry(decodeCanonical(body)));
	return {
		budgets,
		entries,
		certificates,
		journal: { ...journal, append, close: () => journal.close() } as Journal,
	};
}

/**
 * Runs from wherever the journal stands to the end of the job.
 * @param name of this process: charges of one are told from those of another
 * @param release is told of every vector that leaves
 */
export async function runSite(
	{ budgets, certificates, journal }: Site,
	name: string,
	release: (chargeId: string, round: number, attempt: number) => void,
): Promise<void> {
	const certify = async (certificate: Certificate) => {
		await journal.append(TRAINING_KIND, encodeCanonical(certificate));
		await follow(budgets, certificate);
	};
	await budgets.openAccount("patients");
	for (const certificate of certificates) await follow(budgets, certificate);
	for (let round = 0; round < ROUNDS; round++) {
		if (certificates.some((one) => one.kind === "result" && one.round === round)) continue;
		const died = certificates.some((one) => one.kind === "dead" && one.round === round);
		const attempts = round === 0 && !died ? [0, 1] : [round === 0 ? 1 : 0];
		for (const attempt of attempts) {
			await budgets.charge(
				PARTS.map(({ partition, event }) => ({
					dataset: "patients",
					partition,
					jobId: JOB,
					round,
					attempt,
					chargeId: `${JOB}/${round}/${name}/${partition}`,
					event,
					extraDelta: 1e-25,
				})),
			);
			release(`${JOB}/${round}/${name}`, round, attempt);
			const isLast = attempt === attempts.at(-1);
			await certify({ kind: isLast ? "result" : "dead", round, attempt });
		}
	}
}

/** What a certificate means for the ledger, the same at once and after a restart. */
async function follow(budgets: Budgets, { kind, round, attempt }: Certificate): Promise<void> {
	const charges = budgets.ledger.chargesOf(JOB, round);
	if (kind === "dead")
		for (const { chargeId } of chargesBuried(charges, attempt)) await budgets.refund(chargeId, attempt);
	else for (const { chargeId } of chargesReleased(charges, attempt)) await budgets.finalise(chargeId);
}

/** What the certificates prove, for the ledger's audit. */
export function executedBy(certificates: readonly Certificate[]): {
	rounds: CertifiedRound[];
	dead: DeadAttempt[];
} {
	const rounds: CertifiedRound[] = [];
	const dead: DeadAttempt[] = [];
	for (const { kind, round, attempt } of certificates) {
		if (kind === "dead") dead.push({ jobId: JOB, round, attempt });
		else
			rounds.push({
				jobId: JOB,
				round,
				outcome: "released",
				attempt,
				included: true,
				evaluated: true,
				isPrivate: true,
			});
	}
	return { rounds, dead };
}
