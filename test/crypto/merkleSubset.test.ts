import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { leafHash, merkleTree } from "../../crypto/merkle.ts";
import { subsetProof, verifySubset } from "../../crypto/merkleSubset.ts";

function treeOf(size: number) {
	const hashes = Array.from({ length: size }, (_, i) => Uint8Array.of(i, i >> 8));
	return { tree: merkleTree(hashes), hashes: hashes.map(leafHash) };
}

describe("a proof of several leaves", () => {
	test("holds for every subset of trees of every shape, and for nothing else", () => {
		fc.assert(
			fc.property(
				fc.integer({ min: 1, max: 40 }),
				fc.array(fc.nat(1000), { maxLength: 12 }),
				fc.nat(1000),
				(size, picks, where) => {
					const { tree, hashes } = treeOf(size);
					const indices = [...new Set(picks.map((pick) => pick % size))];
					const proof = subsetProof(tree, size, indices);
					const leaves = new Map(indices.map((index) => [index, hashes[index] as Uint8Array]));
					expect(verifySubset(tree.root, size, leaves, proof)).toBe(true);
					expect(verifySubset(tree.root, size, leaves, [...proof, tree.root])).toBe(false);
					if (proof.length > 0) {
						const at = where % proof.length;
						const bent = proof.map((hash, i) => (i === at ? hash.map((byte) => byte ^ 1) : hash));
						expect(verifySubset(tree.root, size, leaves, bent)).toBe(false);
						expect(verifySubset(tree.root, size, leaves, proof.slice(1))).toBe(false);
					}
					const changed = indices[where % Math.max(1, indices.length)];
					if (changed !== undefined) {
						const other = new Map(leaves).set(changed, new Uint8Array(32));
						expect(verifySubset(tree.root, size, other, proof)).toBe(false);
					}
				},
			),
			{ numRuns: 200, seed: 3 },
		);
	});

	test("of an arc is short", () => {
		const { tree } = treeOf(1000);
		const arc = Array.from({ length: 107 }, (_, i) => 300 + i);
		expect(subsetProof(tree, 1000, arc).length).toBeLessThanOrEqual(20);
	});

	test("refuses leaves outside the tree", () => {
		const { tree, hashes } = treeOf(5);
		expect(() => subsetProof(tree, 5, [5])).toThrow(RangeError);
		expect(verifySubset(tree.root, 5, new Map([[5, hashes[0] as Uint8Array]]), [])).toBe(false);
		expect(verifySubset(tree.root, 0, new Map(), [])).toBe(false);
	});
});
