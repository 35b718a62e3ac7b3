/** Long-run shares of participants under every strategy of selection, some of them unreliable, some lying. */
import { hashFields } from "../crypto/hash.ts";
import { emptyHistory, historyAfter } from "../src/selection/history.ts";
import { type SelectionRule, selectParticipants } from "../src/selection/select.ts";
import { type SelectionChoice, selectionSchema } from "../src/selection/selectionChoice.ts";
import type { Bench, Table } from "./bench.ts";

const TIERS = ["small", "medium", "large"];

/** Strategies that ask `size` of the participants. */
function strategies(size: number): readonly object[] {
	const each = Math.max(1, Math.floor(size / TIERS.length));
	const characteristic = "tier";
	return [
		{ strategy: "uniform", size },
		{ strategy: "weighted", size, characteristic, weights: { small: 1, medium: 2, large: 4 } },
		{ strategy: "stratified", characteristic, strata: { small: each, medium: each, large: 2 * each } },
		{ strategy: "availability", size },
		{ strategy: "fair", size },
		{ strategy: "power_of_choice", size, candidates: 2 * size },
		{ strategy: "utility", size, exploration: 0.3 },
	];
}

/** Who a participant is, by its place: tiers in turn, the last fifth away half of the time, the fifth before it lying. */
interface Population {
	readonly members: readonly string[];
	readonly tier: (index: number) => string;
	readonly away: (index: number, round: number) => boolean;
	readonly loss: (index: number, round: number) => number;
}

const chance = (label: string, index: number, round: number): number =>
	hashFields("bench/selection", label, index, round)[0]! / 256;

function populationOf(participants: number): Population {
	const flaky = Math.floor(0.8 * participants);
	const lying = Math.floor(0.6 * participants);
	return {
		members: Array.from({ length: participants }, (_, i) => `participant-${String(i).padStart(4, "0")}`),
		tier: (index) => TIERS[index % TIERS.length]!,
		away: (index, round) => index >= flaky && chance("away", index, round) < 0.5,
		loss: (index, round) =>
			index >= lying && index < flaky ? 254 : Math.floor(40 + 60 * chance("loss", index, round)),
	};
}

function sharesOf(
	choice: object,
	population: Population,
	rounds: number,
): Readonly<Record<string, number | string>> {
	const { members, tier, away, loss } = population;
	const rule: SelectionRule = {
		choice: selectionSchema.parse(choice) as SelectionChoice,
		characteristics: new Map(members.map((peer, index) => [peer, { tier: tier(index) }])),
		minimumSurvivors: 2,
	};
	let history = emptyHistory(members.length);
	for (let number = 0; number < rounds; number++) {
		const beacon = hashFields("bench/beacon", number);
		const at = { jobId: "bench", round: number, attempt: 0, members, beacon, history };
		const invited = selectParticipants(rule, at);
		const survivors = invited.filter((peer) => !away(members.indexOf(peer), number));
		const losses = new Map(survivors.map((peer) => [peer, loss(members.indexOf(peer), number)]));
		history = historyAfter(history, members, { number, invited, survivors, losses });
	}
	const shares = history.map(({ invited }) => invited / rounds);
	const mean = (of: (index: number) => boolean) => {
		const chosen = shares.filter((_, index) => of(index));
		return Number((chosen.reduce((sum, share) => sum + share, 0) / chosen.length).toFixed(3));
	};
	const [lying, flaky] = [Math.floor(0.6 * members.length), Math.floor(0.8 * members.length)];
	return {
		strategy: rule.choice.strategy,
		"least share": Number(Math.min(...shares).toFixed(3)),
		"largest share": Number(Math.max(...shares).toFixed(3)),
		honest: mean((index) => index < lying),
		"lying about losses": mean((index) => index >= lying && index < flaky),
		"away half of the time": mean((index) => index >= flaky),
		small: mean((index) => tier(index) === "small"),
		medium: mean((index) => tier(index) === "medium"),
		large: mean((index) => tier(index) === "large"),
	};
}

export const selection: Bench<{
	readonly participants: readonly number[];
	readonly size: readonly number[];
	readonly rounds: readonly number[];
}> = {
	name: "selection",
	summary: "share of the rounds that participants are asked to, by strategy",
	options: {
		participants: { description: "participants of the job", default: [30] },
		size: { description: "contributions that a round is for", default: [6] },
		rounds: { description: "rounds", default: [2000] },
	},
	libraries: [],
	notes: [
		"Shares are rounds asked over all rounds; a uniform share is size / participants.",
		"The last fifth of the participants is away half of the time; the fifth before it reports the largest loss always.",
		"Stratified asks as many small as medium and twice as many large; weighted has weights 1, 2 and 4.",
		"Beacons are hashes of the round's number: the figures are the same in every run.",
	],
	run: async ({ participants, size, rounds }) => {
		const tables: Table[] = [];
		for (const n of participants)
			for (const k of size)
				for (const count of rounds)
					tables.push({
						title: `${k} of ${n} participants, ${count} rounds`,
						rows: strategies(k).map((choice) => sharesOf(choice, populationOf(n), count)),
					});
		return tables;
	},
};
