/** The thread that streams one data set for one job, one question or one registration. */
import { AlthingError } from "../../../crypto/error.ts";
import { passOver } from "../../../src/data/streamedPass.ts";
import { streamedSums } from "../../../src/queries/streamedSums.ts";
import { decodeCommonState } from "../../../src/training/commonState.ts";
import { HELD_OUT_FRACTION } from "../../../src/training/siteData.ts";
import { decodeSiteState, NEW_SITE } from "../../../src/training/siteState.ts";
import { roundBuffers } from "../../../src/training/streamedRound.ts";
import { serveTasks, type TaskOutcome } from "../../workers/serveTasks.ts";
import { requireWholeGzip } from "./csvSource.ts";
import { JobStream } from "./jobStream.ts";
import { openLocation, requireUnchanged } from "./location.ts";
import type { RegisteredStream, StreamedSet, StreamResult, StreamTask } from "./streamTasks.ts";

/** A thread serves one job. */
let stream: JobStream | undefined;
/** Ends every pass of this thread. */
const ending = new AbortController();
/** What must have ended before the thread may leave. */
const underWay = new Set<Promise<unknown>>();

async function survey({ location, description, splitKey, settings }: StreamedSet): Promise<StreamResult> {
	if (location.kind === "csv") await requireWholeGzip(location.path);
	const source = await openLocation(location, description, settings);
	try {
		const { columns } = source;
		const { rows, trainingRows, heldOutRows } = await passOver({
			source,
			description,
			splitKey,
			heldOutFraction: HELD_OUT_FRACTION,
			count: true,
			signal: ending.signal,
		});
		if (rows === 0)
			throw new AlthingError(
				"data.empty",
				`${source.name} has no records. Point the data set at one that has.`,
				{
					source: source.name,
				},
			);
		// What was counted must be what was registered.
		await requireUnchanged(location);
		return { kind: "surveyed", columns, trainingRows, heldOutRows };
	} finally {
		await source.close();
	}
}

function streamOf({ set, spec, plan, backend }: Extract<StreamTask, { kind: "round" }>): JobStream {
	const { location, description, settings } = set;
	stream ??= new JobStream({
		open: () => openLocation(location, description, settings),
		records: set,
		spec,
		plan,
		backend,
		batchMemoryMiB: settings.batchMemoryMiB,
		signal: ending.signal,
	});
	return stream;
}

async function sumsOf(
	set: RegisteredStream,
	query: Extract<StreamTask, { kind: "sums" }>["query"],
): Promise<Float64Array> {
	const source = await openLocation(set.location, set.description, set.settings);
	try {
		return await streamedSums(source, set.description, query, ending.signal);
	} finally {
		await source.close();
	}
}

async function run(task: Exclude<StreamTask, { kind: "close" }>): Promise<TaskOutcome<StreamResult>> {
	switch (task.kind) {
		case "survey":
			return { result: await survey(task.set) };
		case "round": {
			const state = decodeCommonState(task.state, task.plan.parameterCount);
			const { parameterCount, shared } = task.plan;
			const counts = { parameterCount, sharedCount: shared.count };
			const own = task.own === undefined ? NEW_SITE : decodeSiteState(task.own, counts);
			const round = await streamOf(task).round(task.round, state, own);
			return { result: { kind: "round", round }, transfer: roundBuffers(round) };
		}
		case "sums": {
			const sums = await sumsOf(task.set, task.query);
			return { result: { kind: "sums", sums }, transfer: [sums.buffer as ArrayBuffer] };
		}
	}
}

async function close(): Promise<TaskOutcome<StreamResult>> {
	ending.abort();
	await Promise.allSettled(underWay);
	await stream?.close();
	// After the answer has left.
	setImmediate(() => process.exit(0));
	return { result: { kind: "closed" } };
}

serveTasks<StreamTask, StreamResult>((task) => {
	if (task.kind === "close") return close();
	const outcome = run(task);
	underWay.add(outcome);
	outcome.catch(() => {}).finally(() => underWay.delete(outcome));
	return outcome;
});
