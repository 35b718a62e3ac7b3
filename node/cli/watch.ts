/**
 * `althing job watch`: follows a job over the event stream until it ends.
 *
 * The job's own record is the truth and is read after each (re)connection; events only
 * say sooner what changed. So a lost connection, a restarted node or an overrun event
 * ring cannot make it miss a round or the end, or print one twice.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { AlthingError } from "../../crypto/error.ts";
import type { RpcClient } from "../rpc/client.ts";
import { GAP_EVENT, JOB_STAGE_EVENT, jobRoundEvent, jobStateEvent } from "../rpc/eventTypes.ts";
import type { JobDetail, JobState, NodeEvent, RoundView } from "../rpc/services.ts";
import { type ExitCode, exitCodes } from "./exitCodes.ts";
import type { Output } from "./output.ts";
import type { Session } from "./session.ts";
import { bytesText, figure, printable, shortPeer } from "./text.ts";

const exitCodeOfEnd: Partial<Record<JobState, ExitCode>> = {
	completed: exitCodes.ok,
	failed: exitCodes.failed,
	aborted: exitCodes.failed,
	rejected: exitCodes.refused,
};
const RETRY_FIRST_MS = 250;
const RETRY_MAX_MS = 5_000;

/** Errors that pass: the node restarts, or is busy. */
const passing = new Set([
	"rpc.not_running",
	"rpc.connection_lost",
	"rpc.stopping",
	"rpc.too_many_streams",
	"rpc.rate_limited",
]);

export async function watchJob(session: Session, prefix: string, timeoutSeconds?: number): Promise<ExitCode> {
	const client = await session.client();
	// The first answer must come: a node that is not running, or a wrong id, is an error and not a pause.
	const { id } = await client.call("job.show", { job: prefix });
	const ended = new AbortController();
	const interrupt = () => ended.abort("interrupted");
	process.once("SIGINT", interrupt);
	const timer =
		timeoutSeconds === undefined
			? undefined
			: setTimeout(() => ended.abort("timeout"), timeoutSeconds * 1000);
	try {
		return await follow(client, id, new Progress(session.out), ended.signal, session.out);
	} catch (error) {
		if (ended.signal.reason === "interrupted") return exitCodes.interrupted;
		if (ended.signal.reason === "timeout") {
			throw new AlthingError("job.watch_timeout", `Job ${id} did not end within ${timeoutSeconds} s.`, {
				job: id,
			});
		}
		throw error;
	} finally {
		clearTimeout(timer);
		process.removeListener("SIGINT", interrupt);
		ended.abort("done");
	}
}

async function follow(
	client: RpcClient,
	id: string,
	progress: Progress,
	signal: AbortSignal,
	out: Output,
): Promise<ExitCode> {
	let after: number | undefined;
	let retryMs = RETRY_FIRST_MS;
	for (;;) {
		try {
			const connected = Promise.withResolvers<void>();
			const events = client.events({ after, job: id, signal, connected: connected.resolve });
			let next = events.next();
			await Promise.race([connected.promise, next]);
			retryMs = RETRY_FIRST_MS;
			// Only now, so that nothing falls between the record and the stream.
			let end = progress.record(await client.call("job.show", { job: id }, { signal }));
			while (end === undefined) {
				const { value, done } = await next;
				if (done === true || value === undefined) break;
				after = value.id;
				end =
					value.type === GAP_EVENT
						? progress.record(await client.call("job.show", { job: id }, { signal }))
						: progress.event(value);
				next = events.next();
			}
			if (end !== undefined) {
				// The stream ends with the watch; how does not matter any more.
				next.catch(() => undefined);
				return end;
			}
		} catch (error) {
			if (signal.aborted || !(error instanceof AlthingError) || !passing.has(error.code)) throw error;
			if (retryMs === RETRY_FIRST_MS) out.note("Lost the connection to the node; trying again ...");
		}
		await sleep(retryMs, undefined, { signal });
		retryMs = Math.min(RETRY_MAX_MS, retryMs * 2);
	}
}

/** Prints each round and state once, whichever way it becomes known. */
class Progress {
	readonly #out: Output;
	#lastRound = -1;
	#state: JobState | undefined;

	constructor(out: Output) {
		this.#out = out;
	}

	/** Takes in the job's record. Returns the exit code when the job has ended. */
	record(job: JobDetail): ExitCode | undefined {
		for (const round of job.history) this.#round(round);
		return this.#enter(job.state, job.reason);
	}

	event(event: NodeEvent): ExitCode | undefined {
		const round = jobRoundEvent(event);
		if (round !== undefined) {
			this.#round(round);
			return undefined;
		}
		const change = jobStateEvent(event);
		if (change !== undefined) return this.#enter(change.state, change.reason);
		// A round has seven stages: news for programs, noise for people.
		if (event.type === JOB_STAGE_EVENT && !this.#out.json) return undefined;
		this.#out.line(event, ({ type, data }) =>
			this.#out.colors.dim(
				`${type} ${printable(typeof data.message === "string" ? data.message : JSON.stringify(data))}`,
			),
		);
		return undefined;
	}

	#round(round: RoundView): void {
		if (round.round <= this.#lastRound) return;
		this.#lastRound = round.round;
		this.#out.line({ type: "job.round", data: round }, ({ data }) =>
			[
				`round ${data.round}`,
				...(data.coordinator === undefined
					? [`${data.survivors.length - 1}/${data.cohort.length - 1} neighbours`]
					: [
							`${data.survivors.length}/${data.cohort.length} survivors`,
							...(data.excluded === undefined ? [] : [`${data.excluded.length} excluded`]),
							`coordinator ${shortPeer(data.coordinator)} (term ${data.term})`,
						]),
				`loss ${figure(data.evaluationLoss ?? data.trainingLoss) ?? "-"}`,
				`accuracy ${figure(data.accuracy) ?? "-"}`,
				`epsilon ${figure(data.epsilonSpent)}`,
				`${bytesText(data.bytesSent)} sent`,
				`${figure(data.seconds)} s`,
			].join("  "),
		);
	}

	#enter(state: JobState, reason: string | undefined): ExitCode | undefined {
		if (state !== this.#state) {
			this.#state = state;
			const data = reason === undefined ? { state } : { state, reason };
			this.#out.line({ type: "job.state", data }, () =>
				this.#out.colors.bold(printable(reason === undefined ? state : `${state}: ${reason}`)),
			);
		}
		return exitCodeOfEnd[state];
	}
}
