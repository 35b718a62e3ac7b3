/**
 * Exit codes of the command line, for scripts.
 *
 * | code | meaning |
 * |---|---|
 * | 0 | done |
 * | 1 | failed; the message says why |
 * | 2 | wrong usage: unknown command or option, bad value, unreadable or invalid input file |
 * | 3 | the node is not running |
 * | 4 | not permitted: no, unknown, expired or revoked token, or the role may not |
 * | 5 | not found: job, model, data set, request, federation ... |
 * | 6 | refused by policy or privacy budget, or the job was rejected |
 * | 7 | timed out |
 * | 130 | interrupted (Ctrl-C) |
 *
 * `althing start` alone ends with the daemon's codes (`node/lifecycle/exitCodes.ts`).
 */
import { AlthingError } from "../../crypto/error.ts";

export const exitCodes = {
	ok: 0,
	failed: 1,
	usage: 2,
	notRunning: 3,
	notPermitted: 4,
	notFound: 5,
	refused: 6,
	timedOut: 7,
	interrupted: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

const byCode: Readonly<Record<string, ExitCode>> = {
	"rpc.not_running": exitCodes.notRunning,
	"rpc.stopping": exitCodes.notRunning,
	"rpc.unauthenticated": exitCodes.notPermitted,
	"rpc.forbidden": exitCodes.notPermitted,
	"rpc.invalid_params": exitCodes.usage,
	"job.invalid": exitCodes.usage,
	"job.invalid_file": exitCodes.usage,
	"job.refused_by_policy": exitCodes.refused,
	"query.invalid": exitCodes.usage,
	"query.needs_delta": exitCodes.usage,
	"privacy.bad_plan": exitCodes.usage,
	"federation.none": exitCodes.notFound,
};

/** The exit code that an error ends the command with. */
export function exitCodeOf(error: unknown): ExitCode {
	if (!(error instanceof AlthingError)) return exitCodes.failed;
	const known = byCode[error.code];
	if (known !== undefined) return known;
	const [area = "", reason = ""] = error.code.split(".", 2);
	if (area === "usage") return exitCodes.usage;
	if (/(^|_)not_found$/.test(reason)) return exitCodes.notFound;
	if (/(^|_)timeout$/.test(reason)) return exitCodes.timedOut;
	if (area === "policy" || area === "budget") return exitCodes.refused;
	return exitCodes.failed;
}
