/** The attacks that a testnet's nodes can carry out: in what they send, or in the records they train on. */
import { AlthingError } from "../../crypto/error.ts";
import type { Dataset } from "../../src/data/dataset.ts";
import { withBackdoor, withFlippedLabels } from "./poisonedRecords.ts";
import type { AttackName } from "./vectorAttacks.ts";

interface AttackOfNode {
	/** What it sends in place of its update; `noise` replaces all it sends, as wrong masks would. */
	readonly vector?: AttackName | "noise";
	/** What it does to its records, whose labels are places in `labelNames`. */
	readonly records?: (data: Dataset, upperEnd: (feature: number) => number) => Dataset;
	/**
	 * Fewest attackers. Two or more tell each other their honest updates, which stand for those of all:
	 * nobody sees another's under masks.
	 */
	readonly least: number;
}

const flipped = (data: Dataset) => withFlippedLabels(data, data.labelNames.length);

export const nodeAttacks = {
	"label-flip": { records: flipped, least: 1 },
	"sign-flip": { vector: "sign_flip", least: 1 },
	"bit-flip": { vector: "bit_flip", least: 1 },
	gaussian: { vector: "gaussian", least: 1 },
	alie: { vector: "alie", least: 2 },
	"inner-product": { vector: "inner_product", least: 1 },
	"min-max": { vector: "min_max", least: 2 },
	mimic: { vector: "mimic", least: 2 },
	backdoor: { records: withBackdoor, vector: "backdoor", least: 1 },
	"garbage-masks": { vector: "noise", least: 1 },
	"free-rider": { vector: "free_rider", least: 1 },
	sybil: { records: flipped, vector: "sybil", least: 2 },
} as const satisfies Record<string, AttackOfNode>;

export type NodeAttack = keyof typeof nodeAttacks;

/** Who attacks together. */
export interface Ring {
	/** Where they tell each other their updates. */
	readonly folder: string;
	readonly attackers: number;
	/** Of all of the federation. */
	readonly participants: number;
	/** This one's, from 0. */
	readonly place: number;
}

export function isNodeAttack(name: string): name is NodeAttack {
	return Object.hasOwn(nodeAttacks, name);
}

/**
 * The module that makes a daemon carry out this attack, for `node --import`.
 * @param ring left out for a lone attacker
 * @throws AlthingError `usage.invalid` for fewer attackers than it needs
 */
export function attackingModule(name: NodeAttack, ring?: Ring): string {
	const { least } = nodeAttacks[name];
	if ((ring?.attackers ?? 1) < least)
		throw new AlthingError(
			"usage.invalid",
			`The attack ${name} is one of ${least} nodes or more, which tell each other their updates.`,
		);
	const module = new URL("./attackingNode.ts", import.meta.url);
	module.searchParams.set("attack", name);
	if (ring !== undefined) module.searchParams.set("ring", JSON.stringify(ring));
	return module.href;
}

export function attackOf(name: NodeAttack): AttackOfNode {
	return nodeAttacks[name];
}
