/** The laws of selection mechanisms, computed from their definitions. */

/** The exponential mechanism: exp(rate score), normalized. */
export function exponentialLaw(scores: readonly number[], rate: number): number[] {
	const weights = scores.map((score) => Math.exp(rate * score));
	const total = weights.reduce((sum, weight) => sum + weight, 0);
	return weights.map((weight) => weight / total);
}

/** Permute-and-flip, by going through all orders. */
export function permuteAndFlipLaw(scores: readonly number[], rate: number): number[] {
	const largest = Math.max(...scores);
	const law = scores.map(() => 0);
	const visit = (left: readonly number[], reached: number): void => {
		for (const candidate of left) {
			const taken = Math.exp(rate * (scores[candidate]! - largest));
			law[candidate]! += (reached / left.length) * taken;
			if (taken < 1) {
				visit(
					left.filter((one) => one !== candidate),
					(reached / left.length) * (1 - taken),
				);
			}
		}
	};
	visit([...scores.keys()], 1);
	return law;
}
