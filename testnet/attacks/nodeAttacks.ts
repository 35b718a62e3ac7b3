/** The attacks that a testnet's node can carry out by itself: in what it sends, or in the records it trains on. */
import type { Dataset } from "../../src/data/dataset.ts";
import { withFlippedLabels } from "./poisonedRecords.ts";
import type { AttackName } from "./vectorAttacks.ts";

interface AttackOfNode {
	/** What it sends in place of its update. */
	readonly vector?: AttackName;
	/** What it does to its records, whose labels are indices into so many classes. */
	readonly records?: (data: Dataset, classes: number) => Dataset;
}

export const nodeAttacks = {
	"label-flip": { records: withFlippedLabels },
	"sign-flip": { vector: "sign_flip" },
	"bit-flip": { vector: "bit_flip" },
	gaussian: { vector: "gaussian" },
	"inner-product": { vector: "inner_product" },
	garbage: { vector: "garbage" },
	"free-rider": { vector: "free_rider" },
} as const satisfies Record<string, AttackOfNode>;

export type NodeAttack = keyof typeof nodeAttacks;

export function isNodeAttack(name: string): name is NodeAttack {
	return Object.hasOwn(nodeAttacks, name);
}

/** The module that makes a daemon carry out this attack, for `node --import`. */
export function attackingModule(name: NodeAttack): string {
	const module = new URL("./attackingNode.ts", import.meta.url);
	module.searchParams.set("attack", name);
	return module.href;
}

export function attackOf(name: NodeAttack): AttackOfNode {
	return nodeAttacks[name];
}
