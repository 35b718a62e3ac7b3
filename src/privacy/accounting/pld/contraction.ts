/**
 * The certified lower bound: a distribution on the nodes that the true one dominates.
 *
 * Let f(x) = E_Q (P/Q - x)+, convex in x = e^loss. Merging what lies inside a cell into one outcome is
 * post-processing and lowers f; connecting the values of f at the nodes by chords raises it. Lowered at
 * node k by c_k >= the most by which a chord next to k overshoots the merged f, the chords lie below the
 * merged f everywhere, hence below f; and so does their lower convex hull, whose kinks are at nodes: a
 * distribution on the grid with the same total P-mass and Q-mass. Where f itself (right end) or
 * f - (1 - x) (left end) is less than the overshoot, the hull ends on the line that bounds every such
 * function. Composition keeps the order of f's (they are averages of call functions at the other parts'
 * ratios), so the composed lower distribution is dominated by the truth.
 *
 * The error is of the second order in the width of the cells, as that of the upper bound, about twice as large.
 */
interface Cells {
	/** Losses between neighbouring nodes, one fewer than there are nodes. */
	readonly gap: Float64Array;
	/** P-mass exactly on a node. */
	readonly atNode: Float64Array;
	/** The chords' share of each cell on its lower and on its upper node. */
	readonly toLow: Float64Array;
	readonly toHigh: Float64Array;
}

/** P-masses on the nodes; all zero (a valid, empty bound) where the grid is too coarse to say anything. */
export function contracted({ gap, atNode, toLow, toHigh }: Cells): Float64Array {
	const count = atNode.length;
	const mass = Float64Array.from(atNode);
	const overshoot = new Float64Array(count + 1);
	for (let k = 0; k + 1 < count; k++) {
		const low = toLow[k]!;
		const high = toHigh[k]!;
		mass[k] = mass[k]! + low;
		mass[k + 1] = mass[k + 1]! + high;
		if (low > 0 && high > 0) {
			// The chord over the merged outcome, whose ratio is (low + high) / (low e^-a + high e^-b).
			const d = (high * low * Math.expm1(gap[k]!)) / (high + low * Math.exp(gap[k]!));
			overshoot[k] = Math.max(overshoot[k]!, d);
			overshoot[k + 1] = d;
		}
	}
	// f and f - (1 - x) at the nodes.
	const call = new Float64Array(count);
	const put = new Float64Array(count);
	for (let k = count - 2, tail = mass[count - 1]!; k >= 0; k--) {
		call[k] = call[k + 1]! - tail * Math.expm1(-gap[k]!);
		tail = tail * Math.exp(-gap[k]!) + mass[k]!;
	}
	for (let k = 1, head = mass[0]!; k < count; k++) {
		put[k] = put[k - 1]! + head * Math.expm1(gap[k - 1]!);
		head = head * Math.exp(gap[k - 1]!) + mass[k]!;
	}
	let middle = 0;
	let room = -1;
	for (let k = 0; k < count; k++) {
		const here = Math.min(call[k]!, put[k]!) - overshoot[k]!;
		if (here > room) {
			room = here;
			middle = k;
		}
	}
	// Between the ends f and f - (1 - x) must both leave room; the ends lie on 1 - x > 0 and on 0 > 1 - x.
	const fits = (k: number): boolean => Math.min(call[k]!, put[k]!) >= overshoot[k]!;
	let start = middle;
	let end = middle;
	while (start > 0 && fits(start - 1)) start--;
	while (end + 1 < count && fits(end + 1)) end++;
	if (room < 0 || start === end || call[start]! < put[start]! || put[end]! < call[end]!) {
		return new Float64Array(count);
	}

	const lowered = (k: number): number => (k <= start ? put[k]! : k >= end ? call[k]! : overshoot[k]!);
	const result = new Float64Array(count);
	for (let k = start; k <= end; k++) {
		let value = mass[k]!;
		const c = lowered(k);
		if (k > 0) value += c / Math.expm1(gap[k - 1]!) + lowered(k - 1) / Math.expm1(-gap[k - 1]!);
		if (k + 1 < count) value += -c / Math.expm1(-gap[k]!) - lowered(k + 1) / Math.expm1(gap[k]!);
		result[k] = value;
	}
	return convexHull(result, gap, start, end);
}

/**
 * Takes out every node whose mass is negative: a point of f above the chord of its neighbours. Its mass
 * goes to them, P-mass and Q-mass kept, until none is negative.
 */
function convexHull(mass: Float64Array, gap: Float64Array, start: number, end: number): Float64Array {
	const count = mass.length;
	const pending: number[] = [];
	for (let k = start + 1; k < end; k++) if (mass[k]! < 0) pending.push(k);
	const previous = new Int32Array(count);
	const next = new Int32Array(count);
	for (let k = 0; k < count; k++) {
		previous[k] = k - 1;
		next[k] = k + 1;
	}
	/** Loss from each node up to the next one left in. */
	const width = Float64Array.from(gap);
	const taken = new Uint8Array(count);
	for (let k = pending.pop(); k !== undefined; k = pending.pop()) {
		if (taken[k] === 1 || !(mass[k]! < 0)) continue;
		const left = previous[k]!;
		const right = next[k]!;
		const share = Math.expm1(-width[left]!) / Math.expm1(-width[left]! - width[k]!);
		mass[right] = mass[right]! + share * mass[k]!;
		mass[left] = mass[left]! + (1 - share) * mass[k]!;
		mass[k] = 0;
		taken[k] = 1;
		next[left] = right;
		previous[right] = left;
		width[left] = width[left]! + width[k]!;
		if (left !== start) pending.push(left);
		if (right !== end) pending.push(right);
	}
	// The ends are not negative but for rounding; moved up (start) that only lowers the bound.
	if (mass[start]! < 0) {
		mass[next[start]!] = mass[next[start]!]! + mass[start]!;
		mass[start] = 0;
	}
	return mass;
}
