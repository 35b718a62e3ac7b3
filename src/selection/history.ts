/**
 * What the certified rounds tell about each participant, for selections that go by the past. It is part of
 * every certified result of a job with a selection, so a node that was away selects like everybody else.
 */
import { z } from "zod";
import type { PeerId } from "../../crypto/identity.ts";

/** {@link ParticipantRecord.reliability} of somebody who survived every time. */
export const FULL_RELIABILITY = 1024;
/** Its weight on the past: an eighth of it is replaced each time. */
const RELIABILITY_SHIFT = 3;

const rounds = z.int().min(0).max(1_000_000);

export const participantRecordSchema = z.strictObject({
	/** Released rounds to which it was asked to contribute. */
	invited: rounds,
	/** Of them, those whose sum it is in. */
	survived: rounds,
	/** The last round whose sum it is in; -1 before any. */
	lastSurvived: z.int().min(-1).max(1_000_000),
	/** Mean loss as it last reported it, 0 to 254 of the bound; absent before, and where nothing is reported. */
	loss: z.int().min(0).max(254).optional(),
	/** Exponential mean of surviving when asked, in 1/1024. */
	reliability: z.int().min(0).max(FULL_RELIABILITY),
});

/** A report says nothing: the noise left no count of records. */
export const NO_IDEA = 255;

export type ParticipantRecord = z.infer<typeof participantRecordSchema>;

/** In the order of the job's participants. */
export type SelectionHistory = readonly ParticipantRecord[];

/** Before the first round: nobody is known to be unreliable. */
export function emptyHistory(participants: number): SelectionHistory {
	return Array.from({ length: participants }, () => ({
		invited: 0,
		survived: 0,
		lastSurvived: -1,
		reliability: FULL_RELIABILITY,
	}));
}

/** The history after a released round; a void one changes nothing. */
export function historyAfter(
	history: SelectionHistory,
	members: readonly PeerId[],
	round: {
		readonly number: number;
		readonly invited: readonly PeerId[];
		readonly survivors: readonly PeerId[];
		/** Losses that the survivors reported, where they do. */
		readonly losses?: ReadonlyMap<PeerId, number> | undefined;
	},
): SelectionHistory {
	const invited = new Set(round.invited);
	const survivors = new Set(round.survivors);
	return members.map((peer, index) => {
		const record = history[index]!;
		if (!invited.has(peer)) return record;
		const survived = survivors.has(peer) ? 1 : 0;
		const reported = round.losses?.get(peer) ?? NO_IDEA;
		const loss = reported < NO_IDEA ? reported : record.loss;
		return {
			invited: record.invited + 1,
			survived: record.survived + survived,
			lastSurvived: survived === 1 ? round.number : record.lastSurvived,
			...(loss === undefined ? {} : { loss }),
			reliability:
				record.reliability -
				(record.reliability >> RELIABILITY_SHIFT) +
				survived * (FULL_RELIABILITY >> RELIABILITY_SHIFT),
		};
	});
}
