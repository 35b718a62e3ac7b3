/** How the testnet went: what every node ended with, what it cost, and whether everything held. */
import { bytesText } from "../node/cli/text.ts";
import { importSafetensors } from "../src/learning/formats/safetensors.ts";
import type { Daemon } from "./daemon.ts";
import type { DataSlices } from "./dataSlices.ts";
import { until } from "./deadline.ts";
import type { Quality } from "./pooledBaseline.ts";
import { pooledBaseline, qualityOf } from "./pooledBaseline.ts";
import { roundCosts } from "./progress.ts";
import type { Reporter } from "./reporter.ts";
import type { Rounds } from "./rounds.ts";
import type { Incidents } from "./scenario.ts";

const BYTES_OF_A_PLAIN_PARAMETER = 4;

export interface Outcome {
	/** What did not hold; empty when all is well. */
	readonly problems: readonly string[];
	readonly models: readonly {
		readonly organization: string;
		readonly hash: string;
		readonly rounds: number;
	}[];
	readonly parameters: number;
	/** On records that no site had. */
	readonly privateModel: Quality;
	/** The same kind of model on everybody's records in one place, without privacy, on the same records. */
	readonly pooledModel: Quality;
	readonly budgets: readonly {
		readonly organization: string;
		readonly epsilonSpent: number;
		readonly epsilonLeft: number;
		readonly epsilon: number;
		readonly delta: number;
	}[];
	/** Means over the rounds that needed one attempt; bytes and CPU are of one participant. */
	readonly perRound: {
		readonly bytesSent: number;
		readonly bytesReceived: number;
		/** 4 bytes for each parameter. */
		readonly naiveBytes: number;
		readonly cpuSeconds: number | undefined;
		readonly seconds: number;
	};
	readonly secondsToFirstRound: number;
	readonly incidents: Incidents;
	/** Without a common model, or with personal ones: accuracy of each node's own, on records that no site had, and how far they are apart. */
	readonly ownModels?: {
		readonly accuracies: readonly number[];
		/** Largest distance of two nodes' parameters, over the largest norm. */
		readonly relativeDistance: number;
	};
}

export async function concluded(facts: {
	readonly daemons: readonly Daemon[];
	readonly job: string;
	readonly dataset: string;
	readonly plannedRounds: number;
	readonly rounds: Rounds;
	readonly slices: DataSlices;
	readonly secondsToFirstRound: number;
	readonly incidents: Incidents;
	/** False for gossip, where nodes end with models of their own. */
	readonly hasCommonModel: boolean;
	/** Whether the job makes a model of each organization's own beside the common one. */
	readonly isPersonal: boolean;
}): Promise<Outcome> {
	const { daemons, job, dataset, plannedRounds, rounds, slices, secondsToFirstRound, incidents } = facts;
	const problems: string[] = [];
	for (const { name, running } of daemons) if (!running) problems.push(`${name} does not run at the end`);
	const running = daemons.filter((daemon) => daemon.running);
	const models = await Promise.all(
		running.map(async ({ name, client }) => {
			const { hash, round } = await client.call("model.show", { job });
			const { round: agreed } = await client.call("job.show", { job });
			if (agreed !== plannedRounds) problems.push(`${name} ended at round ${agreed} of ${plannedRounds}`);
			return { organization: name, hash, rounds: agreed, modelRound: round };
		}),
	);
	const hashes = new Set(models.map(({ hash }) => hash));
	if (facts.hasCommonModel && hashes.size !== 1) {
		problems.push(
			`the nodes ended with ${hashes.size} different models: ${models.map(({ organization, hash }) => `${organization} ${hash.slice(0, 12)}`).join(", ")}`,
		);
	}
	for (const round of rounds.disagreements) problems.push(`nodes name different survivors of round ${round}`);

	const personal = facts.isPersonal;
	const trained = await downloadedModel(running[0]!, job, personal);
	const ownModels =
		facts.hasCommonModel && !personal ? undefined : await ownModelsOf(running, job, personal, slices);
	const budgets = await Promise.all(
		running.map(async ({ name, client }) => {
			const { budgets: shown } = await client.call("budget.show", { dataset });
			// Left out where no finite figure is proven, which is more than any budget.
			const { epsilonSpent = Number.POSITIVE_INFINITY, epsilonRemaining, epsilon, delta } = shown[0]!;
			if (epsilonSpent > epsilon) problems.push(`${name} spent more than its budget`);
			return { organization: name, epsilonSpent, epsilonLeft: epsilonRemaining, epsilon, delta };
		}),
	);
	return {
		problems,
		models,
		parameters: trained.parameters.length,
		privateModel: await qualityOf(trained.model, trained.parameters, slices.test),
		pooledModel: await pooledBaseline(trained.model, slices.pooled, slices.test),
		budgets,
		perRound: {
			...averageCosts(rounds),
			naiveBytes: BYTES_OF_A_PLAIN_PARAMETER * trained.parameters.length,
		},
		secondsToFirstRound,
		incidents,
		...(ownModels === undefined ? {} : { ownModels }),
	};
}

async function ownModelsOf(
	daemons: readonly Daemon[],
	job: string,
	personal: boolean,
	slices: DataSlices,
): Promise<NonNullable<Outcome["ownModels"]>> {
	const models = await Promise.all(daemons.map((daemon) => downloadedModel(daemon, job, personal)));
	const accuracies: number[] = [];
	for (const { model, parameters } of models)
		accuracies.push((await qualityOf(model, parameters, slices.test)).accuracy);
	const distance = (one: ArrayLike<number>, other: (at: number) => number) => {
		let squares = 0;
		for (let i = 0; i < one.length; i++) squares += (one[i]! - other(i)) ** 2;
		return Math.sqrt(squares);
	};
	const vectors = models.map(({ parameters }) => parameters);
	const farthest = Math.max(...vectors.flatMap((one) => vectors.map((two) => distance(one, (i) => two[i]!))));
	const largest = Math.max(...vectors.map((one) => distance(one, () => 0)));
	return { accuracies, relativeDistance: farthest / largest };
}

async function downloadedModel({ client }: Daemon, job: string, personal: boolean) {
	if (personal) await untilPersonal(client, job);
	const { files } = await client.call("model.export", { job, format: "safetensors", personal });
	return importSafetensors(await client.download(files[0]!.path));
}

/** A personal model is finished after the job's last round, beside everything else. */
async function untilPersonal(client: Daemon["client"], job: string): Promise<void> {
	const probe = async () => {
		const { round, personal } = await client.call("model.show", { job });
		return personal?.rounds === round ? true : undefined;
	};
	const { signal } = new AbortController();
	await until(probe, { what: "a node's own model", timeoutMs: PERSONAL_TIMEOUT_MS, signal });
}

const PERSONAL_TIMEOUT_MS = 60_000;

function averageCosts(rounds: Rounds) {
	// The first round carries what happened before it, and repeated ones more than one round's work.
	const costs = rounds.agreed
		.filter((round) => round > 1 && [...rounds.reports(round).values()][0]?.attempt === 0)
		.map((round) => roundCosts(rounds.reports(round)));
	const chosen = costs.length > 0 ? costs : rounds.agreed.map((round) => roundCosts(rounds.reports(round)));
	const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
	const cpu = chosen.map(({ cpuSeconds }) => cpuSeconds).filter((value) => value !== undefined);
	return {
		bytesSent: Math.round(mean(chosen.map(({ bytesSent }) => bytesSent))),
		bytesReceived: Math.round(mean(chosen.map(({ bytesReceived }) => bytesReceived))),
		cpuSeconds: cpu.length === 0 ? undefined : mean(cpu),
		seconds: mean(chosen.map(({ seconds }) => seconds)),
	};
}

/** Says the outcome: the summary object that ends the JSON, or a short text. */
export function saySummary(outcome: Outcome, seconds: number, reporter: Reporter): void {
	const { problems, models, privateModel, pooledModel, budgets, perRound } = outcome;
	const percent = (share: number) => `${(100 * share).toFixed(1)} %`;
	const { ownModels } = outcome;
	const lines = [
		"",
		"Summary",
		...(ownModels === undefined
			? [
					`  model         ${outcome.parameters} parameters, hash ${models[0]?.hash.slice(0, 16)} at ${models.length} nodes`,
				]
			: [
					`  models        ${outcome.parameters} parameters each, one of its own at ${models.length} nodes, at most ${percent(ownModels.relativeDistance)} apart`,
					`  accuracies    ${ownModels.accuracies.map(percent).join(", ")}`,
				]),
		`  accuracy      ${percent(privateModel.accuracy)} trained together in private; ${percent(pooledModel.accuracy)} trained on the pooled records without privacy`,
		"                (on records that no organization had)",
		"  budget left   " +
			budgets
				.map(({ organization, epsilonLeft, epsilon }) => {
					return `${organization} ${epsilonLeft.toFixed(2)} of ${epsilon.toFixed(2)}`;
				})
				.join("\n                "),
		`                (epsilon, at delta ${budgets[0]?.delta})`,
		`  first round   ${outcome.secondsToFirstRound.toFixed(1)} s after the start`,
		`  each round    ${perRound.seconds.toFixed(2)} s; a participant sends ${bytesText(perRound.bytesSent)} and receives ${bytesText(perRound.bytesReceived)}`,
		`                (the parameters alone, unprotected, would be ${bytesText(perRound.naiveBytes)})`,
		...(perRound.cpuSeconds === undefined
			? []
			: [`                ${perRound.cpuSeconds.toFixed(2)} CPU seconds a participant`]),
		...outcome.incidents.takeovers.map(
			({ killed, successor, round }) =>
				`  takeover      ${killed} was killed as coordinator, ${successor} finished round ${round}`,
		),
		...(outcome.incidents.returned.length === 0
			? []
			: [`  came back     ${outcome.incidents.returned.join(", ")}`]),
		"",
	];
	for (const line of lines) reporter.text(line);
	const held = problems.length === 0;
	reporter.say(
		"summary",
		held
			? `Everything held (${seconds.toFixed(0)} s).`
			: `This did not hold:\n${problems.map((problem) => `  - ${problem}`).join("\n")}`,
		{ ok: held, seconds, ...outcome },
		held ? "good" : "bad",
	);
}
