/** Trust by a small root data set that everybody knows to be clean (Cao et al. 2021, FLTrust). */
import { dot, norm, requireVectors, type Vectors } from "./vectors.ts";

/**
 * Every vector is scaled to the root update's length and counts by the cosine to it, not at all when
 * that is negative. Without any vector that is trusted the aggregate is zero.
 * @param root the update that the root data give
 * @returns the aggregate, and each vector's trust in [0, 1]
 * @throws AlthingError `robustness.bad_vectors`
 */
export function trustScoredMean(
	vectors: Vectors,
	root: Float64Array,
): { readonly aggregate: Float64Array; readonly trust: Float64Array } {
	const length = requireVectors([root, ...vectors]);
	const rootNorm = norm(root);
	const norms = vectors.map(norm);
	const trust = Float64Array.from(vectors, (vector, i) => {
		const lengths = norms[i]! * rootNorm;
		return lengths > 0 ? Math.min(1, Math.max(0, dot(vector, root) / lengths)) : 0;
	});
	let total = 0;
	for (const one of trust) total += one;
	const aggregate = new Float64Array(length);
	if (total === 0) return { aggregate, trust };
	for (const [i, vector] of vectors.entries()) {
		const factor = norms[i]! > 0 ? (trust[i]! / total) * (rootNorm / norms[i]!) : 0;
		for (let k = 0; k < length; k++) aggregate[k]! += factor * vector[k]!;
	}
	return { aggregate, trust };
}
