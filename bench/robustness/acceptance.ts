/** What the robustness experiments must show, and what must fail in them. */
import { CLEAR_RULES } from "../../src/robustness/robustnessChoice.ts";
import type { AttackName } from "../../testnet/attacks/vectorAttacks.ts";
import type { DefenceName } from "./defences.ts";
import type { Task } from "./task.ts";
import { DIGITS, DIGITS_EPOCHS, DIGITS_GRADIENTS, MNIST } from "./task.ts";

/** One line of a part's acceptance: means over the seeds, in points of a hundred. */
export interface Requirement {
	readonly defence: DefenceName;
	readonly attack: AttackName;
	/** At least so many points, or at most so many below the same part without attack and defence. */
	readonly accuracy?: { readonly atLeast: number } | { readonly belowClean: number };
	/** A negative control: the attack works here, and leaves less than this. */
	readonly fails?: { readonly accuracyBelow: number } | { readonly backdoorAbove: number };
	readonly backdoorBelow?: number;
}

export interface Part {
	readonly title: string;
	readonly task: Task;
	readonly defences: readonly DefenceName[];
	readonly attacks: readonly AttackName[];
	/** Attacks that a defence is measured under, where it is not all of them. */
	readonly only?: Partial<Record<DefenceName, readonly AttackName[]>>;
	readonly requirements: readonly Requirement[];
}

/** The published attacks; our own are in the tables, and nothing is required of them. */
const PUBLISHED = [
	"label_flip",
	"sign_flip",
	"bit_flip",
	"gaussian",
	"alie",
	"inner_product",
	"inner_product_small",
	"min_max",
	"mimic",
	"garbage",
	"free_rider",
	"sybil",
] as const satisfies readonly AttackName[];

const BOUNDED = ["label_flip", "inner_product", "alie", "min_max", "garbage"] as const;

const SELECTED: readonly (readonly [AttackName, number])[] = [
	["label_flip", 88],
	["sign_flip", 80],
	["inner_product", 70],
	["alie", 85],
	["min_max", 88],
	["garbage", 88],
];

/** What ruins the plain mean for certain. */
const CONTROLS = ["sign_flip", "garbage"] as const;

const MNIST_ATTACKS = ["bit_flip", "label_flip", "mimic", "inner_product_small", "alie_small"] as const;

/** The two where published experiments have attackers send gradients without momentum. */
const BARE = ["bit_flip_bare", "label_flip_bare"] as const;
const AS_PUBLISHED = [...BARE, "mimic", "inner_product_small", "alie_small"] as const;

/** What the enforced bound must stand, the default of jobs. */
const DEFAULT_STANDS = BOUNDED.map((attack) => ({
	defence: "norm_bound" as const,
	attack,
	accuracy: { belowClean: 5 },
}));

/** What a part measures that is about a job that names no robustness. */
const OF_THE_DEFAULT = {
	defences: ["mean", "norm_bound"],
	attacks: ["none", ...BOUNDED],
	requirements: [...DEFAULT_STANDS, { defence: "mean", attack: "garbage", fails: { accuracyBelow: 50 } }],
} as const satisfies Omit<Part, "title" | "task">;

export const parts = {
	digits: {
		title: "digits, 25 sites of which 5 attack, Dirichlet 0.3",
		task: DIGITS,
		defences: ["mean", "norm_bound", "norm_bound_reputation", "strict"],
		attacks: ["none", ...PUBLISHED, "mimic_farthest", "aligned_drift"],
		requirements: [
			...DEFAULT_STANDS,
			...SELECTED.map(([attack, atLeast]) => ({
				defence: "strict" as const,
				attack,
				accuracy: { atLeast },
			})),
			...PUBLISHED.map((attack) => ({
				defence: "norm_bound_reputation" as const,
				attack,
				accuracy: { belowClean: 5 },
			})),
			...CONTROLS.map((attack) => ({
				defence: "mean" as const,
				attack,
				fails: { accuracyBelow: 50 },
			})),
			{ defence: "norm_bound", attack: "sign_flip", fails: { accuracyBelow: 88 } },
		],
	},
	gradients: {
		title: "a job that names no robustness, fedsgd: the gradient of all of a site's records, momentum 0.9",
		task: DIGITS_GRADIENTS,
		...OF_THE_DEFAULT,
	},
	epochs: {
		title: "a job that names no robustness, fedavg: two local epochs, no momentum",
		task: DIGITS_EPOCHS,
		...OF_THE_DEFAULT,
	},
	buckets: {
		title: "buckets of four on digits, 24 sites of which 2 attack, Dirichlet 0.3",
		task: { ...DIGITS, sites: 24, attackers: 2 },
		defences: ["mean", "norm_bound", "buckets_median", "buckets_geometric_median", "buckets_median_history"],
		attacks: ["none", "label_flip", "sign_flip", "alie", "inner_product", "min_max", "garbage"],
		requirements: [
			...BOUNDED.map((attack) => ({
				defence: "buckets_median_history" as const,
				attack,
				accuracy: { belowClean: 5 },
			})),
			{
				defence: "buckets_median_history" as const,
				attack: "sign_flip" as const,
				accuracy: { belowClean: 5 },
			},
			{ defence: "mean" as const, attack: "garbage" as const, fails: { accuracyBelow: 50 } },
		],
	},
	backdoor: {
		title: "backdoor by one site of 25, boosted 25 times, in the last 50 of 150 rounds on digits",
		task: { ...DIGITS, attackers: 1, attackFrom: 100 },
		defences: ["mean", "norm_bound", "norm_bound_reputation"],
		attacks: ["none", "backdoor"],
		requirements: [
			{
				defence: "norm_bound",
				attack: "backdoor",
				accuracy: { belowClean: 1 },
				backdoorBelow: 20,
			},
			{ defence: "mean", attack: "backdoor", fails: { backdoorAbove: 80 } },
		],
	},
	mnist: {
		title: "mnist10k, 25 sites of which 5 attack, sorted by label",
		task: MNIST,
		defences: ["mean", "centered_clipping_buckets", "geometric_median_buckets"],
		attacks: ["none", ...MNIST_ATTACKS, ...BARE, "mimic_farthest", "garbage"],
		only: {
			mean: ["none", "garbage"],
			centered_clipping_buckets: ["none", ...MNIST_ATTACKS, "mimic_farthest", "garbage"],
			geometric_median_buckets: ["none", ...MNIST_ATTACKS, ...BARE],
		},
		requirements: [
			...MNIST_ATTACKS.map((attack) => ({
				defence: "centered_clipping_buckets" as const,
				attack,
				accuracy: { belowClean: 1.5 },
			})),
			// Published: 98.7 without attack, at least 95 under each, and 85 under ALIE.
			...AS_PUBLISHED.map((attack) => ({
				defence: "geometric_median_buckets" as const,
				attack,
				accuracy: { belowClean: attack === "alie_small" ? 13.7 : 3.7 },
			})),
			{ defence: "mean", attack: "garbage", fails: { accuracyBelow: 50 } },
		],
	},
	rules: {
		title: "rules in the clear on digits, 25 sites of which 5 attack, Dirichlet 0.3",
		task: DIGITS,
		defences: ["mean", ...CLEAR_RULES, "mixed_trimmed_mean"],
		attacks: ["none", ...PUBLISHED],
		requirements: CONTROLS.map((attack) => ({
			defence: "mean" as const,
			attack,
			fails: { accuracyBelow: 50 },
		})),
	},
} as const satisfies Record<string, Part>;

export type PartName = keyof typeof parts;
