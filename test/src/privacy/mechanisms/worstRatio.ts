/**
 * The most significant violation of P[outcome on one] <= e^epsilon P[outcome on other], either way
 * round, in standard deviations of the difference of frequencies. A mechanism that keeps its epsilon
 * exceeds 5 with a chance below 1e-6 an outcome.
 */
export function worstRatio(
	one: () => number | string,
	other: () => number | string,
	epsilon: number,
	draws = 15_000,
): number {
	const frequencies = [one, other].map((draw) => {
		const seen = new Map<number | string, number>();
		for (let i = 0; i < draws; i++) {
			const outcome = draw();
			seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
		}
		return seen;
	});
	const factor = Math.exp(epsilon);
	let worst = Number.NEGATIVE_INFINITY;
	for (const [seen, against] of [frequencies, frequencies.toReversed()]) {
		for (const [outcome, count] of seen!) {
			const p = count / draws;
			const q = (against!.get(outcome) ?? 0) / draws;
			const deviation = Math.sqrt((p + factor * factor * Math.max(q, 1 / draws)) / draws);
			worst = Math.max(worst, (p - factor * q) / deviation);
		}
	}
	return worst;
}
