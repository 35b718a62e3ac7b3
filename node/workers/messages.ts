/** What crosses between the pool and its workers. */
import { AlthingError } from "../../crypto/error.ts";

export interface TaskMessage {
	readonly id: number;
	readonly task: unknown;
}

export type ReplyMessage =
	| { readonly id: number; readonly result: unknown }
	| { readonly id: number; readonly error: TransferredError };

/** An error as it crosses a thread: classes and causes stay behind, code and facts survive. */
export interface TransferredError {
	readonly code: string;
	readonly message: string;
	readonly facts: Readonly<Record<string, unknown>>;
}

export function describeError(error: unknown): TransferredError {
	if (error instanceof AlthingError) return { code: error.code, message: error.message, facts: error.facts };
	return {
		code: "workers.task_failed",
		message: `A worker's task failed: ${error instanceof Error ? error.message : String(error)}`,
		facts: error instanceof Error && error.stack ? { stack: error.stack } : {},
	};
}

export function restoreError(error: TransferredError): AlthingError {
	return new AlthingError(error.code, error.message, error.facts);
}
