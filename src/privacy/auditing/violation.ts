/** Failing loudly where an audit refutes a claim. */
import { AlthingError } from "../../../crypto/error.ts";
import type { TrainingAudit } from "./trainingAudit.ts";

/** What of an audit's result the verdict is made of. */
type Verdict = Pick<
	TrainingAudit,
	"violated" | "claimedEpsilon" | "delta" | "epsilonLower" | "significance"
> & {
	readonly independent: Pick<TrainingAudit["independent"], "gaussianEpsilonLower">;
};

/** @throws AlthingError `audit.violation` with the figures, if the claim does not hold */
export function requireNoViolation(audit: Verdict): void {
	if (!audit.violated) return;
	const { claimedEpsilon, delta, epsilonLower, significance, independent } = audit;
	const shown = Math.max(epsilonLower, independent.gaussianEpsilonLower);
	throw new AlthingError(
		"audit.violation",
		`The training leaks more than it claims: epsilon ${claimedEpsilon.toFixed(3)} at delta ${delta} is claimed, the audit measures at least ${shown.toFixed(3)} (wrong with probability at most ${significance}). Release nothing trained this way; keep the job file and report it.`,
		{ claimedEpsilon, delta, epsilonLower, significance },
	);
}
