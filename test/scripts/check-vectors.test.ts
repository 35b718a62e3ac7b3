import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { checkEntry, report } from "../../scripts/check-vectors.ts";
import { readVectorFile, type VectorEntry } from "../../scripts/vectors/vectorFile.ts";

const root = join(import.meta.dirname, "../..");
const entries = readVectorFile(join(root, "test/vectors/dp-accounting/dp-accounting.public.json"));

/** Of the dearest families one entry in so many is enough here; the tests of their accountants take all. */
const EVERY: Readonly<Record<string, number>> = {
	dpsgd_poisson_gaussian: 47,
	calibrate_sigma: 39,
	laplace: 11,
	poisson_laplace: 5,
	heterogeneous: 7,
	discrete_gaussian: 5,
	truncated_poisson: 4,
	tradeoff_from_pld: 2,
};

describe("the public reference figures", () => {
	for (const [family, all] of Map.groupBy(entries, (entry) => entry.family)) {
		it(`hold for ${family}`, () => {
			const some = all.filter((_, i) => i % (EVERY[family] ?? 1) === 0);
			expect(
				some.map(checkEntry).flatMap(({ id, violations }) => violations.map((one) => `${id}: ${one}`)),
			).toEqual([]);
		});
	}

	it("are of 35 families", () => {
		expect(new Set(entries.map((entry) => entry.family)).size).toBe(35);
	});
});

/** The first entry of a family, changed. */
function changed(family: string, change: (expected: Record<string, unknown>) => void): VectorEntry {
	const entry = structuredClone(entries.find((one) => one.family === family)!);
	change(entry.expected);
	return entry;
}

describe("the rule", () => {
	const shifted = (family: string, name: string, factor: number): VectorEntry =>
		changed(family, (expected) => {
			expected[name] = (expected[name] as number) * factor;
		});

	it("finds a figure beyond its tolerance, in either direction", () => {
		for (const factor of [0.998, 1.002]) {
			expect(checkEntry(shifted("tree_aggregation", "epsilon_rdp", factor)).violations).toHaveLength(1);
		}
		expect(checkEntry(shifted("tree_aggregation", "epsilon_rdp", 1 + 1e-7)).violations).toEqual([]);
		expect(checkEntry(shifted("tree_aggregation", "depth", 2)).violations).toHaveLength(1);
	});

	it("finds a bound below a certified truth although it is within tolerance", () => {
		const { violations, belowTruth } = checkEntry(shifted("gaussian_epsilon", "epsilon", 1 + 5e-10));
		expect(violations).toEqual([]);
		expect(belowTruth).toBe(0);
		const entry = changed("dpsgd_poisson_gaussian", () => undefined);
		const truth = entry.expected.epsilon_true as number;
		const low = checkEntry({
			...entry,
			expected: { epsilon_true: truth * (1 + 5e-4), epsilon_pld_lib: truth * 2 },
		});
		expect(low.violations).toEqual([expect.stringContaining("below the certified")]);
		expect(low.belowTruth).toBeGreaterThan(4e-4);
	});

	it("finds a bound looser than the library's, unless that is known to be below the truth", () => {
		const entry = changed("dpsgd_poisson_gaussian", (expected) => {
			expected.epsilon_pld_lib = (expected.epsilon_true as number) * 0.99;
		});
		expect(checkEntry(entry).violations).toEqual([expect.stringContaining("looser than the library's")]);
		expect(checkEntry({ ...entry, anchor_below_truth: true }).violations).toEqual([]);
	});

	it("tells a reference above the exact figure by the library's series from any other disagreement", () => {
		const fractional = entries.find((one) => one.family === "rdp_poisson_gaussian_orders")!;
		expect(checkEntry(fractional)).toMatchObject({ violations: [], isAboveBySeries: true });
		const other = changed("rdp_poisson_gaussian_orders", (expected) => {
			(expected.rdp as number[])[0]! *= 1.01;
		});
		expect(checkEntry(other).violations).toHaveLength(1);
	});

	it("takes what it cannot compute for a violation", () => {
		const entry = entries.find((one) => one.family === "zcdp_rho")!;
		expect(checkEntry({ ...entry, family: "no_such_family" }).violations).toEqual([
			expect.stringContaining('no family "no_such_family"'),
		]);
		expect(checkEntry({ ...entry, params: { ...entry.params, twist: 1 } }).violations).toHaveLength(1);
		expect(checkEntry({ ...entry, params: { epsilon: 1, delta: 2 } }).violations).toHaveLength(1);
		expect(checkEntry({ ...entry, primary: "something" }).violations).toHaveLength(1);
	});

	it("prints every family and every violation", () => {
		const good = entries.find((one) => one.family === "zcdp_rho")!;
		const text = report([good, { ...good, family: "no_such_family" }].map(checkEntry));
		expect(text).toContain("zcdp_rho");
		expect(text).toContain(`${good.id}: there is no family "no_such_family" here`);
		expect(text).toContain("1 of 2 entries within tolerance");
	});
});

describe("the command", () => {
	const folder = mkdtempSync(join(tmpdir(), "althing-vectors-"));
	afterAll(() => rmSync(folder, { recursive: true }));
	const run = (content: string): { status: number | null; stdout: string; stderr: string } => {
		const path = join(folder, "vectors.json");
		writeFileSync(path, content);
		return spawnSync(process.execPath, [join(root, "scripts/check-vectors.ts"), path], { encoding: "utf8" });
	};
	const file = (...some: unknown[]): string =>
		JSON.stringify({ schema: "dp-reference-vectors/1", entries: some });
	const good = {
		id: "zcdp_rho.x1",
		family: "zcdp_rho",
		params: { epsilon: 0.1, delta: 1e-5 },
		expected: { rho: 0.00043299372940180947 },
		primary: "rho",
		rtol: 1e-6,
	};

	it("ends with 0 for figures that hold, 1 for others", () => {
		expect(run(file(good)).status).toBe(0);
		const bad = run(file(good, { ...good, id: "zcdp_rho.x2", expected: { rho: 0.1 } }));
		expect(bad.status).toBe(1);
		expect(bad.stdout).toContain("zcdp_rho.x2");
		const unknown = run(file({ ...good, family: "sausages" }));
		expect(unknown.status).toBe(1);
		expect(unknown.stdout).toContain('no family "sausages"');
	});

	it("ends with 2 for what is no such file", () => {
		for (const content of ["", "{}", file(), JSON.stringify({ schema: "other/1", entries: [good] })]) {
			const { status, stderr } = run(content);
			expect(status).toBe(2);
			expect(stderr).toContain("vectors.json");
		}
	});
});
