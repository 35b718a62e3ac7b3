import { describe, expect, it } from "vitest";
import { convolved, type Tilted } from "../../../../../src/privacy/accounting/pld/convolution.ts";
import { lowTails } from "../../../../../src/privacy/accounting/pld/fewFrequencies.ts";

const SPACING = 0.01;
const SIZE = 1 << 15;

/** Skewed masses on unevenly spaced nodes, tilted or not. */
function part(count: number, skew: number, tilt: number): Tilted {
	const index: number[] = [];
	for (let i = -300; i <= 300; i += i < -100 || i >= 100 ? 2 : 1) index.push(i);
	const weight = index.map((i) => Math.exp(-((i / 60) ** 2) + skew * Math.sin(i / 40)));
	const total = weight.reduce((sum, w) => sum + w, 0);
	const mass = Float64Array.from(weight, (w) => w / total);
	const norm = mass.reduce((sum, m, k) => sum + m * Math.exp(tilt * index[k]! * SPACING), 0);
	const distribution = { index: Float64Array.from(index), mass, infinity: 0 };
	return { part: { distribution, offset: 0, count }, tilt, logNorm: Math.log(norm) };
}

describe("compositions from their lowest frequencies", () => {
	for (const tilt of [0, 0.05]) {
		it(`are those of the whole transform, tilt ${tilt}`, () => {
			const families = [
				[part(1500, 0.2, tilt), part(301, -0.4, tilt)],
				[part(1500, 0.25, tilt), part(301, -0.35, tilt)],
			] as const;
			const firstIndex = -12_345;
			const low = lowTails(families, firstIndex, tilt, SPACING, SIZE)!;
			expect(low).toBeDefined();
			const whole = convolved(families, SPACING, SIZE);
			for (const f of [0, 1]) {
				const mass = whole[f]!;
				for (const from of [0, 9000, 17_001, 25_000, SIZE - 1]) {
					for (const share of [1, 0.995]) {
						let expected = 0;
						for (let k = from; k < SIZE; k++) {
							const position = (((firstIndex + k) % SIZE) + SIZE) % SIZE;
							const above = (k - from) * SPACING;
							expected += mass[position]! * Math.exp(-tilt * above) * (1 - share * Math.exp(-above));
						}
						expect(Math.abs(low[f]!.excess(from, share) - expected)).toBeLessThan(1e-12);
					}
				}
			}
		});
	}

	it("are refused where more frequencies count", () => {
		const few = [[part(2, 0, 0)], [part(2, 0, 0)]] as const;
		expect(lowTails(few, 0, 0, SPACING, SIZE)).toBeUndefined();
		const lattice = part(1500, 0, 0);
		const even = lattice.part.distribution.index.map((i) => 2 * i);
		const other = {
			...lattice,
			part: { ...lattice.part, distribution: { ...lattice.part.distribution, index: even } },
		};
		expect(lowTails([[other], [other]], 0, 0, SPACING, SIZE)).toBeUndefined();
	});
});
