/** `althing tune ...` */
import { setTimeout as wait } from "node:timers/promises";
import type { Command } from "commander";
import type { TuningView } from "../../rpc/services.ts";
import { exitCodes } from "../exitCodes.ts";
import type { Bind, Outcome, Session } from "../session.ts";
import { fields, figure } from "../text.ts";

const POLL_MS = 1000;

export function registerTune(program: Command, bind: Bind): void {
	const tune = program
		.command("tune")
		.description("choose a job's settings on this organization's own records, in private");

	bind(
		tune
			.command("run <job> <tuning>", { isDefault: true })
			.description("try the candidates of a tuning file on a job file; `run` may be left out"),
		run,
	);

	bind(
		tune.command("show <tuning>").description("how a tuning stands"),
		async ({ client, out }, [id = ""]) => {
			out.result(await (await client()).call("tuning.show", { tuning: id }), text);
		},
	);
}

async function run(session: Session, [job = "", tuning = ""]: string[]): Promise<Outcome> {
	const { out } = session;
	const { readJobFile, readTuningFile } = await import("../jobFile.ts");
	const request = { spec: await readJobFile(job), tuning: await readTuningFile(tuning) };
	const client = await session.client();
	let view = await client.call("tuning.start", request);
	if (!out.json) out.note(`Charged, and begun as ${view.id}. It goes on if you interrupt this command.`);
	while (view.state === "running") {
		await wait(POLL_MS);
		view = await client.call("tuning.show", { tuning: view.id });
	}
	out.result(view, text);
	return view.state === "failed" ? exitCodes.failed : exitCodes.ok;
}

function text({ id, dataset, state, charged, chosen, score, reason }: TuningView): string {
	const settings = Object.entries(chosen?.settings ?? {}).map(([key, value]) => `${key} ${value}`);
	return fields([
		["tuning", id],
		["data set", dataset],
		["state", reason === undefined ? state : `${state}: ${reason}`],
		["charged", `epsilon ${charged.epsilon}, delta ${charged.delta}`],
		...(state === "done"
			? ([
					["settings", chosen === undefined ? "none: the law drew no trial" : settings.join(", ")],
					["score", score === undefined ? "-" : `${figure(score)} (noised, the best of several)`],
				] as [string, string][])
			: []),
	]);
}
