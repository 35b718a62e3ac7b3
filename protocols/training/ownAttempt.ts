/**
 * The attempt at a certified round that a site's own part was opened by. One session's is the one that the
 * certificate names. Over a tree of cohorts the certificate names attempt 0, and every cohort has made attempts
 * of its own: then it is the last one the site took part in, because each opens with proof that the one before
 * is dead. Of one session no site takes part in an attempt after the one that was opened, and both are the same.
 * @param certified named by the certificate
 * @param taken attempts at the round that the site took part in
 */
export function ownAttempt(certified: number, taken: Iterable<number>): number {
	return Math.max(certified, ...taken);
}
