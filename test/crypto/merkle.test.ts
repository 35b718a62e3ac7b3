import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { toHex } from "../../crypto/encoding.ts";
import {
	merkleProof,
	merkleRoot,
	merkleTree,
	verifyLeafHash,
	verifyMerkleProof,
} from "../../crypto/merkle.ts";

interface Vector {
	readonly leafIdx: number;
	readonly treeSize: number;
	readonly root: string | null;
	readonly leafHash: string | null;
	readonly proof: readonly string[] | null;
	readonly wantErr: boolean;
}

const vectors = JSON.parse(
	readFileSync(new URL("../vectors/rfc6962-transparency-dev/inclusion.json", import.meta.url), "utf8"),
) as Record<string, Vector>;
const base64 = (text: string | null) => Uint8Array.from(Buffer.from(text ?? "", "base64"));

test.each(Object.entries(vectors))("transparency-dev inclusion vector %s", (_, vector) => {
	// Proofs are joined here, where an empty element would be none at all: a byte stands for it.
	const proof = Buffer.concat(
		(vector.proof ?? []).map((one) => (one === "" ? Buffer.alloc(1) : base64(one))),
	);
	const valid = verifyLeafHash(
		base64(vector.root),
		base64(vector.leafHash),
		vector.leafIdx,
		vector.treeSize,
		proof,
	);
	expect(valid).toBe(!vector.wantErr);
});

test("roots of the trees of the RFC 6962 reference tests", () => {
	const leaves = [
		"",
		"00",
		"10",
		"2021",
		"3031",
		"40414243",
		"5051525354555657",
		"606162636465666768696a6b6c6d6e6f",
	];
	const data = leaves.map((hex) => Uint8Array.from(Buffer.from(hex, "hex")));
	expect(toHex(merkleRoot([]))).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	expect(toHex(merkleRoot(data.slice(0, 1)))).toBe(
		"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
	);
	expect(toHex(merkleRoot(data))).toBe("5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328");
});

test("every leaf is proven, and only as itself, in its place, in its tree", () => {
	const tree = fc.array(fc.uint8Array({ maxLength: 8 }), { minLength: 1, maxLength: 40 });
	fc.assert(
		fc.property(tree, fc.nat(), (leaves, pick) => {
			const index = pick % leaves.length;
			const leaf = leaves[index] as Uint8Array;
			const { root, proof: proofOf } = merkleTree(leaves);
			const proof = proofOf(index);
			expect(proof).toEqual(merkleProof(leaves, index));
			expect(verifyMerkleProof(root, leaf, index, leaves.length, proof)).toBe(true);
			expect(verifyMerkleProof(root, Uint8Array.of(...leaf, 0), index, leaves.length, proof)).toBe(false);
			expect(verifyMerkleProof(root, leaf, leaves.length, leaves.length, proof)).toBe(false);
			expect(verifyMerkleProof(root, leaf, -1, leaves.length, proof)).toBe(false);
			expect(verifyMerkleProof(root, leaf, 0.5, leaves.length, proof)).toBe(false);
			expect(verifyMerkleProof(root, leaf, index, leaves.length, Uint8Array.of(...proof, ...root))).toBe(
				false,
			);
			if (proof.length > 0) {
				expect(verifyMerkleProof(root, leaf, index, leaves.length, proof.slice(32))).toBe(false);
				expect(verifyMerkleProof(root, leaf, index, leaves.length, proof.slice(1))).toBe(false);
			}
		}),
	);
	expect(() => merkleProof([Uint8Array.of(1)], 1)).toThrow(RangeError);
});
