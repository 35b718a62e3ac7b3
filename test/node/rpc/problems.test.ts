import { expect, it } from "vitest";
import { AlthingError } from "../../../crypto/error.ts";
import { exitCodeOf, exitCodes } from "../../../node/cli/exitCodes.ts";
import { problemOf } from "../../../node/rpc/problems.ts";

/** Of each kind of failure one code: the HTTP status, and how the command line ends. */
const cases: readonly (readonly [code: string, status: number, exit: number])[] = [
	["rpc.invalid_params", 400, exitCodes.usage],
	["rpc.unauthenticated", 401, exitCodes.notPermitted],
	["rpc.forbidden", 403, exitCodes.notPermitted],
	["data.not_found", 404, exitCodes.notFound],
	["budget.not_found", 404, exitCodes.notFound],
	["tuning.not_found", 404, exitCodes.notFound],
	["federation.member_not_found", 404, exitCodes.notFound],
	["budget.exceeded", 409, exitCodes.refused],
	["budget.frozen", 409, exitCodes.refused],
	["budget.bad_place", 409, exitCodes.refused],
	["job.refused_by_policy", 409, exitCodes.refused],
	["job.decided", 409, exitCodes.failed],
	["job.ended", 409, exitCodes.failed],
	["query.invalid", 422, exitCodes.usage],
	["query.needs_delta", 422, exitCodes.usage],
	["query.unknown_column", 422, exitCodes.failed],
	["privacy.bad_plan", 422, exitCodes.usage],
	["privacy.unreachable_target", 422, exitCodes.failed],
	["tuning.unreachable_target", 422, exitCodes.failed],
	["audit.unsupported", 422, exitCodes.failed],
	["privacy.misuse", 500, exitCodes.failed],
	["store.corrupt", 500, exitCodes.failed],
	["rpc.timeout", 504, exitCodes.timedOut],
];

it.each(cases)("%s is status %i, and exit code %i on the command line", (code, status, exit) => {
	const error = new AlthingError(code, "said to the caller", { left: 1n });
	expect(problemOf(error)).toMatchObject({
		status,
		code,
		detail: "said to the caller",
		facts: { left: "1" },
	});
	expect(exitCodeOf(error)).toBe(exit);
});

it("a defect tells the caller nothing but that there was one", () => {
	const problem = problemOf(new TypeError("secret"));
	expect(problem).toMatchObject({ status: 500, code: "rpc.internal" });
	expect(JSON.stringify(problem)).not.toContain("secret");
	expect(exitCodeOf(new TypeError("secret"))).toBe(exitCodes.failed);
});
